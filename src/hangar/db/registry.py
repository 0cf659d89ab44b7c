"""The open databases of this process: the one process-wide state of Hangar.

LMDB must be opened once per process and file, so handles are shared by the identity of the data file and counted. Around a fork
every handle is brought to rest; see ``fork``.
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

__all__ = ["acquire", "closed_for", "release"]

_handles: Final[list[Handle]] = []
_forks: Final[list[Fork]] = []
_released: Final[deque[Handle]] = deque()
_lock: Final = threading.RLock()


def acquire(path: Path, create_size: int | None = None) -> Handle:
    """The handle on LMDB's directory ``path`` (absolute, resolved), opened when nobody in this process has; one more user.

    With ``create_size``, the size of its map, the database is made where it is missing.
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
        # An interrupt too: the traceback keeps what is open, and a process opens a file once.
        if handle not in _handles:
            handle.close()
        raise


def release(handle: Handle) -> None:
    """One user less; the last one closes."""
    _released.append(handle)
    _settle()


def _settle() -> None:
    """Close what was released.

    Never waiting: a release may come from the garbage collector, on a thread that holds other locks. Whoever
    has the lock looks again after giving it back.
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
        # One that cannot be closed now (it is in use further up the stack of this thread) stays, for the next to open it.
        if not handle.users and handle.close():
            _handles.remove(handle)


def closed_for(path: Path, function: Callable[[], bool]) -> bool:
    """Run ``function`` while this process has no handle on ``path``; False, without running it, where it has one."""
    with _lock:
        _close_released()
        handle = _find(path)
        if handle is not None and not handle.users and handle.close():
            _handles.remove(handle)
            handle = None
        return function() if handle is None else False


def _find(path: Path, *, one_more: bool = False) -> Handle | None:
    """The handle on ``path`` that is open in this process, with ``one_more`` user."""
    try:
        identity = file_identity(path)
    except OSError:
        return None
    for handle in _handles:
        # One that a fork closed opens again by its path, whatever file is there then.
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
