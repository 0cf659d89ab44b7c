"""``hangar gc``: what it says, and what it takes."""

from __future__ import annotations

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell
from tests.gc.content import branch_with, filled


@pytest.fixture
def collectable(shell: Shell) -> Shell:
    """A repository with a deleted branch."""
    repo = Repository(shell.path, exists=False)
    repo.init("Ada", "ada@example.org")
    filled(repo)
    branch_with(repo, "side", 1)
    repo.remove_branch("side", force_delete=True)
    repo.close()
    return shell


def test_what_it_removes(collectable: Shell) -> None:
    shell = collectable
    said = shell.ok("gc", "--dry-run", "--expire-reflog", "all")
    assert "1 commit would be removed" in said
    assert "Nothing was changed" in said
    before = shell.json("gc", "--dry-run")
    assert before["dry_run"]
    assert before["commits"] == {"kept": 3, "removed": 0, "removed_nbytes": 0}
    said = shell.ok("gc", "--expire-reflog", "side")
    assert "1 commit removed" in said
    assert "blob file removed" in said
    assert said.splitlines()[-1].startswith("Done: ")
    assert shell.json("gc")["commits"]["kept"] == 2


def test_why(collectable: Shell) -> None:
    shell = collectable
    said = shell.ok("gc", "--why", "master")
    assert "heads/master" in said
    found = shell.json("gc", "--why", "side@{1}")
    assert found["kind"] == "commit"
    assert not found["refs"]
    assert any(entry.startswith("heads/side@{") for entry in found["reflog"])
    shell.ok("gc", "--expire-reflog", "all")
    assert "is not in this repository" in shell.ok("gc", "--why", found["digest"])
    repo = Repository(shell.path)
    digest = repo.fsck().commits
    assert digest == 2
    column = repo.checkout()["images"]
    assert column[7].dtype == np.uint8
    repo.close()


def test_what_it_refuses(collectable: Shell) -> None:
    shell = collectable
    assert "takes no other options" in shell.fails(2, "gc", "--why", "master", "--dry-run")
    assert "neither a branch or tag" in shell.fails(3, "gc", "--expire-reflog", "nope")
    assert "64 characters" in shell.fails(3, "gc", "--why", "nope")
    repo = Repository(shell.path)
    writer = repo.checkout(write=True)
    assert "holds the" in shell.fails(5, "gc")
    writer.close()
    repo.close()
