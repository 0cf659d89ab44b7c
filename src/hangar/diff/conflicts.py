"""Conflicts between two states of a repository, as a merge of the second into the first would have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangar.diff.threeway import Records, Side, ThreeWay
from hangar.objects.attributes import load_attributes
from hangar.objects.graph import merge_bases
from hangar.objects.records import load_commit, load_record
from hangar.schema import open_schema

if TYPE_CHECKING:
    from hangar.diff.comparison import Snapshot
    from hangar.diff.results import Conflicts
    from hangar.stores import Stores

__all__ = ["find_conflicts"]


def find_conflicts(stores: Stores, ours: Snapshot, theirs: Snapshot) -> Conflicts:
    """The conflicts of two states against the merge base of their commits."""
    bases = merge_bases(stores.db, ours.commit, theirs.commit) if ours.commit and theirs.commit else []
    base = Side.of(load_commit(stores.db, bases[0]) if bases else None)
    records = Records(
        ours.nodes or theirs.nodes or stores.nodes,
        lambda digest: open_schema(load_record(stores.db, "schema", digest)),
        lambda digest: load_attributes(stores.db, digest),
    )
    sides = (Side(one.columns, one.attributes) for one in (ours, theirs))
    return ThreeWay(records, base, *sides).summary()
