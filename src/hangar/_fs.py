"""Durable file operations, and named crash points for tests.

The only module that writes files of a repository other than LMDB's. Each function either completes, durably where it
says so, or raises a ``HangarError``. Every step passes a named crash point. If an ``observer`` is set (only crash
tests set one), crash points and completed syncs are reported to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeAlias, TypeVar

from hangar.errors import (
    AccessError,
    DiskFullError,
    HangarError,
    PathNotFoundError,
    ResourceLimitError,
    StorageError,
)
from hangar.permissions import lost_permission

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Observer",
    "crash_point",
    "create_file",
    "exists",
    "is_file_of",
    "list_directory",
    "make_directory",
    "move_directory",
    "open_file",
    "points",
    "raise_for",
    "register_cache",
    "register_point",
    "release_caches",
    "remove_file",
    "replace_file",
    "report_file_sync",
    "retried",
    "sync_directory",
    "sync_file",
    "try_lock",
    "unlock",
    "write_at",
    "write_hint",
    "write_new_file",
]

AnyPath: TypeAlias = "str | Path"
T = TypeVar("T")


class Observer(Protocol):
    """Interface through which a crash test observes file operations."""

    def point(self, name: str) -> None:
        """A crash point was reached."""

    def synced_file(self, path: str) -> None:
        """The current content of a file is on disk."""

    def synced_directory(self, path: str) -> None:
        """The current entries of a directory are on disk."""


observer: Observer | None = None
"""Receives every crash point and sync; None outside of crash tests."""

points: Final[set[str]] = set()
"""The names of all crash points; modules register theirs on import."""

_DISK_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_NOT_ALLOWED: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
SHORTAGES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK))
"""Error numbers of exhausted resources, which say nothing about the state of the files."""
_PIECE_BYTES: Final = 512 * 1024
"""Maximum size of one write. For larger ones Linux takes memory in blocks of 1 to 2 MiB, which a virtual machine often has not
touched yet: that took 3 to 8 times the processor time. Smaller ones cost calls."""
_BUFFERS_PER_CALL: Final = max(16, min(1024, os.sysconf("SC_IOV_MAX")))
_temporary_names = itertools.count()


# ---------------------------------------------------------------------------------------------------- crash points


def register_point(name: str) -> str:
    """Add ``name`` to the known crash points and return it; called while a module is imported."""
    points.add(name)
    return name


def crash_point(name: str) -> None:
    """Mark a step at which a crash must leave the repository in the state before or after the operation."""
    if observer is not None:
        observer.point(name)


def report_file_sync(path: AnyPath) -> None:
    """Report a sync made elsewhere (by LMDB) to the observer."""
    if observer is not None:
        observer.synced_file(os.fspath(path))


_CREATE_BEFORE = register_point("fs.create_file.before")
_CREATE_AFTER = register_point("fs.create_file.after")
_WRITE_BEFORE = register_point("fs.write_at.before")
_WRITE_AFTER = register_point("fs.write_at.after")
_SYNC_BEFORE = register_point("fs.sync_file.before")
_SYNC_AFTER = register_point("fs.sync_file.after")
_SYNC_DIRECTORY_BEFORE = register_point("fs.sync_directory.before")
_SYNC_DIRECTORY_AFTER = register_point("fs.sync_directory.after")
_RENAME_BEFORE = register_point("fs.replace_file.before")
_RENAME_AFTER = register_point("fs.replace_file.after")
_REMOVE_BEFORE = register_point("fs.remove_file.before")
_REMOVE_AFTER = register_point("fs.remove_file.after")
_MAKE_DIRECTORY_BEFORE = register_point("fs.make_directory.before")
_MAKE_DIRECTORY_AFTER = register_point("fs.make_directory.after")
_MOVE_BEFORE = register_point("fs.move_directory.before")
_MOVE_AFTER = register_point("fs.move_directory.after")


# ---------------------------------------------------------------------------------------------------------- errors


def raise_for(error: OSError, action: str, path: AnyPath) -> NoReturn:
    """Raise the Hangar error that corresponds to an ``OSError``, with its ``errno``.

    Raises
    ------
    DiskFullError
        No space, quota or file size limit is left.
    AccessError
        This user has no permission, or the file system is read-only.
    PathNotFoundError
        The path, or a directory above it, does not exist.
    ResourceLimitError
        No descriptors, memory or locks are left.
    StorageError
        All other errors.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    known: HangarError
    if error.errno in _DISK_FULL:
        known = DiskFullError(
            f"cannot {action} {path}: {reason}. Nothing acknowledged was lost: free space and try again"
        )
    elif error.errno in _NOT_ALLOWED:
        known = AccessError(f"cannot {action} {path}: {reason}{lost_permission(path)}")
    elif error.errno in SHORTAGES:
        known = ResourceLimitError(
            f"cannot {action} {path}: {reason}. Nothing is damaged: close files or programs, or raise the limit "
            "(`ulimit -n`, `ulimit -v`), and try again"
        )
    elif error.errno == errno.ENOENT:
        known = PathNotFoundError(f"cannot {action} {path}: {reason}")
    else:
        known = StorageError(f"cannot {action} {path}: {reason}")
    assert isinstance(known, OSError)
    known.errno = error.errno
    raise known from error


