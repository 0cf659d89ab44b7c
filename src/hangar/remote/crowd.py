"""How many calls do the same thing at the same time: a few may use memory to be faster, many share what there is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["Crowd"]


class Crowd:
    """Counts those who do something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @contextlib.contextmanager
    def joined(self) -> Iterator[int]:
        """Do it too: how many do it then."""
        with self._lock:
            self._count += 1
            count = self._count
        try:
            yield count
        finally:
            with self._lock:
                self._count -= 1
