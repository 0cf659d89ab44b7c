"""Orphaned files: blob files and runs without a row in the database, left by writers that were killed before they published.

A file with a recorded end is continued by the next writer, which overwrites the bytes that a killed writer left. A new
file has no row yet, so nobody would ever use it again. The next writer with the writer lock removes such files. A
living writer holds a shared lock on each of its files. So a file is removed only if it can be locked exclusively and
still has no row. Files that an unfinished push holds are no orphans (see ``unfinished``). Runs are not locked: they are
removed inside a write transaction, and the transaction that registers a run checks that its file exists. Files that are
kept because the database was replaced by an older copy stay (see :mod:`hangar.rollback`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from hangar import _fs, forking
from hangar.backends.file import FILE_HEADER_BYTES, decode_file_header
from hangar.blobs.catalog import (
    BLOB_DIRECTORY,
    RUN_DIRECTORY,
    blob_file_path,
    removed_blob_files,
    run_path,
    scan_blob_files,
    scan_runs,
)
from hangar.blobs.journal import QUARANTINE_DIRECTORY
from hangar.blobs.unfinished import OBJECTS, UnfinishedPush, awaited_files
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import FILES
from hangar.errors import AccessError, HangarError, PathNotFoundError, StorageError
from hangar.rollback import file_id_of, kept_files

__all__ = ["drop_push", "remove_orphan_runs", "remove_orphans"]


def remove_orphans(db: Database, directory: Path) -> int:
    """Remove blob files without a row; return how many. The caller holds the writer lock.

    A file that is open in a process, or that cannot be removed, is left for the next call.
    """
    return _remove(db, directory, lambda path: path.name not in awaited_files(directory))


def drop_push(db: Database, directory: Path, push: UnfinishedPush) -> bool:
    """Remove all that a push received; False if it is in use.

    Blob files that a row names stay: the push was published, and only its journal was left.
    """
    objects = directory / QUARANTINE_DIRECTORY / f"{push.name}{OBJECTS}"
    try:
        descriptor = forking.close_in_child(_fs.open_file(objects) if _fs.exists(objects) else _fs.create_file(objects))
    except HangarError:
        return False
    try:
        if not _fs.try_lock(descriptor, shared=False) or not _fs.is_file_of(descriptor, objects):
            return False
        names = {path.name for path in push.blob_files}
        _remove(db, directory, lambda path: path.name in names)
        for path in sorted({*push.files, objects}, key=lambda path: path == objects):
            with contextlib.suppress(HangarError):
                _fs.remove_file(path)
        return True
    finally:
        forking.close_private(descriptor)


def _remove(db: Database, directory: Path, chosen: Callable[[Path], bool]) -> int:
    removed = 0
    for path in filter(chosen, _candidates(db, directory)):
        with contextlib.suppress(PathNotFoundError, AccessError, StorageError), _locked_alone(path) as alone:
            # Check again: its writer may have published it since, or left it to a later one, and closed it.
            if alone and path in _candidates(db, directory) and chosen(path):
                _fs.remove_file(path)
                removed += 1
    return removed


def remove_orphan_runs(db: Database, directory: Path) -> int:
    """Remove runs without a row, also those that were merged into others; return how many. The caller holds the writer lock.

    A process that has one mapped keeps reading it, and finds the run that replaced it when it looks again.
    """
    with db.read() as transaction:
        if not _orphan_runs(transaction, directory):
            return 0

    def remove(transaction: WriteTransaction) -> int:
        removed = 0
        for path in _orphan_runs(transaction, directory):
            with contextlib.suppress(PathNotFoundError, AccessError, StorageError), _locked_alone(path) as alone:
                if alone:
                    _fs.remove_file(path)
                    removed += 1
        return removed

    # Writers that do not hold the lock write runs too, and register them in a transaction, which waits for this one.
    return db.update(remove)


def _orphan_runs(transaction: ReadTransaction, directory: Path) -> list[Path]:
    transaction.check_count(FILES)
    found = {name: file_id_of(name) for name in _fs.list_directory(directory / RUN_DIRECTORY)}
    known = {run_path(directory, run_id).name for run_id, _ in scan_runs(transaction)}
    kept = kept_files(transaction)
    return [
        directory / RUN_DIRECTORY / name
        for name, run_id in found.items()
        if run_id is not None and run_id > kept and name == run_path(directory, run_id).name and name not in known
    ]


def _candidates(db: Database, directory: Path) -> list[Path]:
    """Files that are named like a blob file and have no row."""
    place = directory / BLOB_DIRECTORY
    if not place.is_dir():
        return []
    found = {path: file_id for path in place.iterdir() if (file_id := file_id_of(path.name)) is not None}
    if not found:
        return []
    # Read the rows after the directory, so that a file published in between has one.
    with db.read() as transaction:
        transaction.check_count(FILES)  # the file of a lost row must not look like an orphan
        rows = [(file_id, row.tag) for file_id, row in scan_blob_files(transaction)]
        rows += removed_blob_files(transaction)
        kept = kept_files(transaction)
    ids = {file_id for file_id, _ in rows}
    names = {blob_file_path(directory, file_id, tag).name for file_id, tag in rows}
    return sorted(
        path
        for path, file_id in found.items()
        if file_id > kept and path.name not in names and (file_id not in ids or _is_second(path, file_id))
    )


def _is_second(path: Path, file_id: int) -> bool:
    """Whether the header of a file matches its name: then another backend created it under a used id; else it is a copy."""
    try:
        with path.open("rb") as file:
            return decode_file_header(file.read(FILE_HEADER_BYTES), path) == (path.suffix[1:], file_id)
    except (OSError, HangarError):
        return False


@contextlib.contextmanager
def _locked_alone(path: Path) -> Iterator[bool]:
    """Try to lock a file exclusively until the end of the block; yields whether it succeeded."""
    descriptor = forking.close_in_child(_fs.open_file(path))
    try:
        yield _fs.try_lock(descriptor, shared=False)
    finally:
        forking.close_private(descriptor)
