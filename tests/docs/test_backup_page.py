"""What the page on backup and restore says is done here, with a repository that breaks in between."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hangar import LockedError, Repository
from hangar.errors import HangarError, RepositoryNotFoundError
from tests.docs.blocks import code_blocks, typed_commands

PAGE = "docs/howto/back-up-and-restore.rst"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> Path:
    """A folder with the repository ``photos`` in it: a commit, and staged changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path_with_hangar)
    (tmp_path / "photos").mkdir()
    repo = Repository("photos", exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("x", (100,), np.uint8).write(range(2_000), np.full((2_000, 100), 7, np.uint8))
    writer.commit("backed up")
    writer["x"][0] = np.full(100, 8, np.uint8)
    writer.close()
    repo.close()
    return tmp_path


def work_on() -> None:
    with Repository("photos") as repo:
        writer = repo.checkout(write=True)
        writer["x"].write(range(5_000, 9_000), np.random.default_rng(0).integers(0, 9, (4_000, 100), np.uint8))
        writer.commit("after the backup")
        writer.close()


def commands(heading: str) -> list[str]:
    """What is typed: the first block has the copy, the second the restoring."""
    typed = typed_commands(PAGE)
    cut = next(at for at, line in enumerate(typed) if line.startswith("mv "))
    return typed[:cut] if heading == "copy" else typed[cut:]


def run(lines: list[str]) -> str:
    script = "\n".join(lines)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=True, capture_output=True, text=True)
    return done.stdout


def make_copy() -> None:
    (block,) = code_blocks(PAGE, "python")
    exec(compile(block, PAGE, "exec"), {})


@pytest.mark.usefixtures("desk")
def test_a_copy_is_a_repository_and_brings_one_back() -> None:
    make_copy()
    work_on()
    Path("photos/.hangar/db/data.mdb").write_bytes(b"broken")
    with pytest.raises(HangarError):
        Repository("photos").checkout()
    assert "All is well" in run(commands("restore"))
    with Repository("photos") as repo:
        assert repo.fsck().commits == 1
        assert repo.status().columns[0].mutated == 1
        assert np.array_equal(repo.checkout()["x"][5], np.full(100, 7, np.uint8))
    work_on()
    assert Path("photos/hangar-before/db/data.mdb").read_bytes() == b"broken"


@pytest.mark.usefixtures("desk")
def test_the_copy_is_refused_while_somebody_writes() -> None:
    with Repository("photos") as repo:
        writer = repo.checkout(write=True)
        with pytest.raises(LockedError):
            make_copy()
        writer.close()
    assert not Path("backup").exists()


@pytest.mark.usefixtures("desk")
def test_the_commands_of_the_copy() -> None:
    said = run(commands("copy"))
    assert said.startswith("The writer lock is free\n")
    assert "All is well" in said
    with Repository("backup-2") as copy:
        assert copy.status().columns[0].mutated == 1


@pytest.mark.usefixtures("desk")
def test_who_has_the_old_repository_open_goes_on_or_is_told() -> None:
    make_copy()
    reader = Repository("photos").checkout()["x"]
    assert reader[3][0] == 7
    writer = Repository("photos").checkout(write=True)
    run(commands("restore"))
    assert reader[4][0] == 7
    with pytest.raises(RepositoryNotFoundError, match="replaced by another"):
        writer["x"][1] = np.zeros(100, np.uint8)
    writer.close()


@pytest.mark.usefixtures("desk")
def test_a_database_alone_is_a_rollback_that_fsck_names() -> None:
    make_copy()
    work_on()
    run(
        [
            "cp backup/.hangar/db/data.mdb photos/.hangar/db/data.mdb.new",
            "mv photos/.hangar/db/data.mdb.new photos/.hangar/db/data.mdb",
        ]
    )
    report = Repository("photos").fsck(data=True)
    assert report.sound
    assert report.notes


@pytest.mark.usefixtures("desk")
def test_a_blob_file_or_run_of_a_later_copy_serves() -> None:
    with_all = Path("photos/.hangar")
    make_copy()
    work_on()
    shutil.copytree(with_all, "later")
    for name in ("blobs", "runs"):
        for path in (with_all / name).iterdir():
            path.unlink()
            shutil.copy(Path("later") / name / path.name, path)
    (with_all / "format").write_text("hangar 0\n")
    assert Repository("photos").fsck(data=True).sound
