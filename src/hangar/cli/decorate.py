"""Parts of a printed commit: its branches, in git's colours, and its time in the local time zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from hangar.cli.output import style, visible

if TYPE_CHECKING:
    from hangar.refs import Refs

__all__ = ["Decoration", "local_time"]


def local_time(text: str) -> str:
    """A time in ISO 8601 converted to the local time zone, such as ``2026-11-29 12:24:02 +0100``."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):
        return text  # outside the range of datetime


class Decoration:
    """Formats the names of branches.

    Parameters
    ----------
    refs
        Refs of the repository, to tell remote-tracking branches and the current branch from others.
    """

    def __init__(self, refs: Refs) -> None:
        from hangar.history import branch_refs

        self._refs = branch_refs(refs)
        self._current = refs.head().write_branch

    def branch(self, name: str) -> str:
        """One branch: the current one cyan, others green, remote-tracking ones red."""
        remote = self._refs.get(name, "").startswith("remotes/")
        colour = "red" if remote else "cyan" if name == self._current else "green"
        return style(visible(name), colour, bold=True)

    def standing(self, names: Sequence[str]) -> str:
        """The branches at a commit, such as `` (master, other)``; empty if there are none."""
        if not names:
            return ""
        between = style(", ", "yellow")
        return style(" (", "yellow") + between.join(map(self.branch, names)) + style(")", "yellow")
