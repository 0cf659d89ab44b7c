"""Operations on history for users: the log and its graph, branches, tags, the reflog, and reset.

Commits are never changed. Refs are moved through ``refs``, in one transaction.
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
from hangar.history.reflogs import Move, deleted_branches, moves, restore_branch
from hangar.history.reset import reset
from hangar.history.show import named_commit, show_log
from hangar.history.tags import TagInfo, create_tag, list_tags, remove_tag, tag_info, tags_by_commit

__all__ = [
    "SHORT_DIGEST",
    "BranchHead",
    "CommitSpec",
    "GraphStyle",
    "LogContents",
    "Move",
    "TagInfo",
    "branch_off",
    "branch_refs",
    "create_branch",
    "create_tag",
    "deleted_branches",
    "iso_time",
    "list_branches",
    "list_tags",
    "log",
    "moves",
    "named_commit",
    "printable",
    "remove_branch",
    "remove_tag",
    "rename_branch",
    "render_graph",
    "reset",
    "restore_branch",
    "show_log",
    "tag_info",
    "tags_by_commit",
    "unknown_branch",
]
