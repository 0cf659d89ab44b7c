from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.history import CommitSpec, LogContents
from hangar.history.draw import lanes, printable, printable_lines, render_graph


def history(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """Order and parents from ``'c b; b a; a'``: each commit, newest first, before its parents."""
    lines = [line.split() for line in text.split(";")]
    return [line[0] for line in lines], {line[0]: line[1:] or [""] for line in lines}


def contents(text: str, heads: Mapping[str, list[str]] | None = None, **messages: str) -> LogContents:
    order, parents = history(text)
    specs: dict[str, CommitSpec] = {
        commit: {
            "commit_time": "2026-01-02T03:04:05+01:00",
            "commit_user": "Ann",
            "commit_email": "ann@example.com",
            "commit_message": messages.get(commit, f"message {commit}"),
        }
        for commit in order
    }
    return {"head": order[0], "ancestors": parents, "specs": specs, "order": order, "branch_heads": dict(heads or {})}


def graph(text: str) -> str:
    return "".join(f"{row.rstrip()}\n" for _, rows, _ in lanes(*history(text)) for row in rows)


@pytest.mark.parametrize(
    ("text", "drawing"),
    [
        ("c b; b a; a", "*\n*\n*\n\n"),
        # a branch and its merge
        ("m c b; c a; b a; a", "*\n|\\\n* |\n| *\n|/\n*\n\n"),
        # two heads
        ("c a; b a; a", "*\n| *\n|/\n*\n\n"),
        # three parents at once
        ("m x y z; x a; y a; z a; a", "*\n|\\\n| |\\\n* | |\n| * |\n|/ /\n| *\n|/\n*\n\n"),
        # criss-cross
        ("m a b; n b a; a r; b r; r", "*\n|\\\n| | *\n| |/\n|/|\n* |\n| *\n|/\n*\n\n"),
        # first commits beside each other are no parents of each other
        ("a; b", "*\n\n*\n\n"),
        ("b a; x; a", "*\n| *\n|\n*\n\n"),
        # a lane to the right of one that ends
        ("b a; y x; a; x", "*\n| *\n* |\n /\n|\n*\n\n"),
        # a merge beside two lanes, of commits that these lead to
        ("p a; x y; m a y; a z; y z; z", "*\n| *\n| | *\n| |/\n|/|\n* |\n| *\n|/\n*\n\n"),
        # a merge whose second parent has a lane further right
        ("t m; q r; m a r; a z; r z; z", "*\n| *\n* |\n|\\|\n* |\n| *\n|/\n*\n\n"),
    ],
)  # fmt: skip
def test_drawings(text: str, drawing: str) -> None:
    assert graph(text) == drawing


def test_oneline() -> None:
    log = contents("m c b; c a; b a; a", {"m": ["master", "origin/master"], "b": ["dev"]}, a="first\nand more", c="")
    assert render_graph(log, oneline=True) == (
        "*   m (master, origin/master) message m\n|\\\n* | c\n| * b (dev) message b\n|/\n* a first\n"
    )
    assert render_graph(log, oneline=True, show_time=True, show_user=True, limit=1) == (
        "*   m (master, origin/master) 2026-01-02T03:04:05+01:00 Ann message m\n|\\\n"
    )


def test_oneline_shortens_digests() -> None:
    digest = "0123456789abcdef" * 4
    assert render_graph(contents(digest), oneline=True).split()[1] == "0123456789ab"
    assert render_graph(contents(digest)).split()[1] == digest


def test_full() -> None:
    log = contents("m c b; c a; b a; a", {"m": ["master"]}, m="merge\n\nwhy\n")
    assert render_graph(log) == (
        "*   m (master)\n"
        "|\\\n"
        "| |     merge\n"
        "| |\n"
        "| |     why\n"
        "| |\n"
        "* | c\n"
        "| |\n"
        "| |     message c\n"
        "| |\n"
        "| * b\n"
        "|/\n"
        "|       message b\n"
        "|\n"
        "* a\n"
        "\n"
        "      message a\n"
    )


def test_full_with_everything() -> None:
    text = render_graph(contents("b a; a"), show_time=True, show_user=True, trees={"b": "f00d"}, limit=1)
    assert text == (
        "* b\n| Author: Ann <ann@example.com>\n| Date:   2026-01-02T03:04:05+01:00\n| Tree:   f00d\n|\n|     message b\n"
    )


def test_empty() -> None:
    assert render_graph({"head": "", "ancestors": {}, "specs": {}, "order": [], "branch_heads": {}}) == ""


def test_messages_cannot_steer_the_terminal() -> None:
    text = render_graph(contents("a", a="\x1b[2J\x9b\u202eevil\r\nnext\tline\u2028end"), show_user=True)
    assert "\\x1b[2J\\x9b\\u202eevil\n" in text
    assert "next    line\\u2028end\n" in text
    assert printable("Zoë 👩‍🔬") == "Zoë 👩‍🔬"
    assert printable_lines("") == [""]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    count = draw(st.integers(1, 25))
    order = [str(i) for i in range(count)]
    parents = {
        str(i): draw(st.lists(st.sampled_from(order[i + 1 : i + 8]), max_size=4, unique=True)) if i + 1 < count else []
        for i in range(count)
    }
    return order, parents


def trace(rows: Sequence[str], start: int, lane: int) -> set[tuple[int, int]]:
    """Stars (row, lane) that lines from below row ``start`` in ``lane`` come to; every line must lead on to one."""
    found, seen, todo = set(), set(), [(start + 1, lane)]
    while todo:
        row, lane = todo.pop()
        if (row, lane) in seen:
            continue
        seen.add((row, lane))
        cells = rows[row].ljust(200)
        if cells[2 * lane] == "*":
            found.add((row, lane))
            continue
        further = [(row + 1, lane)] if cells[2 * lane] == "|" else []
        if lane and cells[2 * lane - 1] == "/":
            further.append((row + 1, lane - 1))
        if cells[2 * lane + 1] == "\\":
            further.append((row + 1, lane + 1))
        assert further, f"the line in lane {lane} ends at row {row}"
        todo += further
    return found


@given(histories())
def test_every_line_leads_to_a_parent(given_history: tuple[list[str], dict[str, list[str]]]) -> None:
    order, parents = given_history
    rows: list[str] = []
    stars: dict[str, tuple[int, int]] = {}
    for commit, drawn, continued in lanes(order, parents):
        assert drawn[0].count("*") == 1
        assert not any("*" in row for row in drawn[1:])
        stars[commit] = (len(rows), drawn[0].index("*") // 2)
        rows += [*drawn, continued]
    assert list(stars) == order
    for commit, (row, lane) in stars.items():
        if parents[commit]:
            reached = trace(rows, row, lane)
            assert {stars[parent] for parent in parents[commit]} <= reached
            assert all(place[0] > row for place in reached)
