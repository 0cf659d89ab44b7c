"""What changed between two lists of columns, as users see it and as a stream.

Columns are paired by id, so a renamed column is one column; their trees are walked together and every shared node is skipped, so
the cost is that of the change. Always from the first to the second: *added* is in the second alone. Where keys or attributes of
a renamed column changed they are listed under its new name. Nothing here knows commits, branches or staging: whoever asks brings the columns.
"""

from __future__ import annotations

from hangar.diff.compare import (
    ColumnPair,
    attribute_changes,
    changes,
    compare,
    count_changes,
    count_pair,
    pair_columns,
)
from hangar.diff.results import (
    AttributeChange,
    AttributeChanges,
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
    "count_changes",
    "count_pair",
    "pair_columns",
]
