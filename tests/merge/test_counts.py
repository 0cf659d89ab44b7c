"""What a merge costs depends on the changes: counted on a million samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.objects.store import NodeStore
from tests.merge.maker import write

COUNT = 1_000_000
CHANGES = 1_000


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of nodes that were read from the database."""
    counts: list[int] = []
    read = NodeStore._read

    def counting(store: NodeStore, digests: list[bytes]) -> list[Any]:
        counts.append(len(digests))
        return read(store, digests)

    monkeypatch.setattr(NodeStore, "_read", counting)
    return counts


def test_a_merge_reads_what_changed(repo: Repository, loaded: list[int]) -> None:
    def begin(writer: Any) -> None:
        column = writer.add_ndarray_column("labels", shape=(), dtype=np.int64)
        column.write(range(COUNT), np.arange(COUNT))

    def change(keys: Sequence[int], value: int) -> Any:
        return lambda writer: writer["labels"].write(keys, np.full(len(keys), value, np.int64))

    write(repo, "master", begin)
    repo.create_branch("dev")
    keys = np.random.default_rng(0).permutation(COUNT)[: 2 * CHANGES].tolist()
    write(repo, "master", change(keys[:CHANGES], -1))
    write(repo, "dev", change(keys[CHANGES:], -2))
    repo.close()
    loaded.clear()
    merged = repo.merge("m", "master", "dev")
    # A side is one of the two diffs against the base, of the keys that changed on that side.
    assert sum(loaded) <= 2.5 * CHANGES * 2
    column: Any = repo.checkout(commit=merged)["labels"]
    assert set(column.read(keys[:CHANGES]).tolist()) == {-1}
    assert set(column.read(keys[CHANGES:]).tolist()) == {-2}
    assert len(column) == COUNT
    repo.close()
    loaded.clear()
    repo.create_branch("old", "master~1")
    repo.merge("m", "old", "master")
    assert sum(loaded) == 0  # a fast-forward reads no tree
    repo.create_branch("empty", "dev~1")
    write(repo, "empty", lambda writer: writer.add_str_column("text"))
    repo.close()
    loaded.clear()
    repo.merge("m", "empty", "dev")
    assert sum(loaded) == 0  # only one side changed the samples: its tree is taken as it is
