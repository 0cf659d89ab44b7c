"""Tags, reset, the reflog, and branches that come back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.db.tables import STAGING
from hangar.errors import (
    AccessError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    NameTakenError,
    RevisionNotFoundError,
)
from tests.history.undoing import (
    at,
    commit,
    content,
    fill,
    image,
    new_repository,
    refused,
    rows,
    sound,
    staged,
    with_writer,
)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """Three commits on master: first, second, third."""
    made = new_repository(tmp_path)
    commit(made, "first", fill)
    commit(made, "second", lambda w: w["label"].update({7: np.int64(70), 0: np.int64(-1)}))

    def third(writer: Any) -> None:
        del writer["label"][1]
        writer["image"]["new"] = image(9)
        writer["boxes"]["a"]["x"] = np.array([5, 6], np.float32)
        writer.rename_column("text", "words")
        writer.columns.delete("empty")
        writer.add_bytes_column("raw")["r"] = b"\xff" * 90
        writer["image"].attributes["kind"] = "scan"
        writer.attributes["units"] = "cm"

    commit(made, "third", third)
    yield made
    made.close()


# ---------------------------------------------------------------------- tags


def test_tags(repo: Repository) -> None:
    head = repo.rev_parse("master")
    assert repo.tag("v1") == head
    assert repo.tag("papers/one", "master~2", message="The paper\n\nIts data.") == repo.rev_parse("master~2")
    assert repo.list_tags() == ["papers/one", "v1"]
    assert repo.tag_info("v1") == ("v1", head, None, "", "", "")
    note = repo.tag_info("papers/one")
    assert note[:5] == ("papers/one", repo.rev_parse("master~2"), "The paper\n\nIts data.", "Ada", "ada@example.org")
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(note.time)).total_seconds()) < 300
    assert at(repo, "papers/one") == at(repo, "master~2")
    assert repo.rev_parse("v1^") == repo.rev_parse("master~1")
    commit(repo, "fourth", lambda w: w["label"].append(np.int64(3)))
    assert repo.rev_parse("v1") == head
    assert repo.remove_tag("v1") == head
    assert repo.list_tags() == ["papers/one"]
    assert repo.tag("v1", "v1@{1}") == head
    assert [move.operation for move in repo.reflog("v1")] == ["tag", "tag (delete)", "tag"]
    sound(repo)


def test_a_tag_is_made_beside_a_writer(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer["label"][50] = np.int64(5)
    digest = writer.commit("fourth")
    assert repo.tag("v4") == digest
    repo.remove_tag("v4")
    writer["label"][51] = np.int64(5)
    assert writer.commit("fifth") == repo.rev_parse("master")
    writer.close()


def test_a_tag_is_replaced_when_asked(repo: Repository) -> None:
    repo.tag("v1", "master~1", message="old")
    refused(repo, NameTakenError, "tag 'v1' exists", lambda: repo.tag("v1"))
    assert repo.tag("v1", force=True) == repo.rev_parse("master")
    assert repo.tag_info("v1").message is None
    assert repo.rev_parse("v1@{2}") == repo.rev_parse("master~1")
    assert repo.tag("v2", force=True) == repo.rev_parse("master")


def test_a_branch_wins_over_a_tag_of_its_name(repo: Repository) -> None:
    repo.tag("master", "master~2")
    assert repo.rev_parse("master") == repo.rev_parse("heads/master") != repo.rev_parse("tags/master")
    repo.create_branch("v1", "master~1")
    repo.tag("v1")
    assert repo.rev_parse("v1") == repo.rev_parse("master~1")
    assert repo.remove_tag("v1") == repo.rev_parse("master")
    assert repo.list_branches() == ["master", "v1"]


@pytest.mark.parametrize("name", ["", ".", "a b", "-d", "HEAD", "a..b", "x.lock", "a//b", "ü", "a" * 300, 5, None])
def test_bad_names_of_tags(repo: Repository, name: Any) -> None:
    refused(repo, InvalidInputError, "tag name", lambda: repo.tag(name))


def test_bad_tags(repo: Repository, tmp_path: Path) -> None:
    repo.tag("v1")
    refused(repo, RevisionNotFoundError, "mastre.*did you mean 'master'", lambda: repo.tag("v2", "mastre"))
    refused(repo, RevisionNotFoundError, "no tag 'v11', did you mean 'v1'", lambda: repo.remove_tag("v11"))
    refused(repo, InvalidInputError, "without 'tags/'", lambda: repo.remove_tag("tags/v1"))
    refused(repo, RevisionNotFoundError, "no tag 'master'", lambda: repo.remove_tag("master"))
    refused(repo, InvalidInputError, "tag message is empty", lambda: repo.tag("v2", message=" \n"))
    refused(repo, InvalidTypeError, "tag message is a str", lambda: repo.tag("v2", message=5))  # type: ignore[arg-type]
    refused(repo, InvalidInputError, "UTF-8", lambda: repo.tag("v2", message="\ud800"))
    (tmp_path / "other").mkdir()
    empty = new_repository(tmp_path / "other")
    refused(empty, InvalidStateError, "no commit yet", lambda: empty.tag("v1"))


# ---------------------------------------------------------------------- reset


def test_a_soft_reset_keeps_the_content_as_staged_changes(repo: Repository) -> None:
    before, third = at(repo, "master"), repo.rev_parse("master")
    first = repo.rev_parse("master~2")
    assert repo.reset("master~2") == first == repo.rev_parse("master")
    assert staged(repo) == before
    states = {column.name: column.state for column in repo.status().columns}
    assert states == {
        "boxes": "changed",
        "empty": "deleted",
        "image": "changed",
        "label": "changed",
        "raw": "new",
        "words": "changed",
    }
    sound(repo)
    with_writer(repo, lambda w: w["label"].append(np.int64(1)))
    again = commit(repo, "again", lambda w: w.columns["label"].pop(next(k for k in w["label"] if isinstance(k, str))))
    assert at(repo, again) == before
    assert repo.commit_info(again).tree == repo.commit_info(third).tree
    assert repo.commit_info(again).parents == (first,)
    sound(repo)


def test_a_soft_reset_to_the_same_content_stages_nothing(repo: Repository) -> None:
    tree = repo.commit_info().tree
    repo.reset("master~1")
    writer = repo.checkout(write=True)
    amended = writer.commit("second and third", amend=True)
    writer.close()
    assert repo.commit_info(amended).tree == tree
    repo.reset("master@{2}")
    assert repo.status().clean
    assert repo.reset("master") == repo.rev_parse("master")
    assert repo.status().clean
    sound(repo)


def test_a_hard_reset_drops_what_the_branch_had(repo: Repository) -> None:
    second = at(repo, "master~1")
    with_writer(repo, lambda w: w["label"].update({99: np.int64(9)}))
    third = repo.rev_parse("master")
    assert repo.reset("master~1", hard=True) == repo.rev_parse("master")
    assert staged(repo) == at(repo, "master") == second
    assert repo.status().clean
    assert repo.reset("@{1}", hard=True) == third
    assert [(move.operation, move.message) for move in repo.reflog()[:2]] == [
        ("reset", "moving to @{1}"),
        ("reset", "moving to master~1"),
    ]
    sound(repo)


def test_a_hard_reset_to_the_head_drops_staged_changes(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({99: np.int64(9)}))
    moves = repo.reflog()
    assert repo.reset("HEAD", hard=True) == repo.rev_parse("master")
    assert repo.status().clean
    assert repo.reflog() == moves


def test_reset_of_uncommitted_work_is_refused(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({99: np.int64(9)}))
    refused(repo, InvalidStateError, "uncommitted changes on branch 'master'", lambda: repo.reset("master~1"))
    assert 99 in staged(repo)["label"][0]


def test_rows_that_change_nothing_are_no_changes(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({99: np.int64(9)}))
    with_writer(repo, lambda w: w["label"].pop(99))
    with repo.stores.db.read() as transaction:
        assert list(transaction.scan(STAGING))
    repo.reset("master~1")
    assert staged(repo) == at(repo, "master@{1}")
    sound(repo)


def test_reset_of_another_branch_leaves_staged_changes_alone(repo: Repository) -> None:
    repo.create_branch("other")
    with_writer(repo, lambda w: w["label"].update({99: np.int64(9)}))
    refused(repo, InvalidStateError, "on branch 'master'", lambda: repo.reset("master~1", branch="other"))
    repo.reset("master~1", hard=True, branch="other")
    assert repo.rev_parse("other") == repo.rev_parse("master~1")
    assert 99 in staged(repo)["label"][0]
    assert repo.head().last_written == "master"


def test_reset_to_another_line_of_history(repo: Repository) -> None:
    repo.create_branch("other", "master~2")
    commit(repo, "on other", lambda w: w["label"].update({"o": np.int64(1)}), "other")
    before = at(repo, "other")
    repo.reset("master", branch="other")
    assert repo.head().last_written == "other"
    assert staged(repo) == before
    sound(repo)


def test_reset_of_a_branch_without_a_commit(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    empty = new_repository(tmp_path / "other")
    refused(empty, InvalidStateError, "no commit yet", lambda: empty.reset("master"))
    refused(empty, RevisionNotFoundError, "nope", lambda: empty.reset("nope"))


def test_names_that_swap_survive_a_reset(tmp_path: Path) -> None:
    repo = new_repository(tmp_path)

    def make(writer: Any) -> None:
        writer.add_str_column("a")["k"] = "one"
        writer.add_str_column("b")["k"] = "two"

    def swap(writer: Any) -> None:
        for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
            writer.rename_column(old, new)

    commit(repo, "first", make)
    commit(repo, "second", swap)
    before = at(repo, "master")
    repo.reset("master~1")
    assert staged(repo) == before != at(repo, "master")
    sound(repo)


def test_a_reset_needs_the_lock(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    before = rows(repo)
    with pytest.raises(LockedError, match="writer"):
        repo.reset("master~1", hard=True)
    assert rows(repo) == before
    writer.close()


def test_unknown_targets_of_a_reset(repo: Repository) -> None:
    refused(repo, RevisionNotFoundError, "did you mean 'master'", lambda: repo.reset("mastre", hard=True))
    refused(repo, RevisionNotFoundError, "beyond the history", lambda: repo.reset("master~9", hard=True))
    refused(repo, RevisionNotFoundError, "no branch 'nope'", lambda: repo.reset("master", branch="nope"))
    refused(repo, InvalidInputError, "hard", lambda: repo.reset("master", hard="yes"))  # type: ignore[arg-type]


def test_a_read_only_repository_is_not_changed(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.tag("v1")
    path = repo.path
    repo.close()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not mode & os.W_OK)
    reading = Repository(path)
    with pytest.warns(RuntimeWarning, match="cannot lock"):
        reading.list_tags()
    actions: list[Callable[[], object]] = [
        lambda: reading.tag("v2"),
        lambda: reading.remove_tag("v1"),
        lambda: reading.reset("master~1", hard=True),
    ]
    for action in actions:
        with pytest.raises(AccessError):
            action()
    assert reading.list_tags() == ["v1"]
    assert len(reading.reflog()) == 3
    reading.close()


# ---------------------------------------------------------------------- the reflog


def test_the_reflog_names_every_state(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer.commit("third, better", amend=True)
    writer.close()
    repo.reset("master~1", hard=True)
    moves = repo.reflog()
    assert [(move.rev, move.operation, move.message) for move in moves] == [
        ("master@{0}", "reset", "moving to master~1"),
        ("master@{1}", "commit (amend)", "third, better"),
        ("master@{2}", "commit", "third"),
        ("master@{3}", "commit", "second"),
        ("master@{4}", "commit", "first"),
    ]
    assert all(repo.rev_parse(move.rev) == move.new for move in moves)
    assert [move.old for move in moves] == [*(move.new for move in moves[1:]), ""]
    assert {(move.author, move.email) for move in moves} == {("Ada", "ada@example.org")}
    assert repo.reflog("master") == repo.reflog("HEAD") == moves
    with pytest.raises(RevisionNotFoundError, match="no branch or tag 'mastre', did you mean 'master'"):
        repo.reflog("mastre")


def test_a_deleted_branch_comes_back(repo: Repository) -> None:
    repo.create_branch("work", "master~1")
    digest = commit(repo, "on work", lambda w: w["label"].update({"w": np.int64(1)}), "work")
    before = at(repo, "work")
    with_writer(repo, lambda w: w, "master")
    repo.remove_branch("work", force_delete=True)
    assert [move.operation for move in repo.reflog("work")] == ["branch (delete)", "commit", "branch"]
    refused(
        repo,
        RevisionNotFoundError,
        "no deleted branch 'wrok', did you mean 'work'",
        lambda: repo.restore_branch("wrok"),
    )
    assert repo.restore_branch("work") == ("work", digest)
    assert at(repo, "work") == before
    refused(repo, NameTakenError, "branch 'work' exists", lambda: repo.restore_branch("work"))
    repo.remove_branch("work", force_delete=True)
    assert repo.create_branch("work", "work@{1}") == ("work", digest)
    repo.tag("side", "master~2")
    repo.create_branch("side")
    repo.remove_branch("side")
    assert repo.restore_branch("side").digest == repo.rev_parse("master")


def test_content_helper_sees_changes(repo: Repository) -> None:
    assert len({str(at(repo, rev)) for rev in ("master", "master~1", "master~2")}) == 3
    assert content(repo.checkout())[""] == {"units": "cm"}
