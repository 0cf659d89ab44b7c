"""From digests to locations: the writer's pending blobs, then the runs, then the table of the database.

Runs are immutable and stay in memory from one lookup to the next; the table is read only for what they do not have, and with it, in one
snapshot, the list of runs. So what is published is found, whoever published it. Runs are asked from new to old: the newer location of a
blob that was moved counts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from hangar.backends.location import LOCATION, LOCATION_WORDS, Locations, Words
from hangar.blobs.catalog import run_path, scan_runs
from hangar.blobs.index import DigestWords, Found, Index, digest_words, prefixes_of
from hangar.blobs.pending import Pending
from hangar.blobs.run import Run
from hangar.db import Database, ReadTransaction
from hangar.db.tables import LOCATIONS
from hangar.digest import digest_list
from hangar.errors import CorruptionError

__all__ = ["IN_MEMORY", "Locator"]

IN_MEMORY: Final = 0
"""File id in the location of a blob that lies in ``Pending.buffers``."""

Digests = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_LOCATION_RECORD: Final[Callable[[bytes], Found]] = LOCATION.unpack


class Locator:
    """Finds blobs.

    Attributes
    ----------
    indexes
        What is in memory, in the order of asking; replaced, never changed.
    """

    __slots__ = ("_db", "_directory", "_pending", "_runs", "indexes")

    def __init__(self, db: Database, directory: Path) -> None:
        self._db = db
        self._directory = directory
        self._runs: tuple[Run, ...] | None = None
        self._pending = Pending()
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
        """Take up what changed in :attr:`pending`."""
        self.indexes = (*self._pending.indexes, *(run.index for run in self._runs or ()))

    def runs(self) -> tuple[Run, ...]:
        """The registered runs, as far as they are known, newest first."""
        if self._runs is None:
            self.refresh()
        return self._runs or ()

    def refresh(self) -> None:
        """Read the list of runs again."""
        with self._db.read() as transaction:
            self._load(transaction)

    def _load(self, transaction: ReadTransaction) -> bool:
        """Read the list of runs; whether it is another one than before."""
        rows = scan_runs(transaction)
        known = {run.run_id: run for run in self._runs or ()}
        if self._runs is not None and list(known) == [run_id for run_id, _ in reversed(rows)]:
            return False
        self._runs = tuple(
            known.get(run_id) or Run(run_path(self._directory, run_id), run_id, row.count)
            for run_id, row in reversed(rows)
        )
        self.arrange()
        return True

    def forget(self) -> None:
        """Forget the runs: the next lookup reads their list again."""
        self._runs = None
        self.arrange()

    # ------------------------------------------------------------------ looking up

    def locate(self, digests: Digests) -> Words:
        """Locations of blobs, as words, shape (n, 5).

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order, repeated or not.

        Raises
        ------
        CorruptionError
            One has no location.
        """
        if self._runs is None:
            self.refresh()
        words, prefixes = digest_words(digests), prefixes_of(digests)
        places = np.empty((0, LOCATION_WORDS), np.uint64)
        missing: npt.NDArray[np.intp] | None = None
        for index in self.indexes:
            here, at = (
                index.search(prefixes, words) if missing is None else index.search(prefixes[missing], words[missing])
            )
            if missing is None:
                if here.all():
                    return index.take(at, words)
                places = np.empty((len(words), LOCATION_WORDS), np.uint64)
                missing = np.arange(len(words))
            places[missing[here]] = index.take(at[here], words[missing[here]])
            missing = missing[~here]
            if not missing.size:
                return places
        if missing is None:
            places = np.empty((len(words), LOCATION_WORDS), np.uint64)
            missing = np.arange(len(words))
        self._locate_elsewhere(digests, words, prefixes, places, missing)
        return places

    def _locate_elsewhere(
        self, digests: Digests, words: DigestWords, prefixes: Words, places: Words, missing: npt.NDArray[np.intp]
    ) -> None:
        """Fill in the locations of what no index in memory has."""
        names = digest_list(digests[missing])
        buffers = self._pending.buffers
        if buffers:
            held = np.fromiter(map(buffers.__contains__, names), np.bool_, len(names))
            places[missing[held]] = IN_MEMORY
            missing = missing[~held]
            names = digest_list(digests[missing])
        if not names:
            return
        with self._db.read() as transaction:
            rows = transaction.get_many(LOCATIONS, names)
            there = [row for row in rows if row is not None]
            reloaded = len(there) < len(rows) and self._load(transaction)
        if len(there) == len(rows):
            places[missing] = Locations.from_rows(there).words
            return
        lost = np.fromiter((row is None for row in rows), np.bool_, len(rows))
        places[missing[~lost]] = Locations.from_rows(there).words
        missing = missing[lost]
        for index in self.indexes if reloaded else ():
            here, at = index.search(prefixes[missing], words[missing])
            places[missing[here]] = index.take(at[here], words[missing[here]])
            missing = missing[~here]
        if missing.size:
            self._lost(digests[missing[0]].tobytes())

    def locate_one(self, digest: bytes) -> Found:
        """Location of one blob: its five words.

        Raises
        ------
        CorruptionError
            It has none.
        """
        prefix = int.from_bytes(digest[:8], "big")
        for attempt in range(2):
            for index in self.indexes:
                found = index.find(digest, prefix)
                if found is not None:
                    return found
            if attempt:
                break
            if digest in self._pending.buffers:
                return 0, 0, 0, 0, IN_MEMORY
            with self._db.read() as transaction:
                row = transaction.get(LOCATIONS, digest)
                if row is None:
                    if not self._load(transaction):
                        break
                    continue
            if len(row) != LOCATION.size:
                raise CorruptionError(f"the location of blob {digest.hex()} in the database has the wrong size")
            return _LOCATION_RECORD(row)
        return self._lost(digest)

    def _lost(self, digest: bytes) -> NoReturn:
        for run in self.runs():
            run.verify()  # A damaged run is the likeliest reason, and names itself.
        raise CorruptionError(
            f"blob {digest.hex()} is not in this repository, and nothing says that a remote has it: "
            "run `hangar fsck --data` to see what is affected"
        )

    def known(self, digests: Digests) -> Mask:
        """Which of ``digests``, uint8 of shape (n, 32), have a location; blobs that only wait in memory do not count."""
        if self._runs is None:
            self.refresh()
        words, prefixes = digest_words(digests), prefixes_of(digests)
        known = np.zeros(len(words), np.bool_)
        for index in self.indexes:
            known |= index.search(prefixes, words)[0]
        if not known.all():
            with self._db.read() as transaction:
                self._known_in_table(transaction, digests, known)
        return known

    def _known_in_table(self, transaction: ReadTransaction, digests: Digests, known: Mask) -> None:
        rest = np.flatnonzero(~known)
        size = transaction.count(LOCATIONS)
        if not size:
            return
        names = digest_list(digests[rest])
        if size < len(names):
            table = {key for key, _ in transaction.scan(LOCATIONS)}
            known[rest] = np.fromiter(map(table.__contains__, names), np.bool_, len(names))
        else:
            rows = transaction.get_many(LOCATIONS, names)
            known[rest] = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
