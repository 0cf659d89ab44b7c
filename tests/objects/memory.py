"""A database in memory, as far as trees and records need one, and trees made of plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hangar.db.tables import Table
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, MIXED, TreeForm
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
    return NodeStore(database or MemoryDatabase(), **options)  # type: ignore[arg-type]


def write_out(store: NodeStore) -> int:
    """Store what is pending; how many nodes were new."""
    count: int = store._db.update(store.flush)
    store.written()
    return count


def int_key(number: int) -> bytes:
    return b"\x10" + number.to_bytes(8, "big")


def text_key(text: str) -> bytes:
    return b"\x20" + text.encode()


def nested_key(sample: int | str, subsample: int | str) -> bytes:
    first = int_key(sample) if isinstance(sample, int) else text_key(sample) + b"\x00"
    return first + (int_key(subsample) if isinstance(subsample, int) else text_key(subsample))


def cell_of(form: TreeForm, number: int) -> bytes:
    """Some cell of this form, the same for the same number."""
    content = hashlib.sha256(b"%d" % number).digest()
    if form.kind != MIXED:
        return content[: form.width]
    length = number % 65
    return b"\xff" + content if number % 5 == 0 else bytes((length,)) + (content * 3)[:length]


FORMS = {
    "digest": TreeForm(BY_DIGEST, 32, False),
    "label": TreeForm(FIXED_INLINE, 8, False),
    "empty": TreeForm(FIXED_INLINE, 0, False),
    "text": TreeForm(MIXED, 0, False),
    "nested digest": TreeForm(BY_DIGEST, 32, True),
    "nested label": TreeForm(FIXED_INLINE, 3, True),
    "nested text": TreeForm(MIXED, 0, True),
}
