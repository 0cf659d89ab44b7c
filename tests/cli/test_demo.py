"""The demonstration does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hangar import Repository
from hangar.cli import main
from hangar.dataset import Manifest, NumpyDataset
from hangar.demo import steps
from hangar.demo.training import EPOCHS
from tests.cli.shell import Shell, runner


def test_demo(shell: Shell) -> None:
    text = " ".join(shell.ok("demo", "digits").split())
    assert "7,212 samples compared: all equal the input." in text
    assert "$ hangar commit -m 'Digits with labels made in a hurry, and two photographs'" in text
    assert "No leak: checked 1 column" in text
    assert "of the test digits are recognized" in text
    assert "of the time was spent waiting for data" in text
    assert "all are identical" in text
    place = Shell(shell.path / "digits")
    assert [commit["message"] for commit in place.json("log")["commits"]] == [
        "Labels after a second look",
        "Digits with labels made in a hurry, and two photographs",
    ]
    assert len(place.json("ls", "labels", "relabel", "--changed")["changes"]) == steps.WRONG
    assert place.json("status")["clean"]
    with Repository(place.path) as repository, repository.checkout(branch="relabel") as reader:
        assert np.array_equal(reader["labels"].read(slice(None)), load_digits().target)
    with Repository(place.path) as repository:
        manifest = Manifest.load(place.path / "run.json")
        assert manifest.split == ("default", "train")
        assert manifest.selection.columns[1].commit == repository.rev_parse("relabel")
    picture = ET.parse(place.path / "accuracy.svg").getroot()
    points = [line.get("points", "").split() for line in picture.iter("{http://www.w3.org/2000/svg}polyline")]
    assert list(map(len, points)) == [EPOCHS, EPOCHS]
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
    assert document["first_accuracy"] < 0.95 < document["second_accuracy"] <= 1
    assert document["resumed_batches"] == 70
    picture = Path(document["picture"])
    assert picture.read_text("utf-8").startswith("<svg ")
    picture.unlink()
    assert result.stderr == ""
    assert list(shell.path.iterdir()) == []


def test_demo_finds_what_does_not_come_back(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_corrected", lambda data: {5: 9})
    shell.fails(6, "demo", "x", text="differs from the input: labels")


def test_demo_finds_a_run_that_goes_on_differently(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumpyDataset, "load_state_dict", lambda self, state: None)
    shell.fails(6, "demo", "x", text="differs from the one that was not stopped")


def test_demo_without_its_data(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    shell.fails(1, "demo", "x", text="pip install 'hangar[demo]'")
