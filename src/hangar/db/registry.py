"""Registry of the open databases of this process; the only global state of Hangar.

LMDB must be opened only once per process and file, so handles are shared by the identity of the data file and
reference-counted. Before a fork, transactions on every handle are stopped; see ``fork``.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hangar.db.fork import Fork
from hangar.db.handle import Handle
from hangar.db.opening import file_identity

__all__ = ["acquire", "away_for", "closed_for", "release"]

_handles: Final[list[Handle]] = []
_forks: Final[list[Fork]] = []
_released: Final[deque[Handle]] = deque()
_lock: Final = threading.RLock()


def acquire(path: Path, create_size: int | None = None) -> Handle:
    """The handle of the LMDB directory ``path`` (absolute, resolved), opened if necessary; adds one user.

    With ``create_size``, the size of its map, a missing database is created.
    """
    try:
        with _lock:
            _close_released()
            return _find(path, one_more=True) or _open(path, create_size)
    finally:
        _settle()


def _open(path: Path, create_size: int | None) -> Handle:
    handle = Handle(path)
    try:
        if create_size is None:
            handle.open()
        else:
            handle.create(create_size)
        handle.users = 1
        _handles.append(handle)
        return handle
    except BaseException:
        # On an interrupt too: the traceback would keep the file open, and a process can open it only once.
        if handle not in _handles:
            handle.close()
        raise


def release(handle: Handle) -> None:
    """Remove one user; the environment closes with the last one."""
    _released.append(handle)
    _settle()


def _settle() -> None:
    """Close released handles.

    Does not wait for the lock, because a release may come from the garbage collector on a thread that holds other
    locks. The thread that has the lock checks again after releasing it.
    """
    while _released and _lock.acquire(blocking=False):
        try:
            _close_released()
        finally:
            _lock.release()


def _close_released() -> None:
    while _released:
        handle = _released.popleft()
        handle.users -= 1
        # A handle that is in use further up the stack of this thread cannot be closed now; it stays registered.
        if not handle.users and handle.close():
            _handles.remove(handle)


def closed_for(path: Path, function: Callable[[], bool]) -> bool:
    """Run ``function`` while this process has no handle on ``path``; False, without running it, if there is one."""
    with _lock:
        _close_released()
        handle = _find(path)
        if handle is not None and not handle.users and handle.close():
            _handles.remove(handle)
            handle = None
        return function() if handle is None else False


def away_for(path: Path, function: Callable[[], bool]) -> bool:
    """Run ``function`` while this process has the database in ``path`` closed, and open it again for its users.

    Transactions of other threads are waited for; new ones wait. False, without running it, if this thread is in one.
    """
    with _lock:
        _close_released()
        handle = _find(path)
        return function() if handle is None else handle.away_for(function)


def _find(path: Path, *, one_more: bool = False) -> Handle | None:
    """The open handle on ``path`` in this process, if any; ``one_more`` adds a user."""
    try:
        identity = file_identity(path)
    except OSError:
        return None
    for handle in _handles:
        # A handle that was closed by a fork is opened again by its path, even if the file was replaced.
        if handle.identity == identity if handle.environment is not None else handle.path == path:
            handle.users += one_more
            return handle
    return None


def _before_fork() -> None:
    _lock.acquire()
    for handle in _handles:
        _forks.append(Fork(handle))
        _forks[-1].begin()


def _after_fork_in_parent() -> None:
    while _forks:
        _forks.pop().end_in_parent()
    _lock.release()


def _after_fork_in_child() -> None:
    while _forks:
        _forks.pop().end_in_child()
    _lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
