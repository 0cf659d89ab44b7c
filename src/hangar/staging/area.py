"""The staging area of the one writer: a list of columns on a commit, in memory and in the database."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from hangar import limits
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest, record_digest
from hangar.errors import InvalidStateError
from hangar.objects.attributes import AttributeMap, decode_attributes, encode_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.records import store_record
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.staging.column import WorkingColumn
from hangar.staging.rows import (
    HEAD,
    STAGING_VERSION,
    ColumnRow,
    HeadRow,
    Merge,
    clear_staging,
    column_key,
    delete_entries,
    encode_entries,
)
from hangar.staging.staged import StagedColumns

__all__ = ["Staging"]

encode: Final = msgspec.msgpack.Encoder().encode


class _State(StagedColumns):
    """What is staged, and what of it the database does not hold yet."""

    def __init__(
        self,
        db: Database,
        nodes: NodeStore,
        transaction: ReadTransaction,
        branch: str,
        head: Digest | None,
        lock: threading.RLock,
    ) -> None:
        super().__init__(db, nodes, transaction, branch, head, lock)
        self.head_changed = False
        self.attribute_records: dict[Digest, bytes] = {}
        self.schemas: dict[Digest, bytes] = {}
        self.retired: set[int] = set()


class Staging:
    """The staging area of the one writer, on ``branch``.

    Parameters
    ----------
    db
        Database of the repository.
    nodes
        The writer's own node store: its pending nodes are those of the staging area.
    branch
        Branch the writer stands on; rows staged on another must not exist (see :func:`read_staged`).
    head
        Commit of that branch, None before the first.
    """

    def __init__(self, db: Database, nodes: NodeStore, branch: str, head: Digest | None) -> None:
        self._db = db
        self.nodes = nodes
        self.branch = branch
        # Readers of a writer's columns merge trees too, and may do so on threads of their own.
        self._lock = threading.RLock()
        self._state = self._load(head)

    def _load(self, head: Digest | None) -> _State:
        with self._db.read() as transaction:
            return _State(self._db, self.nodes, transaction, self.branch, head, self._lock)

    # ------------------------------------------------------------------ what is in it

    @property
    def base(self) -> Digest | None:
        """The commit that the branch stands on, None before the first."""
        return self._state.base

    @property
    def base_commit(self) -> Commit | None:
        """That commit itself."""
        return self._state.base_commit

    @property
    def parents(self) -> list[Digest]:
        """Parents of the next commit: the base first, and what is merged into it."""
        return list(self._state.parents)

    @property
    def merge(self) -> Merge | None:
        """The merge that is going on, None where there is none."""
        return self._state.merge

    @property
    def columns(self) -> dict[str, WorkingColumn]:
        """The columns by name."""
        return self._state.columns

    @property
    def by_id(self) -> dict[bytes, WorkingColumn]:
        """The columns by id."""
        return self._state.by_id

    @property
    def attributes(self) -> Digest | None:
        """Digest of the attributes of the next commit as a whole."""
        return self._state.attributes

    def entries(self) -> list[ColumnEntry]:
        """The columns as the next commit would list them, by name."""
        return self._state.entries()

    def changed(self) -> bool:
        """Whether a commit would differ from the one that the staging area stands on, or end a merge."""
        return self._state.changed()

    def unpublished(self) -> bool:
        """Whether there is something that the database does not hold yet."""
        state = self._state
        return (
            state.head_changed
            or bool(state.retired)
            or None in state.removed.values()
            or any(c.overlay.unsaved or c.replaced or c.row_changed for c in state.columns.values())
        )

    # ------------------------------------------------------------------ columns

    def add(self, name: str, column_id: bytes, schema: ColumnSchema) -> WorkingColumn:
        """Put in a new, empty column."""
        return self._put(ColumnEntry.empty(name, column_id, schema.digest, nested=schema.nested), schema)

    def _put(self, record: ColumnEntry, schema: ColumnSchema) -> WorkingColumn:
        state = self._state
        column = WorkingColumn(self.nodes, record, schema, self._lock)
        column.row_changed = True
        number = state.removed.pop(record.id, None)
        if number is not None:
            state.retired.add(number)
        state.columns[record.name] = state.by_id[record.id] = column
        state.schemas[schema.digest] = schema.data
        return column

    def remove(self, name: str) -> None:
        """Take a column out."""
        state = self._state
        column = state.columns.pop(name)
        del state.by_id[column.id]
        if column.number is not None:
            state.retired.add(column.number)
        if any(entry.id == column.id for entry in state.base_entries()):
            state.removed[column.id] = None

    def restore(self, entry: ColumnEntry, schema: ColumnSchema) -> None:
        """Put in a column as a commit lists it, in place of the one of its name or id."""
        with self._lock:
            for name in {entry.name, *(column.name for column in self.columns.values() if column.id == entry.id)}:
                if name in self.columns:
                    self.remove(name)
            self._put(entry, schema).replaced = True

    def rename(self, old: str, new: str) -> None:
        """Give a column another name, which no other has."""
        with self._lock:
            column = self.columns.pop(old)
            column.change_record(name=new)
            self.columns[new] = column

    # ------------------------------------------------------------------ schemas and attributes

    def set_schema(self, column: WorkingColumn, schema: ColumnSchema) -> None:
        """Give a column another schema, which everything in it must fit."""
        with self._lock:
            self._state.schemas[schema.digest] = schema.data
            column.schema = schema
            column.change_record(schema=schema.digest)

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """The attributes of a digest, stored or not yet."""
        state = self._state
        data = state.attribute_records.get(digest)
        return state.load_attributes(digest) if data is None else decode_attributes(data)

    def set_attributes(self, column: WorkingColumn | None, values: AttributeMap) -> None:
        """Give a column, or the next commit as a whole (None), other attributes.

        Raises
        ------
        InvalidInputError
            They cannot be attributes; nothing changed.
        """
        data = encode_attributes(values)
        digest = record_digest("attributes", data) if values else None
        with self._lock:
            state = self._state
            if digest == (state.attributes if column is None else column.attributes):
                return
            if digest is not None:
                state.attribute_records[digest] = data
            if column is None:
                state.head_changed = True
                state.attributes = digest
            else:
                column.change_record(attributes=digest)
            self._drop_unnamed_attributes()

    def _drop_unnamed_attributes(self) -> None:
        """Forget attributes that were replaced before they were stored."""
        state = self._state
        named = {state.attributes, *(column.attributes for column in state.columns.values())}
        state.attribute_records = {digest: data for digest, data in state.attribute_records.items() if digest in named}

    # ------------------------------------------------------------------ merging

    def start_merge(self, others: Sequence[Digest], merge: Merge) -> None:
        """Note that commits are being merged in: they are further parents of the next commit, until that is made or given up.

        What the merge changes in the columns is staged like any change.

        Raises
        ------
        InvalidStateError
            A merge is going on already, or there is no commit to merge into.
        """
        with self._lock:
            state = self._state
            if state.merge is not None:
                raise InvalidStateError(
                    f"a merge of {state.merge.name!r} is going on: commit it, or reset the staging area, before another"
                )
            if state.base is None:
                raise InvalidStateError("there is no commit to merge into yet")
            state.head_changed = True
            state.parents = list(dict.fromkeys([state.base, *others]))
            state.merge = merge if len(state.parents) > 1 else None

    # ------------------------------------------------------------------ to the database

    def write(self, transaction: WriteTransaction) -> None:
        """Store what is not stored yet. May run again when the transaction is repeated; :meth:`written` concludes it."""
        with self._lock:
            self._write(transaction)

    def _write(self, transaction: WriteTransaction) -> None:
        state = self._state
        self.write_records(transaction)
        for number in state.retired:
            delete_entries(transaction, number)
            transaction.delete(STAGING, column_key(number))
        for entry in state.base_entries():
            if entry.id in state.removed:
                number = state.removed[entry.id] or self._take_number()
                state.removed[entry.id] = number
                transaction.put(STAGING, column_key(number), encode(ColumnRow(True, entry)))
        for column in state.columns.values():
            if column.overlay.unsaved or column.replaced or column.row_changed:
                self._write_column(transaction, column)
        head = HeadRow(STAGING_VERSION, self.branch, state.parents, state.next_number, state.attributes, state.merge)
        transaction.put(STAGING, HEAD, encode(head))

    def _take_number(self) -> int:
        self._state.next_number += 1
        return self._state.next_number - 1

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
            if column.record.root is not None:
                self.nodes.flush(transaction, [column.record.root])
        if column.replaced or column.row_changed:
            transaction.put(STAGING, column_key(column.number), encode(ColumnRow(False, column.record)))
        if rows:
            transaction.put_many(STAGING, encode_entries(column.number, rows))

    def write_records(self, transaction: WriteTransaction) -> None:
        """Store schemas and attributes that are not stored yet."""
        for data in self._state.schemas.values():
            store_record(transaction, "schema", data)
        for data in self._state.attribute_records.values():
            store_record(transaction, "attributes", data)

    def written(self) -> None:
        """What :meth:`write` stored is durable."""
        with self._lock:
            state = self._state
            state.schemas.clear()
            state.attribute_records.clear()
            state.head_changed = False
            state.retired.clear()
            stored = False
            for column in state.columns.values():
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
            roots = [column.record.root for column in self.columns.values() if column.record.root is not None]
            self._db.update(lambda transaction: self.nodes.flush(transaction, roots))
            self._forget_merged_trees()

    def clear(self, transaction: WriteTransaction) -> None:
        """Delete every row: a commit holds the content now, or it is given up."""
        clear_staging(transaction)

    def rebase(self, digest: Digest | None) -> None:
        """Stand on a commit, with what the database has staged on it; what is here is forgotten."""
        with self._lock:
            # One assignment: what threads read meanwhile is all of the old state or all of the new.
            self._state = self._load(digest)
            self.nodes.written()
