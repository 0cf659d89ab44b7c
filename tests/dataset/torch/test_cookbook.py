"""The cookbook: its commands, and then its training loop, in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import code_blocks
from tests.docs.conftest import path_with_hangar
from tests.docs.test_pages_run import desk, type_commands

__all__ = ["desk", "path_with_hangar"]

PAGE = "docs/howto/cookbook.rst"


def test_the_training_loop_of_the_cookbook(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    type_commands(PAGE, desk)
    (block,) = code_blocks(PAGE, "python")
    exec(compile(block, PAGE, "exec"), {})
    assert "2 tensor(" in capsys.readouterr().out
