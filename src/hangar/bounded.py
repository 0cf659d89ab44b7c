"""Cache of bounded size with CLOCK ("second chance") eviction: entries used since the last pass stay.

It is thread-safe without blocking: if two threads add an entry at the same time, one of them is not kept. So a child
that was forked in the middle of a change never deadlocks.
"""

from __future__ import annotations

import threading
from typing import Final, Generic, TypeVar

__all__ = ["BoundedCache"]

_WAIT_SECONDS: Final = 0.5
"""Upper bound, in seconds, on the time that a change takes."""
_REFUSALS: Final = 1_000
"""After so many refused additions in a row the lock counts as lost, and the cache begins anew."""

K = TypeVar("K")
V = TypeVar("V")


class _Content(Generic[K, V]):
    """Entries in eviction order, each with its size and whether it was used since the last pass."""

    __slots__ = ("entries", "gate", "nbytes", "refused")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.refused = 0
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
    """Cache of values by key with a bound on their total size.

    Parameters
    ----------
    most
        Maximum total bytes. A single value larger than this is not kept.
    """

    __slots__ = ("__weakref__", "_content", "most")

    def __init__(self, most: int) -> None:
        self.most: Final = most
        self._content: _Content[K, V] = _Content()

    def __len__(self) -> int:
        return len(self._content.entries)

    @property
    def nbytes(self) -> int:
        """Total bytes of all values."""
        return self._content.nbytes

    def __contains__(self, key: K) -> bool:
        return key in self._content.entries

    def get(self, key: K) -> V | None:
        """The value of a key, None if it is not cached."""
        found = self._content.entries.get(key)
        if found is None:
            return None
        found[2][0] = True
        return found[0]

    def put(self, key: K, value: V, nbytes: int) -> None:
        """Add a value of ``nbytes`` bytes, and evict others if necessary."""
        content = self._content
        if nbytes > self.most:
            return
        if not content.gate.acquire(blocking=False):
            # A thread that did not come along at the fork, or that an interrupt hit as it got the lock, never releases it.
            content.refused += 1
            if content.refused >= _REFUSALS:
                self.clear()
            return
        try:
            content.refused = 0
            content.remove(key)
            content.make_room(self.most - nbytes)
            content.entries[key] = value, nbytes, [False]
            content.nbytes += nbytes
        finally:
            content.gate.release()

    def drop(self, key: K) -> None:
        """Remove a key."""
        content = self._content
        if not content.gate.acquire(timeout=_WAIT_SECONDS):
            self.clear()
            return
        try:
            content.remove(key)
        finally:
            content.gate.release()

    def clear(self) -> None:
        """Remove everything. A thread in the middle of a change continues on the old content, which is dropped."""
        self._content = _Content()
