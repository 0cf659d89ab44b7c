"""The writable staging area: a list of columns based on a commit, in memory and in the database."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from hangar import limits
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest, record_digest
from hangar.errors import InvalidStateError
from hangar.objects.attributes import AttributeMap, decode_attributes, encode_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.node import ARRAYS
from hangar.objects.records import store_record
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.staging.column import WorkingColumn
from hangar.staging.conflicts import (
    CONFLICTS_VERSION,
    ConflictHead,
    ConflictName,
    ConflictRow,
    read_conflicts,
    write_conflicts,
)
from hangar.staging.imports import ImportRow, import_key
from hangar.staging.refusals import in_progress
from hangar.staging.rows import (
    HEAD,
    STAGING_VERSION,
    ColumnRow,
    HeadRow,
    Operation,
    clear_staging,
    column_key,
    delete_entries,
    encode_entries,
)
from hangar.staging.staged import StagedColumns

__all__ = ["Staging"]

encode: Final = msgspec.msgpack.Encoder().encode


class _State(StagedColumns):
    """The staged columns, and which of their records are not in the database yet."""

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
        self.conflict_rows: dict[ConflictName, ConflictRow] = {}
        self.changed_imports: set[Digest] = set()
        self.kept: set[Digest] = set()


class Staging:
    """The writable staging area on ``branch``; used by the one writer.

    Parameters
    ----------
    db
        Database of the repository.
    nodes
        The writer's own node store: its pending nodes are those of the staging area.
    branch
        Branch that the writer writes to; there must be no changes staged on another one (see :func:`read_staged`).
    head
        Commit of that branch, None before the first.
    """

    def __init__(self, db: Database, nodes: NodeStore, branch: str, head: Digest | None) -> None:
        self._db = db
        self.nodes = nodes
        self.branch = branch
        # Readers of a writer's columns merge trees too, possibly on other threads.
        self._lock = threading.RLock()
        self._state = self._load(head)

    def _load(self, head: Digest | None) -> _State:
        with self._db.read() as transaction:
            return _State(self._db, self.nodes, transaction, self.branch, head, self._lock)

    # ------------------------------------------------------------------ content

    @property
    def base(self) -> Digest | None:
        """The base commit: the head of the branch, None before the first commit."""
        return self._state.base

    @property
    def base_commit(self) -> Commit | None:
        """The decoded base commit."""
        return self._state.base_commit

    @property
    def parents(self) -> list[Digest]:
        """Parents of the next commit: the base first, then the commits being merged."""
        return list(self._state.parents)

    @property
    def operation(self) -> Operation | None:
        """The merge, cherry-pick or revert in progress, None if there is none."""
        return self._state.operation

    @property
    def sources(self) -> list[Digest]:
        """The commits that staged content comes from; see :class:`StagedColumns`."""
        return self._state.sources

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
        """Digest of the attributes of the next commit."""
        return self._state.attributes

    def entries(self) -> list[ColumnEntry]:
        """The columns as the next commit would list them, by name."""
        return self._state.entries()

    def changed(self) -> bool:
        """Whether the content differs from the base commit, or an operation is in progress."""
        return self._state.changed()

    def differs(self) -> bool:
        """Whether the content differs from the base commit."""
        return self._state.differs()

    def unpublished(self) -> bool:
        """Whether something is not in the database yet."""
        state = self._state
        return (
            state.head_changed
            or bool(state.conflict_rows)
            or bool(state.retired)
            or bool(state.changed_imports)
            or None in state.removed.values()
            or any(c.overlay.unsaved or c.replaced or c.row_changed for c in state.columns.values())
        )

    # ------------------------------------------------------------------ columns

    def add(self, name: str, column_id: bytes, schema: ColumnSchema) -> WorkingColumn:
        """Add a new, empty column."""
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
        """Remove a column."""
        state = self._state
        column = state.columns.pop(name)
        del state.by_id[column.id]
        if column.number is not None:
            state.retired.add(column.number)
        if any(entry.id == column.id for entry in state.base_entries()):
            state.removed[column.id] = None
        for recipe, progress in list(state.imports.items()):
            if column.id in progress.columns:
                del state.imports[recipe]
                state.changed_imports.add(recipe)

    def restore(self, entry: ColumnEntry, schema: ColumnSchema) -> None:
        """Restore a column as a commit lists it; it replaces the column with the same name or id."""
        with self._lock:
            for name in {entry.name, *(column.name for column in self.columns.values() if column.id == entry.id)}:
                if name in self.columns:
                    self.remove(name)
            self._put(entry, schema).replaced = True

    def rename(self, old: str, new: str) -> None:
        """Rename a column; no other column may have the new name."""
        self.rename_all({old: new})

    def rename_all(self, names: Mapping[str, str]) -> None:
        """Rename columns, from old name to new name, all at once; the names of all columns must differ afterwards."""
        with self._lock:
            moved = [(self.columns.pop(old), new) for old, new in names.items()]
            for column, new in moved:
                column.change_record(name=new)
                self.columns[new] = column

    # ------------------------------------------------------------------ schemas and attributes

    def set_schema(self, column: WorkingColumn, schema: ColumnSchema) -> None:
        """Change the schema of a column; all its values must fit the new schema."""
        with self._lock:
            self._state.schemas[schema.digest] = schema.data
            column.schema = schema
            column.change_record(schema=schema.digest)

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """The attributes with this digest, stored or not yet stored."""
        state = self._state
        data = state.attribute_records.get(digest)
        return state.load_attributes(digest) if data is None else decode_attributes(data)

    def set_attributes(self, column: WorkingColumn | None, values: AttributeMap) -> None:
        """Set the attributes of a column, or of the next commit (``column`` is None).

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

    # ------------------------------------------------------------------ bulk imports

    def import_progress(self, recipe: Digest) -> ImportRow | None:
        """Progress of the import with this recipe, None if it has staged nothing."""
        return self._state.imports.get(recipe)

    def set_import_progress(self, recipe: Digest, progress: ImportRow | None) -> None:
        """Record the progress of an import, to be stored together with what it wrote; None forgets it."""
        with self._lock:
            state = self._state
            if progress is None:
                state.imports.pop(recipe, None)
            else:
                state.imports[recipe] = progress
            state.changed_imports.add(recipe)

    # ------------------------------------------------------------------ operations in progress

    def start_operation(self, operation: Operation, others: Sequence[Digest] = ()) -> None:
        """Record an operation in progress: ``others`` are further parents of the next commit until it ends.

        What it changes in columns is staged like all other changes.

        Raises
        ------
        InvalidStateError
            Another operation is in progress, or there is no commit to apply it to.
        """
        with self._lock:
            state = self._state
            if state.operation is not None:
                raise InvalidStateError(in_progress(state.operation))
            if state.base is None:
                raise InvalidStateError("there is no commit to apply it to yet")
            state.head_changed = True
            state.parents = list(dict.fromkeys([state.base, *others]))
            state.operation = operation if operation.kind != "merge" or len(state.parents) > 1 else None

    @property
    def conflicts(self) -> ConflictHead | None:
        """Head of the conflicts of the operation in progress; None if it has none."""
        return self._state.conflicts

    def start_conflicts(self, bases: Sequence[Digest], rows: Mapping[ConflictName, ConflictRow]) -> None:
        """Record the conflicts of the operation that was started."""
        with self._lock:
            state = self._state
            unresolved = sum(row.resolution is None for row in rows.values())
            state.conflicts = ConflictHead(CONFLICTS_VERSION, list(bases), len(rows), unresolved)
            state.conflict_rows.update(rows)

    def conflict_rows(self) -> dict[ConflictName, ConflictRow]:
        """All conflicts of the operation in progress, resolved ones too."""
        if self._state.conflicts is None:
            return {}
        with self._lock, self._db.read() as transaction:
            return {**dict(read_conflicts(transaction)), **self._state.conflict_rows}

    def resolve_conflicts(self, rows: Mapping[ConflictName, ConflictRow], resolution: str) -> None:
        """Record that conflicts are resolved; what that changes in columns is staged like all other changes."""
        with self._lock:
            state = self._state
            assert state.conflicts is not None
            newly = sum(row.resolution is None for row in rows.values())
            state.conflicts = replace(state.conflicts, unresolved=state.conflicts.unresolved - newly)
            for name, row in rows.items():
                state.conflict_rows[name] = replace(row, resolution=resolution)

    def keep_nodes(self, digests: Iterable[Digest]) -> None:
        """Store these nodes and array records, if they are pending, with the next changes: rows of conflicts will name them."""
        self._state.kept.update(digests)

    # ------------------------------------------------------------------ to the database

    def write(self, transaction: WriteTransaction) -> None:
        """Store all changes that are not in the database yet.

        May run again if the transaction is repeated. Call :meth:`written` after the commit of the transaction.
        """
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
        for recipe in state.changed_imports:
            progress = state.imports.get(recipe)
            if progress is None:
                transaction.delete(STAGING, import_key(recipe))
            else:
                transaction.put(STAGING, import_key(recipe), encode(progress))
        if state.kept:
            self.nodes.flush(transaction, state.kept)
        if state.conflicts is not None and state.conflict_rows:
            write_conflicts(transaction, state.conflicts, state.conflict_rows)
        head = HeadRow(
            STAGING_VERSION, self.branch, state.parents, state.next_number, state.attributes, state.operation
        )
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
        if column.schema.known_form and column.schema.form.kind == ARRAYS:
            # The rows name array records, whose chunk maps are new too.
            self.nodes.flush(transaction, [Digest(cell) for cell in rows.values() if cell is not None])
        if rows:
            transaction.put_many(STAGING, encode_entries(column.number, rows))

    def write_records(self, transaction: WriteTransaction) -> None:
        """Store schemas and attributes that are not stored yet."""
        for data in self._state.schemas.values():
            store_record(transaction, "schema", data)
        for data in self._state.attribute_records.values():
            store_record(transaction, "attributes", data)

    def written(self) -> None:
        """The transaction of :meth:`write` is durable: nothing is unsaved any more."""
        with self._lock:
            state = self._state
            state.schemas.clear()
            state.attribute_records.clear()
            state.head_changed = False
            state.conflict_rows.clear()
            state.retired.clear()
            state.changed_imports.clear()
            state.kept.clear()
            stored = False
            for column in state.columns.values():
                stored |= column.replaced
                column.overlay.unsaved = set()
                column.replaced = column.row_changed = False
            if stored or self.nodes.pending_bytes > limits.STAGED_NODE_BYTES:
                self._forget_merged_trees()

    def _forget_merged_trees(self) -> None:
        """Forget nodes of intermediate merged trees, which no row refers to."""
        for column in self.columns.values():
            column.forget_merged()
        self.nodes.written()

    def spill(self) -> None:
        """Store the nodes of a large batch early, so that they need not stay in memory; no row refers to them yet."""
        if self.nodes.pending_bytes <= limits.BATCH_SPILL_BYTES:
            return
        with self._lock:
            for column in self.columns.values():
                column.replace_tree()
            roots = [column.record.root for column in self.columns.values() if column.record.root is not None]
            roots += self._state.kept
            self._db.update(lambda transaction: self.nodes.flush(transaction, roots))
            self._forget_merged_trees()

    def clear(self, transaction: WriteTransaction) -> None:
        """Delete every row, because a commit now has the content, or because the changes are discarded."""
        clear_staging(transaction)

    def rebase(self, digest: Digest | None) -> None:
        """Load the state that the database has staged on this commit; the state in memory is forgotten."""
        with self._lock:
            # One assignment, so that other threads see either the old state or the new one.
            self._state = self._load(digest)
            self.nodes.written()
