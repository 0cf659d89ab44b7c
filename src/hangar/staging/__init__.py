"""What a writer has changed and not yet committed.

The staging area is a list of columns, as a commit has, where each column is a tree with an overlay of changed entries on it. Few
changes stay in the overlay, a row each; many are merged into the tree, whose nodes are then stored at once: the same nodes
that the commit will name, so a large batch is not written twice. It is dirty when its columns differ from those of the commit
it stands on, whatever was done in between. Everything acknowledged survives the process; what is not yet acknowledged lives in memory
alone, and ``rebase`` forgets it.
"""

from __future__ import annotations

from hangar.staging.area import Staging
from hangar.staging.column import WorkingColumn
from hangar.staging.rows import Merge, clear_staging, move_staging
from hangar.staging.staged import StagedColumns, read_staged

__all__ = [
    "Merge",
    "StagedColumns",
    "Staging",
    "WorkingColumn",
    "clear_staging",
    "move_staging",
    "read_staged",
]
