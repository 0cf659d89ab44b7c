"""Operations on history for users: the log and its graph, and the management of branches.

Commits are never changed. Refs are moved through ``refs``, in one transaction. Merge, reset and revert will be added
here.
"""

from __future__ import annotations

from hangar.history.branches import (
    BranchHead,
    branch_off,
    branch_refs,
    create_branch,
    list_branches,
    remove_branch,
    rename_branch,
    unknown_branch,
)
from hangar.history.draw import SHORT_DIGEST, GraphStyle, printable, render_graph
from hangar.history.log import CommitSpec, LogContents, iso_time, log
from hangar.history.show import named_commit, show_log

__all__ = [
    "SHORT_DIGEST",
    "BranchHead",
    "CommitSpec",
    "GraphStyle",
    "LogContents",
    "branch_off",
    "branch_refs",
    "create_branch",
    "iso_time",
    "list_branches",
    "log",
    "named_commit",
    "printable",
    "remove_branch",
    "rename_branch",
    "render_graph",
    "show_log",
    "unknown_branch",
]