@contextlib.contextmanager
def _errors(action: str, path: AnyPath) -> Iterator[None]:
    try:
        yield
    except HangarError:
        raise
    except OSError as error:
        raise_for(error, action, path)


# -------------------------------------------------------------------------------------------------------- shortages


class Cache(Protocol):
    """A cache of open descriptors or maps, which can be cleared when these run out."""

    def clear(self) -> None:
        """Close everything that is not in use."""


_caches: Final[weakref.WeakSet[Cache]] = weakref.WeakSet()


def register_cache(cache: Cache) -> None:
    """Register ``cache`` (by a weak reference) to be cleared when this process runs out of descriptors or memory."""
    _caches.add(cache)


def release_caches() -> None:
    """Clear every registered cache."""
    for cache in list(_caches):
        cache.clear()


def retried(call: Callable[[], T]) -> T:
    """Return ``call()``; if it fails for lack of descriptors or memory, clear all registered caches and retry once."""
    try:
        return call()
    except OSError as error:
        if error.errno not in SHORTAGES:
            raise
    release_caches()
    return call()


# ----------------------------------------------------------------------------------------------------------- files


def exists(path: AnyPath) -> bool:
    """Whether a path exists.

    Raises
    ------
    AccessError
        This user has no permission to look.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise_for(error, "look at", path)
    return True


def create_file(path: AnyPath) -> int:
    """Create a file that must not exist and return its descriptor, open for reading and writing.

    Raises
    ------
    StorageError
        With ``errno`` ``EEXIST`` if the path exists.
    """
    crash_point(_CREATE_BEFORE)
    with _errors("create", path):
        descriptor = retried(lambda: os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666))
    crash_point(_CREATE_AFTER)
    return descriptor


def list_directory(path: AnyPath) -> list[str]:
    """Names in a directory, sorted; empty if there is no such directory."""
    with _errors("list", path):
        try:
            return sorted(retried(lambda: os.listdir(path)))
        except FileNotFoundError:
            return []


def open_file(path: AnyPath, write: bool = False) -> int:
    """Open an existing file and return its descriptor."""
    with _errors("open", path):
        return retried(lambda: os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC))


def is_file_of(descriptor: int, path: AnyPath) -> bool:
    """Whether ``path`` still leads to the open file ``descriptor``, which was not deleted or replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def write_at(descriptor: int, buffers: Sequence[Buffer], offset: int, path: AnyPath) -> int:
    """Write the concatenation of ``buffers`` at ``offset`` and return the number of bytes. It is not synced.

    Parameters
    ----------
    buffers
        Contiguous objects with the buffer protocol.
    path
        Path for error messages.

    Raises
    ------
    DiskFullError, StorageError
        Part of the bytes may have been written.
    """
    views = [memoryview(buffer) for buffer in buffers]
    flat = [view if view.ndim == 1 and view.itemsize == 1 else view.cast("B") for view in views if view.nbytes]
    crash_point(_WRITE_BEFORE)
    with _errors("write", path):
        total = _write_all(descriptor, flat, offset)
    crash_point(_WRITE_AFTER)
    return total


def _write_all(descriptor: int, views: list[memoryview], offset: int) -> int:
    start = offset
    first = 0
    while first < len(views):
        written = os.pwritev(descriptor, _next_piece(views, first, offset), offset)
        offset += written
        # After a short write continue in the middle of a buffer, so that a full disk raises its error on the next call.
        while first < len(views) and written >= views[first].nbytes:
            written -= views[first].nbytes
            first += 1
        if written:
            views[first] = views[first][written:]
    return offset - start


