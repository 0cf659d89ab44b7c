"""A repository that was moved, removed, replaced or closed to this user: told as what it is, and nothing proposed that would lose data."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository, _fs
from hangar.db.format import FILE_NAME
from hangar.errors import AccessError, RepositoryExistsError, RepositoryNotFoundError, exit_code
from tests.cli.shell import Shell
from tests.processes import Child

MOVED = "was moved or removed"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    fill(path)
    return path


def fill(path: Path) -> None:
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("x", (300,), np.uint8).write(range(3000), np.zeros((3000, 300), np.uint8) + 1)
    writer.commit("first")
    writer.close()
    repo.close()


@pytest.mark.parametrize(
    "away", [shutil.rmtree, lambda path: os.rename(path, f"{path}-moved")], ids=["removed", "moved"]
)
def test_an_open_reader_says_that_the_repository_is_gone(place: Path, away: Callable[[Path], object]) -> None:
    repo = Repository(place)
    column = repo.checkout()["x"]
    writer = repo.checkout(write=True)
    writer["x"][0] = np.full(300, 9, np.uint8)
    away(place)
    _fs.release_caches()
    for call in (
        lambda: column.read(range(2000)),
        lambda: column[1],
        repo.fsck,
        lambda: writer.commit("second"),
        lambda: writer["x"].write([5], np.zeros((1, 300), np.uint8) + 5),
    ):
        with pytest.raises(RepositoryNotFoundError, match=MOVED):
            call()
    writer.close()
    with pytest.raises(RepositoryNotFoundError, match=MOVED):
        repo.checkout(write=True)


def test_what_was_written_before_the_move_is_there_after_it(place: Path) -> None:
    writer = Repository(place).checkout(write=True)
    writer["x"][0] = np.full(300, 9, np.uint8)
    moved = place.with_name("elsewhere")
    os.rename(place, moved)
    with pytest.raises(RepositoryNotFoundError, match=MOVED):
        writer["x"][1] = np.full(300, 8, np.uint8)
    found = Repository(moved)
    # The lock is still held, by the writer that does not know where it is.
    assert found.status().columns[0].mutated == 1
    assert found.fsck(data=True).sound


def test_a_writer_refuses_to_write_into_a_database_that_was_replaced(place: Path) -> None:
    """As when a copy is restored over an open repository: what is committed to the old file would be lost."""
    writer = Repository(place).checkout(write=True)
    data = place / ".hangar" / "db" / "data.mdb"
    shutil.copy(data, f"{data}.copy")
    os.rename(f"{data}.copy", data)
    with pytest.raises(RepositoryNotFoundError, match="replaced by another"):
        writer["x"][0] = np.full(300, 9, np.uint8)


def test_a_lost_format_file_is_told_in_python_and_at_the_command_line(place: Path) -> None:
    repo = Repository(place)
    (place / ".hangar" / FILE_NAME).unlink()
    for call in (repo.checkout, Repository(place).checkout, Repository.open(place).log):
        with pytest.raises(RepositoryNotFoundError, match="hangar fsck --repair") as caught:
            call()
        assert "init" not in str(caught.value)
    with pytest.raises(RepositoryExistsError, match="hangar fsck --repair") as refused:
        repo.init("Ada", "ada@example.org")
    assert "overwrite" not in str(refused.value)
    Shell(place).fails(3, "log", text="hangar fsck --repair")
    (place / ".hangar" / FILE_NAME).write_text("hangar 0\n")
    assert Repository(place).fsck(data=True).sound


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    fill(path)
    yield path
    (path / ".hangar").chmod(0o755)
    shutil.rmtree(path)


@pytest.mark.parametrize("below", [".hangar", ".hangar/db"])
def test_a_directory_that_cannot_be_entered(open_to_all: Path, below: str) -> None:
    def look(_: Connection) -> list[tuple[str, int, str]]:
        Repository(open_to_all).log(return_contents=True)  # all modules are imported
        (open_to_all / below).chmod(0o000)
        if os.geteuid() == 0:
            os.seteuid(65_534)
        found = []
        for opened in (Repository, Repository.open):
            try:
                opened(open_to_all).checkout()
            except AccessError as error:
                found.append((type(error).__name__, exit_code(error), str(error)))
        return found

    outcomes = Child(look).result()
    (open_to_all / below).chmod(0o755)
    assert [outcome[:2] for outcome in outcomes] == [("AccessError", 5)] * 2
    assert all(below.partition("/")[0] in outcome[2] for outcome in outcomes)


def test_what_may_not_be_read_is_no_damage(open_to_all: Path) -> None:
    def check(_: Connection) -> list[str]:
        Repository(open_to_all).fsck(data=True)  # all modules are imported
        for path in (open_to_all / ".hangar" / "blobs").iterdir():
            path.chmod(0o000)
        if os.geteuid() == 0:
            for path in (open_to_all, *open_to_all.rglob("*")):
                os.chown(path, 65_534, -1)
            os.seteuid(65_534)
        found = []
        for data in (False, True):
            try:
                found.append(str(Repository(open_to_all).fsck(data=data)))
            except AccessError as error:
                found.append(f"{exit_code(error)} {error}")
        return found

    outcomes = Child(check).result()
    for path in (open_to_all / ".hangar" / "blobs").iterdir():
        path.chmod(0o644)
    assert [outcome[:2] for outcome in outcomes] == ["5 ", "5 "]
    assert all(
        "/blobs/" in outcome and outcome.endswith("`hangar fsck --repair` restores them") for outcome in outcomes
    )
    assert Repository(open_to_all).fsck(data=True).sound
