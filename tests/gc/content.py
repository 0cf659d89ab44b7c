"""Repositories with something in every kind of place, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository
from tests.crash.world import comparable

SIZE = (20, 20)


def picture(seed: int, count: int) -> np.ndarray[Any, Any]:
    """Arrays that are unlike all others."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE), np.uint8)


def branch_with(repo: Repository, name: str, seed: int, count: int = 300) -> str:
    """A branch with a commit of its own: new pictures, texts, labels, boxes, a column, attributes. Ends on master."""
    repo.create_branch(name, "master")
    writer = repo.checkout(write=True, branch=name)
    writer["images"].write(range(10_000 * seed, 10_000 * seed + count), picture(seed, count))
    writer["labels"].write(range(10_000 * seed, 10_000 * seed + count), np.arange(count) + seed)
    writer["text"].write([f"{name}{i}" for i in range(40)], [f"{name} {i} " * 20 for i in range(40)])
    writer["boxes"][f"{name}"] = {j: np.full((3 + j, 4), seed + j, np.float32) for j in range(4)}
    writer.add_ndarray_column(f"only-{name}", (7, seed + 1), np.float64)[1] = np.full((7, seed + 1), seed, np.float64)
    writer.attributes["made by"] = name
    digest: str = writer.commit(f"on {name}")
    writer.close()
    repo.checkout(write=True, branch="master").close()
    return digest


def filled(repo: Repository, count: int = 300) -> Repository:
    """Two commits on master."""
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("images", SIZE, np.uint8).write(range(count), picture(0, count))
    writer.add_ndarray_column("labels", (), np.int64).write(range(count), np.arange(count))
    writer.add_str_column("text").write([f"t{i}" for i in range(20)], [f"text {i} " * 20 for i in range(20)])
    boxes = writer.add_ndarray_column("boxes", (20, 4), np.float32, variable_shape=True, contains_subsamples=True)
    for sample in range(5):
        boxes[sample] = {j: np.full((1 + j, 4), sample + j, np.float32) for j in range(3)}
    writer.add_ndarray_column("chunks", (30, 30), np.float32, backend="00")[0] = np.ones((30, 30), np.float32)
    writer.commit("one")
    writer["images"].write(range(5), picture(77, 5))
    writer.rename_column("text", "notes")
    writer.rename_column("notes", "text")
    writer.attributes["made by"] = "Ada"
    writer.commit("two")
    writer.close()
    return repo


def everything(repo: Repository, branches: list[str] | None = None) -> dict[str, Any]:
    """All that every commit of some branches, and the staging area, hold."""
    found: dict[str, Any] = {}
    for branch in repo.list_branches() if branches is None else branches:
        log = repo.log(branch=branch, return_contents=True)
        assert log is not None
        for digest in log["order"]:
            if digest not in found:
                found[digest] = contents(repo.checkout(commit=digest))
    return found


def contents(checkout: Any) -> dict[str, Any]:
    """All samples of a checkout, and its attributes."""
    found: dict[str, Any] = {"attributes": dict(checkout.attributes)}
    for name in checkout:
        column = checkout[name]
        if column.contains_subsamples:
            found[name] = {key: {sub: comparable(value) for sub, value in column[key].items()} for key in column}
        else:
            found[name] = {key: comparable(value) for key, value in column.items()}
    return found


def staged(repo: Repository) -> dict[str, Any]:
    """All that the staging area holds."""
    with repo.checkout(write=True) as writer:
        found = contents(writer)
    writer.close()
    return found


def data_of(path: Path) -> bytes:
    """Bytes of all files below a directory."""
    return b"".join(one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file())


def require_sound(repo: Repository) -> None:
    found = repo.fsck(data=True)
    assert not found.problems, found.problems
    assert not found.notes, found.notes
