"""Read-only view of the staging area in the database, for commands that change nothing.

It is read in one transaction together with its base commit, so a concurrent commit of a writer is seen either
completely or not at all. ``area`` adds the methods that change it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hangar.db import Database, ReadTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.objects.attributes import AttributeMap, load_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.records import read_commit, read_record
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema, open_schema
from hangar.staging.column import WorkingColumn
from hangar.staging.conflicts import ConflictHead, read_conflict_head
from hangar.staging.imports import IMPORT, ImportRow, decode_import, recipe_of
from hangar.staging.rows import (
    COLUMN,
    HEAD,
    LONG_ROW,
    ROW,
    ColumnRow,
    HeadRow,
    Operation,
    decode_column,
    decode_entry,
    decode_head,
    number_of,
)

__all__ = ["StagedColumns", "read_staged", "staged_branch"]


def read_staged(db: Database, transaction: ReadTransaction | None = None) -> StagedColumns | None:
    """The staging area in the snapshot of ``transaction`` (by default a new one); None if nothing is staged.

    Raises
    ------
    CorruptionError
        It cannot be read.
    """
    if transaction is None:
        with db.read() as reading:
            return read_staged(db, reading)
    head = _head(transaction)
    if head is None:
        return None
    return StagedColumns(db, NodeStore(db), transaction, head.branch, head.base)


def staged_branch(transaction: ReadTransaction) -> str | None:
    """The branch that changes are staged on; None if nothing is staged. Reads one row, however much is staged."""
    head = _head(transaction)
    return None if head is None else head.branch


def _head(transaction: ReadTransaction) -> HeadRow | None:
    data = transaction.get(STAGING, HEAD)
    if data is None:
        transaction.check_count(STAGING)
        return None
    return decode_head(data)


class StagedColumns:
    """Columns of a base commit with the staged changes applied.

    Parameters
    ----------
    db
        Database of the repository.
    nodes
        Node store of the trees; keeps nodes that are not stored yet.
    transaction
        Transaction for all reads.
    branch, head
        Branch of the staged changes, and its head commit (None: before the first). Without rows in the
        database the columns are those of that commit.
    lock
        Held while the columns change; by default a new lock.

    Attributes
    ----------
    base, base_commit
        The commit that the changes are based on.
    parents
        Parents of the next commit: the base, then the commits being merged.
    operation
        The merge, cherry-pick or revert in progress, None if there is none.
    conflicts
        Head of its conflicts, None if it has none.
    columns, by_id
        The columns, by name and by id.
    attributes
        Digest of the attributes of the next commit.
    imports
        Progress of bulk imports, by the digest of their recipe.

    Raises
    ------
    CorruptionError
        The database has changes staged on another branch or commit, or they cannot be read.
    """

    def __init__(
        self,
        db: Database,
        nodes: NodeStore,
        transaction: ReadTransaction,
        branch: str,
        head: Digest | None,
        lock: threading.RLock | None = None,
    ) -> None:
        self._db = db
        self.nodes = nodes
        self.branch = branch
        # Readers of a writer's columns merge trees too, possibly on other threads.
        self._lock = lock or threading.RLock()
        self.base = head
        self.parents: list[Digest] = [] if head is None else [head]
        self.operation: Operation | None = None
        self.conflicts: ConflictHead | None = None
        self.base_commit: Commit | None = None if head is None else read_commit(transaction, head)
        self.columns: dict[str, WorkingColumn] = {}
        self.by_id: dict[bytes, WorkingColumn] = {}
        self.attributes = None if self.base_commit is None else self.base_commit.attributes
        self.next_number = 1
        self.removed: dict[bytes, int | None] = {}
        self.imports: dict[Digest, ImportRow] = {}
        for entry in self.base_entries():
            schema = _schema(transaction, entry.schema)
            self.columns[entry.name] = WorkingColumn(self.nodes, entry, schema, self._lock)
        self._load_rows(transaction)
        self.by_id = {column.id: column for column in self.columns.values()}

    def _load_rows(self, transaction: ReadTransaction) -> None:
        data = transaction.get(STAGING, HEAD)
        if data is None:
            return
        head = decode_head(data)
        if head.branch != self.branch or head.base != self.base:
            raise CorruptionError(
                f"the staging area is based on branch {head.branch!r} at {_short(head.base)}, "
                f"but the branch is at {_short(self.base)}"
            )
        self.conflicts = read_conflict_head(transaction)
        if self.conflicts is not None and head.operation is None:
            raise CorruptionError("there are conflicts, and nothing is in progress that could have them")
        self.parents, self.operation = head.parents, head.operation
        for digest in self.sources[1:]:
            read_commit(transaction, digest)
        self.next_number, self.attributes = head.next_number, head.attributes
        numbers: dict[int, WorkingColumn] = {}
        for key, value in transaction.scan(STAGING):
            number = number_of(key)
            if key[:1] == COLUMN:
                self._load_column(transaction, number, decode_column(value), numbers)
            elif key[:1] in (ROW, LONG_ROW):
                if number not in numbers:
                    raise CorruptionError(
                        f"the staging area has rows of column number {number}, which it does not list"
                    )
                entry, cell = decode_entry(key, value)
                numbers[number].overlay.cells[entry] = cell
            elif key[:1] == IMPORT:
                self.imports[recipe_of(key)] = decode_import(value)
            elif key != HEAD:
                raise CorruptionError("the staging area has a row of an unknown kind")

    def _load_column(
        self, transaction: ReadTransaction, number: int, row: ColumnRow, numbers: dict[int, WorkingColumn]
    ) -> None:
        record = row.column
        for name, column in list(self.columns.items()):
            if column.id == record.id:
                del self.columns[name]
        if row.removed:
            self.removed[record.id] = number
            return
        column = WorkingColumn(self.nodes, record, _schema(transaction, record.schema), self._lock)
        column.number = number
        self.columns[record.name] = numbers[number] = column

    # ------------------------------------------------------------------ content

    def entries(self) -> list[ColumnEntry]:
        """The columns as the next commit would list them, by name."""
        with self._lock:
            return [self.columns[name].entry() for name in sorted(self.columns)]

    @property
    def sources(self) -> list[Digest]:
        """The commits that staged content comes from: the parents of the next commit, and what is being picked or reverted."""
        return [*self.parents, *(() if self.operation is None else self.operation.commits)]

    def changed(self) -> bool:
        """Whether the content differs from the base commit, or an operation is in progress."""
        return self.operation is not None or self.differs()

    def differs(self) -> bool:
        """Whether the content differs from the base commit."""
        base = self.base_entries()
        attributes = None if self.base_commit is None else self.base_commit.attributes
        return self.attributes != attributes or len(base) != len(self.columns) or list(base) != self.entries()

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """The attributes with this digest."""
        return load_attributes(self._db, digest)

    def base_entries(self) -> Sequence[ColumnEntry]:
        """The columns of the base commit."""
        return () if self.base_commit is None else self.base_commit.columns


def _schema(transaction: ReadTransaction, digest: Digest) -> ColumnSchema:
    return open_schema(read_record(transaction, "schema", digest))


def _short(digest: bytes | None) -> str:
    return "no commit" if digest is None else digest.hex()[:12]
