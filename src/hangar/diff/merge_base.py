"""Finds the base of a merge. If there are several best common ancestors, the base is a virtual merge of them.

In a criss-cross history two commits have several merge bases, none of them better than the others. As in the recursive
strategy of git they are merged first, with *their* merge base, which may again be virtual. A conflict between them
stays open: the virtual base lists it as *unresolved*, and the two sides of the merge are in conflict there unless they
agree. The order comes from generation numbers, never from times.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hangar.diff.threeway import Conflict, Records, Side, Subject, ThreeWay
from hangar.digest import Digest
from hangar.objects.apply import apply
from hangar.objects.attributes import load_attributes
from hangar.objects.commit import ColumnEntry
from hangar.objects.graph import joint_merge_bases
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.schema import open_schema

if TYPE_CHECKING:
    from hangar.db import Database

__all__ = ["merge_base", "merged_side", "records_of"]

_Heads: TypeAlias = "tuple[Digest, ...]"
_Below: TypeAlias = "Generator[tuple[_Heads, Digest], Side, Side]"


def records_of(db: Database, nodes: NodeStore) -> Records:
    """The records of a repository."""
    return Records(
        nodes,
        lambda digest: open_schema(load_record(db, "schema", digest)),
        lambda digest: load_attributes(db, digest),
    )


def merge_base(db: Database, nodes: NodeStore, ours: Digest, theirs: Digest) -> tuple[Side, Records, list[Digest]]:
    """The base of a merge of two commits.

    Parameters
    ----------
    nodes
        Node store to read trees with; that of a writer has the trees of its staging area.

    Returns
    -------
    tuple
        The base, the records that have it, and the commits it was made of: one, several of which it is a merge, or
        none if the commits are unrelated (the base is empty then). The trees and records of a virtual base are in the
        memory of these records only.
    """
    bases = joint_merge_bases(db, (ours,), (theirs,))
    if len(bases) < 2:
        return _side(db, bases), records_of(db, nodes), bases
    made = NodeStore(db)
    made.pending.update(nodes.pending)
    records = records_of(db, made)
    known: dict[tuple[_Heads, Digest], Side] = {}
    stack: list[tuple[tuple[_Heads, Digest], _Below]] = [(((ours,), theirs), _virtual(db, records, (ours,), theirs))]
    found: Side | None = None
    while stack:
        key, running = stack[-1]
        try:
            wanted = running.send(found)  # type: ignore[arg-type]
        except StopIteration as end:
            found = known[key] = end.value
            stack.pop()
            continue
        found = known.get(wanted)
        if found is None:
            stack.append((wanted, _virtual(db, records, *wanted)))
    assert found is not None
    return found, records, sorted(bases)


def _side(db: Database, bases: Sequence[Digest]) -> Side:
    return Side.of(load_commit(db, bases[0])) if bases else Side(())


def _virtual(db: Database, records: Records, ours: _Heads, theirs: Digest) -> _Below:
    """Generator that makes a base; it yields the sides whose base it needs for that, and is sent that base."""
    # Sorted by digest, so that a merge in the other direction has the same base.
    bases = sorted(joint_merge_bases(db, ours, (theirs,)))
    made = _side(db, bases)
    for i in range(1, len(bases)):
        below = yield tuple(bases[:i]), bases[i]
        made = merged_side(records, below, made, _side(db, bases[i:]))
    return made


def merged_side(records: Records, base: Side, ours: Side, theirs: Side) -> Side:
    """The merge of two sides as a side: a conflict keeps the value of ours, and is listed as unresolved. New nodes stay in memory."""
    merge = ThreeWay(records, base, ours, theirs)
    unresolved: dict[tuple[Subject, bytes | None], set[bytes]] = {}
    for place, keys in ours.unresolved.items():
        unresolved.setdefault(place, set()).update(keys)
    for conflict in merge.conflicts:
        for subject, column, key in _unresolved_by(conflict):
            unresolved.setdefault((subject, column), set()).add(key)
    columns: list[ColumnEntry] = []
    for merged in merge.columns:
        entry = merged.merged
        if entry is None:
            continue
        for batch in merge.batches(merged):
            form = records.schema(entry.schema).form
            entry = entry.with_tree(apply(records.nodes, form, entry.tree, batch.keys, batch.cells))
            if batch.conflicts:
                unresolved.setdefault(("sample", merged.id), set()).update(one.key for one in batch.conflicts)
        columns.append(entry)
    columns.sort(key=lambda entry: entry.name)
    return Side(columns, merge.attributes, unresolved)


def _unresolved_by(conflict: Conflict) -> Iterator[tuple[Subject, bytes | None, bytes]]:
    """What a conflict leaves unresolved: subject, column and key."""
    if conflict.subject != "clash":
        yield conflict.subject, conflict.column, conflict.key
        return
    # Either of the two columns may have been renamed or removed to end the clash.
    for entry in (conflict.ours[0], conflict.theirs[1]):
        yield "column", entry.id, b""
        yield "name", entry.id, b""
