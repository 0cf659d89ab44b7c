"""What only looks at a repository sees one state of it, whatever a writer commits and stages meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.cli.state import State
from hangar.cli.views import open_view
from hangar.db import Database, ReadTransaction
from tests.processes import child

SECONDS = 1.5


def look(path: Path) -> list[Callable[[], object]]:
    repo = Repository(path)
    state = State.of(repo)

    def listed() -> object:
        view = open_view(state, None)
        return [(name, list(view[name].keys())) for name in view]

    return [repo.status, lambda: repo.fsck().problems, listed]


def begin(repo: Repository) -> WriterCheckout:
    writer = repo.checkout(write=True)
    writer.add_str_column("t")["a"] = "first"
    writer.add_ndarray_column("n", (20,), np.int64)
    writer.commit("first")
    return writer


def change(writer: WriterCheckout, number: int) -> None:
    """Stage something; commit, so that what was staged goes; and stage something else, on the new commit."""
    writer["t"]["a"] = f"staged {number} " * 20
    writer["n"].write(range(3), np.full((3, 20), number))
    writer.commit(str(number))
    writer["t"]["b"] = f"after {number}"


@pytest.mark.parametrize("which", range(3), ids=["status", "fsck", "ls"])
def test_a_commit_between_any_two_transactions_is_no_damage(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    writer = begin(repo)
    change(writer, 0)
    call = look(Path(repo.path))[which]
    original = Database.read
    left = 0

    def overtaken(db: Database) -> ReadTransaction:
        nonlocal left
        left -= 1
        if left == 0:
            change(writer, at)
        return original(db)

    monkeypatch.setattr(Database, "read", overtaken)
    for at in range(1, 30):
        left = at
        found = call()
        assert found is not None
        assert not (isinstance(found, tuple) and found), found
        if left > 0:
            break  # it makes fewer transactions than that
    assert at > 3


def test_status_fsck_and_ls_beside_a_busy_writer(repo: Repository) -> None:
    """The same with real processes and real time."""
    begin(repo).close()

    def write(talk: Connection) -> int:
        writer = Repository(repo.path).checkout(write=True)
        for number in itertools.count():
            change(writer, number)
            if talk.poll(0):
                writer.close()
                return number
        raise AssertionError

    with child(write) as other:
        calls = look(Path(repo.path))
        deadline = time.monotonic() + SECONDS
        turns = 0
        while time.monotonic() < deadline:
            for call in calls:
                found = call()
                assert not (isinstance(found, tuple) and found), found
            turns += 1
        other.send("stop")
        commits = other.result()
    assert commits > 5
    assert turns > 5
