"""Two branches of one repository that have gone apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.digest import Digest
from hangar.objects.commit import tree_digest
from hangar.objects.records import load_commit

Edit = Callable[[WriterCheckout], Any]


def write(repo: Repository, branch: str, *edits: Edit) -> str:
    """Commit some edits on a branch."""
    writer = repo.checkout(write=True, branch=branch)
    try:
        for edit in edits:
            edit(writer)
        return writer.commit(f"work on {branch}")
    finally:
        writer.close()


def begin(writer: WriterCheckout) -> None:
    """Labels, texts, boxes of pictures, and images of variable shape."""
    labels = writer.add_ndarray_column("labels", shape=(), dtype=np.int64)
    labels.update({key: np.int64(0) for key in range(10)})
    writer.add_str_column("text").update({"a": "A", "b": "b" * 100, 3: "C"})
    boxes = writer.add_ndarray_column("boxes", shape=(4,), dtype=np.float32, contains_subsamples=True)
    boxes.update({name: {0: np.zeros(4, np.float32), 1: np.ones(4, np.float32)} for name in ("x", "y", "z")})
    images = writer.add_ndarray_column("images", shape=(8, 8), dtype=np.uint8, variable_shape=True)
    images.update({key: np.full((key + 1, 3), key, np.uint8) for key in range(4)})
    writer.attributes["made"] = "by hand"


def fork(repo: Repository, ours: Edit, theirs: Edit) -> tuple[str, str]:
    """A repository whose branches ``master`` and ``dev`` have gone apart; returns their heads."""
    write(repo, "master", begin)
    repo.create_branch("dev")
    return write(repo, "master", ours), write(repo, "dev", theirs)


def put(column: str, key: Any, value: Any) -> Edit:
    """Edit that writes a sample, or with a pair as key a subsample."""
    return lambda writer: writer.__setitem__((column, *(key if isinstance(key, tuple) else (key,))), value)


def drop(column: str, key: Any = None) -> Edit:
    """Edit that deletes a sample, a subsample or a column."""

    def edit(writer: WriterCheckout) -> None:
        if key is None:
            writer.columns.delete(column)
        elif isinstance(key, tuple):
            writer.columns[column][key[0]].pop(key[1])
        else:
            del writer.columns[column][key]

    return edit


def both(*edits: Edit) -> Edit:
    """Several edits as one."""
    return lambda writer: [edit(writer) for edit in edits]


def tree(repo: Repository, commit: str) -> str:
    """The tree digest of a commit."""
    return tree_digest(load_commit(repo.stores.db, Digest(bytes.fromhex(commit)))).hex()


def content(repo: Repository, commit: str) -> dict[str, dict[Any, Any]]:
    """All samples of a commit, as lists and texts."""
    checkout = repo.checkout(commit=commit)
    return {name: {key: plain(value) for key, value in column.items()} for name, column in checkout.items()}


def plain(value: Any) -> Any:
    """A value, or a mapping of them, that compares with ==."""
    if isinstance(value, (str, bytes)):
        return value
    return value.tolist() if isinstance(value, np.ndarray) else {key: plain(one) for key, one in value.items()}
