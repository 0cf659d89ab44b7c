"""Views that ``keys()``, ``values()`` and ``items()`` return, like those of a ``dict``. They read when they are iterated.

A view holds only a reference to the column: its length is the current one, each iteration starts with the current
content, and after ``close()`` all access raises. Keys support set operations.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Set, ValuesView
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from hangar.names import SampleKey

__all__ = ["Chunk", "LiveChunks", "SampleItems", "SampleKeys", "SampleValues"]


class Chunk(list[Any]):
    """Keys or values that an iterator has read ahead."""

    __slots__ = ("__weakref__",)
    __hash__ = object.__hash__  # type: ignore[assignment]


class LiveChunks:
    """Read-ahead lists of the iterators of a checkout, so that iteration stops when the checkout is closed.

    Checking the checkout for each key would cost more than reading the key. Instead, closing empties the list that an
    iterator is in, which ends it there; for the next list the iterator checks the checkout and raises.
    """

    def __init__(self) -> None:
        self._chunks: WeakSet[Chunk] = WeakSet()
        self._stopped = False

    def add(self, items: Iterable[Any]) -> Chunk:
        """``items`` as a list that :meth:`stop` empties."""
        chunk = Chunk(items)
        self._chunks.add(chunk)
        if self._stopped:  # stopped by another thread
            chunk.clear()
        return chunk

    def stop(self) -> None:
        """Empty all lists."""
        self._stopped = True
        for chunk in list(self._chunks):
            chunk.clear()


class _Viewed(Protocol):
    """A column, or a sample of a nested one."""

    def __len__(self) -> int: ...
    def __contains__(self, key: object) -> bool: ...
    def get(self, key: Any, default: Any = None) -> Any: ...
    def _iterate_keys(self, *, backwards: bool = False) -> Iterator[SampleKey]: ...
    def _iterate_values(self, *, backwards: bool = False) -> Iterator[Any]: ...
    def _iterate_items(self, *, backwards: bool = False) -> Iterator[tuple[SampleKey, Any]]: ...


class _View:
    _mapping: _Viewed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._mapping!r})"


class SampleKeys(_View, KeysView[SampleKey]):
    """The keys, in order: ints by value, then strings by code point. Supports all set operations."""

    __slots__ = ()

    def __iter__(self) -> Iterator[SampleKey]:
        return self._mapping._iterate_keys()

    def __reversed__(self) -> Iterator[SampleKey]:
        return self._mapping._iterate_keys(backwards=True)

    # The methods of KeysView would look up each key in the column. Here the keys are read as one set.

    def __and__(self, other: Any) -> set[SampleKey]:
        return set(self) & set(other) if isinstance(other, Iterable) else NotImplemented

    def __or__(self, other: Any) -> set[Any]:
        return set(self) | set(other) if isinstance(other, Iterable) else NotImplemented

    def __sub__(self, other: Any) -> set[SampleKey]:
        return set(self) - set(other) if isinstance(other, Iterable) else NotImplemented

    def __rsub__(self, other: Any) -> set[Any]:
        return set(other) - set(self) if isinstance(other, Iterable) else NotImplemented

    def __xor__(self, other: Any) -> set[Any]:
        return set(self) ^ set(other) if isinstance(other, Iterable) else NotImplemented

    def __rand__(self, other: Any) -> set[Any]:
        return set(other) & set(self)

    def __ror__(self, other: Any) -> set[Any]:
        return set(other) | set(self)

    def __rxor__(self, other: Any) -> set[Any]:
        return set(other) ^ set(self)

    def isdisjoint(self, other: Any) -> bool:
        return set(self).isdisjoint(other)

    def __eq__(self, other: object) -> bool:
        return set(self) == set(other) if isinstance(other, Set) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return set(self) <= set(other) if isinstance(other, Set) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        return set(self) < set(other) if isinstance(other, Set) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return set(self) >= set(other) if isinstance(other, Set) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return set(self) > set(other) if isinstance(other, Set) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


class SampleValues(_View, ValuesView[Any]):
    """The values in key order, read ahead in batches; an iteration does not see writes made during it."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self._mapping._iterate_values()

    def __reversed__(self) -> Iterator[Any]:
        return self._mapping._iterate_values(backwards=True)

    def __contains__(self, value: object) -> bool:
        return any(_same(one, value) for one in self)


class SampleItems(_View, ItemsView[SampleKey, Any]):
    """Pairs of key and value in key order, read ahead in batches; an iteration does not see writes made during it."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[SampleKey, Any]]:
        return self._mapping._iterate_items()

    def __reversed__(self) -> Iterator[tuple[SampleKey, Any]]:
        return self._mapping._iterate_items(backwards=True)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2 or item[0] not in self._mapping:
            return False
        return _same(self._mapping.get(item[0]), item[1])


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; arrays as a whole."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one is other or bool(one == other)
