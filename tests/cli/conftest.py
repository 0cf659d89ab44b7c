"""A directory, a repository in it, and one with samples and commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import Shell, pictures


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty directory."""
    path = tmp_path / "repo"
    path.mkdir()
    return Shell(path)


@pytest.fixture
def empty(shell: Shell) -> Shell:
    """A repository without a commit."""
    shell.ok("init", "--name", "Ada Lovelace", "--email", "ada@example.com")
    return shell


@pytest.fixture
def filled(empty: Shell, tmp_path: Path) -> Shell:
    """A repository with the images a, b and c/d in one commit."""
    pictures(tmp_path / "in", ["a", "b", "c/d"])
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    empty.ok("import", "images", tmp_path / "in")
    empty.ok("commit", "-m", "First")
    return empty
