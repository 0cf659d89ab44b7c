"""Conflicts between two states of a repository, as a merge of the second into the first would have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangar.diff.merge_base import merge_base, records_of
from hangar.diff.threeway import Side, ThreeWay

if TYPE_CHECKING:
    from hangar.diff.comparison import Snapshot
    from hangar.diff.results import Conflicts
    from hangar.stores import Stores

__all__ = ["find_conflicts"]


def find_conflicts(stores: Stores, ours: Snapshot, theirs: Snapshot) -> Conflicts:
    """The conflicts of two states against the merge base of their commits."""
    nodes = (ours.nodes or theirs.nodes or stores.nodes).scratch()  # gets the records of merged arrays
    base, records = Side(()), records_of(stores.db, nodes)
    if ours.commit and theirs.commit:
        base, records, _ = merge_base(stores.db, nodes, ours.commit, theirs.commit)
    sides = (Side(one.columns, one.attributes) for one in (ours, theirs))
    return ThreeWay(records, base, *sides).summary()
