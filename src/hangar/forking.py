"""Registry of file descriptors that a forked child closes.

A forked child inherits the descriptors of its parent, and with them its locks (``flock``): while the child keeps a copy
open, the lock of a dead parent stays taken. So a descriptor with a lock is registered here, and each child closes its
copy, which does not release the lock of the parent.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final

__all__ = ["close_in_child", "close_private", "is_private"]

_private: Final[set[int]] = set()
_lock: Final = threading.RLock()


def close_in_child(descriptor: int) -> int:
    """Register ``descriptor`` to be closed in every forked child, and return it."""
    with _lock:
        _private.add(descriptor)
    return descriptor


def is_private(descriptor: int) -> bool:
    """Whether a descriptor is registered with :func:`close_in_child` and still open."""
    return descriptor in _private


def close_private(descriptor: int) -> None:
    """Close a descriptor registered with :func:`close_in_child` (in the process that registered it)."""
    with _lock:
        _private.discard(descriptor)
        os.close(descriptor)


def _close_inherited() -> None:
    for descriptor in _private:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _private.clear()
    # The forking thread is the only one in the child, so it owns the lock there too.
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_close_inherited)
