"""What a writer has changed and not yet committed.

The staging area is a list of columns, as a commit has, where each column is a tree with an overlay of changed entries on it. Few
changes stay in the overlay, a row each; many are folded into the tree, whose nodes are then stored at once: the same nodes
that the commit will name, so a large batch is not written twice. It is dirty when its columns differ from those of the commit
it stands on, whatever was done in between. Everything acknowledged survives the process; what is not yet acknowledged lives in memory
alone, and ``reload`` forgets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import lt
from typing import TypeVar

import msgspec

from hangar import limits
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import SCHEMAS, STAGING
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError
from hangar.objects.apply import apply
from hangar.objects.commit import FLAT, NESTED, ColumnEntry, Commit
from hangar.objects.lookup import get
from hangar.objects.node import Root
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema, load_schema

__all__ = ["Staging", "WorkingColumn", "clear_staging", "staged_on", "tree_of"]

T = TypeVar("T")

STAGING_VERSION = 0
_HEAD = b"\x00"
_COLUMN = b"\x01"
_ROW = b"\x02"
_LONG_ROW = b"\x03"
_NUMBER_BYTES = 4
_LONGEST_ROW_KEY = limits.DATABASE_MAX_KEY_BYTES - 1 - _NUMBER_BYTES
_TOMBSTONE = b"\x00"
_PRESENT = b"\x01"
_FOLD_ROWS = 16 * limits.STAGED_ROWS
"""An overlay in memory is folded when it has outgrown this, so that a batch without end is bounded."""


class _Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    branch: str
    base: bytes | None
    next_number: int
    attributes: bytes | None


class _ColumnRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    id: bytes
    removed: bool
    name: str
    schema: bytes
    attributes: bytes | None
    root: bytes | None
    entries: int
    samples: int


_head_decoder = msgspec.msgpack.Decoder(_Head)
_column_decoder = msgspec.msgpack.Decoder(_ColumnRow)
_long_decoder = msgspec.msgpack.Decoder(tuple[bytes, bytes])


def tree_of(entry: ColumnEntry) -> Root | None:
    """The tree of a column."""
    return None if entry.root is None else Root(Digest(entry.root), entry.entries, entry.samples)


class WorkingColumn:
    """One column of the staging area: a tree, and an overlay of encoded key -> cell (None: deleted) on it."""

    __slots__ = (
        "_folded",
        "_nodes",
        "attributes",
        "id",
        "name",
        "number",
        "overlay",
        "replaced",
        "root",
        "row_changed",
        "schema",
        "unsaved",
    )

    def __init__(self, nodes: NodeStore, entry: ColumnEntry, schema: ColumnSchema) -> None:
        self._nodes = nodes
        self.id, self.name, self.schema, self.attributes = entry.id, entry.name, schema, entry.attributes
        self.root = tree_of(entry)
        self.overlay: dict[bytes, bytes | None] = {}
        self.unsaved: dict[bytes, bytes | None] = {}
        self.number: int | None = None
        self.replaced = False
        self.row_changed = False
        self._folded: tuple[Root | None] | None = None

    def cell(self, key: bytes) -> bytes | None:
        """What the column holds under the encoded ``key``."""
        if key in self.overlay:
            return self.overlay[key]
        return None if self.root is None else get(self._nodes, self.root.digest, key)

    def set(self, key: bytes, cell: bytes | None) -> None:
        """Change one entry; None deletes it."""
        self.overlay[key] = self.unsaved[key] = cell
        self._folded = None
        if len(self.overlay) > _FOLD_ROWS:
            self.adopt()

    def set_many(self, keys: Sequence[bytes], cells: Sequence[bytes | None]) -> None:
        """Change many entries; the last of several for one key counts. A large batch goes straight into the tree."""
        if len(keys) <= limits.STAGED_ROWS:
            batch = dict(zip(keys, cells, strict=True))
            self.overlay.update(batch)
            self.unsaved.update(batch)
            self._folded = None
            return
        self.adopt()
        if not all(map(lt, keys, islice(keys, 1, None))):
            batch = dict(zip(keys, cells, strict=True))
            keys = sorted(batch)
            cells = [batch[key] for key in keys]
        self.root = apply(self._nodes, self.schema.form, self.root, keys, cells)
        self.replaced = True
        self._folded = None

    def fold(self) -> Root | None:
        """The tree with the overlay applied (kept until the next change)."""
        if not self.overlay:
            return self.root
        if self._folded is None:
            ordered = sorted(self.overlay)
            cells = [self.overlay[key] for key in ordered]
            self._folded = (apply(self._nodes, self.schema.form, self.root, ordered, cells),)
        return self._folded[0]

    def adopt(self) -> None:
        """Make the folded tree the column's tree, and begin a new overlay."""
        if self.overlay:
            self.root = self.fold()
            self.overlay, self.unsaved = {}, {}
            self.replaced = True
        self._folded = None

    def forget_fold(self) -> None:
        """Let the folded tree be made again when it is asked for."""
        self._folded = None

    def entry(self) -> ColumnEntry:
        """The column as a commit would list it."""
        root = self.fold()
        return ColumnEntry(
            name=self.name,
            id=self.id,
            schema=self.schema.digest,
            attributes=self.attributes,
            layout=NESTED if self.schema.nested else FLAT,
            root=None if root is None else root.digest,
            entries=0 if root is None else root.entries,
            samples=0 if root is None else root.samples,
        )


