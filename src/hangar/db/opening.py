"""Open an LMDB environment: its options, tables, and the checks before opening.

Commits are synced, locking is on, and the data format is that of LMDB 0.9, as in the format specification. An
environment is opened read-only until the first write: opening the tables for writing needs LMDB's writer lock, so a
reader would have to wait for the commits of other processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings
from pathlib import Path
from typing import Any, Final

import lmdb

from hangar import _fs, forking, limits
from hangar.db.failures import translate
from hangar.db.structure import check_roots
from hangar.db.tables import TABLES
from hangar.errors import AccessError, CorruptionError, PathNotFoundError, ResourceLimitError, StorageError
from hangar.wording import plural

__all__ = ["DATABASE_LOCK", "DATA_FILE", "LOCK_FILE", "create_environment", "file_identity", "join", "open_environment"]

DATA_FILE: Final = "data.mdb"
LOCK_FILE: Final = "lock.mdb"
DATABASE_LOCK: Final = "db.lock"
"""Every opener holds a shared lock on this file; replacing the data file needs an exclusive lock on it."""

_LEAST_BYTES: Final = 2 * 4096
"""LMDB's two meta pages."""
_READER_BYTES: Final = 64
"""Bytes per reader in LMDB's lock file; the header takes less than eight of them."""
SLOT_SECONDS: Final = 5.0
"""How long a read transaction waits for a free slot in LMDB's table of readers."""
_JOIN_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.001

# Newer bindings also bundle a second LMDB engine, which has another data format.
_ENGINE: Final[dict[str, Any]] = {"lib_version": 0} if int(lmdb.__version__.partition(".")[0]) >= 3 else {}


class _CannotMapError(ResourceLimitError):
    """There is not enough address space for the map."""


def open_environment(path: Path, writable: bool) -> tuple[lmdb.Environment, list[Any]]:
    """Open an existing environment; returns it and its table handles, by table number.

    Raises
    ------
    CorruptionError
        The data file is truncated, lacks a table or is not a database.
    """
    lock = _can_lock(path)
    if not lock:
        warnings.warn(
            f"this user cannot lock {path}: reading while another process writes may fail",
            RuntimeWarning,
            stacklevel=2,
        )
    _check_length(path, _LEAST_BYTES)
    check_roots(path / DATA_FILE)
    environment = None
    try:
        environment = _open_existing(path, readonly=not writable, lock=lock)
        tables = _open_tables(path, environment, writable)
        if lock:
            environment.reader_check()
        return environment, tables
    except BaseException:
        # Close it here: the traceback would keep it open, and a process can open the file only once.
        if environment is not None:
            environment.close()
        raise


def _open_existing(path: Path, *, readonly: bool, lock: bool) -> lmdb.Environment:
    try:
        # Size 0: use the size recorded in the data file.
        return _open(path, map_size=0, readonly=readonly, lock=lock)
    except _CannotMapError:
        # The recorded size is damaged, or too large for this process: use twice the size of the file.
        size = 2 * (path / DATA_FILE).stat().st_size
    try:
        return _open(path, map_size=size, readonly=readonly, lock=lock)
    except _CannotMapError as error:
        raise ResourceLimitError(f"{error}. Nothing is damaged: raise the limit (`ulimit -v`)") from None


def create_environment(path: Path, map_size: int) -> tuple[lmdb.Environment, list[Any]]:
    """Create the missing environment and tables; durable except for the directory entry of the data file."""
    environment = None
    try:
        environment = _open(path, map_size=map_size, readonly=False, lock=True)
        with environment.begin(write=True) as transaction:
            tables = [environment.open_db(table.name.encode(), transaction) for table in TABLES]
        _fs.report_file_sync(path / DATA_FILE)
        return environment, tables
    except BaseException as error:
        if environment is not None:
            environment.close()
        if isinstance(error, lmdb.Error):
            raise translate(error, path) from error
        raise


