"""What stands in the way of an operation that needs a clean staging area, and the commands that lead out of it.

Written once, so that each of these commands works wherever it is proposed: staged changes may belong to another branch than the
current one, and a merge in progress can neither be committed as it is nor put aside.
"""

from __future__ import annotations

from typing import Protocol

from hangar.staging.rows import Operation

__all__ = ["in_progress", "in_the_way", "ways_out"]


class Staged(Protocol):
    """Staged changes, of a writer or as stored."""

    @property
    def branch(self) -> str:
        """The branch they belong to."""

    @property
    def operation(self) -> Operation | None:
        """The merge, cherry-pick or revert in progress."""


def in_progress(operation: Operation) -> str:
    """An operation in progress, and what to do about it."""
    return f"{operation.title} is in progress: {operation.advice}"


def ways_out(staged: Staged, current: str) -> str:
    """The commands that end the staged changes, on ``current``, the branch to write."""
    if staged.operation is not None:
        return f"{staged.operation.title} is in progress there: {staged.operation.advice}"
    first = "" if staged.branch == current else f"switch to it with `hangar checkout {staged.branch}`, and "
    return (
        f"{first}commit them with `hangar commit`, put them aside with `hangar stash`, or drop them all with "
        "`hangar restore .`"
    )


def in_the_way(staged: Staged, current: str) -> str:
    """The staged changes or the operation in progress, and what to do about it."""
    if staged.operation is not None:
        return in_progress(staged.operation)
    return f"there are uncommitted changes on branch {staged.branch!r}: {ways_out(staged, current)}"
