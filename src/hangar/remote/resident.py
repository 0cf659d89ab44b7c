"""The memory of a server: pages of files that it has read are let go when the process holds too much.

Blob files, runs and the database are mapped, and every page that was read counts as memory of the process until it is let
go. A server that sends a repository to its clients would hold all of it. The system keeps such pages in its own cache, so
to read them again costs little. Only Linux tells what a process holds cheaply enough; elsewhere nothing is done here.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from hangar.backends.mapping import release_pages
from hangar.db.environment import database_path
from hangar.db.opening import DATA_FILE
from hangar.errors import HangarError
from hangar.stores import Stores

__all__ = ["MOST_BYTES", "Resident"]

MOST_BYTES: Final = 144 * 2**20
"""What the process may hold before something is let go."""
_MAPPED_BYTES: Final = 24 * 2**20
"""Mapped pages that are not worth the cost of letting them go."""
_TRIM_SECONDS: Final = 0.2
_READ_ONLY: Final = "r--s"


class Resident:
    """Watches the memory of this process, which serves a repository.

    Parameters
    ----------
    stores
        Of the repository.
    most
        Bytes that the process may hold before something is let go.
    """

    def __init__(self, stores: Stores, most: int = MOST_BYTES) -> None:
        self._stores = stores
        self._most = most
        self._lock = threading.Lock()
        self._descriptor = -1
        self._trimmed = 0.0
        self._least = 0
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
                self._least = self._held()[1]

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def relieve(self) -> None:
        """Let pages go, if the process holds too much. Call it often: it costs some microseconds."""
        if self._descriptor < 0 or not self._lock.acquire(blocking=False):
            return
        try:
            if self._descriptor >= 0 and self._held()[0] > self._most:
                with contextlib.suppress(HangarError):
                    self._let_go()
        finally:
            self._lock.release()

    def _held(self) -> tuple[int, int]:
        """Bytes that the process holds, and how many of them are pages of files."""
        _, resident, shared, *_ = os.pread(self._descriptor, 200, 0).split()
        return int(resident) * mmap.PAGESIZE, int(shared) * mmap.PAGESIZE

    def _let_go(self) -> None:
        for release in self._steps():
            held, mapped = self._held()
            if held <= self._most:
                return
            if mapped - self._least > _MAPPED_BYTES:
                release()
        if self._held()[0] > self._most and time.monotonic() - self._trimmed > _TRIM_SECONDS:
            _trim()
            self._trimmed = time.monotonic()

    def _steps(self) -> Iterator[Callable[[], None]]:
        """What can be let go; what is needed again soonest comes last."""
        blobs = self._stores.blobs
        yield blobs.files.release_pages
        yield blobs.locator.release_pages
        yield self._release_database

    def _release_database(self) -> None:
        path = os.fspath(database_path(self._stores.directory) / DATA_FILE)
        # In a transaction the database stays mapped where it is: another map could be there else when its pages are let go.
        with self._stores.db.read(), Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps:
            for line in maps:
                words = line.rstrip("\n").split(maxsplit=5)
                if len(words) == 6 and words[1] == _READ_ONLY and words[5] == path:
                    start, end = (int(one, 16) for one in words[0].split("-"))
                    release_pages((ctypes.c_char * (end - start)).from_address(start))


def _trim() -> None:
    """Give memory that was freed back to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
