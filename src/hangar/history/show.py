"""Find the start of a log and print it; shared by ``log`` of a repository and of a checkout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hangar.digest import Digest
from hangar.errors import InvalidInputError
from hangar.flags import check_flag
from hangar.history.branches import unknown_branch
from hangar.history.draw import render_graph
from hangar.history.log import LogContents, log
from hangar.names import plain_text
from hangar.refs import BRANCHES, REMOTES, Refs
from hangar.revisions import resolve

if TYPE_CHECKING:
    from hangar.db.environment import Database

__all__ = ["named_commit", "show_log"]


def named_commit(db: Database, refs: Refs, branch: str | None, commit: str | None) -> Digest | None:
    """The commit of a branch (by default the one last written) or of a revision; None for a branch without a commit.

    Raises
    ------
    InvalidInputError
        Both are given.
    RevisionNotFoundError
        There is no such branch or commit.
    """
    if commit and branch:
        raise InvalidInputError("give a branch or a commit, not both")
    if commit:
        return resolve(db, refs, commit).digest
    name = plain_text(branch) if branch else refs.head().last_written
    for prefix in (BRANCHES, REMOTES):
        if refs.exists(prefix + name):
            return refs.get(prefix + name)
    raise unknown_branch(refs, name)


def show_log(
    db: Database, refs: Refs, start: Digest | None, *, return_contents: bool, show_time: bool, show_user: bool
) -> LogContents | None:
    """Print the history of ``start`` as a graph, or return it."""
    wanted = check_flag(return_contents, "return_contents")
    times, users = check_flag(show_time, "show_time"), check_flag(show_user, "show_user")
    contents = log(db, refs, start)
    if wanted:
        return contents
    text = render_graph(contents, show_time=times, show_user=users)
    if text:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    return None
