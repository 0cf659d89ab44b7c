"""Removes blob files that have no row any more, after the transaction that deleted their rows.

That transaction also notes each file in ``meta``. So a crash between it and the removal leaves no file forgotten: the
next writer, release or compaction finds the notes and removes the files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hangar import _fs, forking
from hangar.blobs.catalog import blob_file_path, removed_blob_files, settle_removed
from hangar.db import Database, WriteTransaction
from hangar.errors import PathNotFoundError
from hangar.publishing import Ownership, publish_rows

__all__ = ["finish_removals", "locked_alone"]


def finish_removals(db: Database, directory: Path, owner: Ownership) -> None:
    """Remove the files that are noted as to be removed, and delete the notes."""
    with db.read() as transaction:
        noted = removed_blob_files(transaction)
    for file_id, tag in noted:
        with contextlib.suppress(PathNotFoundError):
            _fs.remove_file(blob_file_path(directory, file_id, tag))

    def settle(transaction: WriteTransaction) -> None:
        for file_id, _ in noted:
            settle_removed(transaction, file_id)

    if noted:
        publish_rows(db, owner, settle)


@contextlib.contextmanager
def locked_alone(directory: Path, files: dict[int, str]) -> Iterator[dict[int, int]]:
    """Lock blob files exclusively until the end of the block; yields the size of each file that could be locked.

    Parameters
    ----------
    files
        Backend tag of each file, by id.
    """
    locked: dict[int, int] = {}
    descriptors: list[int] = []
    try:
        for file_id, tag in files.items():
            path = blob_file_path(directory, file_id, tag)
            try:
                descriptor = forking.close_in_child(_fs.open_file(path))
            except PathNotFoundError:
                # The file is lost, and its blobs were stored again. Only the row is left.
                locked[file_id] = 0
                continue
            descriptors.append(descriptor)
            if _fs.try_lock(descriptor, shared=False):
                locked[file_id] = path.stat().st_size
        yield locked
    finally:
        for descriptor in descriptors:
            forking.close_private(descriptor)