def _next_piece(views: list[memoryview], first: int, offset: int) -> list[memoryview]:
    """What one call writes at ``offset``, up to the next multiple of :data:`_PIECE_BYTES` in the file."""
    room = _PIECE_BYTES - offset % _PIECE_BYTES
    piece: list[memoryview] = []
    for view in islice(views, first, first + _BUFFERS_PER_CALL):
        if view.nbytes >= room:
            piece.append(view[:room])
            break
        piece.append(view)
        room -= view.nbytes
    return piece


def write_hint(path: str, data: bytes, offset: int) -> None:
    """Write a few bytes that nothing depends on into an existing file. They are not synced, and errors are ignored."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)


def sync_file(descriptor: int, path: AnyPath) -> None:
    """Sync the content of a file to disk.

    Raises
    ------
    StorageError
        The sync failed. It must not be retried on this descriptor: the kernel may have dropped the dirty pages, and the
        second call would succeed without writing them (see "fsyncgate", LWN 752063).
    """
    crash_point(_SYNC_BEFORE)
    with _errors("sync", path):
        _sync(descriptor)
    if observer is not None:
        observer.synced_file(os.fspath(path))
    crash_point(_SYNC_AFTER)


def sync_directory(path: AnyPath) -> None:
    """Sync the entries of a directory (created, moved and removed names) to disk."""
    crash_point(_SYNC_DIRECTORY_BEFORE)
    with _errors("sync", path):
        descriptor = retried(lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)
    if observer is not None:
        observer.synced_directory(os.fspath(path))
    crash_point(_SYNC_DIRECTORY_AFTER)


def _sync(descriptor: int) -> None:
    full_sync: int | None = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is None:
        os.fsync(descriptor)
    else:
        # On macOS fsync does not flush the cache of the drive; F_FULLFSYNC does.
        fcntl.fcntl(descriptor, full_sync)


def write_new_file(path: AnyPath, buffers: Sequence[Buffer]) -> None:
    """Write a file that must not exist, durably including its directory entry; on an error it is removed again."""
    descriptor = create_file(path)
    try:
        write_at(descriptor, buffers, 0, path)
        sync_file(descriptor, path)
        sync_directory(os.path.dirname(path) or ".")
    except HangarError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def replace_file(path: AnyPath, data: bytes) -> None:
    """Set the content of a new or existing file atomically: after a crash it is either the old or the new content."""
    temporary = f"{os.fspath(path)}.{os.getpid()}-{next(_temporary_names)}.tmp"
    descriptor = create_file(temporary)
    try:
        write_at(descriptor, [data], 0, temporary)
        sync_file(descriptor, temporary)
        crash_point(_RENAME_BEFORE)
        with _errors("replace", path):
            os.replace(temporary, path)
        crash_point(_RENAME_AFTER)
    except HangarError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    sync_directory(os.path.dirname(path) or ".")


def remove_file(path: AnyPath) -> None:
    """Remove a file durably.

    Raises
    ------
    PathNotFoundError
        There is no such file.
    """
    crash_point(_REMOVE_BEFORE)
    with _errors("remove", path):
        os.unlink(path)
    crash_point(_REMOVE_AFTER)
    sync_directory(os.path.dirname(path) or ".")


def make_directory(path: AnyPath) -> None:
    """Create a directory durably; an existing one is kept (its entry is synced too)."""
    crash_point(_MAKE_DIRECTORY_BEFORE)
    with _errors("create", path):
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
    crash_point(_MAKE_DIRECTORY_AFTER)
    sync_directory(os.path.dirname(path) or ".")


def move_directory(path: AnyPath, target: AnyPath) -> None:
    """Rename a directory or file, durably; ``target`` must not exist, or be an empty directory."""
    crash_point(_MOVE_BEFORE)
    with _errors("move", path):
        os.rename(path, target)
    crash_point(_MOVE_AFTER)
    for parent in {os.path.dirname(target) or ".", os.path.dirname(path) or "."}:
        sync_directory(parent)


# ----------------------------------------------------------------------------------------------------------- locks


def try_lock(descriptor: int, *, shared: bool) -> bool:
    """Try to take an ``flock`` without waiting. Returns whether it was free.

    The lock is released by ``unlock``, or when the last copy of the descriptor is closed.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return False
        raise_for(error, "lock", f"descriptor {descriptor}")
    return True


def unlock(descriptor: int) -> None:
    """Release an ``flock`` for all copies of the descriptor in all processes. Never call it in a forked child."""
    with _errors("unlock", f"descriptor {descriptor}"):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
