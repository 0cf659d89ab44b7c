"""Calls of the blosc library that survive a shortage of memory.

c-blosc uses the memory and the threads that it asks for without a check whether it got them (``serial_blosc`` and ``init_threads`` in its
``blosc.c``): a shortage of either ends the process with a segmentation fault. So memory is checked before each call, and blosc's own
threads, which numcodecs uses in the main thread only, are off during the call. Hangar decodes chunks on threads of its own.
"""

from __future__ import annotations

import threading
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


class blosc_call:  # noqa: N801  (a function for those who use it)
    """The numcodecs module for one call that needs ``nbytes`` of working memory, as a context manager.

    Raises
    ------
    ResourceLimitError
        There is not enough memory for this call and the others in progress.
    """

    __slots__ = ("_kept", "_main", "_module", "_nbytes", "_thread")

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes

    def __enter__(self) -> Any:
        module = self._module = _blosc()
        thread = self._thread = threading.get_ident()
        # Blosc's own threads are used in the main thread only. None, its default, lets it use them.
        self._main = thread == _main_thread()
        self._kept = module.use_threads
        try:
            _running[thread] = self._nbytes
            require_memory(self._nbytes if len(_running) == 1 else sum(list(_running.values())))
            if self._main:
                module.use_threads = False
        except BaseException:
            self.__exit__()
            raise
        return module

    def __exit__(self, *error: object) -> None:
        if self._main:
            self._module.use_threads = self._kept
        _running.pop(self._thread, None)


def _main_thread() -> int | None:
    return threading.main_thread().ident


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