class Staging:
    """The staging area of the one writer, on ``branch``.

    Parameters
    ----------
    db
        Database of the repository.
    nodes
        The writer's own node store: its pending nodes are those of the staging area.
    branch
        Branch the writer stands on; rows staged on another must not exist (see :func:`staged_on`).
    head
        Commit of that branch, None before the first.
    """

    def __init__(self, db: Database, nodes: NodeStore, branch: str, head: Digest | None) -> None:
        self._db = db
        self.nodes = nodes
        self.branch = branch
        self._load(head)

    # ------------------------------------------------------------------ state

    def _load(self, head: Digest | None) -> None:
        self.base = head
        self.base_commit: Commit | None = None if head is None else load_commit(self._db, head)
        self.columns: dict[str, WorkingColumn] = {}
        self.by_id: dict[bytes, WorkingColumn] = {}
        self.attributes = None if self.base_commit is None else self.base_commit.attributes
        self._schemas: dict[Digest, bytes] = {}
        self._next_number = 1
        self._removed: dict[bytes, int | None] = {}
        self._retired: set[int] = set()
        for entry in () if self.base_commit is None else self.base_commit.columns:
            self.columns[entry.name] = WorkingColumn(self.nodes, entry, self._schema(Digest(entry.schema)))
        with self._db.read() as transaction:
            self._load_rows(transaction)
        self.by_id = {column.id: column for column in self.columns.values()}

    def _schema(self, digest: Digest) -> ColumnSchema:
        return load_schema(load_record(self._db, "schema", digest))

    def _load_rows(self, transaction: ReadTransaction) -> None:
        data = transaction.get(STAGING, _HEAD)
        if data is None:
            return
        head = _decode(_head_decoder, data)
        if head.branch != self.branch or head.base != self.base:
            raise CorruptionError(
                f"the staging area stands on branch {head.branch!r} at {_short(head.base)}, "
                f"but the branch is at {_short(self.base)}"
            )
        self._next_number = head.next_number
        self.attributes = None if head.attributes is None else Digest(head.attributes)
        numbers: dict[int, WorkingColumn] = {}
        for key, value in transaction.scan(STAGING):
            kind = key[:1]
            if kind == _COLUMN:
                self._load_column(int.from_bytes(key[1:], "big"), _decode(_column_decoder, value), numbers)
            elif kind == _ROW:
                _overlay(numbers, key)[key[1 + _NUMBER_BYTES :]] = _cell(value)
            elif kind == _LONG_ROW:
                full, cell = _decode(_long_decoder, value)
                _overlay(numbers, key)[full] = _cell(cell)

    def _load_column(self, number: int, row: _ColumnRow, numbers: dict[int, WorkingColumn]) -> None:
        for name, column in list(self.columns.items()):
            if column.id == row.id:
                del self.columns[name]
        if row.removed:
            self._removed[row.id] = number
            return
        schema = self._schema(Digest(row.schema))
        entry = ColumnEntry(
            name=row.name,
            id=row.id,
            schema=Digest(row.schema),
            attributes=None if row.attributes is None else Digest(row.attributes),
            layout=NESTED if schema.nested else FLAT,
            root=None if row.root is None else Digest(row.root),
            entries=row.entries,
            samples=row.samples,
        )
        column = WorkingColumn(self.nodes, entry, schema)
        column.number = number
        self.columns[row.name] = numbers[number] = column

    def reload(self) -> None:
        """Forget what was not published: the state becomes that of the database."""
        self.nodes.discard()
        self._load(self.base)

    # ------------------------------------------------------------------ what is in it

    def entries(self) -> list[ColumnEntry]:
        """The columns as the next commit would list them, by name."""
        return [self.columns[name].entry() for name in sorted(self.columns)]

    def changed(self) -> bool:
        """Whether a commit would differ from the one that the staging area stands on."""
        base = self._base_entries()
        attributes = None if self.base_commit is None else self.base_commit.attributes
        return self.attributes != attributes or len(base) != len(self.columns) or list(base) != self.entries()

    def unpublished(self) -> bool:
        """Whether there is something that the database does not hold yet."""
        return (
            bool(self._retired)
            or None in self._removed.values()
            or any(c.unsaved or c.replaced or c.row_changed for c in self.columns.values())
        )

    def add(self, name: str, column_id: bytes, schema: ColumnSchema) -> WorkingColumn:
        """Put in a new, empty column."""
        entry = ColumnEntry(
            name=name,
            id=column_id,
            schema=schema.digest,
            attributes=None,
            layout=NESTED if schema.nested else FLAT,
            root=None,
            entries=0,
            samples=0,
        )
        column = WorkingColumn(self.nodes, entry, schema)
        column.row_changed = True
        number = self._removed.pop(column_id, None)
        if number is not None:
            self._retired.add(number)
        self.columns[name] = self.by_id[column_id] = column
        self._schemas[schema.digest] = schema.data
        return column

    def remove(self, name: str) -> None:
        """Take a column out."""
        column = self.columns.pop(name)
        del self.by_id[column.id]
        if column.number is not None:
            self._retired.add(column.number)
        if any(entry.id == column.id for entry in self._base_entries()):
            self._removed[column.id] = None

    def _base_entries(self) -> Sequence[ColumnEntry]:
        return () if self.base_commit is None else self.base_commit.columns

    # ------------------------------------------------------------------ to the database

    def write(self, transaction: WriteTransaction) -> None:
        """Store what is not stored yet. May run again when the transaction is repeated; :meth:`written` concludes it."""
        self.write_schemas(transaction)
        for number in self._retired:
            _delete_rows(transaction, number)
            transaction.delete(STAGING, _COLUMN + _number(number))
        for column_id, known in self._removed.items():
            number = self._take_number() if known is None else known
            self._removed[column_id] = number
            row = _ColumnRow(column_id, True, "", b"", None, None, 0, 0)
            transaction.put(STAGING, _COLUMN + _number(number), msgspec.msgpack.encode(row))
        for column in self.columns.values():
            if column.unsaved or column.replaced or column.row_changed:
                self._write_column(transaction, column)
        head = _Head(STAGING_VERSION, self.branch, self.base, self._next_number, self.attributes)
        transaction.put(STAGING, _HEAD, msgspec.msgpack.encode(head))

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _write_column(self, transaction: WriteTransaction, column: WorkingColumn) -> None:
        if len(column.overlay) > limits.STAGED_ROWS:
            column.adopt()
        if column.number is None:
            column.number = self._take_number()
            column.row_changed = True
        rows = column.unsaved
        if column.replaced:
            _delete_rows(transaction, column.number)
            rows = column.overlay
            if column.root is not None:
                self.nodes.flush(transaction, [column.root.digest])
        if column.replaced or column.row_changed:
            root = column.root
            row = _ColumnRow(
                column.id,
                False,
                column.name,
                column.schema.digest,
                column.attributes,
                None if root is None else root.digest,
                0 if root is None else root.entries,
                0 if root is None else root.samples,
            )
            transaction.put(STAGING, _COLUMN + _number(column.number), msgspec.msgpack.encode(row))
        if rows:
            transaction.put_many(STAGING, sorted(_rows(column.number, rows)))

    def write_schemas(self, transaction: WriteTransaction) -> None:
        """Store the schemas of new columns."""
        for digest, data in self._schemas.items():
            transaction.put(SCHEMAS, digest, data)

    def written(self) -> None:
        """What :meth:`write` stored is durable."""
        self._schemas.clear()
        self._retired.clear()
        stored = False
        for column in self.columns.values():
            stored |= column.replaced
            column.unsaved = {}
            column.replaced = column.row_changed = False
        if stored or self.nodes.pending_bytes > limits.STAGED_NODE_BYTES:
            self._forget_folds()

    def _forget_folds(self) -> None:
        """Let go of nodes of trees that were folded in between, which no row names."""
        for column in self.columns.values():
            column.forget_fold()
        self.nodes.written()

    def spill(self) -> None:
        """Store the nodes of a batch that has grown large, so that they need not stay in memory; no row names them yet."""
        if self.nodes.pending_bytes <= limits.BATCH_SPILL_BYTES:
            return
        for column in self.columns.values():
            column.adopt()
        roots = [column.root.digest for column in self.columns.values() if column.root is not None]
        self._db.update(lambda transaction: self.nodes.flush(transaction, roots))
        self._forget_folds()

    def clear(self, transaction: WriteTransaction) -> None:
        """Delete every row: a commit holds the content now, or it is given up."""
        clear_staging(transaction)

    def rebase(self, digest: Digest | None) -> None:
        """Stand on another commit with nothing staged; its content replaces what is here."""
        self.nodes.discard()
        self._load(digest)