def _open(path: Path, *, map_size: int, readonly: bool, lock: bool) -> lmdb.Environment:
    if lock:
        _reserve_lock_file(path / LOCK_FILE)
    if not (path / LOCK_FILE).is_file() and (path / LOCK_FILE).exists():
        raise CorruptionError(
            f"{path / LOCK_FILE} is not a file: run `hangar fsck --repair`, which moves it away and makes a new one"
        )
    try:
        return _open_once(path, map_size, readonly, lock)
    except ResourceLimitError:
        _fs.release_caches()
        return _open_once(path, map_size, readonly, lock)


def _open_once(path: Path, map_size: int, readonly: bool, lock: bool) -> lmdb.Environment:
    try:
        return lmdb.open(
            os.fsencode(path),
            map_size=map_size,
            readonly=readonly,
            lock=lock,
            sync=True,
            metasync=True,
            mode=0o666,
            max_readers=limits.DATABASE_MAX_READERS,
            max_dbs=limits.DATABASE_MAX_TABLES,
            # No cached read transactions: an idle one would keep its slot in the reader table.
            max_spare_txns=0,
            **_ENGINE,
        )
    except lmdb.MemoryError as error:
        raise _CannotMapError(f"the database in {path} cannot be mapped into memory: {error}") from error
    except lmdb.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        _fs.raise_for(error, "open the database in", path)


def _reserve_lock_file(path: Path) -> None:
    """Create a missing LMDB lock file with all its blocks allocated.

    LMDB creates it as a sparse file and maps it: on a full disk the first access would raise SIGBUS.
    """
    if path.exists():
        return
    temporary = path.with_name(f"{LOCK_FILE}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        try:
            temporary.write_bytes(bytes(_READER_BYTES * (limits.DATABASE_MAX_READERS + 8)))
            # Atomic (by a hard link), because another process may be creating it too.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # The file system has no hard links: LMDB creates the file itself.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            _fs.raise_for(error, "create", path)


def _check_length(path: Path, needed: int) -> None:
    size = (path / DATA_FILE).stat().st_size
    if size < needed:
        raise CorruptionError(
            f"{path / DATA_FILE} has {plural(size, 'byte')} and needs {needed}: it is truncated. Restore it from a copy or remote"
        )


def _open_tables(path: Path, environment: lmdb.Environment, writable: bool) -> list[Any]:
    deadline = time.monotonic() + SLOT_SECONDS
    while True:
        try:
            if not writable:
                return [environment.open_db(table.name.encode(), create=False) for table in TABLES]
            # In one write transaction, because LMDB keeps table handles only if they were opened in one.
            with environment.begin(write=True) as transaction:
                return [environment.open_db(table.name.encode(), transaction, create=False) for table in TABLES]
        except lmdb.MapResizedError:
            environment.set_mapsize(0)
        except lmdb.ReadersFullError as error:
            environment.reader_check()
            if time.monotonic() > deadline:
                raise translate(error, path) from error
            time.sleep(_POLL_SECONDS)
        except lmdb.NotFoundError as error:
            raise CorruptionError(f"the database in {path} lacks a table ({error}): run `hangar fsck`") from error
        except lmdb.Error as error:
            raise translate(error, path) from error


def _can_lock(path: Path) -> bool:
    lock = path / LOCK_FILE
    return os.access(lock, os.W_OK) if lock.exists() else os.access(path, os.W_OK)


def file_identity(path: Path) -> tuple[int, int]:
    """Device and inode of the data file in ``path``."""
    status = os.stat(f"{path}/{DATA_FILE}")
    return status.st_dev, status.st_ino


def join(path: Path) -> int | None:
    """Take the shared lock on ``db.lock`` of the database in ``path``; None if the file cannot be opened."""
    try:
        descriptor = _fs.open_file(path.parent / DATABASE_LOCK)
    except (PathNotFoundError, AccessError):
        return None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        deadline = time.monotonic() + _JOIN_SECONDS
        while not _fs.try_lock(descriptor, shared=True):
            if time.monotonic() > deadline:
                raise StorageError(f"the database in {path} has been locked by a compaction for {_JOIN_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        stack.pop_all()
    return forking.close_in_child(descriptor)
