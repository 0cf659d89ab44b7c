"""What ``keys()``, ``values()`` and ``items()`` give: views as a ``dict`` has them, which read when they are iterated over.

A view holds the column and nothing else: it is as long as the column is now, each iteration begins anew with what the column holds then,
and after ``close()`` everything raises. Keys take part in set operations.
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
    """What the iterators of a checkout have read ahead, so that they stop when the checkout is closed.

    A look at the checkout for each key would cost more than the key. Emptying the list that an iterator stands in ends it there,
    and when it wants the next chunk it finds that the checkout was closed.
    """

    def __init__(self) -> None:
        self._chunks: WeakSet[Chunk] = WeakSet()
        self._stopped = False

    def add(self, items: Iterable[Any]) -> Chunk:
        """``items`` as a list that :meth:`stop` empties."""
        chunk = Chunk(items)
        self._chunks.add(chunk)
        if self._stopped:  # by another thread, meanwhile
            chunk.clear()
        return chunk

    def stop(self) -> None:
        """Leave nothing to the iterators."""
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
    """The keys, in order: ints by value, then strings by code point. A set in all that sets can do."""

    __slots__ = ()

    def __iter__(self) -> Iterator[SampleKey]:
        return self._mapping._iterate_keys()

    def __reversed__(self) -> Iterator[SampleKey]:
        return self._mapping._iterate_keys(backwards=True)

    # The mixin methods ask the column for each key. A set of its keys is read at once.

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
    """The values in key order, read ahead in batches; what is written during an iteration is not seen by it."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self._mapping._iterate_values()

    def __reversed__(self) -> Iterator[Any]:
        return self._mapping._iterate_values(backwards=True)

    def __contains__(self, value: object) -> bool:
        return any(_same(one, value) for one in self)


class SampleItems(_View, ItemsView[SampleKey, Any]):
    """Pairs of key and value in key order, read ahead in batches; what is written during an iteration is not seen by it."""

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
