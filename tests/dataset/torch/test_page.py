"""The page on training with PyTorch: each line does what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT


def test_the_page_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / "howto" / "train-with-pytorch.rst"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL,
        encoding="utf-8",
    )
    assert tried >= 50
    assert failed == 0
