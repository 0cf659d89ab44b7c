"""Locator: looks up the locations of blobs by digest.

It searches the indexes of unpublished batches, the runs, the table of the database, and last the buffers of writers.
Runs are immutable, and their maps are kept between look-ups. The table is read only for digests that the runs do not
have, in one snapshot with the list of runs. So one look-up finds everything that any process has published. A digest
without a location is not an error here: the caller knows whether a remote promised the blob or it is lost. A location
becomes stale when its blob is moved. A read then fails, and :meth:`Locator.forget` makes the next look-up find the
newest location.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from hangar.backends.location import FILE_ROW, LOCATION, LOCATION_WORDS, Location, Locations, Words
from hangar.blobs.catalog import run_path, scan_runs
from hangar.blobs.index import Index, Mask, Positions, Sought
from hangar.blobs.run import Run, run_bytes
from hangar.blobs.unpublished import Buffered, Searched
from hangar.db import Database, ReadTransaction
from hangar.db.tables import LOCATIONS
from hangar.digest import Digest, Header, digest_list
from hangar.errors import CorruptionError, PathNotFoundError

__all__ = ["IN_MEMORY", "Located", "Locator"]

IN_MEMORY: Final = 0
"""File id in the location of a blob that is in memory only."""

_SMALL_BATCH: Final = 4_096
_PIECE_BYTES: Final = 2**24
"""So much of the runs is searched before their pages are let go."""
_NONE: Final = np.empty(0, np.intp)
_unpack: Final[Callable[[bytes], Location]] = LOCATION.unpack


class Located(NamedTuple):
    """Result of a look-up: the locations of the blobs of a batch.

    Attributes
    ----------
    words
        Locations as uint64 records, shape (n, 5); zeros for a blob without one.
    missing
        Positions in the batch of the blobs without a location, ascending.
    """

    words: Words
    missing: Positions

    @property
    def stored(self) -> Mask:
        """Mask of the blobs that are in a file, not only in the memory of a writer: bool, shape (n,)."""
        stored: Mask = self.words[:, FILE_ROW] != IN_MEMORY
        return stored


class _Runs(NamedTuple):
    """The registered runs at one moment. It is replaced as a whole, because several threads look up and refresh.

    Attributes
    ----------
    listed
        Ids of all registered runs, newest first.
    opened
        Those that can be opened, newest first.
    indexes
        Their indexes.
    damaged
        Why the others cannot be opened.
    lost
        Whether the file of one does not exist.
    """

    listed: tuple[int, ...]
    opened: tuple[Run, ...]
    indexes: tuple[Index, ...]
    damaged: tuple[str, ...]
    lost: bool


class Locator:
    """Finds the locations of blobs, newest first. All threads use it."""

    __slots__ = ("_changed", "_db", "_directory", "_examined", "_runs", "_unpublished")

    def __init__(self, db: Database, directory: Path) -> None:
        self._db = db
        self._directory = directory
        self._runs: _Runs | None = None
        # By identity, in the order of their addition. Changes of it, and a copy of its values, are atomic.
        self._unpublished: Final[dict[int, Searched]] = {}
        self._examined: dict[int, str | None] = {}
        # Replaced when blobs get an index.
        self._changed = object()

    # ------------------------------------------------------------------ sources

    def add_unpublished(self, unpublished: Searched) -> None:
        """Add the unpublished blobs of a writer to the search."""
        self._unpublished[id(unpublished)] = unpublished
        self.update_indexes()

    def remove_unpublished(self, unpublished: Searched) -> None:
        """Remove the unpublished blobs of a writer from the search."""
        self._unpublished.pop(id(unpublished), None)
        self.update_indexes()

    def update_indexes(self) -> None:
        """Note that the indexes of unpublished blobs have changed, before what they name leaves the memory of a writer."""
        self._changed = object()

    def buffered(self, digest: bytes) -> Buffered | None:
        """An unpublished blob that is in the memory of a writer."""
        for unpublished in list(self._unpublished.values()):
            found = unpublished.buffered(digest)
            if found is not None:
                return found
        return None

    def unpublished_header(self, header_id: int) -> Header | None:
        """The header of unpublished blobs."""
        for unpublished in list(self._unpublished.values()):
            found = unpublished.headers.get(header_id)
            if found is not None:
                return found
        return None

    def _indexes(self) -> tuple[tuple[Index, ...], _Runs]:
        """All indexes in memory, newest first, and the runs among them."""
        # The runs are read last: what a writer publishes is in those, or in the table, before it leaves the unpublished ones.
        fresh = [index for one in list(self._unpublished.values())[::-1] for index in one.indexes]
        known = self._known()
        return (*fresh, *known.indexes) if fresh else known.indexes, known

    def runs(self) -> tuple[Run, ...]:
        """The registered runs that can be opened, newest first; reads the list of runs once."""
        return self._known().opened

    def _known(self) -> _Runs:
        known = self._runs
        return self.refresh() if known is None else known

    def refresh(self) -> _Runs:
        """Read the list of runs again."""
        before: tuple[int, ...] | None = None
        while True:
            with self._db.read() as transaction:
                found = self._load(transaction)
            if not found.lost or found.listed == before:
                return found
            # Between the snapshot and the opening of the files its runs may have been merged and removed.
            before, self._runs = found.listed, None

    def _load(self, transaction: ReadTransaction) -> _Runs:
        """The runs that are registered in a transaction."""
        known = self._runs
        rows = scan_runs(transaction)[::-1]
        listed = tuple(run_id for run_id, _ in rows)
        if known is not None and listed == known.listed:
            return known
        lost = False
        runs = {run.run_id: run for run in known.opened} if known is not None else {}
        damaged: tuple[str, ...] = ()
        for run_id, row in rows:
            if run_id not in runs:
                try:
                    runs[run_id] = Run(run_path(self._directory, run_id), run_id, row.count)
                except (CorruptionError, PathNotFoundError) as error:
                    lost |= isinstance(error, PathNotFoundError)
                    # Blobs of other runs stay readable. The error for a missing blob names this damage.
                    damaged = (*damaged, str(error))
        opened = tuple(runs[run_id] for run_id in listed if run_id in runs)
        found = self._runs = _Runs(listed, opened, tuple(run.index for run in opened), damaged, lost)
        return found

    def reload(self, transaction: ReadTransaction) -> tuple[tuple[Run, ...], list[str]]:
        """The runs that are registered in a transaction and can be opened, newest first; and why the others cannot."""
        found = self._load(transaction)
        return found.opened, list(found.damaged)

    def release_pages(self) -> None:
        """Let go of the pages of runs, and of spilled indexes of writers, that were read."""
        known = self._runs
        for run in known.opened if known is not None else ():
            run.release_pages()
        for unpublished in list(self._unpublished.values()):
            unpublished.release_pages()

    def forget(self) -> None:
        """Forget the runs: the next lookup reads their list again."""
        self._runs = None

    # ------------------------------------------------------------------ looking up

    def locate(self, sought: Sought) -> Located:
        """Locations of a batch of digests, in any order, repeated or not; fastest where they are sorted."""
        changed = self._changed
        indexes, known = self._indexes()
        if indexes and 0 < sought.prefixes.size <= _SMALL_BATCH:
            # The common case: the newest index has all of them.
            found = indexes[0].locate_all(sought)
            if found is not None:
                return Located(found, _NONE)
        words = np.zeros((len(sought), LOCATION_WORDS), np.uint64)
        missing = _search(indexes, sought, words, np.arange(len(sought)))
        if missing.size:
            missing = self._locate_recorded(sought, words, missing, known)
        for unpublished in list(self._unpublished.values()):
            if missing.size and unpublished.in_memory:
                # Their words stay zero: file 0 is IN_MEMORY.
                missing = missing[~unpublished.buffered_among(_names(sought, missing))]
        if missing.size and changed is not self._changed:
            # Another thread may have written blobs that were in memory. They are in an index before they leave it.
            return self.locate(sought)
        return Located(words, missing)

    def locate_published(self, sought: Sought) -> Located:
        """Like :meth:`locate`, without unpublished blobs: those of another writer may never be published."""
        words = np.zeros((len(sought), LOCATION_WORDS), np.uint64)
        known = self._known()
        missing = _search(known.indexes, sought, words, np.arange(len(sought)))
        return Located(words, self._locate_recorded(sought, words, missing, known) if missing.size else missing)

    def locate_sparingly(self, sought: Sought) -> Located:
        """Like :meth:`locate_published`, for a server: a large batch leaves few pages of the runs in memory.

        Random digests are in all pages of a run. So a batch is looked up in order, a part of the runs at a time.
        """
        pieces = sum(map(run_bytes, (index.count for index in self._known().indexes))) // _PIECE_BYTES
        if len(sought) < _SMALL_BATCH or pieces < 2:
            return self.locate_published(sought)
        words = np.zeros((len(sought), LOCATION_WORDS), np.uint64)
        missing: list[Positions] = []
        for part in np.array_split(np.argsort(sought.prefixes), pieces):
            found = self.locate_published(sought.take(part))
            words[part] = found.words
            missing.append(part[found.missing])
            self.release_pages()
        return Located(words, np.sort(np.concatenate(missing)))

    def _locate_recorded(self, sought: Sought, words: Words, missing: Positions, searched: _Runs) -> Positions:
        """Fill in the locations that the database has now, where the runs ``searched`` had none; return the positions of the others."""
        with self._db.read() as transaction:
            missing = _search_table(transaction, sought, words, missing)
            # Another process or thread may have moved rows of the table into a run since the list of runs was read.
            known = self._load(transaction) if missing.size else searched
        if known is searched:
            return missing
        if known.lost:
            self.forget()
            known = self.refresh()
        return _search(known.indexes, sought, words, missing)

    def locate_one(self, digest: bytes) -> Location | None:
        """Location of one blob; None if it is not in a file. Faster than :meth:`locate` for one digest."""
        prefix = int.from_bytes(digest[:8], "big")
        indexes, searched = self._indexes()
        for index in indexes:
            found = index.locate_one(digest, prefix)
            if found is not None:
                return found
        if self.buffered(digest) is not None:
            return None
        with self._db.read() as transaction:
            row = transaction.get(LOCATIONS, digest)
            known = searched if row is not None else self._load(transaction)
        if row is not None:
            return _unpack(row) if len(row) == LOCATION.size else None
        if known is searched:
            return None
        return next(filter(None, (index.locate_one(digest, prefix) for index in known.indexes)), None)

    # ------------------------------------------------------------------ damage

    def damage(self) -> list[str]:
        """Problems of the runs, for the error about a missing blob. The bytes of each run are verified once."""
        known = self._known()
        reasons = list(known.damaged)
        for run in known.opened:
            if run.run_id not in self._examined:
                self._examined[run.run_id] = _problem(run)
            problem = self._examined[run.run_id]
            if problem is not None:
                reasons.append(problem)
        return reasons


def _problem(run: Run) -> str | None:
    try:
        run.verify()
    except CorruptionError as error:
        return str(error)
    return None


def _search(indexes: Sequence[Index], sought: Sought, words: Words, missing: Positions) -> Positions:
    """Fill in the locations from ``indexes``, searched in order; return the positions that are still missing."""
    for index in indexes:
        if not missing.size:
            break
        rest = sought if missing.size == len(sought) else sought.take(missing)
        found, rows = index.search(rest)
        hits = np.flatnonzero(found)
        if hits.size:
            words[missing[hits]] = index.take(rows[hits], rest.take(hits))
            missing = missing[~found]
    return missing


def _search_table(transaction: ReadTransaction, sought: Sought, words: Words, missing: Positions) -> Positions:
    """Fill in the locations from the table of the database; return the positions that are still missing."""
    size = transaction.count(LOCATIONS)
    if not size:
        return missing
    rows: list[Any]
    names = _names(sought, missing)
    if size < len(names):
        table = dict(transaction.scan(LOCATIONS))
        rows = list(map(table.get, names))
    else:
        rows = transaction.get_many(LOCATIONS, names)
    there = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
    words[missing[there]] = Locations.from_rows([row for row in rows if row is not None]).words
    return missing[~there]


def _names(sought: Sought, positions: Positions) -> list[Digest]:
    return digest_list(sought.words.take(positions, axis=0).view(np.uint8))
