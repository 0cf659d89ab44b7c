"""A cache of bounded size: what was used since the last look stays, the oldest of the rest goes (the CLOCK algorithm, "second chance").

Any number of threads may use one. Where two want to add at once, one of them does not: nobody waits. So a child that was forked in
the middle of a change is never stuck.
"""

from __future__ import annotations

import threading
from typing import Final, Generic, TypeVar

__all__ = ["BoundedCache"]

_WAIT_SECONDS: Final = 0.5
"""Longer than any change takes."""

K = TypeVar("K")
V = TypeVar("V")


class _Content(Generic[K, V]):
    """Entries in the order of eviction, each with its bytes and whether it was used since the eviction came by."""

    __slots__ = ("entries", "gate", "nbytes")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.entries: dict[K, tuple[V, int, list[bool]]] = {}
        self.nbytes = 0

    def remove(self, key: K) -> None:
        found = self.entries.pop(key, None)
        if found is not None:
            self.nbytes -= found[1]

    def make_room(self, most: int) -> None:
        while self.entries and self.nbytes > most:
            oldest, (value, nbytes, used) = next(iter(self.entries.items()))
            self.remove(oldest)
            if used[0]:
                self.entries[oldest] = value, nbytes, [False]
                self.nbytes += nbytes


class BoundedCache(Generic[K, V]):
    """Values by key, of at most so many bytes together.

    Parameters
    ----------
    most
        Bytes. A value that is larger than this alone is not kept.
    """

    __slots__ = ("__weakref__", "_content", "most")

    def __init__(self, most: int) -> None:
        self.most: Final = most
        self._content: _Content[K, V] = _Content()

    def __len__(self) -> int:
        return len(self._content.entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self._content.nbytes

    def get(self, key: K) -> V | None:
        """The value of a key, if it is here."""
        found = self._content.entries.get(key)
        if found is None:
            return None
        found[2][0] = True
        return found[0]

    def put(self, key: K, value: V, nbytes: int) -> None:
        """Keep a value of so many bytes, and drop others to make room."""
        content = self._content
        if nbytes > self.most or not content.gate.acquire(blocking=False):
            return
        try:
            content.remove(key)
            content.make_room(self.most - nbytes)
            content.entries[key] = value, nbytes, [False]
            content.nbytes += nbytes
        finally:
            content.gate.release()

    def drop(self, key: K) -> None:
        """Forget a key."""
        content = self._content
        if not content.gate.acquire(timeout=_WAIT_SECONDS):
            self.clear()
            return
        try:
            content.remove(key)
        finally:
            content.gate.release()

    def clear(self) -> None:
        """Forget everything. A thread that is in the middle of a change goes on with what was here before."""
        self._content = _Content()
