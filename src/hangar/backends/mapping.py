"""Files mapped into memory for reading, at no descriptor of their own.

Python's ``mmap`` keeps a duplicate of the descriptor it is given for as long as the map lives (``trackfd=False`` came with
Python 3.13), so that a file with a map and a lock would cost two. This calls the system's ``mmap`` instead. Whoever maps a file keeps
its descriptor, and looks whether the file is still as long as the map before reading it: beyond the end is a signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from typing import Any, Final

from hangar import _fs

__all__ = ["map_file", "size_of"]

_libc: Final = ctypes.CDLL(None, use_errno=True)
_map: Final = _libc.mmap
_map.restype = ctypes.c_void_p
_map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_unmap: Final = _libc.munmap
_unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED: Final = ctypes.c_void_p(-1).value


def map_file(descriptor: int, size: int) -> Any:
    """The first ``size`` bytes of a file, which must have them: a buffer whose slices are ``bytes``; unmapped with its last user.

    Raises
    ------
    OSError
        It cannot be mapped.
    """
    address = _fs.retried(lambda: _mapped(descriptor, size))
    return type("Map", (ctypes.c_char * size,), {"__slots__": (), "__del__": _forget}).from_address(address)  # type: ignore[attr-defined]


def size_of(descriptor: int) -> int:
    """How long an open file is now."""
    # The position of the descriptor is never used, and this is the cheapest way to ask.
    return os.lseek(descriptor, 0, os.SEEK_END)


def _mapped(descriptor: int, size: int) -> int:
    address: int = _map(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return address


def _forget(region: Any) -> None:
    # At the end of the interpreter ctypes may be gone before the last map; the system unmaps all of them then.
    with contextlib.suppress(AttributeError, TypeError):
        _unmap(ctypes.addressof(region), ctypes.sizeof(region))
