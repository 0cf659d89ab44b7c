"""How samples and columns are named: keys that look alike, patterns, and everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell, pictures


@pytest.fixture
def mixed(empty: Shell) -> Shell:
    """Integer and text keys that look alike."""
    empty.ok("column", "create", "labels", "INT64")
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer["labels"].write([5, "5", "7", 10, "007", "cat"], np.arange(6))
        writer.commit("Labels")
        writer.close()
    return empty


def test_samples_are_written_as_they_are_typed(mixed: Shell) -> None:
    assert mixed.ok("ls", "labels").split() == ["int:5", "10", "007", "str:5", "7", "cat"]
    assert mixed.json("ls", "labels")["samples"] == [5, 10, "007", "5", "7", "cat"]
    for text, value in {"int:5": 0, "str:5": 1, "7": 2, "10": 3, "int:10": 3, "007": 4, "str:cat": 5}.items():
        assert mixed.json("show", f"master:labels/{text}")["values"] == value
    for text in mixed.ok("ls", "labels").split():
        assert mixed.ok("show", f":labels/{text}")
    mixed.fails(3, "show", "master:labels/int:7", text="no sample 'int:7'")
    mixed.fails(2, "show", "master:labels/int:x", text="int: must be followed by a number")
    mixed.fails(2, "show", "master:labels/5", text="write int:5 or str:5")
    mixed.ok("rm", "labels", "int:5")
    assert mixed.json("ls", "labels")["samples"] == [10, "007", "5", "7", "cat"]
    assert mixed.ok("ls", "labels").split() == ["10", "007", "5", "7", "cat"]


def test_a_name_that_two_keys_answer_to_must_be_written_out(mixed: Shell, tmp_path: Path) -> None:
    for words in (
        ["rm", "labels", "5"],
        ["restore", "labels", "5"],
        ["log", "--column", "labels", "--sample", "5"],
        ["export", "labels", "-s", "5", "-o", tmp_path / "out"],
    ):
        mixed.fails(2, *words, text="write int:5 or str:5")
    assert mixed.json("status")["clean"]
    mixed.ok("rm", "labels", "str:5")
    assert mixed.ok("ls", "--changed") == "- labels/str:5\n"
    mixed.fails(2, "restore", "labels", "cat", "int:x", text="int: must be followed by a number")
    mixed.ok("rm", "labels", "int:5")
    mixed.fails(2, "restore", "labels", "5", text="write int:5 or str:5")
    mixed.ok("restore", "labels", "int:5")
    assert mixed.json("ls", "labels")["samples"] == [5, 10, "007", "7", "cat"]
    # What the column has no more is looked for in history.
    mixed.ok("commit", "-m", "Without a text")
    mixed.ok("rm", "labels", "7")
    mixed.ok("commit", "-m", "Without another")
    assert len(mixed.json("log", "--column", "labels", "--sample", "7")["commits"]) == 2
    mixed.fails(3, "log", "--column", "labels", "--sample", "8", text="has a sample '8'")


def test_patterns(mixed: Shell, tmp_path: Path) -> None:
    assert mixed.ok("ls", "labels", "*5").split() == ["int:5", "str:5"]
    assert mixed.ok("ls", "labels", "int:*").split() == ["int:5", "10"]
    assert mixed.ok("ls", "labels", "master", "str:[0-9]*", "c?t").split() == ["007", "str:5", "7", "cat"]
    assert mixed.json("ls", "labels", "*", "-n", 2)["samples"] == [5, 10]
    assert mixed.ok("ls", "labels", "-n", "1") == "int:5\n"
    mixed.fails(3, "ls", "labels", "x*", text="no sample of column 'labels' matches 'x*'")
    mixed.fails(2, "ls", "labels", "master", "other", text="only one REV")
    mixed.fails(2, "ls", "--changed", "labels", "x*", text="no PATTERN")
    mixed.fails(3, "rm", "labels", "cat", "x*")
    assert mixed.json("rm", "labels", "*7", "cat")["removed"] == ["007", "7", "cat"]
    assert mixed.json("restore", "labels", "c*", "0*")["restored"] == ["cat", "007"]
    mixed.ok("export", "labels", "-s", "int:*", "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npy")) == ["10.npy", "5.npy"]


def test_patterns_of_columns(filled: Shell) -> None:
    for name in ("image_names", "labels"):
        filled.ok("column", "create", name, "STR")
    assert [one["name"] for one in filled.json("ls", "image*")["columns"]] == ["image_names", "images"]
    assert [one["name"] for one in filled.json("ls", "-n", 2)["columns"]] == ["image_names", "images"]
    filled.fails(3, "ls", "x*", text="no column of branch master matches 'x*'")
    filled.ok("rm", "images", "*")
    assert filled.json("ls", "--changed", "im*")["changes"][0]["column"] == "images"
    filled.fails(3, "restore", "x*", text="no column of commit")
    document = filled.json("restore", "im*")
    assert document["columns"] == [{"column": "images", "restored": ["a", "b", "c/d"], "removed": []}]
    assert "Restored 1 sample of images" in filled.ok("restore", "im*", "a")


def test_restore_everything(filled: Shell) -> None:
    assert filled.ok("restore", ".") == "Nothing is staged\n"
    filled.ok("rm", "images", "a")
    filled.ok("column", "create", "new", "STR")
    filled.ok("column", "attributes", "images", "unit=mm")
    filled.fails(2, "restore", ".", "a", text="takes no SAMPLE")
    assert filled.ok("restore", ".") == "Dropped all staged changes of branch master: 2 columns changed\n"
    assert filled.json("status")["clean"]
    filled.ok("column", "rename", "images", "pictures")
    filled.ok("rm", "pictures", "a")
    filled.ok("column", "create", "images", "INT64")
    filled.ok("commit", "-m", "Second")
    document = filled.json("restore", ".", "--from", "master~1")
    assert document["columns"] == [{"column": "images", "restored": ["a", "b", "c/d"], "removed": []}]
    filled.ok("commit", "-m", "Back")
    first, _, last = filled.json("log")["commits"]
    assert filled.json("show", first["digest"])["tree"] == filled.json("show", last["digest"])["tree"]
    filled.ok("column", "create", "later", "STR")
    filled.ok("commit", "-m", "One more")
    assert filled.json("restore", ".", "--from", "master~1")["removed_columns"] == ["later"]


def test_restore_everything_before_the_first_commit(empty: Shell) -> None:
    empty.ok("column", "create", "new", "STR")
    text = empty.fails(1, "restore", "new", text="`hangar column remove new`")
    assert "`hangar restore .`" in text
    assert len(empty.json("restore", ".")["changes"]) == 1
    assert empty.json("ls")["columns"] == []


def test_restore_everything_leaves_another_branch_alone(filled: Shell, tmp_path: Path) -> None:
    filled.ok("branch", "create", "other")
    pictures(tmp_path / "new", ["x"])
    filled.ok("import", "images", tmp_path / "new", "--branch", "other")
    filled.fails(1, "restore", ".", text="`hangar checkout other`")
    assert not filled.json("status")["clean"]


def test_removing_a_column_says_whether_it_can_be_brought_back(filled: Shell) -> None:
    filled.ok("column", "rename", "images", "pictures")
    assert "`hangar restore images`" in filled.ok("column", "remove", "pictures")
    filled.ok("restore", "images")
    assert filled.json("column", "remove", "images")["committed"]
    filled.ok("column", "create", "new", "STR")
    with Repository(filled.path) as repository, repository.checkout(write=True) as writer:
        writer["new"]["a"] = "text"
        writer.close()
    result = filled.run("column", "remove", "new")
    assert (result.stdout, result.stderr) == (
        "Removed column new (1 sample)\n",
        "It was never committed, so it cannot be restored\n",
    )
