from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hangar.db.tables import REFLOG, REFS
from hangar.errors import (
    AccessError,
    InvalidInputError,
    InvalidStateError,
    LockedError,
    NameTakenError,
    RevisionNotFoundError,
    StaleRefError,
    UnmergedError,
)
from hangar.history import BranchHead, branches, create_branch, list_branches, remove_branch, unknown_branch
from hangar.lock import WriterLock, holder
from hangar.revisions import resolve
from tests.history.maker import ANN, History, new_history


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with new_history(tmp_path) as made:
        yield made


def create(history: History, name: str, base: str | None = None) -> BranchHead:
    return create_branch(history.db, history.refs, name, base, who=ANN)


def remove(history: History, name: str, *, force: bool = False) -> BranchHead:
    return remove_branch(history.db, history.refs, name, force=force, who=ANN)


def refused(
    history: History,
    error: type[Exception],
    match: str,
    action: Callable[..., object],
    *arguments: object,
    **named: object,
) -> None:
    """``action`` raises ``error``, changes no row and leaves the lock free."""

    def rows() -> list[tuple[bytes, bytes]]:
        with history.db.read() as transaction:
            return [*transaction.scan(REFS), *transaction.scan(REFLOG)]

    before = rows()
    with pytest.raises(error, match=match):
        action(history, *arguments, **named)
    assert rows() == before
    assert holder(history.db) is None


def test_list(history: History) -> None:
    assert list_branches(history.refs) == ["master"]
    history.commit("a")
    for ref in ("heads/zeta", "heads/Alpha", "remotes/origin/master", "tags/v1"):
        history.point(ref, "a")
    assert list_branches(history.refs) == ["Alpha", "master", "origin/master", "zeta"]


def test_create(history: History) -> None:
    a = history.commit("a")
    b = history.commit("b", "a")
    assert create(history, "dev") == BranchHead("dev", b.hex())
    assert create(history, "old", "master~1") == ("old", a.hex())
    assert create(history, "short", a.hex()[:10]).digest == a.hex()
    assert history.refs.get("heads/dev") == b
    assert history.refs.head().write_branch == history.refs.head().last_written == "master"
    entry = history.refs.reflog("heads/old")[0]
    assert (entry.new, entry.operation, entry.message, entry.name) == (a, "branch", "from master~1", "Ann")
    assert history.refs.reflog("heads/dev")[0].message == "from master"


def test_create_starts_at_the_branch_last_written(history: History) -> None:
    history.commit("a")
    b = history.commit("b", "a", branch="dev")
    history.db.update(lambda t: history.refs.set_head(t, last_written="dev"))
    assert create(history, "new").digest == b.hex()


def test_create_is_refused(history: History) -> None:
    refused(history, InvalidStateError, "branch 'master' has no commit yet", create, "dev")
    refused(history, InvalidStateError, "no commit yet", create, "dev", "master")
    history.commit("a")
    refused(history, NameTakenError, "branch 'master' exists", create, "master")
    for name in ("", "a b", "origin/", "é", "a" * 65):
        refused(history, InvalidInputError, "not suitable", create, name)
    refused(history, RevisionNotFoundError, "did you mean 'master'", create, "dev", "mastr")


def test_create_of_a_tag_s_name_uses_the_tag_as_base(history: History) -> None:
    a = history.commit("a")
    history.commit("b", "a")
    history.point("tags/v1", "a")
    assert create(history, "v1", "v1").digest == a.hex()
    assert history.refs.get("heads/v1") == a


def test_remove(history: History) -> None:
    a = history.commit("a")
    create(history, "dev")
    history.commit("b", "a")
    assert remove(history, "dev") == BranchHead("dev", a.hex())
    assert list_branches(history.refs) == ["master"]
    assert holder(history.db) is None
    assert history.refs.reflog("heads/dev")[0].operation == "branch (delete)"
    assert resolve(history.db, history.refs, "dev@{1}").digest == a
    create(history, "dev", "dev@{1}")


