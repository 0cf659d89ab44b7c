"""Plan and preview of a merge: nothing to do, a fast-forward, or a three-way merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from hangar.diff.compare import ColumnPair, count_pair
from hangar.diff.merge_base import merge_base, records_of
from hangar.diff.results import ChangeCounts, Conflicts
from hangar.diff.threeway import ColumnMerge, Conflict, Side, ThreeWay
from hangar.digest import Digest
from hangar.errors import InvalidInputError, StaleRefError
from hangar.objects.records import load_commit
from hangar.objects.store import NodeStore

if TYPE_CHECKING:
    from hangar.db import Database

__all__ = ["MergeKind", "MergePreview", "Plan", "plan_merge", "preview"]

MergeKind: TypeAlias = Literal["up-to-date", "fast-forward", "merge"]


class Plan(NamedTuple):
    """What a merge will do.

    Attributes
    ----------
    kind
        ``'up-to-date'``: ours contains theirs. ``'fast-forward'``: ours is an ancestor of theirs. ``'merge'``: neither.
    ours, theirs
        The two commits; ours is None for a branch without a commit.
    bases
        Their merge bases: the best common ancestors.
    comparison
        The three-way comparison; None unless ``kind`` is ``'merge'``.
    """

    kind: MergeKind
    ours: Digest | None
    theirs: Digest
    bases: list[Digest]
    comparison: ThreeWay | None = None


class MergePreview(NamedTuple):
    """What a merge would do.

    Attributes
    ----------
    kind
        ``'up-to-date'``, ``'fast-forward'`` or ``'merge'``.
    changes
        Counts of the samples that the merge would add, delete and change here, by column; those in conflict are left
        out. A column that only gets another name, schema or attributes has counts of 0.
    conflicts
        The conflicts; none in a fast-forward.
    """

    kind: MergeKind
    changes: dict[str, ChangeCounts]
    conflicts: Conflicts


def plan_merge(
    db: Database, nodes: NodeStore, ours: Digest | None, theirs: Digest, *, fast_forward: bool | None = None
) -> Plan:
    """Decide what a merge of ``theirs`` into ``ours`` does.

    Parameters
    ----------
    fast_forward
        None: if possible. False: a merge commit even if a fast-forward is possible. True: an error unless it is possible.

    Raises
    ------
    InvalidInputError
        The commits have no common ancestor.
    StaleRefError
        A fast-forward is asked for and is not possible.
    """
    if ours is None:
        return Plan("fast-forward", None, theirs, [])
    base, records, bases = merge_base(db, nodes, ours, theirs)
    if not bases:
        raise InvalidInputError(
            f"commits {ours.hex()[:12]} and {theirs.hex()[:12]} have no common ancestor: unrelated histories are not merged"
        )
    if bases == [theirs]:
        return Plan("up-to-date", ours, theirs, bases)
    if bases == [ours] and fast_forward is not False:
        return Plan("fast-forward", ours, theirs, bases)
    if fast_forward:
        raise StaleRefError(
            f"no fast-forward is possible: commits {ours.hex()[:12]} and {theirs.hex()[:12]} have diverged since "
            f"{bases[0].hex()[:12]}: merge without --ff-only"
        )
    sides = (Side.of(load_commit(db, digest)) for digest in (ours, theirs))
    return Plan("merge", ours, theirs, bases, ThreeWay(records, base, *sides))


def preview(db: Database, nodes: NodeStore, plan: Plan) -> MergePreview:
    """Compute what the merge would change, and its conflicts. Writes nothing and needs no lock.

    Raises
    ------
    CorruptionError
        A commit or tree cannot be read.
    """
    if plan.kind == "up-to-date":
        return MergePreview(plan.kind, {}, Conflicts.none())
    merge = plan.comparison
    if merge is None:
        here = Side.of(None if plan.ours is None else load_commit(db, plan.ours))
        merge = ThreeWay(records_of(db, nodes), here, here, Side.of(load_commit(db, plan.theirs)))
    changes: dict[str, ChangeCounts] = {}
    conflicts = list(merge.conflicts)
    for column in merge.columns:
        counts = _count(nodes, merge, column, conflicts)
        if column.merged != column.ours or any(counts):
            changes[column.any.name] = counts
    return MergePreview(plan.kind, changes, merge.summary_of(iter(conflicts)))


def _count(nodes: NodeStore, merge: ThreeWay, column: ColumnMerge, conflicts: list[Conflict]) -> ChangeCounts:
    """Counts of what the merge changes in a column; appends the conflicts of its samples."""
    if not column.walk:
        if column.ours is None and column.merged is None:
            return ChangeCounts(0, 0, 0)
        return count_pair(nodes, ColumnPair(column.ours, column.merged))
    found = [0, 0, 0]
    for key, kind, base, ours, theirs, _ in merge.samples(column):
        if kind is None:
            found[0 if ours is None else 1 if theirs is None else 2] += 1
        else:
            conflicts.append(Conflict("sample", kind, column.id, key, base, ours, theirs))
    return ChangeCounts(*found)
