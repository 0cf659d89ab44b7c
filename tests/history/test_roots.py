"""What is alive: nothing that can still be named is left out."""

from __future__ import annotations

import numpy as np
import pytest

from hangar import Repository
from hangar.db.tables import REFLOG
from hangar.errors import CorruptionError
from hangar.history.roots import live_roots
from hangar.revisions import resolve
from hangar.stores import Stores


@pytest.fixture
def stores(repo: Repository) -> Stores:
    """Two commits, one on master and one on a branch that was deleted, and staged changes."""
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (40,), np.uint8)
    column.write(range(20), np.arange(800, dtype=np.uint8).reshape(20, 40))
    writer.commit("kept")
    writer.close()
    repo.create_branch("exp")
    writer = repo.checkout(write=True, branch="exp")
    writer["x"].write(range(20, 40), np.arange(800, dtype=np.uint8).reshape(20, 40) + 1)
    writer.commit("of a branch that goes")
    writer.close()
    repo.checkout(write=True, branch="master").close()
    repo.remove_branch("exp", force_delete=True)
    writer = repo.checkout(write=True, branch="master")
    writer["x"][99] = np.full(40, 7, np.uint8)
    writer.close()
    return repo.checkout().session.stores


def test_commits_of_deleted_branches_are_roots(repo: Repository, stores: Stores) -> None:
    lost = resolve(stores.db, stores.refs, "exp@{1}").digest
    kept = stores.refs.get("heads/master")
    roots = live_roots(stores)
    assert set(roots.commits) == {lost, kept}
    assert roots.staged is not None
    assert list(roots.staged.columns) == ["x"]
    report = repo.fsck(data=True)
    assert report.sound
    assert report.commits == 2
    assert report.blobs > 40


def test_a_conversion_takes_commits_of_deleted_branches_along(repo: Repository, stores: Stores) -> None:
    assert repo.convert_backend("x", "00").converted == 41
    lost = resolve(stores.db, stores.refs, "exp@{1}").digest
    assert lost is not None
    assert np.array_equal(repo.checkout(commit=lost.hex())["x"][25], np.arange(200, 240, dtype=np.uint8) + 1)
    assert repo.fsck(data=True).sound


def test_a_damaged_entry_of_the_reflog_is_told_and_the_rest_is_read(stores: Stores) -> None:
    def damage(transaction: object) -> None:
        key = next(key for key, _ in transaction.scan(REFLOG) if key.startswith(b"heads/exp"))  # type: ignore[attr-defined]
        transaction.put(REFLOG, key, b"garbage")  # type: ignore[attr-defined]

    stores.db.update(damage)
    with pytest.raises(CorruptionError, match="the reflog of heads/exp"):
        live_roots(stores)
    failures: list[str] = []
    roots = live_roots(stores, lambda kind, error: failures.append(f"{kind}: {error}"))
    assert len(failures) == 1
    assert failures[0].startswith("reflog: the row of the reflog of heads/exp is damaged")
    assert stores.refs.get("heads/master") in roots.commits