def test_remove_a_branch_without_a_commit(history: History) -> None:
    history.point("heads/none", None)
    assert remove(history, "none") == BranchHead("none", "")


def test_remove_what_is_not_there(history: History) -> None:
    history.commit("a")
    history.point("remotes/origin/master", "a")
    for name in ("mastr", "", "origin/master", "heads/master", "x" * 2_000):
        refused(history, RevisionNotFoundError, "no branch|remote-tracking branch", remove, name)


def test_remove_branches_that_are_needed(history: History) -> None:
    history.commit("a")
    for force in (False, True):
        refused(history, AccessError, "the only branch", remove, "master", force=force)
    create(history, "dev")
    create(history, "other")
    history.db.update(lambda t: history.refs.set_head(t, write_branch="dev"))
    for force in (False, True):
        refused(history, AccessError, "the branch last written", remove, "master", force=force)
        refused(history, AccessError, "checked out", remove, "dev", force=force)
    remove(history, "other")


def test_remove_while_a_writer_is_at_work(history: History) -> None:
    history.commit("a")
    create(history, "dev")
    lock = WriterLock(history.db)
    lock.acquire()
    try:
        with pytest.raises(LockedError):
            remove(history, "dev", force=True)
        assert "dev" in list_branches(history.refs)
        lock.check()
    finally:
        lock.release()
    remove(history, "dev")


def test_remove_unmerged(history: History) -> None:
    history.commit("a")
    b = history.commit("b", "a", branch="dev")
    refused(history, UnmergedError, "'dev' are on no other branch or tag", remove, "dev")
    assert remove(history, "dev", force=True) == BranchHead("dev", b.hex())


@pytest.mark.parametrize("holding", ["heads/other", "tags/v1", "remotes/origin/dev"])
@pytest.mark.parametrize("tip", ["b", "c"])
def test_remove_what_another_ref_holds(holding: str, tip: str, history: History) -> None:
    history.commit("a")
    history.commit("b", "a", branch="dev")
    history.commit("c", "b", branch=None)
    history.point(holding, tip)
    remove(history, "dev")


def test_remove_what_was_merged(history: History) -> None:
    history.commit("a")
    history.commit("b", "a", branch="dev")
    history.commit("c", "a")
    history.commit("m", "c", "b")
    remove(history, "dev")


def test_a_branch_that_moves_while_it_is_removed(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.commit("a")
    create(history, "dev")
    history.commit("b", "a", branch=None)

    def move(*_: object) -> None:
        history.point("heads/dev", "b")

    monkeypatch.setattr(branches, "_check_merged", move)
    with pytest.raises(StaleRefError):
        remove(history, "dev")
    assert history.refs.get("heads/dev") == history.digests["b"]
    assert holder(history.db) is None


def test_unknown_branch(history: History) -> None:
    assert (
        str(unknown_branch(history.refs, "mster"))
        == "no branch 'mster', did you mean 'master'? If not, see `hangar branch list`"
    )
    assert str(unknown_branch(history.refs, 7)) == "no branch '7': see `hangar branch list`"


def test_head_is_no_name_for_a_branch(history: History) -> None:
    """It stands for the branch to write; a branch of that name could never be meant."""
    history.commit("a")
    refused(history, InvalidInputError, "HEAD", create, "HEAD")
    create(history, "head")


def test_branch_off_makes_the_branch_to_write(history: History) -> None:
    def branch_off(history: History, name: str) -> BranchHead:
        return branches.branch_off(history.db, history.refs, name, who=ANN)

    refused(history, InvalidStateError, "no commit yet", branch_off, "new")
    digest = history.commit("a")
    assert branch_off(history, "new") == BranchHead("new", digest.hex())
    assert (history.refs.head().write_branch, history.refs.head().last_written) == ("new", "master")
    assert history.refs.get("heads/new") == digest
    refused(history, NameTakenError, "new", branch_off, "new")
    refused(history, InvalidInputError, "a//b", branch_off, "a//b")
