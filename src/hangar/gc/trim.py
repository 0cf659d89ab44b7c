"""Removes caches, and lock and lease files of dead processes; compacts the database.

These files take space but do no harm: a file that cannot be removed is left for the next collection.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import Final

import numpy as np
from msgspec.structs import replace

from hangar import _fs
from hangar.backends.location import FILE_MASK, FILE_ROW
from hangar.blobs.catalog import put_blob_file, scan_blob_files
from hangar.blobs.journal import QUARANTINE_DIRECTORY
from hangar.blobs.orphans import drop_push
from hangar.blobs.unfinished import unfinished_pushes
from hangar.columns.tablefile import CacheFiles
from hangar.db import WriteTransaction
from hangar.db.compaction import compact_open
from hangar.errors import HangarError
from hangar.gc.mark import Marked
from hangar.history.leases import LEASE_DIRECTORY
from hangar.lock import WriterLock, owner_alive
from hangar.lockfile import lock_epochs, lock_path
from hangar.publishing import publish_rows
from hangar.stores import Stores

__all__ = ["compact_database", "trim_caches", "trim_leases", "trim_locks"]

_FREE_SHARE: Final = 16
"""The database is compacted if one part in so many is free."""


def trim_caches(stores: Stores, marked: Marked, removed: Collection[int]) -> int:
    """Remove offset tables of trees that are gone, or with locations in files that were removed; return how many."""
    files = CacheFiles(stores.directory)
    ids = np.array(sorted(removed), np.uint64)
    count = 0
    for root in files.roots():
        if not marked.nodes.is_marked(root) or (ids.size and _names_any(files, root, ids)):
            files.remove(root)
            count += 1
    return count


def _names_any(files: CacheFiles, root: bytes, ids: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> bool:
    found = files.load(root, mapped=True)
    extents = None if found is None else found.arrays.get("extents")
    return extents is not None and bool(np.isin(extents[:, FILE_ROW] & FILE_MASK, ids).any())


def trim_locks(stores: Stores, lock: WriterLock) -> int:
    """Remove the lock files of older epochs that no blob file belongs to; return how many.

    Files of dead writers are assigned to the current epoch first. A copy of the database from an older epoch needs a
    forced release of the lock before it can be written to.
    """
    epoch = lock.epoch
    first = next((one for one in range(epoch - 1, 0, -1) if owner_alive(stores.db, one)), 0) + 1

    def take_over(transaction: WriteTransaction) -> None:
        for file_id, row in scan_blob_files(transaction):
            if first <= row.owner < epoch:
                put_blob_file(transaction, file_id, replace(row, owner=epoch))

    publish_rows(stores.db, lock, take_over)
    with stores.db.read() as transaction:
        owners = [row.owner for _, row in scan_blob_files(transaction) if row.owner]
    first = min([epoch, *owners])
    count = 0
    for old in lock_epochs(stores.directory):
        if old < first:
            with contextlib.suppress(HangarError):
                descriptor = _fs.open_file(lock_path(stores.directory, old))
                try:
                    if _fs.try_lock(descriptor, shared=False):
                        _fs.remove_file(lock_path(stores.directory, old))
                        count += 1
                finally:
                    os.close(descriptor)
    return count


def trim_leases(stores: Stores) -> int:
    """Remove the files of leases that died, and what transfers that are over had received; return how many.

    A push that may be continued stays as long as its server wants to keep it.
    """
    pushes = unfinished_pushes(stores.directory)
    count = sum(drop_push(stores.db, stores.directory, push) for push in pushes if push.expired)
    kept = {path for push in pushes for path in push.files}
    places = [stores.directory / name for name in (LEASE_DIRECTORY, QUARANTINE_DIRECTORY)]
    for path in {place / name for place in places for name in _fs.list_directory(place)} - kept:
        with contextlib.suppress(HangarError):
            descriptor = _fs.open_file(path)
            try:
                if _fs.try_lock(descriptor, shared=False):
                    _fs.remove_file(path)
                    count += 1
            finally:
                os.close(descriptor)
    return count


def compact_database(stores: Stores) -> tuple[bool, str]:
    """Compact the database if it has many free pages; return whether it was compacted, and if not, why (or ``''``)."""
    if stores.db.free_bytes() * _FREE_SHARE < stores.db.size_bytes():
        return False, ""
    done = compact_open(stores.directory)
    return done, "" if done else "another process has the database open"
