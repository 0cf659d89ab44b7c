"""revert and cherry-pick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangar import Repository
from hangar.errors import (
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    MergeConflictError,
    NothingToDoError,
    RevisionNotFoundError,
)
from tests.history.undoing import at, commit, fill, image, new_repository, refused, rows, sound, staged, with_writer


def change_everything(writer: Any) -> None:
    writer["label"].update({0: np.int64(-1), 50: np.int64(50)})
    del writer["label"][1]
    writer["image"]["a"] = image(200)
    writer["image"]["new"] = image(201)
    writer["text"]["a"] = "other " * 40
    writer["boxes"]["a"]["x"] = np.array([7, 7], np.float32)
    writer["boxes"]["b"] = {1: np.array([8, 8], np.float32)}
    writer.columns.delete("empty")
    writer.add_bytes_column("raw")["r"] = b"\xff" * 90
    writer["image"].attributes["kind"] = "scan"
    writer.attributes["units"] = "cm"
    writer.rename_column("text", "words")


def change_other_things(writer: Any) -> None:
    writer["label"].update({2: np.int64(-2), 60: np.int64(60)})
    writer["image"]["b/c"] = image(7)
    writer["boxes"]["c"] = {1: np.array([9, 9], np.float32)}
    writer.add_str_column("later")["k"] = "v"
    writer.attributes["more"] = [1]


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """Commits: first, everything, others."""
    made = new_repository(tmp_path)
    commit(made, "first", fill)
    commit(made, "everything\n\nbody", change_everything)
    commit(made, "others", change_other_things)
    yield made
    made.close()


def test_a_revert_undoes_one_commit_and_keeps_later_ones(repo: Repository, tmp_path: Path) -> None:
    undone, head = repo.rev_parse("master~1"), repo.rev_parse("master")
    made = repo.revert(undone)
    assert made == repo.rev_parse("master")
    (tmp_path / "other").mkdir()
    without = new_repository(tmp_path / "other")
    commit(without, "first", fill)
    commit(without, "others", change_other_things)
    assert at(repo, made) == at(without, "master")
    assert repo.commit_info(made).tree == without.commit_info("master").tree
    info = repo.commit_info(made)
    assert info.message == f'Revert "everything"\n\nThis reverts commit {undone}.'
    assert info.parents == (head,)
    move = repo.reflog()[0]
    assert (move.operation, move.message) == ("revert", 'Revert "everything"')
    assert repo.status().clean
    sound(repo)
    again = repo.revert(made, "Back again")
    assert repo.commit_info(again).message == "Back again"
    assert at(repo, again) == at(repo, head)
    assert repo.commit_info(again).tree == repo.commit_info(head).tree


def test_a_cherry_pick_applies_one_commit(repo: Repository) -> None:
    repo.create_branch("side", "master~2")
    picked = repo.rev_parse("master")
    made = repo.cherry_pick("master", branch="side")
    assert made == repo.rev_parse("side")
    assert repo.head().last_written == "side"
    info = repo.commit_info(made)
    assert info.message == "others"
    assert info.meta == {"cherry-picked-from": picked}
    assert info.parents == (repo.rev_parse("master~2"),)
    refused(repo, NothingToDoError, "would not change", lambda: repo.cherry_pick("master", branch="side"))
    repo.cherry_pick("master~1", "Now everything", branch="side")
    assert at(repo, "side") == at(repo, "master")
    assert repo.commit_info("side").tree == repo.commit_info("master").tree
    assert repo.commit_info("side").message == "Now everything"
    assert [move.operation for move in repo.reflog("side")] == ["cherry-pick", "cherry-pick", "branch"]
    sound(repo)


def test_metadata_is_picked_too(repo: Repository) -> None:
    repo.create_branch("side", "master~2")
    writer = repo.checkout(write=True, branch="master")
    writer["label"][70] = np.int64(1)
    writer.commit("with meta", meta={"annotator": "ada", "round": 2})
    writer.close()
    assert repo.commit_info(repo.cherry_pick("master", branch="side")).meta == {
        "annotator": "ada",
        "round": 2,
        "cherry-picked-from": repo.rev_parse("master"),
    }


def test_the_first_commit_can_be_picked_and_not_reverted(repo: Repository, tmp_path: Path) -> None:
    first = repo.rev_parse("master~2")
    refused(repo, InvalidStateError, "is the first one", lambda: repo.revert(first))
    writer = repo.checkout(write=True)
    for name in list(writer):
        writer.columns.delete(name)
    for key in list(writer.attributes):
        del writer.attributes[key]
    writer.commit("empty")
    writer.close()
    assert at(repo, repo.cherry_pick(first)) == at(repo, first)
    sound(repo)


def test_conflicts_change_nothing(repo: Repository) -> None:
    commit(repo, "later", lambda w: w["label"].update({0: np.int64(99)}))
    before = rows(repo)
    with pytest.raises(MergeConflictError, match=r"a revert of .* has 1 conflict .*label/0") as caught:
        repo.revert("master~2")
    assert rows(repo) == before
    (key,) = caught.value.conflicts.t3.samples
    assert (key.column, key.sample) == ("label", 0)
    repo.create_branch("side", "master~3")
    commit(repo, "on side", lambda w: w["image"].update({"a": image(1)}), "side")
    refused(repo, MergeConflictError, "image/a", lambda: repo.cherry_pick("master~2", branch="side"))
    with pytest.raises(InvalidInputError, match="ours"):
        repo.cherry_pick("master~2", strategy="base")  # type: ignore[arg-type]


@pytest.mark.parametrize(("strategy", "value"), [("ours", 99), ("theirs", 0)])
def test_a_side_can_be_chosen(repo: Repository, strategy: Any, value: int) -> None:
    commit(repo, "later", lambda w: w["label"].update({0: np.int64(99)}))
    reader = repo.checkout(commit=repo.revert("master~2", strategy=strategy))
    assert reader["label", 0] == value
    assert reader["label", 1] == 1
    assert reader["label", 2] == -2
    assert 50 not in reader["label"]
    assert "raw" not in reader
    assert list(reader["text"]) == ["a"]
    sound(repo)


def test_merge_commits_need_a_parent(repo: Repository) -> None:
    repo.create_branch("side", "master~2")
    commit(repo, "side 1", lambda w: w["label"].update({"s": np.int64(1)}), "side")
    ours = at(repo, "master")
    merge = repo.merge("merged", "master", "side")
    parents = repo.commit_info(merge).parents
    refused(
        repo,
        InvalidInputError,
        f"is a merge.*1 is {parents[0][:12]}, 2 is {parents[1][:12]}",
        lambda: repo.revert(merge),
    )
    refused(repo, InvalidInputError, "no parent 3", lambda: repo.revert(merge, mainline=3))
    refused(repo, InvalidInputError, "no parent 0", lambda: repo.revert(merge, mainline=0))
    refused(repo, InvalidInputError, "no merge", lambda: repo.revert("side", mainline=2))
    made = repo.revert(merge, mainline=1)
    assert at(repo, made) == ours
    assert repo.commit_info(made).message.endswith(
        f"This reverts commit {merge}, reversing\nchanges made to {parents[0]}."
    )
    repo.create_branch("again", parents[0])
    assert at(repo, repo.cherry_pick(merge, mainline=1, branch="again")) == at(repo, merge)
    assert at(repo, repo.revert("side", mainline=1, branch="side"))["label"] == at(repo, "side~2")["label"]
    sound(repo)


def test_what_is_refused(repo: Repository, tmp_path: Path) -> None:
    actions: list[Callable[..., object]] = [repo.revert, repo.cherry_pick]
    for action in actions:
        refused(repo, RevisionNotFoundError, "did you mean 'master'", lambda action=action: action("mastre"))  # type: ignore[misc]
        refused(repo, RevisionNotFoundError, "no branch", lambda action=action: action("master", branch="x"))  # type: ignore[misc]
        refused(repo, InvalidInputError, "message is empty", lambda action=action: action("master", " "))  # type: ignore[misc]
        refused(repo, InvalidTypeError, "message is a str", lambda action=action: action("master", 5))  # type: ignore[misc]
    writer = repo.checkout(write=True)
    for action in actions:
        with pytest.raises(LockedError):
            action("master")
    writer["label"][77] = np.int64(1)
    writer.close()
    for action in actions:
        refused(repo, InvalidStateError, "uncommitted changes on branch 'master'", partial(action, "master"))
    assert 77 in staged(repo)["label"][0]
    (tmp_path / "other").mkdir()
    empty = new_repository(tmp_path / "other")
    refused(empty, InvalidStateError, "no commit yet", lambda: empty.revert("master"))


def test_during_a_merge(repo: Repository) -> None:
    repo.create_branch("side", "master~2")
    commit(repo, "side 1", lambda w: w["label"].update({0: np.int64(5)}), "side")
    repo.merge("merged", "master", "side", keep_conflicts=True)
    for action in (lambda: repo.revert("master"), lambda: repo.cherry_pick("side"), lambda: repo.reset("master~1")):
        refused(repo, InvalidStateError, "a merge of 'side' is in progress", action)
    refused(repo, InvalidStateError, "a merge of 'side' is in progress", repo.stash)
    repo.reset("master", hard=True)
    assert repo.status().clean
    sound(repo)


@pytest.mark.parametrize("end", ["commit", "continue", "abort"])
def test_kept_conflicts_of_a_cherry_pick(repo: Repository, tmp_path: Path, end: str) -> None:
    """The picked commit is alive while it is in progress, though no branch has it; the rest is applied at once."""
    repo.create_branch("side", "master~2")
    commit(repo, "picked", lambda w: w["label"].update({0: np.int64(7), 80: np.int64(8)}), "side")
    picked, head = repo.rev_parse("side"), repo.rev_parse("master")
    assert repo.cherry_pick("side", branch="master", keep_conflicts=True) == head
    repo.remove_branch("side", force_delete=True)
    repo.gc(expire_reflog="all")
    sound(repo)
    assert repo.conflicts().t3.samples[0].sample == 0
    assert staged(repo, "master")["label"][0][80] == ("<i8", (), np.int64(8).tobytes())
    for action in (repo.merge_continue, repo.revert_continue, repo.merge_abort, repo.revert_abort, repo.stash):
        refused(repo, InvalidStateError, "a cherry-pick of 'side'", action)
    refused(repo, InvalidStateError, "a cherry-pick of 'side'", lambda: repo.merge("m", "master", "master~1"))
    refused(repo, MergeConflictError, "1 conflict of the cherry-pick", repo.cherry_pick_continue)
    assert repo.resolve(("label", 0), lambda base, ours, theirs: base + ours + theirs) == 0
    if end == "abort":
        assert repo.cherry_pick_abort() == head
        assert (repo.status().clean, repo.conflicts().total()) == (True, 0)
    else:
        with_writer(repo, lambda w: w["label"].update({81: np.int64(1)}))
        if end == "commit":
            writer = repo.checkout(write=True)
            made = writer.commit("By hand")
            writer.close()
        else:
            made = repo.cherry_pick_continue()
        info = repo.commit_info(made)
        assert (info.parents, info.meta) == ((head,), {"cherry-picked-from": picked})
        assert info.message == ("By hand" if end == "commit" else "picked")
        assert repo.reflog()[0].operation == ("commit (cherry-pick)" if end == "commit" else "cherry-pick")
        label = repo.checkout(commit=made)["label"]
        assert [label[key] for key in (0, 80, 81, 50)] == [0 - 1 + 7, 8, 1, 50]
    refused(repo, InvalidStateError, "no cherry-pick is in progress", repo.cherry_pick_continue)
    repo.gc(expire_reflog="all")
    sound(repo)


def test_kept_conflicts_of_a_revert(repo: Repository) -> None:
    commit(repo, "later", lambda w: w["label"].update({0: np.int64(99)}))
    commit(repo, "meant", lambda w: w["label"].update({5: np.int64(1)}))
    head = repo.rev_parse("master")
    assert repo.revert("master~3", keep_conflicts=True) == head
    assert repo.resolve(None, "base") == 0
    made = repo.revert_continue()
    reader = repo.checkout(commit=made)
    assert (reader["label", 0], reader["label", 1], "raw" in reader) == (-1, 1, False)
    assert repo.commit_info(made).message.startswith('Revert "everything"')
    assert repo.commit_info(made).parents == (head,)
    sound(repo)
    assert repo.revert(made, commit=False) == made
    assert (repo.status().operation, repo.status().clean) == (None, False)


def test_resolved_as_it_was(repo: Repository) -> None:
    """A cherry-pick that changes nothing is not committed, and can be given up."""
    repo.create_branch("side", "master~2")
    commit(repo, "on side", lambda w: w["label"].update({0: np.int64(7)}), "side")
    repo.cherry_pick("side", branch="master", keep_conflicts=True)
    repo.resolve(None, "ours")
    refused(repo, NothingToDoError, "hangar cherry-pick --abort", repo.cherry_pick_continue)
    repo.cherry_pick_abort()
    assert repo.status().clean


_CHANGES = st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["x", "y", "z"]) | st.none(), max_size=4)


def apply(content: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    merged = {**content, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def three_way(base: dict[str, str], ours: dict[str, str], theirs: dict[str, str]) -> dict[str, str] | None:
    """The merge of three dicts; None if there is a conflict."""
    merged: dict[str, str] = {}
    for key in {*base, *ours, *theirs}:
        below, here, there = base.get(key), ours.get(key), theirs.get(key)
        if below != here != there != below:
            return None
        value = there if here == below else here
        if value is not None:
            merged[key] = value
    return merged


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_CHANGES, second=_CHANGES, third=_CHANGES)
def test_both_follow_a_model(
    first: dict[str, str | None],
    second: dict[str, str | None],
    third: dict[str, str | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    repo = new_repository(tmp_path_factory.mktemp("replay"))
    states: list[dict[str, str]] = [{}]
    digests = [commit(repo, "base", lambda w: w.add_str_column("t"))]
    for number, changes in enumerate((first, second, third)):
        states.append({**apply(states[-1], changes), "n": str(number)})

        def change(writer: Any, wanted: dict[str, str] = states[-1]) -> None:
            writer["t"].update(wanted)
            for key in [key for key in writer["t"] if key not in wanted]:
                del writer["t"][key]

        digests.append(commit(repo, str(number), change))
    for number in (1, 2, 3):
        digest, before, after = digests[number], states[number - 1], states[number]
        repo.create_branch(f"revert-{number}", digests[3])
        action = partial(repo.revert, digest, branch=f"revert-{number}")
        expect(repo, action, three_way(after, states[3], before), states[3])
        repo.create_branch(f"pick-{number}", digests[0])
        action = partial(repo.cherry_pick, digest, branch=f"pick-{number}")
        expect(repo, action, three_way(before, states[0], after), states[0])
    repo.close()


def expect(repo: Repository, action: Callable[[], str], wanted: dict[str, str] | None, before: dict[str, str]) -> None:
    if wanted is None:
        with pytest.raises(MergeConflictError):
            action()
    elif wanted == before:
        with pytest.raises(NothingToDoError):
            action()
    else:
        assert dict(repo.checkout(commit=action())["t"].items()) == wanted


def test_content_of_the_helpers_differs(repo: Repository) -> None:
    with_writer(repo, lambda w: w["label"].update({1: np.int64(3)}))
    assert staged(repo) != at(repo, "master") != at(repo, "master~1")
