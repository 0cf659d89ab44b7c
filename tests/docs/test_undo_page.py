"""What the page on undoing says is done here."""

from __future__ import annotations

import doctest
import shlex
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from hangar import Repository
from tests.cli.shell import Shell
from tests.docs.blocks import ROOT, typed_commands

PAGE = "docs/howto/undo.rst"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> Path:
    """A directory with the pictures that the page imports."""
    (tmp_path / "pictures").mkdir()
    for name, image in zip(["china", "flower"], load_sample_images().images, strict=True):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path_with_hangar)
    return tmp_path


def test_the_commands_do_what_the_page_says(desk: Path) -> None:
    commands = typed_commands(PAGE)
    assert len(commands) >= 30
    shell = Shell(desk)
    said = {}
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "hangar"
        said[command] = shell.ok(*words)
    assert "The photos of the first paper" in said["hangar show v1"]
    assert "china" in said["hangar ls photos"]
    assert "notes" in said["hangar status"]
    assert "Without the flower" in said["hangar stash list"]
    assert "other" in said["hangar branch list --deleted"]
    assert "Two photos" in said["hangar blame photos flower"]
    (search,) = (command for command in commands if command.startswith("hangar bisect run"))
    assert said[search].splitlines()[-1].endswith("Without the flower")
    with Repository(desk) as repo:
        log = repo.log(branch="master", return_contents=True)
        assert log is not None
        assert [log["specs"][one]["commit_message"] for one in log["order"]] == [
            "Both changes in one commit",
            "Remove china",
            "Two photos",
        ]
        assert list(repo.checkout(branch="other")["photos"]) == ["china"]
        assert repo.fsck(data=True).sound


@pytest.mark.usefixtures("desk")
def test_the_python_of_the_page_runs() -> None:
    failed, tried = doctest.testfile(
        str(ROOT / PAGE),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL,
        encoding="utf-8",
    )
    assert tried >= 25
    assert failed == 0
