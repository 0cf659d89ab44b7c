"""The conflicts of an operation in progress: read, shown under the names of columns, and selected by what users call them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from hangar.columns.keyspace import lookup_prefix
from hangar.diff.results import AttributeKey, ColumnSchemaKey, Conflicts
from hangar.diff.threeway import Conflict, summarize
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, InvalidTypeError, SampleNotFoundError
from hangar.merge.stage import conflict_of, name_of
from hangar.objects.commit import NESTED, ColumnEntry
from hangar.objects.records import load_record, read_commit
from hangar.schema import ColumnSchema, open_schema
from hangar.schema.keys import lookup_key
from hangar.staging import ConflictName, ConflictRow, Operation, StagedColumns, read_conflicts, read_staged

if TYPE_CHECKING:
    from hangar.db import Database, ReadTransaction
    from hangar.staging import Staging

__all__ = ["MergeState", "columns_by_id", "label", "read_state", "select"]


class MergeState(NamedTuple):
    """A merge, cherry-pick or revert in progress.

    Attributes
    ----------
    staged
        The staging area.
    rows
        All conflicts, resolved ones too.
    columns
        The columns of both sides by id, under the name that they have in the staging area if they are there.
    """

    staged: StagedColumns
    rows: dict[ConflictName, ConflictRow]
    columns: dict[bytes, ColumnEntry]

    @property
    def operation(self) -> Operation:
        """What is in progress."""
        assert self.staged.operation is not None
        return self.staged.operation

    @property
    def left(self) -> int:
        """Number of open conflicts."""
        return 0 if self.staged.conflicts is None else self.staged.conflicts.unresolved

    def ordered(self) -> list[tuple[ConflictName, ConflictRow]]:
        """All conflicts by name of their column, those of samples last and in key order."""

        def place(item: tuple[ConflictName, ConflictRow]) -> tuple[str, bool, bytes]:
            subject, _, key = item[0]
            return label(conflict_of(*item), self.columns) or "", subject == "sample", key

        return sorted(self.rows.items(), key=place)

    def all_conflicts(self) -> Iterator[Conflict]:
        """All conflicts, resolved ones too."""
        return (conflict_of(name, row) for name, row in self.rows.items())

    def schema(self, db: Database, column: bytes) -> ColumnSchema:
        """Schema of a column in conflict."""
        return open_schema(load_record(db, "schema", self.columns[column].schema))

    def summary(self, db: Database) -> Conflicts:
        """The open conflicts as users see them."""
        unresolved = (conflict_of(name, row) for name, row in self.ordered() if row.resolution is None)
        return summarize(unresolved, self.columns, self.staged.nodes, partial(self.schema, db))


def read_state(db: Database) -> MergeState | None:
    """The operation in progress in the database, None if there is none."""
    with db.read() as transaction:
        staged = read_staged(db, transaction)
        if staged is None or staged.operation is None:
            return None
        rows = {} if staged.conflicts is None else dict(read_conflicts(transaction))
        return MergeState(staged, rows, columns_by_id(transaction, staged))


def columns_by_id(transaction: ReadTransaction, staged: StagedColumns | Staging) -> dict[bytes, ColumnEntry]:
    """The columns of all commits that staged content comes from, and of the staging area; those of ours count before others."""
    found = {
        entry.id: entry
        for digest in reversed(staged.sources)
        for entry in read_commit(transaction, Digest(digest)).columns
    }
    return found | {column.id: column.record for column in staged.by_id.values()}


def label(conflict: Conflict, columns: Mapping[bytes, ColumnEntry]) -> str | None:
    """The column that a conflict is listed under; None for attributes of the commit."""
    if conflict.subject == "clash":
        return conflict.key.decode()
    return None if conflict.column is None else columns[conflict.column].name


# ---------------------------------------------------------------------------------------------------- selection


def select(rows: Mapping[ConflictName, ConflictRow], columns: Mapping[bytes, ColumnEntry], keys: Any) -> list[Conflict]:
    """The conflicts that ``keys`` name: see ``Repository.resolve``. Resolved ones only where they are named one by one.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        Nothing of that name is in conflict.
    InvalidTypeError
        A key is of no known form.
    """
    if keys is None:
        return [conflict_of(name, row) for name, row in rows.items() if row.resolution is None]
    by_label: dict[str | None, list[tuple[Conflict, bool]]] = {}
    for name, row in rows.items():
        conflict = conflict_of(name, row)
        by_label.setdefault(label(conflict, columns), []).append((conflict, row.resolution is None))
    found = (one for key in _listed(keys) for one in _of_key(by_label, columns, key))
    return list({name_of(one): one for one in found}.values())


def _listed(keys: Any) -> Iterable[Any]:
    """The keys as an iterable. A single key needs no list: a tuple is one key, unless it consists of tuples."""
    if isinstance(keys, str) or (isinstance(keys, tuple) and not (keys and isinstance(keys[0], tuple))):
        return [keys]
    if not isinstance(keys, Iterable):
        raise InvalidTypeError(f"a conflict is named by a column or a tuple of column and sample, not {keys!r}")
    return keys


def _of_key(
    by_label: Mapping[str | None, Sequence[tuple[Conflict, bool]]], columns: Mapping[bytes, ColumnEntry], key: Any
) -> list[Conflict]:
    parts = (key,) if isinstance(key, str) else key
    if not isinstance(parts, tuple) or not 1 <= len(parts) <= 3 or not isinstance(parts[0], (str, type(None))):
        raise InvalidTypeError(f"a conflict is named by a column or a tuple of column and sample, not {key!r}")
    one_by_one = len(parts) > 1
    here = [one for one, is_open in by_label.get(parts[0], ()) if one_by_one or is_open]
    if not here:
        what = "the commit itself" if parts[0] is None else f"column {parts[0]!r}"
        raise ColumnNotFoundError(f"{what} has no open conflict: `hangar conflicts` lists those there are")
    if isinstance(key, AttributeKey):
        found = [one for one in here if one.subject == "attribute" and one.key == key.attribute.encode()]
    elif isinstance(key, ColumnSchemaKey):
        found = [one for one in here if one.subject not in ("sample", "attribute")]
    elif not one_by_one:
        found = here
    else:
        found = [one for one in here if one.subject == "sample" and _is_of(one, columns, parts[1:])]
    if not found:
        raise SampleNotFoundError(f"{key!r} is not in conflict: `hangar conflicts` lists the conflicts")
    return found


def _is_of(conflict: Conflict, columns: Mapping[bytes, ColumnEntry], names: Sequence[Any]) -> bool:
    """Whether the conflict of a sample is one of the sample, or of the sample and subsample, ``names``."""
    assert conflict.column is not None
    if columns[conflict.column].layout != NESTED:
        return len(names) == 1 and conflict.key == lookup_key(names[0])
    prefix = lookup_prefix(names[0])
    if prefix is None or not conflict.key.startswith(prefix):
        return False
    return len(names) == 1 or conflict.key[len(prefix) :] == lookup_key(names[1])
