"""blame and bisect."""

from __future__ import annotations

import pytest

from hangar.history.bisect import read_search
from tests.cli.shell import Shell
from tests.cli.test_history import change


@pytest.fixture
def history(empty: Shell) -> Shell:
    """Ten commits; labels/k is 0 up to the sixth, and 1 from there on."""
    for number in range(10):
        change(empty, number, "n")
        change(empty, int(number >= 6), "k")
        empty.ok("commit", "-m", f"Commit {number}")
    return empty


def digest(shell: Shell, back: int) -> str:
    return str(shell.json("show", f"master~{back}")["digest"])


def test_blame(history: Shell) -> None:
    found = history.json("blame", "labels", "k")
    assert found["commit"] == digest(history, 0)
    assert found["more"] is False
    (sample,) = found["samples"]
    assert {key: sample[key] for key in ("column", "sample", "subsample", "commit", "author", "message")} == {
        "column": "labels",
        "sample": "k",
        "subsample": None,
        "commit": digest(history, 3),
        "author": "Ada Lovelace",
        "message": "Commit 6",
    }
    assert history.ok("blame", "labels", "k").split()[:2] == [digest(history, 3)[:12], "k"]
    assert history.json("blame", "labels", "k", "master~4")["samples"][0]["message"] == "Commit 0"
    assert [line.split()[1] for line in history.ok("blame", "labels").splitlines()] == ["k", "n"]
    result = history.run("blame", "labels", "-n", 1)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert "Only the first 1 samples" in result.stderr
    history.ok("column", "rename", "labels", "classes")
    history.ok("commit", "-m", "Renamed")
    assert "labels/k" in history.ok("blame", "classes", "k")
    history.fails(3, "blame", "labels", text="no column 'labels'")
    history.fails(3, "blame", "classes", "nope", text="nope")
    history.fails(3, "blame", "classes", "k", "nope", text="nope")


def test_bisect_by_hand(history: Shell) -> None:
    history.fails(1, "bisect", "good", text="hangar bisect start")
    assert "a good and a bad" in history.ok("bisect", "start")
    assert "a bad" in history.ok("bisect", "good", "master~9")
    step = history.json("bisect", "bad")
    while step["found"] is None:
        value = history.json("show", f"{step['test']}:labels/k")["values"]
        step = history.json("bisect", "bad" if value else "good")
    assert step["found"] == digest(history, 3)
    assert "Commit 6" in history.ok("bisect", "status")
    history.fails(9, "bisect", "good", text="nothing is left")
    assert history.json("bisect", "log")["verdicts"][0] == {"verdict": "good", "digest": digest(history, 9)}
    assert history.ok("bisect", "log").startswith(f"good: {digest(history, 9)[:12]} Commit 0\n")
    history.fails(1, "bisect", "start", "master", text="bisect reset")
    history.ok("bisect", "reset")
    history.fails(1, "bisect", "log", text="no bisection")
    assert history.json("status")["clean"]


def script(history: Shell, code: int) -> list[str]:
    """A command that ends with ``code`` for the bad commits."""
    bad = "|".join(digest(history, back) for back in range(4))
    return [
        "sh",
        "-c",
        f'test "$HANGAR_BISECT_COMMIT" = "$0" || exit 130; case "$0" in {bad}) exit {code};; esac',
        "{}",
    ]


def test_bisect_run(history: Shell) -> None:
    history.ok("bisect", "start", "master", "master~9")
    text = history.ok("bisect", "run", *script(history, 3))
    assert text == f"The first bad commit is\n{digest(history, 3)[:12]} Commit 6\n"
    history.ok("bisect", "reset")
    history.ok("bisect", "start", "master", "master~9")
    result = history.run("bisect", "run", *script(history, 125))
    assert result.exit_code == 1
    assert "one of:" in result.stdout
    assert len(result.stdout.splitlines()) == 5


def test_bisect_run_that_stops_goes_on(history: Shell) -> None:
    history.ok("bisect", "start", "master", "master~9")
    history.fails(1, "bisect", "run", "sh", "-c", "exit 130", text="ended with 130")
    history.fails(2, "bisect", "run", "no-such-program", text="no-such-program")
    history.fails(2, "bisect", "run", text="COMMAND")
    assert len(history.json("bisect", "log")["verdicts"]) == 2
    history.ok("bisect", "skip")
    assert history.json("bisect", "run", "--sample", "labels", "k")["found"] == digest(history, 3)


def test_bisect_for_a_sample(history: Shell) -> None:
    history.ok("column", "rename", "labels", "classes")
    history.ok("commit", "-m", "Renamed")
    history.ok("bisect", "start", "master", "master~10")
    assert history.json("bisect", "run", "--sample", "classes", "k")["found"] == digest(history, 4)
    history.ok("bisect", "reset")
    history.ok("bisect", "start", "master", "master~3")
    history.fails(1, "bisect", "run", "--sample", "classes", "k", text="the same")
    history.fails(3, "bisect", "run", "--sample", "classes", "zz", text="zz")
    history.fails(3, "bisect", "run", "--sample", "zz", "k", text="zz")


def test_bad_bisections(history: Shell) -> None:
    history.fails(1, "bisect", "start", "master~3", "master", text="swapped")
    history.fails(3, "bisect", "start", "nope", text="nope")
    history.fails(1, "bisect", "status", text="no bisection")
    history.ok("bisect", "start", "master~3")
    history.fails(1, "bisect", "run", "true", text="a good and a bad commit")
    history.fails(3, "bisect", "good", "nope", text="nope")
    history.fails(1, "bisect", "good", "master", text="swapped")
    assert len(history.json("bisect", "log")["verdicts"]) == 1


def test_commits_of_a_bisection_are_kept(history: Shell) -> None:
    from hangar import Repository
    from hangar.history.roots import live_roots

    history.ok("bisect", "start", "master", "master~9")
    with Repository(history.path) as repo:
        search = read_search(repo.stores.db)
        assert search is not None
        assert {commit for _, commit in search.verdicts} <= set(live_roots(repo.stores).commits)
