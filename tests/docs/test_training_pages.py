"""What the pages on training say is what happens; that on TensorFlow runs in ``tests/dataset/tensorflow_cases.py``."""

from __future__ import annotations

import doctest
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, typed_commands


@pytest.mark.parametrize("page", ["splits", "train-with-numpy-and-jax", "reproduce-a-run"])
def test_pages_say_what_happens(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / "howto" / f"{page}.rst"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL,
        encoding="utf-8",
    )
    assert tried >= 20
    assert failed == 0


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> None:
    monkeypatch.setenv("PATH", path_with_hangar)
    commands = typed_commands("docs/howto/splits.rst")
    assert len(commands) >= 5
    script = "\n".join(commands)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
