"""What stands in the way of an operation that needs a clean staging area, and the commands that lead out of it.

Written once, so that each of these commands works wherever it is proposed: staged changes may belong to another branch than the
current one, and a merge in progress can neither be committed as it is nor put aside.
"""

from __future__ import annotations

from typing import Protocol

from hangar.staging.rows import Merge

__all__ = ["in_the_way", "merge_in_progress", "ways_out"]

_MERGE = "conclude it with `hangar merge --continue`, or give it up with `hangar merge --abort`"


class Staged(Protocol):
    """Staged changes, of a writer or as stored."""

    @property
    def branch(self) -> str:
        """The branch they belong to."""

    @property
    def merge(self) -> Merge | None:
        """The merge in progress."""


def merge_in_progress(merge: Merge) -> str:
    """A merge in progress, and what to do about it."""
    return f"a merge of {merge.name!r} is in progress: {_MERGE}"


def ways_out(staged: Staged, current: str) -> str:
    """The commands that end the staged changes, on ``current``, the branch to write."""
    if staged.merge is not None:
        return f"a merge of {staged.merge.name!r} is in progress there: {_MERGE}"
    first = "" if staged.branch == current else f"switch to it with `hangar checkout {staged.branch}`, and "
    return (
        f"{first}commit them with `hangar commit`, put them aside with `hangar stash`, or drop them all with "
        "`hangar restore .`"
    )


def in_the_way(staged: Staged, current: str) -> str:
    """The staged changes or the merge in progress, and what to do about it."""
    if staged.merge is not None:
        return merge_in_progress(staged.merge)
    return f"there are uncommitted changes on branch {staged.branch!r}: {ways_out(staged, current)}"
