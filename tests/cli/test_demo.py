"""The demonstration does what it says."""

from __future__ import annotations

import json

import pytest

from hangar import Repository, demo
from hangar.cli import main
from tests.cli.shell import Shell, runner


def test_demo(shell: Shell) -> None:
    text = shell.ok("demo", "digits")
    assert "7,212 samples compared: all equal the input." in text
    assert "$ hangar commit -m 'The digits as they came, and two photographs'" in text
    place = Shell(shell.path / "digits")
    assert [commit["message"] for commit in place.json("log")["commits"]] == [
        "Three labels by a second pair of eyes",
        "The digits as they came, and two photographs",
    ]
    assert len(place.json("ls", "labels", "relabel", "--changed")["changes"]) == len(demo.RELABELLED)
    assert place.json("status")["clean"]
    with Repository(place.path) as repository, repository.checkout(branch="relabel") as reader:
        for key, label in demo.RELABELLED.items():
            assert reader["labels", key] == label
    shell.fails(4, "demo", "digits", text="there is a repository")


def test_demo_in_a_directory_below(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.path)
    result = runner().invoke(main, ["demo", "deep/er", "--json"])
    assert result.exit_code == 0, result.output
    assert (shell.path / "deep" / "er" / ".hangar").is_dir()


def test_demo_for_a_script(shell: Shell) -> None:
    result = shell.run("demo", "--json")
    document = json.loads(result.stdout)
    assert document["compared"] == 2 * document["samples"] == 7_212
    assert document["directory"] is None
    assert result.stderr == ""
    assert list(shell.path.iterdir()) == []


def test_demo_finds_what_does_not_come_back(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_corrected", lambda labels: labels)
    shell.fails(6, "demo", text="differs from the input: labels")


def test_demo_without_its_data(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    shell.fails(1, "demo", text="pip install 'hangar[demo]'")
