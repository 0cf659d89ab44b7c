"""The transaction that removes dead blobs from the index, and the rows of files that no location names any more.

All runs and the table of locations are merged into one run, without the dead blobs and without replaced locations. The
transaction registers it in their place, deletes the rows of the files that are removed, with a note of each, and the
headers that no location names, and raises the gc epoch. The files themselves are removed after it.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from typing import Protocol

import numpy as np

from hangar.backends.location import HEADER
from hangar.blobs.catalog import (
    RunRow,
    claim_ids,
    free_ids,
    get_blob_file,
    put_run,
    remove_blob_file,
    remove_run,
    run_path,
    scan_runs,
)
from hangar.blobs.index import ENTRY_WORDS, Index
from hangar.blobs.promises import forget_complete
from hangar.blobs.recorded import scan_recorded
from hangar.blobs.run import write_run
from hangar.blobs.space import IsDead, file_column, require_sound
from hangar.blobs.store import BlobStore
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.epoch import raise_gc_epoch
from hangar.db.tables import HEADERS, LOCATIONS
from hangar.errors import StorageError
from hangar.publishing import OutdatedError

__all__ = ["Drop", "Guard"]

_HEADER_COLUMN = ENTRY_WORDS - 5 + HEADER


class Guard(Protocol):
    """Updates the choice of dead blobs if the repository changes before the transaction."""

    def renew(self) -> None:
        """Update the choice to the current state of the repository. It may only keep more blobs."""

    def check(self, transaction: ReadTransaction) -> None:
        """Raise OutdatedError if something has changed again."""


class Drop:
    """A change for :func:`hangar.publishing.publish`.

    Parameters
    ----------
    dead
        Which blobs are forgotten.
    spared
        Files whose blobs stay in any case.
    guard
        Keeps ``dead`` right while the repository changes; None: nothing can change it.
    removable
        Files that may be removed, with their sizes: those among them that no location names any more are. The caller
        has locked them.

    Attributes
    ----------
    removed
        Files whose rows were deleted, with their sizes.
    headers
        Number of headers that were deleted.
    """

    def __init__(
        self,
        store: BlobStore,
        dead: IsDead,
        spared: Collection[int],
        removable: Mapping[int, int],
        guard: Guard | None = None,
    ) -> None:
        self._store = store
        self._guard = guard
        self._dead = dead
        self._spared = np.array(sorted(spared), np.uint64)
        self._removable = removable
        self.removed: dict[int, int] = {}
        self.headers = 0

    def prepare(self) -> None:
        """Write and sync the run with the locations that stay."""
        store = self._store
        store.refresh()
        if self._guard is not None:
            self._guard.renew()
        recorded = scan_recorded(store)
        require_sound(recorded)
        self._recorded = recorded
        self._named: set[int] = set()
        self._used: set[int] = set()
        self._run = self._write_run()
        self.removed = {file_id: size for file_id, size in self._removable.items() if file_id not in self._named}

    def _write_run(self) -> tuple[int, int]:
        """Id and number of blobs of the new run."""
        store, indexes = self._store, self._recorded.indexes
        if not indexes:
            return 0, 0
        for run_id in free_ids(store.db, store.directory):
            try:
                return run_id, write_run(run_path(store.directory, run_id), run_id, indexes, self._select)
            except StorageError as error:
                if error.errno != errno.EEXIST:
                    raise
        raise AssertionError("ids do not end")

    def _select(self, index: Index) -> Index:
        """The part of an index that stays."""
        files = file_column(index)
        stays = ~self._dead(index.digests())
        if self._spared.size:
            stays |= np.isin(files, self._spared)
        self._named.update(np.unique(files[stays]).tolist())
        kept = Index(index.prefixes[stays], index.entries[stays])
        self._used.update(np.unique(kept.entries[:, _HEADER_COLUMN]).tolist())
        return kept

    def record(self, transaction: WriteTransaction) -> None:
        """Replace all runs and the table by the new run, and forget files and headers."""
        run_id, count = self._run
        if self._guard is not None:
            self._guard.check(transaction)
        self._require_unchanged(transaction)
        transaction.delete_prefix(LOCATIONS, b"")
        for run in self._recorded.runs:
            remove_run(transaction, run.run_id)
        if count:
            claim_ids(transaction, run_id)
            put_run(transaction, run_id, RunRow(count))
        for file_id in self.removed:
            remove_blob_file(transaction, file_id)
        unused = [key for key, _ in transaction.scan(HEADERS) if int.from_bytes(key, "big") not in self._used]
        for key in unused:
            transaction.delete(HEADERS, key)
        self.headers = len(unused)
        forget_complete(transaction)
        raise_gc_epoch(transaction)

    def _require_unchanged(self, transaction: WriteTransaction) -> None:
        """Raise OutdatedError if a writer without the lock has published since."""
        recorded = self._recorded
        rows = {run_id for run_id, _ in scan_runs(transaction)}
        files_there = all(
            get_blob_file(transaction, file_id) == recorded.files.get(file_id) for file_id in self.removed
        )
        table = dict(transaction.scan(LOCATIONS))
        if rows != {run.run_id for run in recorded.runs} or table != recorded.rows or not files_there:
            raise OutdatedError("blobs were stored again and again while others were removed: try again")

    def committed(self) -> None:
        """Forget the replaced runs."""
        self._store.refresh()

    def rollback(self) -> None:
        """Nothing to do. The new run is left for the next writer to remove, because the transaction may have committed."""
