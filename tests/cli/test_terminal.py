"""What commands do on a terminal and nowhere else: colours, the pager, questions; and what the options say to that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell
from tests.cli.terminal import on_terminal

PAGED = [["log"], ["log", "--graph"], ["show"], ["status"], ["branch"], ["branch", "list"], ["ls"], ["ls", "--changed"]]
MARK = "sed s/^/page:/"


@pytest.fixture
def busy(filled: Shell) -> Shell:
    """A repository with a branch and something staged."""
    filled.ok("branch", "create", "other")
    filled.ok("rm", "images", "a")
    return filled


@pytest.mark.parametrize("words", PAGED, ids=" ".join)
def test_colours_and_the_pager_are_for_terminals(busy: Shell, words: list[str]) -> None:
    shown = on_terminal(busy.path, *words, env={"PAGER": MARK})
    assert shown.coloured
    assert shown.code == 0
    lines = shown.text.splitlines()
    assert lines
    assert all(line.startswith("page:") for line in lines)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "".join(f"{line.removeprefix('page:')}\n" for line in lines))
    done = busy.process(*words, env={"PAGER": MARK})
    assert plain == done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "env", "coloured", "paged"),
    [
        ([], {}, True, True),
        ([], {"NO_COLOR": "1"}, False, True),
        ([], {"NO_COLOR": ""}, True, True),
        ([], {"TERM": "dumb"}, False, False),
        (["--no-pager"], {}, True, False),
        (["--color", "never"], {}, False, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True, True),
        (["--color=auto", "--no-pager"], {}, True, False),
        ([], {"PAGER": ""}, True, False),
        ([], {"PAGER": "cat"}, True, False),
        ([], {"PAGER": "no-such-pager"}, True, False),
        ([], {"PAGER": "no-such-pager", "HANGAR_PAGER": MARK}, True, True),
        ([], {"HANGAR_PAGER": "cat"}, True, False),
    ],
)
def test_what_is_asked_for(busy: Shell, words: list[str], env: dict[str, str], coloured: bool, paged: bool) -> None:
    for line in [[*words, "log"], ["log", *words]] if words else [["log"]]:
        shown = on_terminal(busy.path, *line, env={"PAGER": MARK} | env)
        assert (shown.coloured, shown.text.startswith("page:")) == (coloured, paged)
        assert "First" in shown.text


def test_colour_where_it_is_asked_for_without_a_terminal(busy: Shell) -> None:
    assert "\x1b[" in busy.ok("--color", "always", "status")
    assert "\x1b[" in busy.ok("status", "--color=always")
    assert "\x1b[" not in busy.ok("status", "--color=auto")
    busy.fails(2, "status", "--color", "sometimes", text="'sometimes' is not one of")


def test_less_is_the_pager_of_those_who_choose_none(filled: Shell) -> None:
    for number in range(30):
        filled.ok("commit", "--amend", "-m", f"Line {number}\n" * 40)
    shown = on_terminal(filled.path, "log", rows=10, keys=[(":", "G"), ("(END)", "q")])
    assert shown.code == 0
    assert shown.coloured
    # What fits on the screen is written, and nobody has to press a key.
    assert on_terminal(filled.path, "log", "--oneline", rows=10).code == 0


def test_a_pager_that_is_left_early_is_quiet(empty: Shell) -> None:
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer.add_ndarray_column("labels", shape=(), dtype="int64").write(range(100_000), np.arange(100_000))
        writer.close()
    shown = on_terminal(empty.path, "ls", "labels", env={"PAGER": "head -n 3"})
    assert shown.text == "0\n1\n2\n"
    assert shown.code == 0
    shown = on_terminal(empty.path, "ls", "labels", rows=10, keys=[(":", "q")])
    assert shown.code == 0
    assert "Error" not in shown.text
    assert "Traceback" not in shown.text


def test_an_error_needs_no_pager(filled: Shell) -> None:
    shown = on_terminal(filled.path, "log", "nope", env={"PAGER": MARK})
    assert shown.code == 3
    assert shown.text.startswith("Error: no branch, tag or commit 'nope'")


def test_overwriting_a_repository_is_asked_for(filled: Shell) -> None:
    words = ["init", "--name", "a", "--email", "b", "--overwrite"]
    shown = on_terminal(filled.path, *words, keys=[("[y/N]", "n\n")])
    assert shown.code == 1
    assert "with all its history?" in shown.text
    assert "Nothing was changed" in shown.text
    assert len(filled.json("log")["commits"]) == 1
    assert on_terminal(filled.path, *words, keys=[("[y/N]", "\x03")]).code == 130
    assert on_terminal(filled.path, *words, keys=[("[y/N]", "y\n")]).code == 0
    assert filled.json("log")["commits"] == []


def test_removing_what_was_never_committed_is_asked_for(filled: Shell) -> None:
    filled.ok("column", "create", "new", "STR")
    with Repository(filled.path) as repository, repository.checkout(write=True) as writer:
        writer["new"]["a"] = "text"
        writer.close()
    shown = on_terminal(filled.path, "column", "remove", "new", keys=[("[y/N]", "\n")])
    assert shown.code == 1
    assert "was never committed: its 1 sample cannot be restored" in shown.text
    assert filled.ok("ls", "new") == "a\n"
    assert on_terminal(filled.path, "column", "remove", "new", "--yes").code == 0
    # What was committed can be brought back, and is removed without a question.
    assert on_terminal(filled.path, "column", "remove", "images").code == 0


def test_the_demonstration_uses_no_pager(tmp_path: Path) -> None:
    shown = on_terminal(tmp_path, "demo", "--no-pause", env={"PAGER": MARK})
    assert shown.code == 0
    assert shown.coloured
    assert "page:" not in shown.text


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_times_are_those_of_the_readers_clock(filled: Shell, zone: str) -> None:
    time = datetime.fromisoformat(filled.json("log")["commits"][0]["time"]).astimezone(ZoneInfo(zone))
    for words in (["log"], ["log", "--graph"], ["show"]):
        text = filled.process(*words, env={"TZ": zone}).stdout
        assert f"{time:%Y-%m-%d %H:%M:%S %z}" in text


def test_colours_and_pagers_import_nothing_without_a_terminal(filled: Shell) -> None:
    heavy = ["shutil", "rich", "curses", "pydoc"]
    if sys.version_info >= (3, 11):  # before, the module platform imports it
        heavy.append("subprocess")
    code = (
        "import sys\nfrom hangar.cli import main\n"
        f"try:\n    main(['-C', {str(filled.path)!r}, 'log'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stderr == "[]\n"
