"""Staged changes that are put aside and come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import (
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    MergeConflictError,
    NothingToDoError,
    RevisionNotFoundError,
    UnmergedError,
)
from hangar.history.roots import live_roots
from tests.compat.independent_reader import Repository as IndependentRepository
from tests.history.test_replay import change_everything, change_other_things
from tests.history.undoing import at, commit, content, fill, new_repository, refused, rows, sound, staged, with_writer


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """One commit."""
    made = new_repository(tmp_path)
    commit(made, "first", fill)
    yield made
    made.close()


def test_stash_and_pop(repo: Repository) -> None:
    head, before = repo.rev_parse("master"), at(repo, "master")
    with_writer(repo, change_everything)
    wanted = staged(repo)
    assert repo.stash() == head == repo.rev_parse("master")
    assert repo.status().clean
    assert staged(repo) == before
    (found,) = repo.stash_list()
    assert found.rev == "stash@{0}"
    assert found.branch == "master"
    assert found.message == f"on master: {head[:12]} first"
    assert (found.author, found.email) == ("Ada", "ada@example.org")
    assert repo.rev_parse("stash@{0}") == repo.rev_parse("stash") == found.digest
    assert repo.rev_parse("stash@{0}~1") == head
    assert content(repo.checkout(commit="stash@{0}")) == wanted
    assert bytes.fromhex(found.digest) in live_roots(repo.stores).commits
    sound(repo)
    assert repo.stash_pop() == head
    assert staged(repo) == wanted
    assert repo.stash_list() == []
    sound(repo)
    commit(repo, "popped", lambda w: None)
    assert at(repo, "master") == wanted


def test_many_changes(repo: Repository) -> None:
    """More than stays in the overlay."""
    with_writer(repo, lambda w: w["label"].write(range(100, 9_000), np.arange(8_900)))
    with_writer(repo, lambda w: w["label"].write(range(5), np.arange(5) + 7))
    wanted = staged(repo)
    repo.stash("many\n\nlabels")
    assert repo.stash_list()[0].message == "many\n\nlabels"
    repo.stash_pop()
    assert staged(repo) == wanted
    sound(repo)


def test_stashes_are_a_stack(repo: Repository) -> None:
    for number in range(3):
        with_writer(repo, lambda w, n=number: w["label"].update({100 + n: np.int64(n)}))  # type: ignore[misc]
        repo.stash(f"number {number}")
    assert [(one.rev, one.message) for one in repo.stash_list()] == [
        ("stash@{0}", "number 2"),
        ("stash@{1}", "number 1"),
        ("stash@{2}", "number 0"),
    ]
    repo.stash_apply("stash@{1}")
    assert 101 in staged(repo)["label"][0]
    assert len(repo.stash_list()) == 3
    refused(repo, InvalidStateError, "uncommitted changes", repo.stash_pop)
    repo.reset("HEAD", hard=True)
    gone = repo.stash_list()[1].digest
    assert repo.stash_drop(1) == gone
    assert repo.cherry_pick(gone) == repo.rev_parse("master")
    assert [one.message for one in repo.stash_list()] == ["number 2", "number 0"]
    repo.stash_pop(repo.stash_list()[1].digest[:10])
    commit(repo, "next", lambda w: None)
    repo.stash_pop()
    assert {100, 101, 102} <= set(staged(repo)["label"][0])
    assert repo.stash_list() == []
    repo.reset("HEAD", hard=True)
    sound(repo)


def test_pop_on_a_branch_that_went_on(repo: Repository) -> None:
    with_writer(repo, change_everything)
    repo.stash()
    commit(repo, "others", change_other_things)
    head = at(repo, "master")
    repo.stash_pop()
    found = staged(repo)
    assert found["label"][0][2] == head["label"][0][2]
    assert found["label"][0][0] != head["label"][0][0]
    assert found["later"] == head["later"]
    assert "raw" in found
    assert "empty" not in found
    assert found[""] == {"units": "cm", "more": [1]}
    repo.stash()
    repo.create_branch("side", "master~1")
    repo.stash_pop(branch="side")
    assert repo.head().last_written == "side"
    assert "later" not in staged(repo)
    sound(repo)


def test_conflicts_keep_the_stash(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({0: np.int64(7), 1: np.int64(7)}))
    repo.stash()
    commit(repo, "other", lambda w: w["label"].update({0: np.int64(8)}))
    refused(repo, MergeConflictError, "1 conflict .*label/0", repo.stash_pop)
    refused(repo, InvalidInputError, "ours", lambda: repo.stash_pop(strategy="mine"))  # type: ignore[arg-type]
    assert len(repo.stash_list()) == 1
    repo.stash_apply(strategy="ours")
    assert [staged(repo)["label"][0][key] for key in (0, 1)] == [
        ("<i8", (), np.int64(8).tobytes()),
        ("<i8", (), np.int64(7).tobytes()),
    ]
    repo.reset("HEAD", hard=True)
    repo.stash_pop(strategy="theirs")
    assert staged(repo)["label"][0][0] == ("<i8", (), np.int64(7).tobytes())


def test_what_the_branch_has_already(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({0: np.int64(7)}))
    repo.stash()
    commit(repo, "the same", lambda w: w["label"].update({0: np.int64(7)}))
    repo.stash_pop()
    assert repo.status().clean
    assert repo.stash_list() == []


def test_changes_without_samples(repo: Repository) -> None:
    for change in (
        lambda w: w.attributes.update({"a": 1}),
        lambda w: w["label"].attributes.update({"a": 1}),
        lambda w: w.rename_column("label", "labels"),
        lambda w: w.columns.delete("label"),
        lambda w: w.add_str_column("new"),
    ):
        with_writer(repo, change)
        wanted = staged(repo)
        repo.stash()
        assert repo.status().clean
        repo.stash_pop()
        assert staged(repo) == wanted != at(repo, "master")
        repo.reset("HEAD", hard=True)


def test_what_is_refused(repo: Repository, tmp_path: Path) -> None:
    refused(repo, NothingToDoError, "no staged changes", repo.stash)
    for action in (repo.stash_pop, repo.stash_apply, repo.stash_drop):
        refused(repo, NothingToDoError, "no stashes", action)
    with_writer(repo, lambda w: w["label"].update({0: np.int64(7)}))
    refused(repo, InvalidInputError, "stash message is empty", lambda: repo.stash(" "))
    refused(repo, InvalidTypeError, "stash message is a str", lambda: repo.stash(5))  # type: ignore[arg-type]
    repo.stash()
    names: list[int | str] = [1, "stash@{1}", "nope", "stash@{0", -1]
    for which in names[:3]:
        refused(repo, RevisionNotFoundError, "no stash", lambda which=which: repo.stash_pop(which))  # type: ignore[misc]
    refused(repo, RevisionNotFoundError, "the last stash is", lambda: repo.rev_parse("stash@{1}"))
    refused(repo, RevisionNotFoundError, "no branch", lambda: repo.stash_pop(branch="nope"))
    writer = repo.checkout(write=True)
    actions: list[Callable[[], object]] = [repo.stash, repo.stash_pop, repo.stash_drop]
    before = rows(repo)
    for locked in actions:
        with pytest.raises(LockedError):
            locked()
    assert rows(repo) == before
    writer.close()
    (tmp_path / "other").mkdir()
    empty = new_repository(tmp_path / "other")
    with_writer(empty, lambda w: w.add_str_column("t"))
    refused(empty, InvalidStateError, "no commit yet", empty.stash)
    refused(empty, RevisionNotFoundError, "no branch, tag or commit 'stash'", lambda: empty.rev_parse("stash"))


def test_a_stash_does_not_make_a_branch_merged(repo: Repository) -> None:
    repo.create_branch("side")
    commit(repo, "on side", lambda w: w["label"].update({0: np.int64(7)}), "side")
    with_writer(repo, lambda w: w["label"].update({1: np.int64(7)}), "side")
    repo.stash()
    with_writer(repo, lambda w: None, "master")
    refused(repo, UnmergedError, "side", lambda: repo.remove_branch("side"))
    repo.remove_branch("side", force_delete=True)
    repo.stash_pop(strategy="theirs")
    sound(repo)


def test_stashes_of_a_converted_column(repo: Repository) -> None:
    with_writer(repo, lambda w: w["image"].update({"z": np.full((4, 9), 99, np.uint8)}))
    wanted = staged(repo)
    repo.stash()
    repo.convert_backend("image", "00")
    sound(repo)
    repo.stash_pop()
    assert staged(repo) == wanted


def test_a_branch_called_stash(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({0: np.int64(7)}))
    repo.stash()
    repo.create_branch("stash")
    assert repo.rev_parse("stash") == repo.rev_parse("master")
    repo.stash_pop("stash@{0}")
    assert not repo.status().clean


def test_logs_leave_stashes_out(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({0: np.int64(7)}))
    repo.stash()
    log: Any = repo.log(return_contents=True)
    assert list(log["branch_heads"].values()) == [["master"]]
    assert repo.list_branches() == ["master"]
    assert repo.list_tags() == []


def test_gc_keeps_stashes(repo: Repository) -> None:
    with_writer(repo, change_everything)
    wanted = staged(repo)
    repo.stash()
    commit(repo, "gone", lambda w: w["image"].update({"gone": np.full((4, 9), 123, np.uint8)}))
    repo.reset("master~1", hard=True)
    report = repo.gc(expire_reflog="all")
    assert report.commits.removed == 1
    assert report.blobs.removed == 1
    sound(repo)
    repo.stash_pop()
    assert staged(repo) == wanted
    repo.reset("HEAD", hard=True)
    repo.gc(expire_reflog="all")
    assert at(repo, "master") == staged(repo) != wanted
    sound(repo)


def test_an_independent_reader_finds_stashes_and_tags(repo: Repository, tmp_path: Path) -> None:
    with_writer(repo, change_everything)
    repo.stash("later")
    repo.tag("v1", message="one")
    wanted = {
        "heads/master": repo.rev_parse("master"),
        "stash/00000001": repo.rev_parse("stash@{0}"),
        "tags/v1": repo.rev_parse("v1"),
    }
    repo.close()
    found = IndependentRepository(tmp_path / ".hangar")
    assert {name: digest.hex() for name, digest in found.refs.items() if digest} == wanted
