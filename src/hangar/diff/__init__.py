"""Comparison of two lists of columns, as a result for users and as a stream of changes.

Columns are paired by id, so a renamed column counts as the same column. Their trees are walked together and shared
nodes are skipped, so the cost depends on the size of the change. The direction is from the first list to the second:
*added* is in the second only. Changed keys and attributes of a renamed column are listed under its new name. This
package reads trees and values; which commits are compared is up to its callers. ``compare`` has the comparison of
columns, ``threeway`` that of three sides with conflicts, ``stream`` reads the values of changes, and ``values`` compares
two values.
"""

from __future__ import annotations

from hangar.diff.arrays import ArrayDifference
from hangar.diff.compare import (
    ColumnPair,
    attribute_changes,
    changes,
    compare,
    count_pair,
    pair_columns,
)
from hangar.diff.comparison import Comparison, Snapshot, commit_snapshot, staged_snapshot
from hangar.diff.results import (
    AttributeChange,
    AttributeChanges,
    AttributeConflict,
    AttributeKey,
    Change,
    ChangeCounts,
    ChangeKind,
    Changes,
    ColumnSchemaKey,
    Conflicts,
    DataKey,
    DataRecordVal,
    DiffAndConflicts,
    DiffOut,
    FlatColumnDataKey,
    NestedColumnDataKey,
)
from hangar.diff.stream import Unavailable, ValueChange
from hangar.diff.user import ReaderUserDiff, WriterUserDiff, changes_of_revisions, diff_revisions
from hangar.diff.values import TextDifference, difference

__all__ = [
    "ArrayDifference",
    "AttributeChange",
    "AttributeChanges",
    "AttributeConflict",
    "AttributeKey",
    "Change",
    "ChangeCounts",
    "ChangeKind",
    "Changes",
    "ColumnPair",
    "ColumnSchemaKey",
    "Comparison",
    "Conflicts",
    "DataKey",
    "DataRecordVal",
    "DiffAndConflicts",
    "DiffOut",
    "FlatColumnDataKey",
    "NestedColumnDataKey",
    "ReaderUserDiff",
    "Snapshot",
    "TextDifference",
    "Unavailable",
    "ValueChange",
    "WriterUserDiff",
    "attribute_changes",
    "changes",
    "changes_of_revisions",
    "commit_snapshot",
    "compare",
    "count_pair",
    "diff_revisions",
    "difference",
    "pair_columns",
    "staged_snapshot",
]
