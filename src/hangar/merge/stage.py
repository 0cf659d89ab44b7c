"""Stages a merge: applies the changes of theirs to the staging area, and collects the conflicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hangar.diff.threeway import ColumnMerge, Conflict, ThreeWay
from hangar.diff.threeway_samples import ConflictKind
from hangar.digest import Digest
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.node import ARRAYS
from hangar.objects.records import load_commit
from hangar.staging import CONFLICT_KINDS, ConflictName, ConflictRow
from hangar.staging.column import StagedBatch

if TYPE_CHECKING:
    from hangar.columns.base import WriteSession
    from hangar.db import Database

__all__ = ["conflict_of", "conflict_rows", "name_of", "stage_changes", "storable"]


def stage_changes(session: WriteSession, merge: ThreeWay) -> list[Conflict]:
    """Apply a merge to the staging area, and return its conflicts. Where there is a conflict, ours stays.

    The content of the staging area must equal ours, and the caller is in ``session.writing()``.
    """
    staging = session.staging
    conflicts = list(merge.conflicts)
    here = {column.id: column.merged for column in merge.columns if column.ours is not None}
    for column in merge.columns:
        if column.ours is not None and column.merged is None:
            staging.remove(column.ours.name)
    moved = {staging.by_id[one].name: entry.name for one, entry in here.items() if entry is not None}
    staging.rename_all({old: new for old, new in moved.items() if old != new})
    for column in merge.columns:
        if column.merged is not None:
            if column.ours is None:
                staging.restore(column.merged, merge.records.schema(column.merged.schema))
            else:
                _stage_column(session, merge, column, conflicts)
    staging.set_attributes(None, merge.records.attribute_map(merge.attributes))
    return conflicts


def _stage_column(session: WriteSession, merge: ThreeWay, column: ColumnMerge, conflicts: list[Conflict]) -> None:
    ours, merged = column.ours, column.merged
    assert ours is not None
    assert merged is not None
    staging, working = session.staging, session.staging.by_id[column.id]
    if merged.schema != ours.schema:
        staging.set_schema(working, merge.records.schema(merged.schema))
    if merged.attributes != ours.attributes:
        staging.set_attributes(working, merge.records.attribute_map(merged.attributes))
    if merged.root != ours.root:
        working.put(StagedBatch(None, merged.tree))
    arrays = working.schema.known_form and working.schema.form.kind == ARRAYS
    for batch in merge.batches(column):
        if arrays:
            # Merged arrays are new records, which the rows of conflicts name too.
            cells = [*batch.cells, *(cell for one in batch.conflicts for cell in (one.base, one.ours, one.theirs))]
            session.nodes.adopt(merge.records.nodes, [Digest(cell) for cell in cells if cell is not None])
            staging.keep_nodes(Digest(cell) for cell in cells if cell is not None)
        if batch.keys:
            working.set_many(batch.keys, batch.cells)
            session.spill_if_large()
        conflicts += batch.conflicts


# ---------------------------------------------------------------------------------------------------- rows


def storable(db: Database, conflicts: Iterable[Conflict], bases: Sequence[Digest]) -> Iterator[Conflict]:
    """The conflicts, with columns of stored commits only.

    The columns of a virtual base exist in memory only. The column of the first real base that has it is used instead.
    """
    if len(bases) < 2:
        yield from conflicts
        return
    commits: list[Commit] = [load_commit(db, digest) for digest in bases]
    known = {entry.id: entry for commit in reversed(commits) for entry in commit.columns}

    def stored(entry: ColumnEntry | None) -> ColumnEntry | None:
        return None if entry is None else known.get(entry.id)

    for conflict in conflicts:
        if conflict.subject == "column":
            conflict = conflict._replace(base=stored(conflict.base))
        elif conflict.subject == "clash":
            conflict = conflict._replace(base=tuple(map(stored, conflict.base)))
        yield conflict


def name_of(conflict: Conflict) -> ConflictName:
    """The name that a conflict is stored under."""
    return conflict.subject, conflict.column, conflict.key


def conflict_rows(
    conflicts: Iterable[Conflict], resolved: Mapping[ConflictName, str]
) -> dict[ConflictName, ConflictRow]:
    """Rows for conflicts; ``resolved`` has the resolution of those that are resolved."""
    rows = {}
    for one in conflicts:
        name = name_of(one)
        kind = CONFLICT_KINDS.index(one.kind)
        rows[name] = ConflictRow(None, kind, one.base, one.ours, one.theirs, resolved.get(name))
    return rows


def conflict_of(name: ConflictName, row: ConflictRow) -> Conflict:
    """The conflict of a row."""
    subject, column, key = name
    kind: ConflictKind = CONFLICT_KINDS[row.kind]
    return Conflict(subject, kind, column, key, row.base, row.ours, row.theirs)  # type: ignore[arg-type]
