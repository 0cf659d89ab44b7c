"""Every command that meets samples, on a nested column: ``SAMPLE`` and ``SAMPLE/SUBSAMPLE``."""

from __future__ import annotations

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell


@pytest.fixture
def boxes(empty: Shell) -> Shell:
    """A nested column, committed twice: keys of both kinds, and some with slashes in them."""
    empty.ok("column", "create", "boxes", "INT64", "2", "--contains-subsamples")
    with Repository(empty.path) as repository, repository.checkout(write=True) as writer:
        column = writer["boxes"]
        for number, (sample, subsample) in enumerate(
            [("cat", "left"), ("cat", 5), ("cat", "5"), (7, "a"), ("a", "b/c"), ("a/b", "c"), ("a/b", "d")]
        ):
            column[sample, subsample] = np.array([number, -number])
        writer.commit("first")
        column["cat", "left"] = np.array([9, 9])
        del column[7]
        column["new"] = {1: np.array([1, 1])}
        writer.commit("second")
        writer.close()
    return empty


def test_columns(boxes: Shell) -> None:
    (found,) = boxes.json("column", "list")["columns"]
    assert (found["layout"], found["samples"], found["subsamples"]) == ("nested", 4, 7)
    assert "nested" in boxes.ok("column", "list")
    assert "4 samples" in boxes.ok("summary")
    boxes.ok("column", "create", "flat", "STR")
    assert boxes.json("column", "list")["columns"][1]["subsamples"] is None
    assert boxes.json("column", "remove", "boxes") == {"name": "boxes", "samples": 4, "committed": True}


def test_what_is_staged_is_counted_in_subsamples(boxes: Shell) -> None:
    boxes.ok("column", "create", "notes", "STR", "--contains-subsamples")
    with Repository(boxes.path) as repository, repository.checkout(write=True) as writer:
        writer["notes"].update({"a": {1: "x", 2: "y"}})
        writer.close()
    assert "notes" in boxes.ok("status")
    assert "2 subsamples" in boxes.ok("status")
    assert "2 subsamples added" in boxes.ok("commit", "-m", "third")
    boxes.ok("column", "remove", "notes")
    assert "2 subsamples" in boxes.ok("status")


def test_ls(boxes: Shell) -> None:
    assert boxes.ok("ls", "boxes") == "a\na/b\ncat\nnew\n"
    assert boxes.json("ls", "boxes", "master~1")["samples"] == [7, "a", "a/b", "cat"]
    assert boxes.ok("ls", "boxes", "master", "--changed") == "- boxes/7/a\n~ boxes/cat/left\n+ boxes/new/1\n"
    assert boxes.json("ls", "boxes", "master", "--changed")["changes"][1] == {
        "column": "boxes",
        "sample": "cat",
        "subsample": "left",
        "change": "mutated",
    }


def test_show(boxes: Shell) -> None:
    text = boxes.ok("show", ":boxes")
    assert "Subsamples:" in text
    assert boxes.json("show", ":boxes/cat")["subsamples"] == [5, "5", "left"]
    assert boxes.ok("show", "master:boxes/cat").endswith("    int:5\n    str:5\n    left\n")
    shown = boxes.json("show", "master~1:boxes/cat/left")
    assert (shown["sample"], shown["subsample"], shown["values"]) == ("cat", "left", [0, 0])
    assert "Sample:  boxes/cat/left of commit" in boxes.ok("show", "master~1:boxes/cat/left")
    assert "1 changed" in boxes.ok("show", "master").replace("mutated", "changed")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("cat/int:5", 1),
        ("cat/str:5", 2),
        ("str:cat/left", 0),
        ("7/a", 3),
        ("int:7/a", 3),
        ("a/str:b/c", 4),
        ("a/b/c", 5),
        ("a/b/str:c", 5),
    ],
)
def test_addresses(boxes: Shell, text: str, number: int) -> None:
    assert boxes.json("show", f"master~1:boxes/{text}")["values"] == [number, -number]


