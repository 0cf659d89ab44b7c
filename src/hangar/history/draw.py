"""Draw the log as a text graph, like ``git log --graph``.

Commits come in topological order, newest first, each after all of its children. A lane is a column of the graph that
leads to one commit still to be drawn. Below a commit its further parents get new lanes to the right; then lanes that
lead to the same commit join to the left. Each row moves a line by one lane. Control characters in commit texts are
escaped, so they cannot control the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from hangar.history.log import LogContents

__all__ = ["SHORT_DIGEST", "GraphStyle", "lanes", "printable", "printable_lines", "render_graph"]

SHORT_DIGEST: Final = 12
"""Number of characters of an abbreviated digest."""
_UNSEEN: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Escape control characters and bidirectional formatting characters in ``text``."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSEEN or c in _DIRECTIONS else c
        for c in text.replace("\t", "    ")
    )


def _names(commit: str, heads: Sequence[str]) -> str:
    return f" ({', '.join(heads)})" if heads else ""


def _nothing(commit: str) -> Sequence[str]:
    return ()


class GraphStyle(NamedTuple):
    """Formatting (such as colours) of the parts of the text beside a commit.

    Attributes
    ----------
    digest
        Formats the digest, full or abbreviated.
    branches
        Formats the branches at a commit (given by its digest), with the separator before them; ``''`` if there are none.
    time
        Formats the time, given in ISO 8601.
    below
        Gives further lines below a commit, by its digest.
    """

    digest: Callable[[str], str] = str
    branches: Callable[[str, Sequence[str]], str] = _names
    time: Callable[[str], str] = str
    below: Callable[[str], Sequence[str]] = _nothing


PLAIN: Final = GraphStyle()


def _moves(edges: list[tuple[int, int]]) -> list[str]:
    """Rows that move every line from its lane to its target lane, all in the same direction."""
    rows = []
    while any(lane != goal for lane, goal in edges):
        cells = [" "] * (2 * max(max(edge) for edge in edges) + 1)
        for lane, goal in edges:
            cells[2 * lane + (goal > lane) - (goal < lane)] = "|/"[goal < lane] if goal <= lane else "\\"
        rows.append("".join(cells))
        edges = list(dict.fromkeys((lane + (goal > lane) - (goal < lane), goal) for lane, goal in edges))
    return rows


def lanes(order: Sequence[str], parents: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str], str]]:
    """Draw the graph.

    Yields
    ------
    tuple
        A commit of ``order``; its rows (the first with the star, then those that lead to the next commit); and the
        row that continues all lanes below them.
    """
    open_lanes: list[str] = []
    for commit in order:
        if commit not in open_lanes:
            open_lanes.append(commit)
        at = open_lanes.index(commit)
        star = " ".join("*" if lane == at else "|" for lane in range(len(open_lanes)))
        first, *others = [*dict.fromkeys(parent for parent in parents.get(commit, ()) if parent)] or [""]
        new = [parent for parent in others if parent not in open_lanes]
        known = [open_lanes.index(parent) for parent in others if parent in open_lanes]

        widened = [*open_lanes[:at], first, *new, *open_lanes[at + 1 :]]
        final = list(dict.fromkeys(lane for lane in widened if lane))
        right = [
            (lane, lane if lane <= at else lane + len(new)) for lane in range(len(open_lanes)) if first or lane != at
        ]
        right += [(at, at + 1 + i) for i in range(len(new))]
        right += [(at, lane + len(new)) for lane in known if lane > at]
        left = [(lane, final.index(goal)) for lane, goal in enumerate(widened) if goal]
        left += [(at, final.index(open_lanes[lane])) for lane in known if lane < at]

        continued = " ".join("|" * len(final))
        # Without a gap below a root commit, the next commit would look like its parent.
        yield commit, [star, *_moves(right), *_moves(left), *([] if first else [continued])], continued
        open_lanes = final


def _text(
    contents: LogContents,
    commit: str,
    *,
    show_time: bool,
    show_user: bool,
    oneline: bool,
    trees: Mapping[str, str],
    style: GraphStyle,
) -> list[str]:
    """The lines of text beside one commit."""
    spec = contents["specs"][commit]
    names = style.branches(commit, contents["branch_heads"].get(commit, []))
    time = style.time(spec["commit_time"])
    message = printable_lines(spec["commit_message"])
    if oneline:
        when = f" {time}" if show_time else ""
        user = f" {printable(spec['commit_user'])}" if show_user else ""
        return [f"{style.digest(commit[:SHORT_DIGEST])}{names}{when}{user} {message[0]}", *style.below(commit)]
    text = [style.digest(commit) + names]
    if show_user:
        text.append(f"Author: {printable(spec['commit_user'])} <{printable(spec['commit_email'])}>")
    if show_time:
        text.append(f"Date:   {time}")
    if commit in trees:
        text.append(f"Tree:   {trees[commit]}")
    return [*text, "", *(f"    {line}" for line in message), "", *style.below(commit)]


def printable_lines(text: str) -> list[str]:
    """The lines of ``text``, at least one, escaped with :func:`printable`."""
    return [printable(line.rstrip("\r")) for line in text.strip("\n").split("\n")]


def render_graph(
    contents: LogContents,
    *,
    show_time: bool = False,
    show_user: bool = False,
    oneline: bool = False,
    limit: int | None = None,
    trees: Mapping[str, str] | None = None,
    style: GraphStyle = PLAIN,
) -> str:
    """The log as text.

    Parameters
    ----------
    contents
        The result of :func:`hangar.history.log`.
    show_time, show_user
        Show time and author.
    oneline
        One line for each commit, with a short digest and the first line of the message.
    limit
        Maximum number of commits, the newest ones.
    trees
        Tree digest to show for each commit.
    style
        Formatting of digests, branches and times.

    Returns
    -------
    str
        Lines, each with a newline; empty for an empty history.
    """
    lines: list[str] = []
    order = contents["order"][:limit]
    for commit, rows, continued in lanes(order, contents["ancestors"]):
        text = _text(
            contents, commit, show_time=show_time, show_user=show_user, oneline=oneline, trees=trees or {}, style=style
        )
        rows += [continued] * (len(text) - len(rows))
        width = max(map(len, rows))
        text += [""] * (len(rows) - len(text))
        lines += [f"{row:{width}} {beside}".rstrip() for row, beside in zip(rows, text, strict=True)]
    while lines and not lines[-1].strip("| "):
        lines.pop()
    return "".join(f"{line}\n" for line in lines)
