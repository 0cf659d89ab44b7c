"""The log as a drawing of lines and stars, as people know it from git.

Commits come from the newest to the oldest, each after all of its children. A lane is a column of the drawing that leads to one commit still
to come. Below a commit its further parents get lanes of their own to its right, then lanes that lead to one commit run together to the
left; each row of the drawing moves a line by one lane. Text that a commit brings cannot steer a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from hangar.history.log import LogContents

__all__ = ["SHORT_DIGEST", "GraphStyle", "lanes", "printable", "printable_lines", "render_graph"]

SHORT_DIGEST: Final = 12
"""Characters of a digest that are shown where the whole one is not needed."""
_UNSEEN: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """``text`` with control characters and marks that turn the direction of writing shown as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSEEN or c in _DIRECTIONS else c
        for c in text.replace("\t", "    ")
    )


def _names(heads: Sequence[str]) -> str:
    return f" ({', '.join(heads)})" if heads else ""


def _nothing(commit: str) -> Sequence[str]:
    return ()


class GraphStyle(NamedTuple):
    """How parts of the text beside a commit are written, such as in colours.

    Attributes
    ----------
    digest
        The digest, whole or its beginning.
    branches
        The branches that stand on the commit, with what separates them from what is before; ``''`` of none.
    time
        The time, given in ISO 8601.
    below
        Further lines below a commit, given by its digest.
    """

    digest: Callable[[str], str] = str
    branches: Callable[[Sequence[str]], str] = _names
    time: Callable[[str], str] = str
    below: Callable[[str], Sequence[str]] = _nothing


PLAIN: Final = GraphStyle()


def _moves(edges: list[tuple[int, int]]) -> list[str]:
    """Rows in which every line gets from its lane to its goal, all of them to the same side."""
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
        A commit of ``order``; its rows (the first with the star, then those that lead to the next commit); and the row that
        continues every lane after them.
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
        # Without a gap below a first commit, the next one would look like its parent.
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
    """What is written beside one commit."""
    spec = contents["specs"][commit]
    names = style.branches(contents["branch_heads"].get(commit, []))
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
    """Lines of ``text`` as :func:`printable` shows them; at least one."""
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
        What :func:`hangar.history.log` returns.
    show_time, show_user
        Show when and by whom.
    oneline
        One line for each commit, with a short digest and the first line of the message.
    limit
        Show so many of the newest commits.
    trees
        Tree digest by commit, to be shown.
    style
        How digests, branches and times are written.

    Returns
    -------
    str
        Lines that end in a line end; empty for an empty history.
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
