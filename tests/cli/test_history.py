"""commit, log, branch and checkout."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import SAME, Shell


def change(shell: Shell, value: int = 1, key: str = "k") -> None:
    """Stage something, in a column of labels."""
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True, branch=repository.head().write_branch)
        column = (
            writer["labels"] if "labels" in writer else writer.add_ndarray_column("labels", shape=(), dtype="int64")
        )
        column[key] = np.array(value)
        writer.close()


def test_commit(filled: Shell) -> None:
    change(filled)
    text = filled.ok("commit", "-m", "Second", "-m", "More of it.")
    digest = filled.json("log")["head"]
    assert text == f"[master {digest[:12]}] Second\n 1 column changed: 1 sample added, 0 changed, 0 deleted\n"
    assert filled.json("log")["commits"][0]["message"] == "Second\n\nMore of it."
    filled.fails(9, "commit", "-m", "Third", text="nothing to commit")
    assert filled.json("log")["head"] == digest


def test_commit_tells_json(empty: Shell) -> None:
    change(empty)
    document = empty.json("commit", "-m", "First")
    assert document == {
        "branch": "master",
        "digest": empty.json("log")["head"],
        "parents": [],
        "message": "First",
        "changes": [{"column": "labels", "state": "new", "added": 1, "deleted": 0, "mutated": 0} | SAME],
    }


def test_amend(filled: Shell) -> None:
    first = filled.json("log")["head"]
    filled.ok("commit", "--amend", "-m", "Better", "--meta", "a=b=c")
    log = filled.json("log")
    assert [commit["message"] for commit in log["commits"]] == ["Better"]
    assert log["head"] != first
    assert filled.json("show")["meta"] == {"a": "b=c"}
    change(filled)
    filled.ok("commit", "--amend", "--no-edit")
    assert filled.json("log")["commits"][0]["message"] == "Better"
    assert len(filled.json("show")["columns"]) == 2
    filled.fails(2, "commit", "--no-edit", text="--amend")
    filled.fails(2, "commit", "-m", "x", "--meta", "novalue", text="KEY=VALUE")


def editor(folder: Path, script: str) -> dict[str, str]:
    """An editor that is a shell script; its file is $1."""
    path = folder / "editor.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"EDITOR": str(path), "VISUAL": ""}


def test_the_editor_shows_the_status_as_comments(empty: Shell, tmp_path: Path) -> None:
    change(empty)
    env = editor(tmp_path, f'cp "$1" {tmp_path}/seen; printf "Subject\\n# left out\\n\\nBody  \\n\\n" > "$1"')
    result = empty.run("commit", env=env)
    assert result.exit_code == 0, result.output
    seen = (tmp_path / "seen").read_text()
    assert "#         new column:      labels  1 sample\n" in seen
    assert "# On branch master\n" in seen
    assert all(line.startswith("#") or not line for line in seen.split("\n"))
    assert empty.json("log")["commits"][0]["message"] == "Subject\n\nBody"


@pytest.mark.parametrize("script", ["true", 'printf "# only\\n#comments\\n" > "$1"', 'printf "  \\n" > "$1"'])
def test_an_empty_message_aborts(empty: Shell, tmp_path: Path, script: str) -> None:
    change(empty)
    result = empty.run("commit", env=editor(tmp_path, script))
    assert result.exit_code == 1
    assert "the commit was aborted: its message is empty" in result.stderr
    assert empty.json("log")["commits"] == []
    assert not empty.json("status")["clean"]


def test_an_editor_that_fails(empty: Shell, tmp_path: Path) -> None:
    change(empty)
    result = empty.run("commit", env=editor(tmp_path, "exit 3"))
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert empty.json("log")["commits"] == []


def test_amend_in_the_editor_begins_with_the_old_message(filled: Shell, tmp_path: Path) -> None:
    result = filled.run("commit", "--amend", env=editor(tmp_path, 'sed -i "s/First/The very first/" "$1"'))
    assert result.exit_code == 0, result.output
    assert filled.json("log")["commits"][0]["message"] == "The very first"


def test_no_terminal_and_no_editor(empty: Shell) -> None:
    change(empty)
    env = dict.fromkeys(("EDITOR", "VISUAL"), "")
    done = empty.process("commit", env=env, stdin=-3)
    assert done.returncode == 2
    assert "-m" in done.stderr


def test_a_message_that_begins_with_a_hash(empty: Shell) -> None:
    change(empty)
    empty.ok("commit", "-m", "#5 fixed")
    assert empty.json("log")["commits"][0]["message"] == "#5 fixed"
    change(empty, 2)
    empty.fails(1, "commit", "-m", "  ", text="aborted")


@pytest.fixture
def history(empty: Shell) -> Shell:
    """Three commits: labels/k, other/x, labels/k and labels/j."""
    change(empty, 1)
    empty.ok("commit", "-m", "One\n\nbody")
    empty.ok("column", "create", "other", "STR")
    empty.ok("commit", "-m", "Two")
    change(empty, 2)
    empty.ok("commit", "-m", "Three")
    change(empty, 3, "j")
    empty.ok("commit", "-m", "Four")
    return empty


def subjects(text: str) -> list[str]:
    return [line.split(" ", 1)[1] for line in text.strip().split("\n")]


def test_log(history: Shell) -> None:
    document = history.json("log")
    assert [commit["message"] for commit in document["commits"]] == ["Four", "Three", "Two", "One\n\nbody"]
    first, second = document["commits"][:2]
    assert first["parents"] == [second["digest"]]
    assert first["branches"] == ["master"]
    text = history.ok("log")
    assert text.startswith(f"commit {first['digest']} (master)\nAuthor: Ada Lovelace <ada@example.com>\nDate:   ")
    assert "\n    One\n\n    body\n" in text
    assert subjects(history.ok("log", "--oneline")) == ["(master) Four", "Three", "Two", "One"]
    assert subjects(history.ok("log", "--oneline", "-n", 2)) == ["(master) Four", "Three"]
    assert history.ok("log", "-n", 0) == ""
    assert subjects(history.ok("log", "--oneline", "master~2")) == ["Two", "One"]
    assert history.ok("log", "--oneline", "--graph").startswith("* ")
    history.fails(3, "log", "nope", text="nope")


def test_the_options_of_gits_log(history: Shell) -> None:
    assert subjects(history.ok("log", "-1", "--oneline")) == ["(master) Four"]
    assert subjects(history.ok("log", "--oneline", "-3", "master~1")) == ["Three", "Two", "One"]
    assert subjects(history.ok("log", "--oneline", "master~2..")) == ["(master) Four", "Three"]
    assert history.ok("log", "--oneline", "..master~1") == ""
    assert subjects(history.ok("log", "--oneline", "master~3..master~1", "--column", "other")) == ["Two"]
    history.fails(3, "log", "nope..master", text="nope")
    history.fails(2, "log", "master~1...master", text="A...B is not supported")
    history.fails(2, "log", "-n", "-1")
    history.ok("checkout", "-b", "side", "master~2")
    change(history, 9, "s")
    history.ok("commit", "-m", "Aside")
    assert subjects(history.ok("log", "--oneline", "master..side")) == ["(side) Aside"]
    assert subjects(history.ok("log", "--oneline", "side..master")) == ["(master) Four", "Three"]
    assert history.json("log", "side..side")["commits"] == []


def test_log_with_what_changed(history: Shell) -> None:
    text = history.ok("log", "-1", "--stat")
    assert text.endswith("    Four\n\n        changed:         labels  1 added\n\n")
    assert "~ labels/k  1 -> 2\n" in history.ok("log", "master~1", "-1", "-p")
    assert history.ok("log", "-1", "-p").endswith("\n+ labels/j  3\n\n")
    lines = history.ok("log", "--oneline", "--graph", "-p").splitlines()
    assert [line.strip("|* ") for line in lines if "labels/" in line] == [
        "+ labels/j  3",
        "~ labels/k  1 -> 2",
        "+ labels/k  1",
    ]
    (commit,) = history.json("log", "-1", "-p", "--stat")["commits"]
    assert commit["samples"] == [{"column": "labels", "sample": "j", "change": "added"}]
    assert commit["changes"] == [
        {"column": "labels", "state": "changed", "added": 1, "deleted": 0, "mutated": 0} | SAME
    ]
    assert "changes" not in history.json("log", "-1")["commits"][0]


def test_values_in_a_patch(empty: Shell) -> None:
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        text, raw = writer.add_str_column("text"), writer.add_bytes_column("raw")
        pair = writer.add_ndarray_column("pair", shape=(2,), dtype="float32")
        large = writer.add_ndarray_column("large", shape=(9,), dtype="uint8")
        nested = writer.add_str_column("notes", contains_subsamples=True)
        text["a"], raw["a"] = "two\nlines\x1b[31m", b"\x00\xff"
        pair["a"], large["a"] = np.array([1, 0.5], "float32"), np.zeros(9, "uint8")
        nested["s"] = {1: "x" * 70}
        writer.commit("One")
        text["a"] = ""
        del raw["a"]
        large["a"] = np.ones(9, "uint8")
        writer.rename_column("pair", "couple")
        writer["couple"]["a"] = np.array([2, 0.5], "float32")
        nested["s"] = {1: "y"}
        writer.commit("Two")
        writer.close()
    assert empty.ok("log", "-1", "-p", "--oneline", "master~1").splitlines()[1:-1] == [
        "+ large/a  uint8 (9,)",
        f'+ notes/s/1  "{"x" * 60}"...',
        "+ pair/a  [1.0, 0.5]",
        "+ raw/a  00ff",
        '+ text/a  "two\\nlines\\x1b[31m"',
    ]
    assert empty.ok("log", "-1", "-p", "--oneline").splitlines()[1:-1] == [
        "~ couple/a  [1.0, 0.5] -> [2.0, 0.5]",
        "~ large/a  uint8 (9,): 9 of 9 elements changed (100%), by up to 1, mean 1",
        f'~ notes/s/1  "{"x" * 60}"... -> "y"',
        "- raw/a  00ff",
        '~ text/a  "two\\nlines\\x1b[31m" -> ""',
    ]


def test_log_of_a_time(history: Shell) -> None:
    assert len(history.json("log", "--since", "1 hour ago")["commits"]) == 4
    assert history.json("log", "--until", "yesterday")["commits"] == []
    assert history.json("log", "--since", "2999-01-01")["commits"] == []
    last = history.json("log", "-1")["commits"][0]["time"]
    assert history.json("log", "--since", last, "--until", "now")["commits"][0]["message"] == "Four"
    assert len(history.json("log", "--since", "today", "-2", "--column", "labels")["commits"]) <= 2
    history.fails(2, "log", "--since", "last full moon", text="is not a date: write 2026-11-29")


def test_log_of_a_column_and_a_sample(history: Shell) -> None:
    assert subjects(history.ok("log", "--oneline", "--column", "labels")) == ["(master) Four", "Three", "One"]
    assert subjects(history.ok("log", "--oneline", "--column", "other")) == ["Two"]
    assert subjects(history.ok("log", "--oneline", "--column", "labels", "--sample", "k")) == ["Three", "One"]
    assert subjects(history.ok("log", "--oneline", "--column", "labels", "-n", 1)) == ["(master) Four"]
    history.fails(3, "log", "--column", "nope", text="there is no column 'nope'")
    history.fails(2, "log", "--sample", "k", text="--column")
    graph = history.ok("log", "--graph", "--oneline", "--column", "labels")
    assert [line[:2] for line in graph.strip().split("\n")] == ["* "] * 3


def test_branches(filled: Shell) -> None:
    digest = filled.json("log")["head"]
    assert filled.json("branch", "create", "other") == {"name": "other", "digest": digest}
    assert filled.ok("branch") == f"* master  {digest[:12]}  First\n  other   {digest[:12]}  First\n"
    assert filled.ok("branch") == filled.ok("branch", "list")
    document = filled.json("branch")
    assert document["branch"] == "master"
    assert [branch["name"] for branch in document["branches"]] == ["master", "other"]
    filled.fails(4, "branch", "create", "other", text="other")
    filled.fails(1, "branch", "create", "a b", text="not suitable")
    filled.fails(3, "branch", "create", "x", "nope", text="nope")
    assert filled.json("branch", "delete", "other") == {"name": "other", "digest": digest}
    filled.fails(3, "branch", "delete", "other", text="other")
    filled.fails(5, "branch", "delete", "master")


def test_branches_as_git_spells_them(filled: Shell) -> None:
    assert "Created branch relabel" in filled.ok("branch", "relabel")
    filled.ok("branch", "third", "master~0")
    assert "Deleted branch relabel" in filled.ok("branch", "-d", "relabel")
    assert "Deleted branch third" in filled.ok("branch", "-D", "third")
    change(filled)
    filled.ok("commit", "-am", "Everything is staged anyway")


def test_commits_that_would_be_lost(filled: Shell) -> None:
    filled.ok("checkout", "-b", "other")
    change(filled)
    filled.ok("commit", "-m", "Only here")
    filled.ok("checkout", "master")
    change(filled, 5)
    filled.ok("commit", "-m", "And here")
    filled.fails(4, "branch", "delete", "other", text="-f")
    filled.ok("branch", "delete", "other", "-f")
    assert [branch["name"] for branch in filled.json("branch")["branches"]] == ["master"]


def test_a_branch_gets_another_name(filled: Shell) -> None:
    head = filled.json("log")["head"]
    filled.ok("branch", "other")
    change(filled)
    assert filled.json("branch", "rename", "main") == {"name": "main", "renamed_from": "master", "digest": head}
    status = filled.json("status")
    assert (status["branch"], status["staged_branch"], status["clean"]) == ("main", "main", False)
    filled.ok("commit", "-m", "On main")
    assert filled.json("show", "main@{1}")["digest"] == head
    assert filled.ok("branch", "-m", "other", "third") == "Renamed branch other to third\n"
    assert [one["name"] for one in filled.json("branch")["branches"]] == ["main", "third"]
    filled.fails(4, "branch", "-m", "third", "main", text="exists")
    filled.fails(3, "branch", "-m", "other", "x", text="no branch 'other'")
    filled.fails(1, "branch", "-m", "third", "a b", text="not suitable")
    filled.fails(2, "branch", "-m", "a", "b", "c")
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        filled.fails(5, "branch", "-m", "x")
        assert writer.branch_name == "main"
        writer.close()
        assert repository.fsck().problems == ()


def test_a_branch_gets_another_name_before_its_first_commit(empty: Shell) -> None:
    change(empty)
    empty.ok("branch", "-m", "main")
    empty.ok("commit", "-m", "First")
    assert [one["name"] for one in empty.json("branch")["branches"]] == ["main"]


def test_checkout(filled: Shell) -> None:
    assert filled.json("checkout", "-b", "other") == {"branch": "other", "created": True}
    change(filled)
    filled.ok("commit", "-m", "On other")
    assert filled.ok("checkout", "master") == "Switched to branch master\n"
    assert filled.ok("checkout", "master") == "Already on master\n"
    assert [column["name"] for column in filled.json("ls")["columns"]] == ["images"]
    assert filled.ok("log", "--oneline").endswith("First\n")
    filled.ok("checkout", "-b", "third", "other")
    assert len(filled.json("ls")["columns"]) == 2
    filled.fails(4, "checkout", "-b", "other", text="other")
    filled.fails(3, "checkout", "othr", text="other")
    filled.fails(3, "checkout", "master~0", text="hangar checkout -b NAME master~0")
    filled.fails(2, "checkout", "master", "other", text="-b")


def test_uncommitted_changes_keep_their_branch(filled: Shell) -> None:
    filled.ok("branch", "create", "other")
    change(filled)
    filled.fails(1, "checkout", "other", text="uncommitted changes on branch 'master'")
    filled.fails(3, "checkout", "nosuch", text="no branch 'nosuch'")
    filled.fails(1, "checkout", "-b", "third", "other", text="uncommitted changes")
    assert filled.ok("checkout", "master") == "Already on master\n"
    assert [branch["name"] for branch in filled.json("branch")["branches"]] == ["master", "other"]


def test_a_new_branch_takes_along_what_is_staged(filled: Shell) -> None:
    change(filled)
    staged = filled.json("status")["changes"]
    assert filled.json("checkout", "-b", "third") == {"branch": "third", "created": True}
    status = filled.json("status")
    assert (status["branch"], status["staged_branch"], status["changes"]) == ("third", "third", staged)
    filled.fails(1, "checkout", "master", text="uncommitted changes on branch 'third'")
    with Repository(filled.path) as repository:
        assert repository.checkout(write=True).branch_name == "third"
        assert repository.fsck().problems == ()
    filled.ok("commit", "-m", "On third")
    assert filled.ok("log", "master", "--oneline").endswith("First\n")
    assert filled.json("log", "third")["commits"][0]["message"] == "On third"
    assert filled.ok("checkout", "master") == "Switched to branch master\n"


def test_what_is_staged_does_not_move_while_a_writer_is_at_work(filled: Shell) -> None:
    change(filled)
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        filled.fails(5, "checkout", "-b", "third", text="writer")
        writer.close()
    assert filled.json("status")["branch"] == "master"
    filled.fails(1, "checkout", "-b", "HEAD", text="HEAD")
    assert filled.json("status")["branch"] == "master"


def test_a_writer_in_python_does_not_move_the_branch_to_write(filled: Shell) -> None:
    filled.ok("branch", "create", "other")
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True, branch="other")
        writer["images"]["x"] = np.zeros((7, 5), "uint8")
        writer.commit("From Python")
        writer.close()
    assert filled.json("status")["branch"] == "master"
    assert filled.json("ls", "images")["samples"] == ["a", "b", "c/d"]
    assert os.listdir(filled.path) == [".hangar"]


def test_branches_with_slashes(filled: Shell) -> None:
    assert (
        filled.ok("branch", "feature/boxes") == f"Created branch feature/boxes at {filled.json('log')['head'][:12]}\n"
    )
    assert filled.ok("checkout", "feature/boxes") == "Switched to branch feature/boxes\n"
    change(filled)
    filled.ok("commit", "-m", "Second")
    head = filled.json("log")["head"]
    listed = filled.json("branch", "list")["branches"]
    assert [(one["name"], one["message"]) for one in listed] == [("feature/boxes", "Second"), ("master", "First")]
    assert f"commit {head} (feature/boxes)" in filled.ok("show", "feature/boxes")
    assert filled.json("show", "feature/boxes:labels/k")["sample"] == "k"
    assert filled.json("show", "feature/boxes~1")["message"] == "First"
    filled.ok("checkout", "-b", "feature/more")
    filled.ok("checkout", "master")
    change(filled, 2)
    filled.ok("commit", "-m", "Elsewhere")
    filled.ok("branch", "delete", "feature/boxes")
    assert [one["name"] for one in filled.json("branch", "list")["branches"]] == ["feature/more", "master"]
    for name in ("..", "a..b", "HEAD", "x.lock", "a/", "feature/.x"):
        filled.fails(1, "branch", "create", name, text="is not suitable")
        filled.fails(1, "checkout", "-b", name, text="is not suitable")
    filled.fails(1, "column", "create", "..", "UINT8", 3, text="is not suitable")
