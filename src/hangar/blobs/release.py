"""Removes blob files that no location names any more, to release their disk space.

A replaced location may still be in an older run. Such runs are merged with all newer ones first, and only the newest
location of each blob is kept. So nothing in the database or in a registered run names a file when it is removed. A file
is removed only while it is locked exclusively: a file that a reader or writer has open is left for the next call. The
row of a file is deleted before the file, together with a record that the file is to be removed. So a crash in between
leaves no recorded file missing and no file forgotten. Files that are kept because the database was replaced by an older
copy are never removed (see :mod:`hangar.rollback`). The caller holds the writer lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hangar.backends.location import FILE_MASK, FILE_ROW
from hangar.blobs.catalog import remove_blob_file
from hangar.blobs.index import ENTRY_WORDS, Index, Sought
from hangar.blobs.location_update import LocationUpdate
from hangar.blobs.recorded import scan_recorded
from hangar.blobs.removal import finish_removals, locked_alone
from hangar.blobs.store import BlobStore
from hangar.db import WriteTransaction
from hangar.errors import CorruptionError
from hangar.lock import WriterLock
from hangar.publishing import publish, publish_rows
from hangar.rollback import kept_files

__all__ = ["Released", "release_files"]

_PIECE: Final = 2**18
"""Entries of a run that are read at a time."""
_FILE_ROW_COLUMN: Final = ENTRY_WORDS - 5 + FILE_ROW


@dataclass(frozen=True, slots=True)
class Released:
    """Result of :func:`release_files`.

    Attributes
    ----------
    removed, nbytes
        Number of removed files, and their size.
    kept
        Number of unnamed files that are open in a process.
    """

    removed: int = 0
    nbytes: int = 0
    kept: int = 0


def release_files(store: BlobStore, lock: WriterLock) -> Released:
    """Remove the blob files that no location names and that no process has open.

    If a run is damaged, no file is removed, because its locations are not known.

    Raises
    ------
    StorageError, DiskFullError
        The next call removes the rest.
    """
    store.refresh()
    finish_removals(store.db, store.directory, lock)
    try:
        return _release(store, lock)
    except CorruptionError:
        return Released()


def _release(store: BlobStore, lock: WriterLock) -> Released:
    free, newest = _unnamed(store)
    if newest:
        with locked_alone(store.directory, free) as locked:
            worth = bool(locked)
        if worth:
            publish(store.db, lock, _MergedRuns(store, newest))
    with locked_alone(store.directory, free) as locked:
        # Check again: nobody can append to a locked file or open it for reading.
        still, newest = _unnamed(store)
        going = {} if newest else {file_id: size for file_id, size in locked.items() if file_id in still}

        def forget(transaction: WriteTransaction) -> None:
            for file_id in going:
                remove_blob_file(transaction, file_id)

        if going:
            publish_rows(store.db, lock, forget)
            finish_removals(store.db, store.directory, lock)
    return Released(len(going), sum(going.values()), len(free) - len(going))


class _MergedRuns:
    """Merge of the newest ``newest`` runs and the table into one run, with only the newest location of each blob."""

    def __init__(self, store: BlobStore, newest: int) -> None:
        self._store = store
        self._newest = newest

    def prepare(self) -> None:
        store, empty = self._store, Index(np.empty(0, np.uint64), np.empty((0, ENTRY_WORDS), np.uint64))
        self._merged = LocationUpdate.prepare(
            store.db, store.directory, store.locator, empty, {}, merge_newest=self._newest
        )

    def record(self, transaction: WriteTransaction) -> None:
        self._merged.record(transaction)

    def committed(self) -> None:
        self._store.refresh()

    def rollback(self) -> None:
        """Nothing to do. The file is left for gc, because the transaction may have committed."""


def _unnamed(store: BlobStore) -> tuple[dict[int, str], int]:
    """Files that no blob's newest location names, and how many of the newest runs contain outdated locations in them.

    Raises
    ------
    CorruptionError
        A run cannot be read.
    """
    recorded = scan_recorded(store)
    if recorded.damaged:
        raise CorruptionError(recorded.damaged[0])
    for run in recorded.runs:
        run.verify()
    newer: list[Index] = [] if recorded.table is None else [recorded.table]
    named = set().union(*map(_files_of, newer))
    all_of: list[set[int]] = []
    for run in recorded.runs:
        all_of.append(_files_of(run.index))
        if not all_of[-1] <= named:
            named |= _files_of_newest(run.index, newer)
        newer.append(run.index)
    with store.db.read() as transaction:
        kept = kept_files(transaction)
    free = {file_id: row.tag for file_id, row in recorded.files.items() if file_id > kept and file_id not in named}
    return free, max((at + 1 for at, found in enumerate(all_of) if not found.isdisjoint(free)), default=0)


def _files_of(index: Index) -> set[int]:
    """Ids of the files in the locations of an index."""
    found: set[int] = set()
    for start in range(0, index.count, _PIECE):
        places = index.entries[start : start + _PIECE, _FILE_ROW_COLUMN] & FILE_MASK
        found.update(np.unique(places).tolist())
    return found


def _files_of_newest(index: Index, newer: Sequence[Index]) -> set[int]:
    """Like :func:`_files_of`, without the blobs that a newer index has."""
    found: set[int] = set()
    for start in range(0, index.count, _PIECE):
        piece = index.part(start, start + _PIECE)
        sought = Sought.of(piece.digests())
        counts = np.ones(piece.count, np.bool_)
        for other in newer:
            counts &= ~other.search(sought)[0]
        found.update(np.unique(piece.entries[counts, _FILE_ROW_COLUMN] & FILE_MASK).tolist())
    return found
