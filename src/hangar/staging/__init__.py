"""The staging area: changes of the writer that are not committed yet.

The staging area is a list of columns, like a commit. Each column is a tree with an overlay of changed entries. A
small number of changes stays in the overlay, one row each; a large number is merged into the tree, and the new nodes
are stored at once. They are the nodes that the commit will refer to, so a large batch is not written twice. The
staging area is dirty when its columns differ from those of its base commit, whatever was done in between.
Acknowledged changes survive the process; other changes exist in memory only, and ``rebase`` forgets them.
"""

from __future__ import annotations

from hangar.staging.area import Staging
from hangar.staging.column import WorkingColumn
from hangar.staging.conflicts import CONFLICT_KINDS, ConflictHead, ConflictName, ConflictRow, read_conflicts
from hangar.staging.refusals import in_progress, in_the_way, ways_out
from hangar.staging.replace import stage_content
from hangar.staging.rows import OPERATIONS, Operation, clear_staging, move_staging
from hangar.staging.staged import StagedColumns, read_staged, staged_branch

__all__ = [
    "CONFLICT_KINDS",
    "OPERATIONS",
    "ConflictHead",
    "ConflictName",
    "ConflictRow",
    "Operation",
    "StagedColumns",
    "Staging",
    "WorkingColumn",
    "clear_staging",
    "in_progress",
    "in_the_way",
    "move_staging",
    "read_conflicts",
    "read_staged",
    "stage_content",
    "staged_branch",
    "ways_out",
]
