"""A repository that holds one of everything, made by the present code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.compat.fixtures.make_fixture import fill


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Path of the repository, which no test changes, and what it holds (see ``make_fixture.fill``)."""
    path = tmp_path_factory.mktemp("everything")
    return path, fill(path)


@pytest.fixture
def copied(everything: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of that repository, to damage."""
    path = tmp_path / "copy"
    shutil.copytree(everything[0], path)
    return path