def test_what_is_printed_can_be_typed_back(boxes: Shell) -> None:
    boxes.ok("rm", "boxes", "a/str:b/c", "a/b/c", "cat/str:5")
    assert boxes.ok("ls", "boxes", "--changed") == "- boxes/a/str:b/c\n- boxes/a/b/c\n- boxes/cat/str:5\n"
    boxes.ok("restore", "boxes", "a/str:b/c", "a/b/c")
    lines = boxes.ok("ls", "boxes", "master~1", "--changed").splitlines()
    assert lines[:3] == ["+ boxes/7/a", "+ boxes/a/str:b/c", "+ boxes/a/b/c"]
    for line in lines:
        assert boxes.ok("show", "master~1:" + line[2:])


@pytest.mark.parametrize("text", ["none", "cat/none", "int:5", "int:x", "none/5", "cat/", "cat/left/more", "/"])
def test_what_is_missing(boxes: Shell, text: str) -> None:
    boxes.fails(3, "show", f":boxes/{text}", text="has no sample or subsample")
    boxes.fails(3, "rm", "boxes", text)


def test_rm(boxes: Shell) -> None:
    assert boxes.json("rm", "boxes", "cat/left", "new") == {"column": "boxes", "removed": [["cat", "left"], "new"]}
    assert boxes.ok("ls", "boxes") == "a\na/b\ncat\n"
    boxes.fails(3, "rm", "boxes", "cat/int:5", "none")
    assert boxes.json("show", ":boxes/cat")["subsamples"] == [5, "5"]
    assert "3 deleted" not in boxes.ok("status")
    assert "2 deleted" in boxes.ok("status")


def test_a_subsample_that_two_keys_answer_to(boxes: Shell) -> None:
    boxes.fails(2, "show", ":boxes/cat/5", text="write str:cat/int:5 or str:cat/str:5")
    boxes.fails(2, "rm", "boxes", "cat/5")
    boxes.ok("rm", "boxes", "cat/str:5")
    assert boxes.json("show", ":boxes/cat/5")["values"] == [1, -1]


def test_patterns(boxes: Shell) -> None:
    assert boxes.json("ls", "boxes", "a*")["samples"] == ["a", "a/b"]
    assert boxes.json("ls", "boxes", "c*/*")["samples"] == [["cat", 5], ["cat", "5"], ["cat", "left"]]
    assert boxes.ok("ls", "boxes", "c*/*") == "cat/int:5\ncat/str:5\ncat/left\n"
    assert boxes.json("rm", "boxes", "*/left", "a*")["removed"] == [["cat", "left"], "a", "a/b"]
    assert boxes.json("restore", "boxes", "*/l*", "a*")["restored"] == [["cat", "left"], "a", "a/b"]
    assert boxes.json("status")["clean"]


def test_restore(boxes: Shell) -> None:
    boxes.ok("rm", "boxes", "cat", "a/b/d")
    assert boxes.json("restore", "boxes", "cat", "a/b/d")["restored"] == ["cat", ["a/b", "d"]]
    assert boxes.json("status")["clean"]
    assert boxes.json("restore", "boxes", "cat", "new/1", "--from", "master~1")["removed"] == [["new", 1]]
    assert boxes.json("show", ":boxes/cat/left")["values"] == [0, 0]
    assert boxes.ok("ls", "boxes") == "a\na/b\ncat\n"
    found = boxes.json("restore", "boxes", "--from", "master~1")
    assert (found["restored"], found["removed"]) == ([[7, "a"]], [])
    assert boxes.json("restore", "boxes", "--from", "master~1")["restored"] == []
    boxes.fails(3, "restore", "boxes", "none", "--from", "master~1")
    assert boxes.ok("fsck")


def test_log(boxes: Shell) -> None:
    def commits(*sample: str) -> int:
        return len(boxes.json("log", "--column", "boxes", *sample)["commits"])

    assert commits() == 2
    assert commits("--sample", "cat") == 2
    assert commits("--sample", "cat/left") == 2
    assert commits("--sample", "cat/int:5") == 1
    assert commits("--sample", "7") == 2
    assert commits("--sample", "a/b") == 1
    assert commits("--sample", "new") == 1
