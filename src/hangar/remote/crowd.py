"""Counts the calls of one kind that run at the same time: a few may use more memory to be faster than many."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["Crowd"]


class Crowd:
    """Number of calls in progress."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @contextlib.contextmanager
    def joined(self) -> Iterator[int]:
        """Count the caller until the end of the block; yields the number of calls, this one included."""
        with self._lock:
            self._count += 1
            count = self._count
        try:
            yield count
        finally:
            with self._lock:
                self._count -= 1
