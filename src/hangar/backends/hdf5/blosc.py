"""Calls of the blosc library that survive a shortage of memory.

c-blosc uses the memory and the threads that it asks for without a check whether it got them (``serial_blosc`` and ``init_threads`` in its
``blosc.c``): a shortage of either ends the process with a segmentation fault. So memory is checked before each call, and blosc's own
threads, which numcodecs uses in the main thread only, are off during the call. Hangar decodes chunks on threads of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import numpy as np

from hangar.errors import MissingPackageError, ResourceLimitError

__all__ = ["blosc_call", "require_memory"]

_running: Final[dict[int, int]] = {}
"""Working memory of the calls in progress, by thread."""


@cache
def _blosc() -> Any:
    try:
        from numcodecs import blosc
    except ModuleNotFoundError as error:  # other errors of an import are shortages: of memory, of descriptors
        raise MissingPackageError(
            f"compressed HDF5 files need the package numcodecs ({error}): run `pip install numcodecs`"
        ) from None
    return blosc


@contextmanager
def blosc_call(nbytes: int) -> Iterator[Any]:
    """The numcodecs module for one call that needs ``nbytes`` of working memory.

    Raises
    ------
    ResourceLimitError
        There is not enough memory for this call and the others in progress.
    """
    module, thread = _blosc(), threading.get_ident()
    main = thread == threading.main_thread().ident
    kept = module.use_threads
    try:
        _running[thread] = nbytes
        require_memory(sum(list(_running.values())))
        if main:
            module.use_threads = False
        yield module
    finally:
        if main:
            module.use_threads = kept
        _running.pop(thread, None)


def require_memory(nbytes: int) -> None:
    """Check that ``nbytes`` can be allocated, without touching the pages.

    Raises
    ------
    ResourceLimitError
        They cannot.
    """
    try:
        np.empty(nbytes, np.uint8)
    except MemoryError:
        raise ResourceLimitError(
            "there is not enough memory to compress or decompress a chunk: read or write less at a time, or raise the limit (ulimit -v)"
        ) from None
