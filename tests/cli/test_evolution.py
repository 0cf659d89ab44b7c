"""column rename and column attributes, and where their changes show."""

from __future__ import annotations

import pytest

from hangar import Repository
from hangar.cli.attributes import parse_value
from tests.cli.shell import SAME, Shell


def test_column_rename(filled: Shell) -> None:
    assert filled.ok("column", "rename", "images", "pictures") == "Renamed column images to pictures\n"
    assert filled.ok("ls", "pictures") == "a\nb\nc/d\n"
    assert "        changed:         pictures  renamed from images\n" in filled.ok("status")
    expected = {"column": "pictures", "state": "changed", "added": 0, "deleted": 0, "mutated": 0}
    assert filled.json("status")["changes"] == [expected | SAME | {"renamed_from": "images"}]
    filled.ok("rm", "pictures", "a")
    assert "pictures  1 deleted, renamed from images\n" in filled.ok("status")
    filled.ok("commit", "-m", "Renamed")
    assert "pictures  1 deleted, renamed from images\n" in filled.ok("show")
    assert filled.ok("ls", "images", "master~1") == "a\nb\nc/d\n"
    assert len(filled.json("log", "--column", "pictures")["commits"]) == 2
    assert filled.json("column", "rename", "pictures", "p") == {"name": "p", "renamed_from": "pictures"}
    filled.fails(3, "column", "rename", "nope", "x", text="nope")
    filled.fails(4, "column", "rename", "p", "p", text="already")
    filled.fails(1, "column", "rename", "p", "a b", text="not suitable")


def test_ls_changed_and_restore_of_a_renamed_column(filled: Shell) -> None:
    """It is the same column under another name: what was deleted in it is all that changed, and its old name brings it back."""
    filled.ok("column", "rename", "images", "pictures")
    filled.ok("rm", "pictures", "a")
    for name in ("pictures", "images"):
        assert filled.ok("ls", name, "--changed") == "- pictures/a\n"
    filled.ok("column", "create", "other", "STR")
    text = filled.fails(3, "restore", "pictures", text="`hangar restore images`")
    assert "removes it" not in text
    filled.fails(3, "restore", "other", text="`hangar column remove other` removes it")
    filled.ok("restore", "images")
    assert filled.ok("ls", "--changed") == ""
    assert filled.ok("ls", "images") == "a\nb\nc/d\n"


def test_column_attributes(filled: Shell) -> None:
    assert filled.ok("column", "attributes", "images") == ""
    text = filled.ok("column", "attributes", "images", "unit=mm", "scale=0.5", 'classes=["cat", "dog"]', "a=b=c")
    assert text == 'a = "b=c"\nclasses = ["cat", "dog"]\nscale = 0.5\nunit = "mm"\n'
    assert "images  attributes a, classes, scale, unit\n" in filled.ok("status")
    assert filled.json("status")["changes"][0]["attributes"] == ["a", "classes", "scale", "unit"]
    filled.ok("commit", "-m", "Described")
    assert "unit = 'mm'" in filled.ok("summary")
    assert 'unit = "mm"' in filled.ok("show", "master:images")
    assert filled.json("show")["columns"][0]["attributes"]["classes"] == ["cat", "dog"]
    document = filled.json("column", "attributes", "images", "unit=cm", "--unset", "scale", "--unset", "a")
    assert document == {"name": "images", "attributes": {"classes": ["cat", "dog"], "unit": "cm"}}
    filled.fails(3, "column", "attributes", "images", "x=1", "--unset", "nope", text="nope")
    assert filled.json("column", "attributes", "images")["attributes"] == document["attributes"]
    filled.fails(2, "column", "attributes", "images", "unit", text="KEY=VALUE")
    filled.fails(2, "column", "attributes", "images", "=x", text="KEY=VALUE")
    filled.fails(3, "column", "attributes", "nope", text="nope")


def test_names_of_attributes_break_no_line(filled: Shell) -> None:
    with Repository(filled.path) as repository, repository.checkout(write=True) as writer:
        writer["images"].attributes["unit\nforged"] = "mm"
        writer.close()
    assert "attributes unit\\nforged\n" in filled.ok("status")
    assert 'unit\\nforged = "mm"' in filled.ok("column", "attributes", "images")


def test_attributes_of_the_whole_are_shown(filled: Shell) -> None:
    from hangar import Repository

    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        writer.attributes["licence"] = "CC0"
        writer.close()
    assert "        changed:         attributes licence\n" in filled.ok("status")
    assert filled.json("status")["attributes"] == ["licence"]
    filled.ok("commit", "-m", "Licensed")
    assert 'About:   licence = "CC0"\n' in filled.ok("show")
    assert filled.json("show")["attributes"] == {"licence": "CC0"}
    assert "About:      licence = 'CC0'\n" in filled.ok("summary")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mm", "mm"),
        ("1", 1),
        ("1.5", 1.5),
        ("true", True),
        ('"1"', "1"),
        ("null", "null"),
        ("[1, 2]", [1, 2]),
        ("", ""),
        ("{", "{"),
        ('{"a": 1}', {"a": 1}),
        ("NaN", "NaN"),
    ],
)
def test_values_are_json_where_they_are(text: str, value: object) -> None:
    found = parse_value(text)
    assert (found, type(found)) == (value, type(value))
