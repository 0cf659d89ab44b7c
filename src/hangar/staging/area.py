"""The staging area of the one writer: a list of columns on a commit, in memory and in the database."""

from __future__ import annotations

from copy import copy

import msgspec

from hangar import limits
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest, record_digest
from hangar.objects.attributes import AttributeMap, decode_attributes, encode_attributes
from hangar.objects.commit import FLAT, NESTED, ColumnEntry
from hangar.objects.records import store_record
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.staging.column import WorkingColumn, tree_of
from hangar.staging.rows import (
    HEAD,
    STAGING_VERSION,
    ColumnRow,
    HeadRow,
    clear_staging,
    column_key,
    delete_entries,
    encode_entries,
)
from hangar.staging.staged import StagedColumns

__all__ = ["Staging"]


class Staging(StagedColumns):
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
        with db.read() as transaction:
            super().__init__(db, nodes, transaction, branch, head)

    def _load(self, transaction: ReadTransaction, head: Digest | None) -> None:
        self._head_changed = False
        self._attribute_records: dict[Digest, bytes] = {}
        self._schemas: dict[Digest, bytes] = {}
        self._retired: set[int] = set()
        super()._load(transaction, head)

    # ------------------------------------------------------------------ what is in it

    def unpublished(self) -> bool:
        """Whether there is something that the database does not hold yet."""
        return (
            self._head_changed
            or bool(self._retired)
            or None in self._removed.values()
            or any(c.overlay.unsaved or c.replaced or c.row_changed for c in self.columns.values())
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
        column = WorkingColumn(self.nodes, entry, schema, self._lock)
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

    def restore(self, entry: ColumnEntry, schema: ColumnSchema) -> None:
        """Put in a column as a commit lists it, in place of the one of its name or id."""
        with self._lock:
            for name in {entry.name, *(column.name for column in self.columns.values() if column.id == entry.id)}:
                if name in self.columns:
                    self.remove(name)
            column = self.add(entry.name, entry.id, schema)
            column.attributes = None if entry.attributes is None else Digest(entry.attributes)
            column.root = tree_of(entry)
            column.replaced = True

    # ------------------------------------------------------------------ schemas and attributes

    def rename(self, old: str, new: str) -> None:
        """Give a column another name, which no other has."""
        with self._lock:
            column = self.columns.pop(old)
            column.name = new
            column.row_changed = True
            self.columns[new] = column

    def set_schema(self, column: WorkingColumn, schema: ColumnSchema) -> None:
        """Give a column another schema, which everything in it must fit."""
        with self._lock:
            self._schemas[schema.digest] = schema.data
            column.schema = schema
            column.row_changed = True

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """The attributes of a digest, stored or not yet."""
        data = self._attribute_records.get(digest)
        return super().load_attributes(digest) if data is None else decode_attributes(data)

    def set_attributes(self, column: WorkingColumn | None, values: AttributeMap) -> None:
        """Give a column, or the next commit as a whole (None), other attributes.

        Raises
        ------
        InvalidInputError
            They cannot be attributes; nothing changed.
        """
        data = encode_attributes(values)
        digest = record_digest("attributes", data) if values else None
        owner = self if column is None else column
        with self._lock:
            if digest == owner.attributes:
                return
            if digest is not None:
                self._attribute_records[digest] = data
            owner.attributes = digest
            if column is None:
                self._head_changed = True
            else:
                column.row_changed = True
            self._drop_unnamed_attributes()

    def _drop_unnamed_attributes(self) -> None:
        """Forget attributes that were replaced before they were stored."""
        named = {self.attributes, *(column.attributes for column in self.columns.values())}
        self._attribute_records = {digest: data for digest, data in self._attribute_records.items() if digest in named}

    # ------------------------------------------------------------------ to the database

    def write(self, transaction: WriteTransaction) -> None:
        """Store what is not stored yet. May run again when the transaction is repeated; :meth:`written` concludes it."""
        with self._lock:
            self._write(transaction)

    def _write(self, transaction: WriteTransaction) -> None:
        self.write_records(transaction)
        for number in self._retired:
            delete_entries(transaction, number)
            transaction.delete(STAGING, column_key(number))
        for column_id, known in self._removed.items():
            number = self._take_number() if known is None else known
            self._removed[column_id] = number
            row = ColumnRow(column_id, True, "", b"", None, None, 0, 0)
            transaction.put(STAGING, column_key(number), msgspec.msgpack.encode(row))
        for column in self.columns.values():
            if column.overlay.unsaved or column.replaced or column.row_changed:
                self._write_column(transaction, column)
        head = HeadRow(STAGING_VERSION, self.branch, self.base, self._next_number, self.attributes)
        transaction.put(STAGING, HEAD, msgspec.msgpack.encode(head))

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _write_column(self, transaction: WriteTransaction, column: WorkingColumn) -> None:
        if len(column.overlay) > limits.STAGED_ROWS:
            column.replace_tree()
        if column.number is None:
            column.number = self._take_number()
            column.row_changed = True
        rows = column.overlay.unsaved_rows()
        if column.replaced:
            delete_entries(transaction, column.number)
            rows = column.overlay.cells
            if column.root is not None:
                self.nodes.flush(transaction, [column.root.digest])
        if column.replaced or column.row_changed:
            root = column.root
            row = ColumnRow(
                column.id,
                False,
                column.name,
                column.schema.digest,
                column.attributes,
                None if root is None else root.digest,
                0 if root is None else root.entries,
                0 if root is None else root.samples,
            )
            transaction.put(STAGING, column_key(column.number), msgspec.msgpack.encode(row))
        if rows:
            transaction.put_many(STAGING, encode_entries(column.number, rows))

    def write_records(self, transaction: WriteTransaction) -> None:
        """Store schemas and attributes that are not stored yet."""
        for data in self._schemas.values():
            store_record(transaction, "schema", data)
        for data in self._attribute_records.values():
            store_record(transaction, "attributes", data)

    def written(self) -> None:
        """What :meth:`write` stored is durable."""
        with self._lock:
            self._schemas.clear()
            self._attribute_records.clear()
            self._head_changed = False
            self._retired.clear()
            stored = False
            for column in self.columns.values():
                stored |= column.replaced
                column.overlay.unsaved = set()
                column.replaced = column.row_changed = False
            if stored or self.nodes.pending_bytes > limits.STAGED_NODE_BYTES:
                self._forget_merged_trees()

    def _forget_merged_trees(self) -> None:
        """Let go of nodes of trees that were merged in between, which no row names."""
        for column in self.columns.values():
            column.forget_merged()
        self.nodes.written()

    def spill(self) -> None:
        """Store the nodes of a batch that has grown large, so that they need not stay in memory; no row names them yet."""
        if self.nodes.pending_bytes <= limits.BATCH_SPILL_BYTES:
            return
        with self._lock:
            for column in self.columns.values():
                column.replace_tree()
            roots = [column.root.digest for column in self.columns.values() if column.root is not None]
            self._db.update(lambda transaction: self.nodes.flush(transaction, roots))
            self._forget_merged_trees()

    def clear(self, transaction: WriteTransaction) -> None:
        """Delete every row: a commit holds the content now, or it is given up."""
        clear_staging(transaction)

    def rebase(self, digest: Digest | None) -> None:
        """Stand on a commit, with what the database has staged on it; what is here is forgotten."""
        with self._lock:
            fresh = copy(self)
            with self._db.read() as transaction:
                fresh._load(transaction, digest)
            # At once: what threads read meanwhile is all of the old state or all of the new, never columns without their rows.
            self.__dict__.update(fresh.__dict__)
            self.nodes.written()
