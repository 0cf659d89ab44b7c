"""Parts of a printed commit: its branches and tags, in git's colours, and its time in the local time zone."""

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
    """Formats the names of branches and tags.

    Parameters
    ----------
    refs
        Refs of the repository: tags, and which branches are remote-tracking or the current one.

    Attributes
    ----------
    tags
        Map from commit (hex) to its tags.
    """

    def __init__(self, refs: Refs) -> None:
        from hangar.history import branch_refs, tags_by_commit

        self._refs = branch_refs(refs)
        self.tags = tags_by_commit(refs)
        self._current = refs.head().write_branch

    def branch(self, name: str) -> str:
        """One branch: the current one cyan, others green, remote-tracking ones red."""
        remote = self._refs.get(name, "").startswith("remotes/")
        colour = "red" if remote else "cyan" if name == self._current else "green"
        return style(visible(name), colour, bold=True)

    def tag(self, name: str) -> str:
        """One tag, yellow."""
        return style(f"tag: {visible(name)}", "yellow", bold=True)

    def standing(self, commit: str, branches: Sequence[str]) -> str:
        """The branches and tags at a commit (hex), such as `` (master, tag: v1)``; empty if there are none."""
        names = [*map(self.branch, branches), *map(self.tag, self.tags.get(commit, ()))]
        if not names:
            return ""
        return style(" (", "yellow") + style(", ", "yellow").join(names) + style(")", "yellow")
