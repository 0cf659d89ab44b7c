"""What the page on damage says is done here, with a damaged repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import RepairedWarning
from tests.docs.blocks import code_blocks, typed_commands

PAGE = "docs/howto/when-something-is-damaged.rst"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> Path:
    """A repository with a flipped bit in one sample of its last commit, and another sample lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path_with_hangar)
    (tmp_path / "photos").mkdir()
    repo = Repository("photos", exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("images", (100,), np.uint8, backend="10")
    column.write(range(200), np.random.default_rng(0).integers(0, 256, (200, 100), np.uint8))
    writer.commit("whole")
    column[17] = np.full(100, 200, np.uint8)
    column[18] = np.full(100, 201, np.uint8)
    writer.commit("damaged")
    writer.close()
    repo.close()
    for file in (tmp_path / "photos" / ".hangar" / "blobs").iterdir():
        data = file.read_bytes()
        at = data.find(bytes([200]) * 100)
        if at >= 0:
            lost = data.index(bytes([201]) * 100)
            flipped = data[: at + 9] + bytes([201]) + data[at + 10 :]
            file.write_bytes(flipped[:lost] + bytes(100) + flipped[lost + 100 :])
    return tmp_path / "photos"


def run(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


def test_the_commands_of_the_page(photos: Path) -> None:
    look, repair, branch, switch = typed_commands(PAGE)
    said = run(look)
    assert said.returncode == 6, said.stderr
    assert "images/17" in said.stdout
    assert "images/18" in said.stdout
    assert "hangar fsck --data --repair" in said.stdout
    said = run(repair)
    assert said.returncode == 6
    assert "corrected a flipped bit in 1 blob" in said.stdout
    assert "images/18" in said.stdout
    assert "images/17" not in said.stdout
    for line in (branch, switch):
        assert run(line).returncode == 0, line
    with Repository(photos) as repo:
        assert np.array_equal(
            repo.checkout(branch="rescue")["images"][18], repo.checkout(branch="rescue")["images"][18]
        )
        # The same value heals every commit that names it.
        writer = repo.checkout(write=True, branch="rescue")
        value = np.full(100, 201, np.uint8)
        images = writer["images"]
        with pytest.warns(RepairedWarning):
            images["again"] = value
        writer.close()
    assert run(look).returncode == 0


def test_the_program_of_the_page(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    (block,) = code_blocks(PAGE, "python")
    exec(compile(block, PAGE, "exec"), {})
    assert "('images', 18)" in capsys.readouterr().out
