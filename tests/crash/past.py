"""A repository with the records of operations on history: tags, a stash, a purged sample, conflicts of a merge in progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hangar import PurgedError, Repository
from tests.crash.world import comparable

__all__ = ["fill", "read_all"]


def fill(directory: Path) -> None:
    """All of them at once; the merge in progress has two conflicts, one of which is resolved."""
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    label = writer.add_ndarray_column("label", (), np.int32)
    label.write(range(300), np.arange(300, dtype=np.int32))
    image = writer.add_ndarray_column("image", (60,), np.uint8)
    image.write(range(20), np.arange(1_200).reshape(20, 60).astype(np.uint8))
    writer.commit("one")
    repo.tag("v1", message="the first\n\nwith a text")
    repo.tag("light")
    repo.create_branch("side")
    label.write([1, 2, 3], np.array([10, 20, 30], np.int32))
    writer.commit("ours")
    label[9] = np.int32(90)
    writer.close()
    repo.stash("for later")
    writer = repo.checkout(write=True, branch="side")
    writer["label"].write([1, 2, 4], np.array([11, 22, 44], np.int32))
    writer.commit("theirs")
    writer.close()
    repo.purge("image", [5], reason="not ours")
    repo.merge("both", "master", "side", keep_conflicts=True)
    repo.resolve(("label", 1), "theirs")
    repo.close()


def read_all(directory: Path) -> dict[str, Any]:
    """All that is recorded, and the content of every commit."""
    repo = Repository(directory)
    found: dict[str, Any] = {
        "tags": [repo.tag_info(name) for name in repo.list_tags()],
        "stashes": repo.stash_list(),
        "purged": repo.list_purged(),
        "conflicts": repr(repo.conflicts()),
        "moves": {name: repo.reflog(name) for name in repo.list_branches()},
        "status": repr(repo.status()),
    }
    for rev in (*repo.list_branches(), "v1", "light", "stash@{0}"):
        checkout = repo.checkout(commit=repo.rev_parse(rev))
        found[rev] = {key: comparable(value) for key, value in checkout["label"].items()}
        found[f"{rev} images"] = {key: _value(checkout["image"], key) for key in checkout["image"]}
    repo.close()
    return found


def _value(column: Any, key: object) -> object:
    try:
        return comparable(column[key])
    except PurgedError:
        return "purged"
