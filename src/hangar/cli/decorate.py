"""Commits as people see them: the branches that stand on one, in git's colours, and its time on the reader's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from hangar.cli.output import style, visible

if TYPE_CHECKING:
    from hangar.refs import Refs

__all__ = ["Decoration", "local_time"]


def local_time(text: str) -> str:
    """A time in ISO 8601 as the clock of this machine shows it, such as ``2026-11-29 12:24:02 +0100``."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):
        return text  # beyond the calendar


class Decoration:
    """How names of branches are shown.

    Parameters
    ----------
    refs
        Of the repository, to tell remote-tracking branches and the branch to write from others.
    """

    def __init__(self, refs: Refs) -> None:
        from hangar.history import branch_refs

        self._refs = branch_refs(refs)
        self._current = refs.head().write_branch

    def branch(self, name: str) -> str:
        """One branch: the one to write cyan, others green, remote-tracking ones red."""
        remote = self._refs.get(name, "").startswith("remotes/")
        colour = "red" if remote else "cyan" if name == self._current else "green"
        return style(visible(name), colour, bold=True)

    def standing(self, names: Sequence[str]) -> str:
        """The branches that stand on a commit, such as `` (master, other)``; empty where there are none."""
        if not names:
            return ""
        between = style(", ", "yellow")
        return style(" (", "yellow") + between.join(map(self.branch, names)) + style(")", "yellow")
