from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hangar.db.tables import COMMITS
from hangar.errors import CorruptionError
from hangar.history import iso_time, log, render_graph
from hangar.history.log import LogContents
from tests.history.maker import History, new_history

EMPTY: LogContents = {"head": "", "ancestors": {}, "specs": {}, "order": [], "branch_heads": {}}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with new_history(tmp_path) as made:
        yield made


def log_of(history: History, name: str, limit: int | None = None) -> LogContents:
    return log(history.db, history.refs, history.digests[name], limit=limit)


def names(history: History, digests: list[str]) -> list[str | None]:
    return [history.name(bytes.fromhex(digest)) for digest in digests]


def test_without_commits(history: History) -> None:
    assert log(history.db, history.refs, None) == EMPTY
    assert render_graph(EMPTY) == ""


def test_contents(history: History) -> None:
    history.commit("a", time_ns=1_700_000_000 * 10**9 + 5, tz=-90, message="first\nmore")
    history.commit("b", "a", branch="dev")
    history.point("remotes/origin/master", "a")
    history.point("tags/v1", "b")
    history.point("heads/none", None)
    a, b = (history.digests[name].hex() for name in "ab")
    expected = {
        "head": b,
        "ancestors": {b: [a], a: [""]},
        "specs": {
            b: {
                "commit_time": "1970-01-01T00:00:00+00:00",
                "commit_message": "message b",
                "commit_user": "Ann",
                "commit_email": "ann@example.com",
            },
            a: {
                "commit_time": "2023-11-14T20:43:20-01:30",
                "commit_message": "first\nmore",
                "commit_user": "Ann",
                "commit_email": "ann@example.com",
            },
        },
        "order": [b, a],
        "branch_heads": {a: ["master", "origin/master"], b: ["dev"]},
    }
    assert log_of(history, "b") == expected
    from_a = log_of(history, "a")
    assert from_a["order"] == [a]
    assert from_a["branch_heads"] == expected["branch_heads"]


def test_order_is_by_generation_whatever_the_clocks_say(history: History) -> None:
    for number, name in enumerate("abcdef"):
        history.commit(name, *"abcdef"[max(0, number - 1) : number], time_ns=(10 - number) * 10**9)
    contents = log_of(history, "f")
    assert names(history, contents["order"]) == list("fedcba")
    assert names(history, log_of(history, "f", 2)["order"]) == ["f", "e"]
    assert list(contents["ancestors"]) == list(contents["specs"]) == contents["order"]


def test_merge_and_drawing(history: History) -> None:
    history.commit("a", time_ns=1)
    history.commit("b", "a", time_ns=2)
    history.commit("c", "a", branch="dev", time_ns=3)
    history.commit("m", "b", "c", time_ns=4)
    contents = log_of(history, "m")
    assert names(history, contents["ancestors"][contents["head"]]) == ["b", "c"]
    drawn = render_graph(contents, oneline=True)
    short = {name: digest.hex()[:12] for name, digest in history.digests.items()}
    assert drawn == (
        f"*   {short['m']} (master) message m\n"
        "|\\\n"
        f"| * {short['c']} (dev) message c\n"
        f"* | {short['b']} message b\n"
        "|/\n"
        f"* {short['a']} message a\n"
    )


def test_a_missing_commit(history: History) -> None:
    history.commit("a")
    history.commit("b", "a")
    history.db.update(lambda t: t.delete(COMMITS, history.digests["a"]))
    with pytest.raises(CorruptionError, match=history.digests["a"].hex()):
        log_of(history, "b")


@pytest.mark.parametrize(
    ("time_ns", "tz", "text"),
    [
        (0, 0, "1970-01-01T00:00:00+00:00"),
        (-1, 60, "1970-01-01T00:59:59+01:00"),
        (1_767_322_800 * 10**9, 345, "2026-01-02T08:45:00+05:45"),
        (2**63 - 1, 0, "2262-04-11T23:47:16+00:00"),
        (10**30, 0, f"{10**30} ns"),
        (0, 24 * 60, "0 ns"),
    ],
)
def test_iso_time(time_ns: int, tz: int, text: str) -> None:
    assert iso_time(time_ns, tz) == text
