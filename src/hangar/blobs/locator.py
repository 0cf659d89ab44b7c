"""From digests to locations: the writer's pending blobs, then the runs, then the table of the database.

Runs are immutable and stay in memory from one lookup to the next; the table is read only for what they do not have, and with it, in one
snapshot, the list of runs. So what is published is found, whoever published it. Where a batch was found whole in one run, the next
one of its kind looks there first; a location that has become stale since fails the read, and everything is looked up
again, from the newest run to the oldest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from hangar.backends.location import LOCATION, LOCATION_WORDS, Locations, Words
from hangar.blobs.catalog import run_path, scan_runs
from hangar.blobs.index import Digests, Found, Index, Mask, Places, Sought
from hangar.blobs.pending import Pending
from hangar.blobs.run import Run
from hangar.db import Database, ReadTransaction
from hangar.db.tables import LOCATIONS
from hangar.digest import digest_list
from hangar.errors import CorruptionError, PathNotFoundError

__all__ = ["IN_MEMORY", "Locator"]

IN_MEMORY: Final = 0
"""File id in the location of a blob that lies in ``Pending.buffers``."""

_NO_HINT: Final = -1
_unpack: Final[Callable[[bytes], Found]] = LOCATION.unpack


class Locator:
    """Finds blobs.

    Attributes
    ----------
    indexes
        What is in memory, in the order of asking; replaced, never changed.
    """

    __slots__ = ("_damaged", "_db", "_directory", "_hints", "_likely", "_listed", "_pending", "_runs", "indexes")

    def __init__(self, db: Database, directory: Path) -> None:
        self._db = db
        self._directory = directory
        self._runs: tuple[Run, ...] | None = None
        self._listed: tuple[int, ...] = ()
        self._damaged: tuple[str, ...] = ()
        self._pending = Pending()
        self._hints: dict[int, Index] = {}
        self._likely: Index | None = None
        self.indexes: tuple[Index, ...] = ()

    # ------------------------------------------------------------------ what is searched

    @property
    def pending(self) -> Pending:
        """What the writer of this process has not published."""
        return self._pending

    @pending.setter
    def pending(self, pending: Pending) -> None:
        self._pending = pending
        self.arrange()

    def arrange(self) -> None:
        """Take up what changed in :attr:`pending` or in the list of runs."""
        self.indexes = (*self._pending.indexes, *(run.index for run in self._runs or ()))
        self._hints = {}
        self._likely = None

    def runs(self) -> tuple[Run, ...]:
        """The registered runs that can be opened, as far as they are known, newest first."""
        if self._runs is None:
            self.refresh()
        return self._runs or ()

    def refresh(self) -> None:
        """Read the list of runs again."""
        with self._db.read() as transaction:
            self._load(transaction)

    def _load(self, transaction: ReadTransaction) -> bool:
        """Read the list of runs; whether it is another one than before."""
        rows = scan_runs(transaction)[::-1]
        listed = tuple(run_id for run_id, _ in rows)
        if self._runs is not None and listed == self._listed:
            return False
        runs = {run.run_id: run for run in self._runs or ()}
        self._damaged = ()
        for run_id, row in rows:
            if run_id not in runs:
                try:
                    runs[run_id] = Run(run_path(self._directory, run_id), run_id, row.count)
                except (CorruptionError, PathNotFoundError) as error:
                    # What lies elsewhere can be read all the same; whoever misses a blob is told of this.
                    self._damaged = (*self._damaged, str(error))
        self._listed = listed
        self._runs = tuple(runs[run_id] for run_id in listed if run_id in runs)
        self.arrange()
        return True

    def reload(self, transaction: ReadTransaction) -> list[str]:
        """Read the list of runs as a transaction has it; what is the matter with those that cannot be opened."""
        self._load(transaction)
        return list(self._damaged)

    def forget(self) -> None:
        """Forget the runs: the next lookup reads their list again."""
        self._runs = None
        self.arrange()

    # ------------------------------------------------------------------ looking up

    def locate(self, digests: Digests, hint: int = 0) -> Words:
        """Locations of blobs, as words, shape (n, 5).

        Parameters
        ----------
        digests
            In any order, repeated or not; at least one.
        hint
            Batches of one hint are likely to lie in one run.

        Raises
        ------
        CorruptionError
            One has no location.
        """
        sought = Sought.of(digests)
        likely = self._hints.get(hint)
        if likely is not None:
            found = likely.locate_all(sought)
            if found is not None:
                return found
        return self._locate(digests, sought, hint)

    def newest(self, digests: Digests) -> Words:
        """As :meth:`locate`, and of several locations of a blob the one that counts when runs are merged."""
        return self._locate(digests, Sought.of(digests), _NO_HINT)

    def _locate(self, digests: Digests, sought: Sought, hint: int) -> Words:
        if self._runs is None:
            self.refresh()
        places = np.empty((len(digests), LOCATION_WORDS), np.uint64)
        missing = np.arange(len(digests))
        for index in self.indexes:
            here = _fill(index, sought, places, missing)
            if here.size == len(digests):
                self._hints[hint] = index
            if here.size == missing.size:
                return places
            missing = np.setdiff1d(missing, here, assume_unique=True)
        missing = self._locate_in_memory(digests, places, missing)
        if missing.size:
            self._locate_in_table(digests, sought, places, missing)
        return places

    def _locate_in_memory(self, digests: Digests, places: Words, missing: Places) -> Places:
        buffers = self._pending.buffers
        if not buffers:
            return missing
        held = np.fromiter(map(buffers.__contains__, digest_list(digests[missing])), np.bool_, len(missing))
        places[missing[held]] = IN_MEMORY
        return missing[~held]

    def _locate_in_table(self, digests: Digests, sought: Sought, places: Words, missing: Places) -> None:
        names = digest_list(digests[missing])
        with self._db.read() as transaction:
            rows: list[Any] = transaction.get_many(LOCATIONS, names)
            reloaded = None in rows and self._load(transaction)
        if None not in rows:
            places[missing] = Locations.from_rows(rows).words
            return
        there = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
        places[missing[there]] = Locations.from_rows([row for row in rows if row is not None]).words
        missing = missing[~there]
        for index in self.indexes if reloaded else ():
            missing = np.setdiff1d(missing, _fill(index, sought, places, missing), assume_unique=True)
        if missing.size:
            self._lost(digests[missing[0]].tobytes())

    def _lost(self, digest: bytes) -> NoReturn:
        reasons = list(self._damaged)
        for run in self.runs():
            try:
                run.verify()
            except CorruptionError as error:
                reasons.append(str(error))
        raise CorruptionError(
            f"blob {digest.hex()} is not in this repository, and nothing says that a remote has it"
            + "".join(f"; {reason}" for reason in reasons)
            + ": run `hangar fsck --data` to see what is affected"
        )

    def find(self, digest: bytes) -> Found | None:
        """Location of one blob: its five words, or None where it takes more to find it."""
        prefix = int.from_bytes(digest[:8], "big")
        likely = self._likely
        if likely is not None:
            found = likely.find(digest, prefix)
            if found is not None:
                return found
        for index in self.indexes:
            found = index.find(digest, prefix)
            if found is not None:
                self._likely = index
                return found
        if digest in self._pending.buffers:
            return None
        with self._db.read() as transaction:
            row = transaction.get(LOCATIONS, digest)
        return None if row is None or len(row) != LOCATION.size else _unpack(row)

    # ------------------------------------------------------------------ whether there is a location

    def known(self, sought: Sought) -> Mask:
        """Which digests have a location; blobs that only wait in memory do not count. Fastest where they are sorted."""
        if self._runs is None:
            self.refresh()
        known = np.zeros(len(sought.words), np.bool_)
        for index in self.indexes:
            known |= index.search(sought)[0]
        if not known.all():
            with self._db.read() as transaction:
                self._known_in_table(transaction, sought, known)
                # Another process may have taken rows of the table into a run since the list of runs was read.
                reloaded = not known.all() and self._load(transaction)
            for index in self.indexes if reloaded else ():
                known |= index.search(sought)[0]
        return known

    def _known_in_table(self, transaction: ReadTransaction, sought: Sought, known: Mask) -> None:
        size = transaction.count(LOCATIONS)
        if not size:
            return
        rest = np.flatnonzero(~known)
        names = digest_list(sought.words.take(rest, axis=0).view(np.uint8))
        if size < len(names):
            table = {key for key, _ in transaction.scan(LOCATIONS)}
            known[rest] = np.fromiter(map(table.__contains__, names), np.bool_, len(names))
        else:
            rows = transaction.get_many(LOCATIONS, names)
            known[rest] = np.fromiter((row is not None for row in rows), np.bool_, len(rows))


def _fill(index: Index, sought: Sought, places: Words, missing: Places) -> Places:
    """Fill in the locations of those of ``missing`` that an index has, and return them."""
    rest = sought if missing.size == len(places) else sought.take(missing)
    found, at = index.search(rest)
    hits = np.flatnonzero(found)
    here: Places = missing[hits]
    places[here] = index.take(at[hits], rest.take(hits))
    return here
