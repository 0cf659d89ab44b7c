"""The page on tables, HDF5 and archives: each command prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.cli.shell import Shell
from tests.docs.blocks import ROOT, code_blocks, named_block

PAGE = "docs/howto/import-formats.rst"


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("PATH", path_with_hangar)
    (tmp_path / "pictures").mkdir()
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(tmp_path / "pictures" / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,label,score\nchina.png,temple,0.5\nflower.png,plant,0.25\n")
    run([sys.executable, "-c", named_block(PAGE, "foreign")], tmp_path)
    for block in code_blocks(PAGE, "console"):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, wanted = command.partition("\n")
            said = run(["bash", "-o", "pipefail", "-c", typed], tmp_path)
            assert wanted in ("", said), typed
    table = Shell(tmp_path).ok("export", "label", "-o", "-")
    assert table.splitlines() == ['"key","label"', '"china","plant"', '"flower","plant"']
    Shell(tmp_path).fails(2, "export", "photos", "-o", "-", text="which a csv file does not hold")
    assert not (tmp_path / "-").exists()
    assert run([sys.executable, "-c", named_block(PAGE, "h5py")], tmp_path) == "[b'china' b'flower'] [0.75 0.25]\n"


def test_the_page_names_the_extras() -> None:
    extras = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in re.findall(r"``hangar\[(\w+)\]``", (ROOT / PAGE).read_text("utf-8")):
        assert f"\n{name} = [" in extras
