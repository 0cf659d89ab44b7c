"""Making a repository: alone, whole, and without harm to the old one. Crashes in between are in ``tests/crash``."""

from __future__ import annotations

import os
import resource
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hangar import (
    DiskFullError,
    InvalidInputError,
    InvalidStateError,
    LockedError,
    Repository,
    RepositoryExistsError,
    StorageError,
    _fs,
)
from tests.processes import child, in_child

ROUNDS = 15


def test_two_processes_make_one_repository(tmp_path: Path) -> None:
    """What one builds the other would put in place, half made, if both were let in."""
    refused = 0
    for number in range(ROUNDS):
        place = tmp_path / str(number)
        place.mkdir()

        def make(talk: Connection, place: Path = place) -> str:
            repo = Repository(place, exists=False)
            talk.recv()
            try:
                repo.init("Ada", "ada@example.org")
            except (LockedError, RepositoryExistsError) as error:
                return type(error).__name__
            return "made"

        with child(make) as one, child(make) as two:
            one.send("go")
            two.send("go")
            answers = [one.result(), two.result()]
        assert answers.count("made") == 1, answers
        refused += "LockedError" in answers
        repo = Repository(place)
        writer = repo.checkout(write=True)
        writer.add_str_column("text")["key"] = "value"
        writer.commit("first")
        writer.close()
        assert repo.verify_repo_integrity()
        assert [path.name for path in place.iterdir()] == [".hangar"]
        repo.close()
    assert refused


def test_a_full_disk_is_called_so_and_leaves_what_was_there(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    repo.close()

    def replace() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with pytest.raises(DiskFullError):
            Repository(tmp_path).init("Eve", "eve@example.org", remove_old=True)
        (tmp_path / "other").mkdir()
        with pytest.raises(DiskFullError):
            Repository(tmp_path / "other", exists=False).init("Eve", "eve@example.org")
        assert os.listdir(tmp_path / "other") == []

    in_child(replace)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hangar", "other"]
    assert Repository(tmp_path).verify_repo_integrity()


def test_an_old_repository_goes_back_when_the_new_one_cannot_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    move = _fs.move_directory

    def fail(path: Path, target: Path) -> None:
        if path.name == ".hangar.new":
            raise StorageError("the disk is gone")
        move(path, target)

    monkeypatch.setattr("hangar._fs.move_directory", fail)
    with pytest.raises(StorageError, match="the disk is gone"):
        repo.init("Eve", "eve@example.org", remove_old=True)
    assert [path.name for path in tmp_path.iterdir()] == [".hangar"]
    assert "ada@example.org" in (tmp_path / ".hangar" / "config").read_text()
    assert repo.verify_repo_integrity()


def test_somebody_makes_the_commits(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    with pytest.raises(InvalidInputError, match="empty"):
        repo.init("", "ada@example.org")
    assert not (tmp_path / ".hangar").exists()
    repo.init("Ada", "")
    (tmp_path / ".hangar" / "config").write_text("[user]\nname =\nemail =\n")
    writer = repo.checkout(write=True)
    writer.add_str_column("text")
    with pytest.raises(InvalidStateError, match=r"user\.name is not set"):
        writer.commit("first")
    repo.close()
