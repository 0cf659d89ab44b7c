"""Rewriting the database of a closed repository, by the definitions of the format specification alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from tests.compat.independent_tables import CONTENT_ADDRESSED, NAMES
from tests.compat.specification import PAGE_NAMES

_row = PAGE_NAMES["row"]
record_digest = PAGE_NAMES["record_digest"]
encode = msgspec.msgpack.encode
decode: Any = msgspec.msgpack.decode


class Rows:
    """The rows of a repository, to read and write."""

    def __init__(self, environment: lmdb.Environment, transaction: Any) -> None:
        self._transaction = transaction
        self._tables = {name: environment.open_db(name.encode(), transaction, create=False) for name in NAMES}

    def get(self, table: str, key: bytes) -> bytes:
        row: bytes = self._transaction.get(key, db=self._tables[table])
        return row if table in CONTENT_ADDRESSED else row[:-8]

    def raw(self, table: str, key: bytes, row: bytes) -> None:
        """Write a row as it stands."""
        self._transaction.put(key, row, db=self._tables[table])

    def put(self, table: str, key: bytes, payload: bytes) -> None:
        """Write a row with the checksum it must have."""
        self.raw(table, key, payload if table in CONTENT_ADDRESSED else _row(NAMES.index(table), key, payload))

    def delete(self, table: str, key: bytes) -> None:
        assert self._transaction.delete(key, db=self._tables[table])

    def keys(self, table: str) -> list[bytes]:
        return [key for key, _ in self._transaction.cursor(self._tables[table])]

    # ------------------------------------------------------------------ records

    def store(self, record_class: str, data: bytes) -> bytes:
        """Store a record, and return its digest."""
        digest: bytes = record_digest(record_class, data)
        self.put("attributes" if record_class == "attributes" else f"{record_class}s", digest, data)
        return digest

    def head(self) -> bytes:
        """The commit of the branch ``master``."""
        digest: bytes = decode(self.get("refs", b"heads/master"))[0]
        return digest

    def commit(self) -> list[Any]:
        """The fields of that commit."""
        fields: list[Any] = decode(self.get("commits", self.head()))
        return fields

    def column(self, name: str) -> list[Any]:
        """The fields of one of its columns."""
        return next(list(column) for column in self.commit()[2] if column[0] == name)

    def move(self, data: bytes) -> bytes:
        """Make ``data`` a commit that ``master`` moves to; nothing is staged any more."""
        digest, before = self.store("commit", data), self.head()
        generations = [decode(self.get("graph", parent))[0] for parent in decode(data)[1]]
        self.put("graph", digest, encode([1 + max(generations, default=0), None]))
        self.put("refs", b"heads/master", encode([digest, None]))
        moves = len([key for key in self.keys("reflog") if key.startswith(b"heads/master\0")])
        move = [before, digest, "Eve", "eve@example.com", 1, 0, "rewrite", ""]
        self.put("reflog", b"heads/master\0" + moves.to_bytes(8, "big"), encode(move))
        for table in ("staging", "conflicts"):
            for key in self.keys(table):
                self.delete(table, key)
        for table in ("staging", "conflicts", "reflog"):
            self.put("meta", f"rows:{table}".encode(), len(self.keys(table)).to_bytes(8, "little"))
        return digest

    def replace_column(self, name: str, **changes: Any) -> None:
        """Let ``master`` stand on a commit in which some fields of a column are others."""
        places = ["name", "id", "schema", "attributes", "layout", "root", "entries", "samples"]
        fields = self.commit()
        column = next(column for column in fields[2] if column[0] == name)
        for field, value in changes.items():
            column[places.index(field)] = value
        self.move(encode(fields))


@contextmanager
def rewriting(path: Path) -> Iterator[Rows]:
    """The rows of the repository in ``path``; what is written is there afterwards."""
    with (
        lmdb.open(str(path / ".hangar" / "db"), max_dbs=64, map_size=2**26) as environment,
        environment.begin(write=True) as transaction,
    ):
        yield Rows(environment, transaction)
