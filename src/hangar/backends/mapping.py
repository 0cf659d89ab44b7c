"""Read-only memory maps that use no file descriptor of their own.

Python's ``mmap`` keeps a duplicate of its descriptor while the map lives (``trackfd=False`` came with Python 3.13). A
file with a map and a lock would then use two descriptors. This module calls the ``mmap`` of the C library instead. The
caller keeps the descriptor, and checks before each read that the file is still as long as the map, because a read
beyond its end raises SIGBUS.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from typing import Any, Final

from hangar import _fs

__all__ = ["map_file", "release_pages", "size_of"]

_libc: Final = ctypes.CDLL(None, use_errno=True)
_map: Final = _libc.mmap
_map.restype = ctypes.c_void_p
_map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_unmap: Final = _libc.munmap
_unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_advise: Final = _libc.madvise
_advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_FAILED: Final = ctypes.c_void_p(-1).value


def map_file(descriptor: int, size: int) -> Any:
    """Map the first ``size`` bytes of a file: a buffer whose slices are ``bytes``. It is unmapped when it is garbage-collected.

    Raises
    ------
    OSError
        The file cannot be mapped.
    """
    address = _fs.retried(lambda: _mapped(descriptor, size))
    return type("Map", (ctypes.c_char * size,), {"__slots__": (), "__del__": _forget}).from_address(address)  # type: ignore[attr-defined]


def release_pages(region: Any) -> None:
    """Let go of the pages of a map of :func:`map_file` that were read, so that they do not count as memory of this process.

    The map stays as it is: what is read again comes from the page cache of the system, or from the file.
    """
    # Without an effect on other systems.
    if sys.platform == "linux":
        _advise(ctypes.addressof(region), ctypes.sizeof(region), mmap.MADV_DONTNEED)


def size_of(descriptor: int) -> int:
    """Current size of an open file."""
    # lseek is the cheapest call for this. The position of the descriptor is not used.
    return os.lseek(descriptor, 0, os.SEEK_END)


def _mapped(descriptor: int, size: int) -> int:
    address: int = _map(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return address


def _forget(region: Any) -> None:
    # At interpreter exit ctypes may be gone before the last map. The system unmaps all of them then.
    with contextlib.suppress(AttributeError, TypeError):
        _unmap(ctypes.addressof(region), ctypes.sizeof(region))
