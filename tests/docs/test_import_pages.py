"""The pages on whole datasets, bulk imports and other libraries: their commands and programs run on made data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bulk_importer import folders
from tests.docs.blocks import code_blocks, named_block

DATASETS = "docs/howto/import-datasets.rst"


def run_program(text: str, folder: Path) -> str:
    path = folder / "program.py"
    path.write_text(text)
    done = subprocess.run([sys.executable, path.name], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sizes_left_out(text: str) -> str:
    """Compressed files differ in size with the version of pillow."""
    return re.sub(r"[\d.]+ kB", "some kB", text)


def test_whole_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> None:
    """Each command prints what the page says, and torch takes the columns as they are."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("PATH", path_with_hangar)
    folders.classes(tmp_path / "digits", ("train", "val"))
    folders.coco(tmp_path / "coco")
    folders.table(tmp_path / "table")
    folders.hugging_face(tmp_path / "hugging_face")
    for block in code_blocks(DATASETS, "console"):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, said = command.partition("\n")
            shell = ["bash", "-o", "pipefail", "-c", typed]
            done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert sizes_left_out(said) in ("", sizes_left_out(done.stdout))
    assert "10 classes" in run_program(named_block(DATASETS, "python"), tmp_path)
    pytest.importorskip("torch")
    programs = [named_block(DATASETS, name) for name in ("classes", "coco")]
    first, second = run_program("\n".join(programs), tmp_path).splitlines()
    assert first.startswith("20 (8, 8, 3) digit_")
    assert second.startswith("4 (8, 8, 3) [0.  0.5 2.  3. ] 1")


def test_bulk_imports(tmp_path: Path) -> None:
    for number in range(2):
        folders.write(tmp_path / "pictures" / f"{['china', 'flower'][number]}.png", folders.png(number))
    assert "imported 2 of 2 items" in run_program(named_block("docs/howto/bulk-import.rst", "items"), tmp_path)
    run_program(named_block("docs/howto/bulk-import.rst", "run"), tmp_path)


def test_other_libraries(tmp_path: Path) -> None:
    for name in ("pandas", "pyarrow", "dask", "xarray"):
        pytest.importorskip(name)
    page = "docs/howto/other-libraries.rst"
    said = run_program(named_block(page, "in"), tmp_path)
    assert "imported 8 of 8 items" in said
    assert "['Oslo', 'Rome']" in said
    said = run_program(named_block(page, "out"), tmp_path)
    assert "((4, 4), (4,), (4,)) 3.5" in said
    assert "['key', 'noise', 'label']" in said
