"""Branch, tag, reset, and what else only moves names, cost the same for 100 samples and for 1,000,000: counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.objects.store import NodeStore
from tests.counting import calls_of
from tests.history.undoing import commit, new_repository, with_writer

MANY = 1_000_000
OPERATIONS = {
    "branch": lambda repo: repo.create_branch("b"),
    "delete branch": lambda repo: repo.remove_branch("b"),
    "restore branch": lambda repo: repo.restore_branch("b"),
    "tag": lambda repo: repo.tag("t", message="m"),
    "delete tag": lambda repo: repo.remove_tag("t"),
    "soft reset": lambda repo: repo.reset("master~1"),
    "hard reset": lambda repo: repo.reset("master@{1}", hard=True),
    "reflog": lambda repo: repo.reflog(),
    "revert": lambda repo: repo.revert("master"),
    "cherry-pick": lambda repo: repo.cherry_pick("master~1"),
    "stash": lambda repo: repo.stash(),
    "pop": lambda repo: repo.stash_pop(),
}


def counts(path: Path, samples: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Of each operation the calls, and the nodes that are read."""
    path.mkdir()
    repo = new_repository(path)

    def fill(writer: Any) -> None:
        writer.add_ndarray_column("n", (), np.int64).write(range(samples), np.arange(samples))
        writer.add_str_column("t")["a"] = "b"

    commit(repo, "first", fill)
    # Half of all samples change, in a large repository half a million.
    commit(repo, "second", lambda w: w["n"].write(range(0, samples, 2), np.arange(0, samples, 2) + 1))
    repo.close()
    stores: list[NodeStore] = []
    make = NodeStore.__init__

    def noted(self: NodeStore, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        stores.append(self)

    monkeypatch.setattr(NodeStore, "__init__", noted)
    found = {}
    for name, operation in OPERATIONS.items():
        if name == "stash":
            with_writer(repo, lambda w: w["t"].update({"c": "d"}))
        repo.close()
        repo = Repository(path)
        repo.list_branches()
        before = sum(store.loads for store in stores)
        calls = calls_of(lambda repo=repo, operation=operation: operation(repo))  # type: ignore[misc]
        found[name] = (calls["call"], sum(store.loads for store in stores) - before)
    assert repo.fsck().sound
    repo.close()
    monkeypatch.undo()
    return found


def test_costs_do_not_follow_the_number_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = counts(tmp_path / "few", 100, monkeypatch)
    many = counts(tmp_path / "many", MANY, monkeypatch)
    for name in OPERATIONS:
        assert few[name][0] < 3_000, name
        # The file of the database has more pages to map and to free; a column of a million samples has 14,000 leaves.
        assert many[name][0] <= few[name][0] + 500, name
    # Nothing of a column is read to move a name; a revert and a pick of all changes of a column take over its tree.
    # A stash reads the path to the one sample that was changed.
    assert {name: nodes for name, (_, nodes) in many.items() if nodes} == {"stash": 1}
