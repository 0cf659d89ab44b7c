"""Comparison of two lists of columns, as a result for users and as a stream of changes.

Columns are paired by id, so a renamed column counts as the same column. Their trees are walked together and shared
nodes are skipped, so the cost depends on the size of the change. The direction is from the first list to the second:
*added* is in the second only. Changed keys and attributes of a renamed column are listed under its new name. This
package works on columns only; callers get them from commits or the staging area.
"""

from __future__ import annotations

from hangar.diff.compare import (
    ColumnPair,
    attribute_changes,
    changes,
    compare,
    count_pair,
    pair_columns,
)
from hangar.diff.results import (
    AttributeChange,
    AttributeChanges,
    AttributeConflict,
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
from hangar.diff.user import WriterUserDiff

__all__ = [
    "AttributeChange",
    "AttributeChanges",
    "AttributeConflict",
    "Change",
    "ChangeCounts",
    "ChangeKind",
    "Changes",
    "ColumnPair",
    "ColumnSchemaKey",
    "Conflicts",
    "DataKey",
    "DataRecordVal",
    "DiffAndConflicts",
    "DiffOut",
    "FlatColumnDataKey",
    "NestedColumnDataKey",
    "WriterUserDiff",
    "attribute_changes",
    "changes",
    "compare",
    "count_pair",
    "pair_columns",
]