def staged_on(db: Database) -> tuple[str, Digest | None] | None:
    """Branch and commit that the rows of the staging area stand on; None where there are none."""
    with db.read() as transaction:
        data = transaction.get(STAGING, _HEAD)
        if data is None:
            transaction.check_count(STAGING)
            return None
    head = _decode(_head_decoder, data)
    return head.branch, None if head.base is None else Digest(head.base)


def clear_staging(transaction: WriteTransaction) -> None:
    """Delete every row of the staging area."""
    transaction.delete_prefix(STAGING, b"")


def _number(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big")


def _delete_rows(transaction: WriteTransaction, number: int) -> None:
    transaction.delete_prefix(STAGING, _ROW + _number(number))
    transaction.delete_prefix(STAGING, _LONG_ROW + _number(number))


def _rows(number: int, overlay: dict[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
    short, long = _ROW + _number(number), _LONG_ROW + _number(number)
    return [
        (short + key, _TOMBSTONE if cell is None else _PRESENT + cell)
        if len(key) <= _LONGEST_ROW_KEY
        else (
            long + record_digest("key", key),
            msgspec.msgpack.encode((key, _TOMBSTONE if cell is None else _PRESENT + cell)),
        )
        for key, cell in overlay.items()
    ]


def _cell(value: bytes) -> bytes | None:
    return value[1:] if value[:1] == _PRESENT else None


def _overlay(numbers: dict[int, WorkingColumn], key: bytes) -> dict[bytes, bytes | None]:
    number = int.from_bytes(key[1 : 1 + _NUMBER_BYTES], "big")
    if number not in numbers:
        raise CorruptionError(f"the staging area has rows of column number {number}, which it does not list")
    return numbers[number].overlay


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptionError(f"a row of the staging area cannot be read: {error}") from None


def _short(digest: bytes | None) -> str:
    return "no commit" if digest is None else digest.hex()[:12]
