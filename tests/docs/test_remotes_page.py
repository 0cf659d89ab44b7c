"""The page on remotes: its commands run, and its Python says what the page says, over a server on loopback."""

from __future__ import annotations

import doctest
import os
import subprocess
import warnings
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.docs.blocks import ROOT, typed_commands

PAGE = "docs/howto/remotes-and-partial-clones.rst"


def test_the_commands_run(tmp_path: Path, path_with_hangar: str) -> None:
    (tmp_path / "pictures").mkdir()
    for name, image in zip(["china", "flower"], load_sample_images().images, strict=True):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{name}.png")
    script = "\n".join(typed_commands(PAGE))
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path_with_hangar},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "only there" in done.stdout


def test_the_page_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*reference-only")
        failed, tried = doctest.testfile(
            str(ROOT / PAGE),
            module_relative=False,
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL,
            encoding="utf-8",
        )
    assert tried >= 30
    assert failed == 0
