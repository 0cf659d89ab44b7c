"""A repository with columns of every kind, its content as dicts, and what must be the same after a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.db.tables import ATTRIBUTES, COMMITS, GRAPH, NODES, REFLOG, REFS, SCHEMAS, STAGING
from hangar.lock import holder

TABLES = (NODES, COMMITS, SCHEMAS, ATTRIBUTES, GRAPH, REFS, REFLOG, STAGING)


def new_repository(path: Path) -> Repository:
    """An empty repository."""
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    return repo


def fill(writer: WriterCheckout) -> None:
    """Columns with inline values, blobs, texts, and subsamples; one is empty."""
    writer.add_ndarray_column("label", (), np.int64).update({key: np.int64(key) for key in range(5)})
    writer.add_ndarray_column("image", (4, 9), np.uint8).update({key: image(key) for key in ("a", "b/c")})
    writer.add_str_column("text")["a"] = "words " * 40
    writer.add_str_column("empty")
    boxes: Any = writer.add_ndarray_column("boxes", (2,), np.float32, contains_subsamples=True)
    boxes["a"] = {0: np.array([1, 2], np.float32), "x": np.array([3, 4], np.float32)}
    writer.attributes["units"] = "mm"


def image(number: int | str) -> np.ndarray[Any, Any]:
    return np.full((4, 9), hash(str(number)) % 251 if isinstance(number, str) else number, np.uint8)


def commit(repo: Repository, message: str, change: Callable[[WriterCheckout], object], branch: str = "") -> str:
    """Commit a change; the digest."""
    with_writer(repo, change, branch)
    writer = repo.checkout(write=True, branch=branch)
    digest = writer.commit(message)
    writer.close()
    return digest


def with_writer(repo: Repository, change: Callable[[WriterCheckout], object], branch: str = "") -> None:
    """Stage a change."""
    writer = repo.checkout(write=True, branch=branch)
    try:
        change(writer)
    finally:
        writer.close()


def content(checkout: Any) -> dict[str, Any]:
    """All values and attributes of a checkout, in a form that compares."""
    found: dict[str, Any] = {"": dict(checkout.attributes)}
    for name, column in checkout.items():
        values = {
            key: {sub: plain(one) for sub, one in value.items()} if column.contains_subsamples else plain(value)
            for key, value in column.items()
        }
        found[name] = (values, column.shape, dict(column.attributes))
    return found


def plain(value: Any) -> Any:
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def at(repo: Repository, rev: str) -> dict[str, Any]:
    """The content of a commit."""
    return content(repo.checkout(commit=rev))


def staged(repo: Repository, branch: str = "") -> dict[str, Any]:
    """The content of the staging area."""
    writer = repo.checkout(write=True, branch=branch)
    try:
        return content(writer)
    finally:
        writer.close()


def rows(repo: Repository) -> list[tuple[bytes, bytes]]:
    """All rows that history and staging consist of."""
    with repo.stores.db.read() as transaction:
        return [row for table in TABLES for row in transaction.scan(table)]


def refused(repo: Repository, error: type[Exception], match: str, action: Callable[[], object]) -> None:
    """``action`` raises ``error``, changes no row, and leaves the lock free."""
    before = rows(repo)
    with pytest.raises(error, match=match):
        action()
    assert rows(repo) == before
    assert holder(repo.stores.db) is None


def sound(repo: Repository) -> None:
    report = repo.fsck(data=True)
    assert report.sound, report.problems
