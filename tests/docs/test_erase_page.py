"""What the page on erasing data says is done here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from tests.docs.blocks import code_blocks
from tests.purge.searching import files_with

PAGE = "docs/howto/erase-data.rst"
NAMES = ("anna", "berta", "carla")


def noise(seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, 3_000, np.uint8)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> Path:
    """A repository with two commits, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path_with_hangar)
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    photos = writer.add_ndarray_column("photos", (3_000,), np.uint8)
    names = writer.add_str_column("names")
    for i, name in enumerate(NAMES):
        photos[name], names[name] = noise(i), f"{name.title()} Example, born 19{60 + i}"
    photos["carla_copy"] = noise(2)
    writer.commit("First")
    photos["anna"] = noise(10)
    writer.commit("Second")
    writer.close()
    repo.close()
    return tmp_path


def shown(block: str) -> list[tuple[str, str]]:
    """The commands of a block, and a pattern for what each prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "(?s)" + r".*?".join(map(re.escape, "\n".join(lines).split("...")))) for command, lines in found]


def test_the_page(desk: Path) -> None:
    python = code_blocks(PAGE, "python")
    commands = [pair for block in code_blocks(PAGE, "console") for pair in shown(block)]
    assert len(commands) == 10
    for command, expected in commands:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert re.match(expected, done.stdout), (command, done.stdout)
    exec(compile(python[0], PAGE, "exec"), {})
    gone = [noise(seed).tobytes() for seed in (0, 1, 2, 10)]
    assert files_with(desk, *gone, b"Anna Example") == []
    assert files_with(desk, b"Berta Example") != []
    with Repository(desk) as repo:
        assert repo.fsck(data=True).sound
