"""Blob files that no row of the database names and nobody writes: what writers left that were killed before they published.

A file whose end was recorded is used again by the next writer, and what a killed writer left in it is written over. A file that it had just
begun has no row, so that nobody would ever look at it. The next writer with the writer lock removes such files. A living
writer holds a shared lock on each of its files, so a file goes only when it can be locked alone and still has no row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hangar import _fs
from hangar.blobs.catalog import BLOB_DIRECTORY, removed_blob_files, scan_blob_files
from hangar.db import Database
from hangar.errors import AccessError, PathNotFoundError, StorageError

__all__ = ["remove_orphans"]

_ID_DIGITS = 8


def remove_orphans(db: Database, directory: Path) -> int:
    """Remove blob files without a row, and return how many. The caller holds the writer lock.

    One that somebody writes or reads, or that cannot be removed, stays for another time.
    """
    removed = 0
    for path in _candidates(db, directory):
        with contextlib.suppress(PathNotFoundError, AccessError, StorageError), _locked_alone(path) as alone:
            # Asked again: its writer may have published it and closed it since.
            if alone and path in _candidates(db, directory):
                _fs.remove_file(path)
                removed += 1
    return removed


def _candidates(db: Database, directory: Path) -> list[Path]:
    """Files that have the name of a blob file, and no row."""
    place = directory / BLOB_DIRECTORY
    if not place.is_dir():
        return []
    paths = [path for path in place.iterdir() if _id_of(path) is not None]
    if not paths:
        return []
    # The rows are read after the directory: a file that was published in between has one.
    with db.read() as transaction:
        named = {file_id for file_id, _ in scan_blob_files(transaction)}
        named.update(file_id for file_id, _ in removed_blob_files(transaction))
    return sorted(path for path in paths if _id_of(path) not in named)


def _id_of(path: Path) -> int | None:
    stem = path.name.partition(".")[0]
    if len(stem) != _ID_DIGITS or not path.suffix:
        return None
    try:
        return int(stem, 16)
    except ValueError:
        return None


@contextlib.contextmanager
def _locked_alone(path: Path) -> Iterator[bool]:
    """Whether a file could be locked alone; it is until the end of the block."""
    descriptor = _fs.close_in_child(_fs.open_file(path))
    try:
        yield _fs.try_lock(descriptor, shared=False)
    finally:
        _fs.close_private(descriptor)
