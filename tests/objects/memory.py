"""A database in memory, as far as trees and records need one, and trees made of plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hangar.db.tables import Table
from hangar.objects.store import NodeStore

T = TypeVar("T")


class MemoryTransaction:
    def __init__(self, rows: dict[str, dict[bytes, bytes]]) -> None:
        self._rows = rows

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._rows.setdefault(table.name, {}).get(key)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(map(self._rows.setdefault(table.name, {}).get, keys))

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self._rows.setdefault(table.name, {})[key] = value

    def put_many(self, table: Table, items: Sequence[tuple[bytes, bytes]]) -> None:
        self._rows.setdefault(table.name, {}).update(items)


class MemoryDatabase:
    """Rows of named tables in dictionaries; ``reads`` counts the transactions."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.reads = 0

    @contextmanager
    def read(self) -> Iterator[Any]:
        self.reads += 1
        yield MemoryTransaction(self.rows)

    def update(self, function: Callable[[Any], T]) -> T:
        return function(MemoryTransaction(self.rows))


def memory_store(database: MemoryDatabase | None = None, **options: Any) -> NodeStore:
    return NodeStore(database or MemoryDatabase(), **options)


def write_out(store: NodeStore) -> int:
    """Store what is pending; how many nodes were new."""
    count: int = store._db.update(store.flush)
    store.written()
    return count
