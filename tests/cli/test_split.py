"""The commands of ``hangar split``."""

from __future__ import annotations

import numpy as np

from hangar import Repository
from hangar.dataset import hash_split, load_split
from tests.cli.shell import Shell


def test_a_split_from_the_command_line(filled: Shell) -> None:
    assert filled.ok("split", "list") == ""
    assert filled.ok("split", "create", "default") == "Staged split default: train=0.8 val=0.1 test=0.1\n"
    made = filled.json("split", "create", "halves", "a=0.5", "b=0.5", "--salt", "s", "--group-prefix", "/")
    expected = {
        "name": "halves", "parts": [["a", 0.5], ["b", 0.5]], "salt": "s", "group_column": "", "group_prefix": "/"
    }  # fmt: skip
    assert made == expected
    assert filled.json("split", "list")["splits"][1] == filled.json("split")["splits"][1] == expected
    assert filled.json("split", "list", "master")["splits"] == []
    filled.ok("commit", "-m", "Splits")
    text = "default  train=0.8 val=0.1 test=0.1\nhalves   a=0.5 b=0.5, salt 's', grouped by what comes before '/'\n"
    assert filled.ok("split", "list", "master") == text
    assert load_split(Repository(filled.path).checkout(), "halves") == hash_split(
        {"a": 0.5, "b": 0.5}, salt="s", group_prefix="/"
    )
    assert filled.ok("split", "delete", "halves") == "Removed split halves\n"
    assert filled.json("split", "list")["splits"] == filled.json("split", "list", "master")["splits"][:1]


def test_what_is_wrong(filled: Shell) -> None:
    filled.fails(2, "split", "create", "x", "train", text="NAME=FRACTION")
    filled.fails(2, "split", "create", "x", "a=0.5", "a=0.5", text="different names")
    filled.fails(1, "split", "create", "x", "a=0.5", text="sum to 1")
    filled.fails(1, "split", "create", "a b", text="not suitable")
    filled.fails(1, "split", "create", "x", "--group-column", "nope", text="not here")
    filled.fails(3, "split", "check", "nope", text="no split 'nope'")
    filled.fails(3, "split", "delete", "nope", text="no split 'nope'")
    filled.ok("split", "create", "x")
    filled.fails(4, "split", "create", "x", "--salt", "y", text="another split 'x'")
    filled.ok("split", "create", "x", "--salt", "y", "--replace")
    filled.fails(3, "split", "list", "nope", text="nope")
    assert filled.json("split", "list")["splits"][0]["salt"] == "y"


def test_check(filled: Shell) -> None:
    filled.ok("split", "create", "halves", "a=0.5", "b=0.5")
    assert filled.ok("split", "check", "halves").endswith("No leak: checked 1 column\n")
    writer = Repository(filled.path).checkout(write=True)
    writer["images"].write([f"k{i}" for i in range(40)], np.zeros((40, 7, 5), np.uint8))
    patient = writer.add_str_column("patient")
    patient.write(["a", "b", "c/d", *(f"k{i}" for i in range(20))], [f"{i // 2}" for i in range(23)])
    writer.close()
    result = filled.run("split", "check", "halves")
    assert result.exit_code == 1
    assert "leak: column images: 40 equal values: k0 in " in result.stdout
    assert result.stdout.endswith("1 leak\n")
    result = filled.run("split", "check", "halves", "-d", "patient", "--group-column", "patient", "--json")
    assert result.exit_code == 1
    assert '"kind": "group"' in result.stdout
    result = filled.run("split", "check", "halves", "--group-column", "patient")
    assert "not checked: column images: " in result.stdout
    filled.fails(3, "split", "check", "halves", "-d", "images", "--group-column", "patient", text="no sample")
    assert filled.ok("split", "check", "halves", "-d", "patient").startswith("patient  a ")
    filled.fails(3, "split", "check", "halves", "master", text="no split 'halves'")
