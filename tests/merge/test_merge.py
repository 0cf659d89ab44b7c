"""Merging of real branches: clean merges, conflicts as an error and as a state, resolutions, and bad input."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar import MergeConflictError, Repository
from hangar.db.tables import CONFLICTS
from hangar.diff import AttributeKey, ColumnSchemaKey, Conflicts, FlatColumnDataKey, NestedColumnDataKey
from hangar.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    NameTakenError,
    RevisionNotFoundError,
    SampleNotFoundError,
)
from tests.merge.maker import Edit, begin, both, content, drop, fork, put, tree, write


def parents(repo: Repository, commit: str) -> list[str]:
    return list(repo.commit_info(commit).parents)


def both_ways(repo: Repository) -> str:
    """Merge master and dev in both directions, on branches of their own; the tree digest, which must be the same."""
    repo.create_branch("one", "master")
    repo.create_branch("other", "dev")
    merged = repo.merge("forth", "one", "dev"), repo.merge("back", "other", "master")
    assert tree(repo, merged[0]) == tree(repo, merged[1])
    assert parents(repo, merged[0]) == parents(repo, merged[1])[::-1]
    assert repo.verify_repo_integrity()
    return merged[0]


# ---------------------------------------------------------------------------------------------------- clean merges


def test_a_clean_merge_has_the_changes_of_both(repo: Repository) -> None:
    ours, theirs = fork(
        repo,
        both(put("labels", 1, 1), drop("text", "a"), put("boxes", ("x", 7), np.full(4, 7, np.float32))),
        both(put("labels", 2, 2), put("text", "new", "N"), drop("boxes", ("y", 0)), drop("images", 3)),
    )
    merged = both_ways(repo)
    found = content(repo, merged)
    assert [found["labels"][key] for key in range(3)] == [0, 1, 2]
    assert set(found["text"]) == {"b", 3, "new"}
    assert {key: set(boxes) for key, boxes in found["boxes"].items()} == {"x": {0, 1, 7}, "y": {1}, "z": {0, 1}}
    assert set(found["images"]) == {0, 1, 2}
    assert parents(repo, merged) == [ours, theirs]


def test_columns_attributes_names_and_shapes_merge(repo: Repository) -> None:
    def ours(writer: Any) -> None:
        writer.add_str_column("notes")["k"] = "ours"
        writer.add_bytes_column("raw")["k"] = b"both"
        writer.columns["images"].widen((20, 8))
        writer.columns["images"]["wide"] = np.ones((20, 1), np.uint8)
        writer.columns["labels"].attributes["unit"] = "cm"
        writer.attributes["ours"] = 1
        writer.rename_column("text", "words")

    def theirs(writer: Any) -> None:
        writer.add_str_column("captions")["k"] = "theirs"
        writer.add_bytes_column("raw").update({"k": b"both", "l": b"theirs"})
        writer.columns["images"].widen((8, 30))
        writer.columns["images"]["long"] = np.ones((1, 30), np.uint8)
        writer.columns["labels"].attributes["classes"] = ["a", "b"]
        writer.attributes["theirs"] = 2
        del writer.attributes["made"]
        writer["text", "new"] = "in a column that is called otherwise there"

    fork(repo, ours, theirs)
    merged = both_ways(repo)
    found = repo.checkout(commit=merged)
    assert found.keys() == ["boxes", "captions", "images", "labels", "notes", "raw", "words"]
    assert found["images"].shape == (20, 30)
    assert {found["images", key].shape for key in ("wide", "long")} == {(20, 1), (1, 30)}
    assert dict(found["labels"].attributes) == {"unit": "cm", "classes": ["a", "b"]}
    assert dict(found.attributes) == {"ours": 1, "theirs": 2}
    assert found["words", "new"].startswith("in a column")
    assert dict(found["raw"].items()) == {"k": b"both", "l": b"theirs"}


def test_names_swapped_there(repo: Repository) -> None:
    def swap(writer: Any) -> None:
        for old, new in (("labels", "t"), ("text", "labels"), ("t", "text")):
            writer.rename_column(old, new)

    fork(repo, put("labels", 1, 5), swap)
    merged = repo.checkout(commit=both_ways(repo))
    assert merged["text", 1] == 5
    assert merged["labels", "a"] == "A"


def test_a_column_removed_there(repo: Repository) -> None:
    fork(repo, put("labels", 1, 5), both(drop("text"), drop("images")))
    assert repo.checkout(commit=both_ways(repo)).keys() == ["boxes", "labels"]


def test_large_changes_are_applied_in_batches(repo: Repository) -> None:
    def many(start: int, value: int) -> Edit:
        return lambda writer: writer["labels"].update(
            zip(range(start, start + 30_000), [np.int64(value)] * 30_000, strict=True)
        )

    fork(repo, many(100, 1), many(50_000, 2))
    found = repo.checkout(commit=both_ways(repo))["labels"]
    assert (len(found), found[100], found[79_999]) == (60_010, 1, 2)


def test_fast_forward_and_nothing_to_merge(repo: Repository) -> None:
    first = write(repo, "master", begin)
    repo.create_branch("dev")
    head = write(repo, "dev", put("labels", 1, 1))
    assert repo.head().last_written == "dev"
    assert repo.merge("m", "dev", "master") == head
    assert repo.merge("m", "master", "dev") == head == repo.rev_parse("master")
    assert repo.head().last_written == "master"
    assert repo.merge("m", "master", "master") == head
    assert repo.merge("m", "master", first) == head
    assert repo.merge("m", "dev", "master") == head
    assert repo.head().last_written == "dev"
    move = repo.stores.refs.reflog("heads/master")[0]
    assert (move.operation, move.message) == ("merge dev", "Fast-forward")


def test_a_branch_without_a_commit_moves_to_the_other(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    begin(writer)
    head = writer.commit("first")
    writer.close()
    repo.stores.db.update(
        lambda transaction: repo.stores.refs.create(
            transaction, "heads/empty", None, who=("A", "a"), operation="branch"
        )
    )
    with pytest.raises(InvalidStateError, match="has no commit yet"):
        repo.merge("m", "master", "empty")
    assert repo.merge("m", "empty", "master") == head == repo.rev_parse("empty")


def test_a_merge_commit_although_a_fast_forward_is_possible(repo: Repository) -> None:
    first = write(repo, "master", begin)
    repo.create_branch("dev")
    dev = write(repo, "dev", put("labels", 1, 1))
    result = repo.merge_revision("dev", branch="master", fast_forward=False)
    assert result.head is not None
    assert parents(repo, result.head.hex()) == [first, dev]
    assert repo.commit_info("master").message == "Merge branch 'dev'"
    assert tree(repo, result.head.hex()) == tree(repo, dev)


def test_from_a_checkout(repo: Repository) -> None:
    ours, theirs = fork(repo, put("labels", 1, 1), put("labels", 2, 2))
    writer = repo.checkout(write=True, branch="master")
    column: Any = writer["labels"]
    head = writer.merge("Both", "dev")
    assert parents(repo, head) == [ours, theirs]
    assert (writer.commit_hash, writer["labels", 1], writer["labels", 2]) == (head, 1, 2)
    with pytest.raises(PermissionError):
        column[1]
    writer["labels", 3] = 3
    assert parents(repo, writer.commit("next")) == [head]


# ---------------------------------------------------------------------------------------------------- conflicts


CONFLICTING = (
    both(put("labels", 1, 1), put("labels", "new", 1), put("labels", 2, 1), drop("labels", 3), put("labels", 4, 4)),
    both(put("labels", 1, 2), put("labels", "new", 2), drop("labels", 2), put("labels", 3, 2), put("labels", 5, 5)),
)


def test_conflicts_are_typed_and_nothing_changes(repo: Repository) -> None:
    ours, _ = fork(repo, *CONFLICTING)
    before = repo.head(), repo.size_nbytes
    with pytest.raises(MergeConflictError, match="4 conflicts") as raised:
        repo.merge("m", "master", "dev")
    found: Conflicts = raised.value.conflicts
    assert [part.samples for part in (found.t1, found.t21, found.t22, found.t3)] == [
        (FlatColumnDataKey("labels", key),) for key in ("new", 3, 2, 1)
    ]
    assert (repo.rev_parse("master"), repo.status().clean, repo.head()) == (ours, True, before[0])
    assert repo.conflicts() == Conflicts.none()
    with repo.stores.db.read() as transaction:
        assert not list(transaction.scan(CONFLICTS))
    assert pickle.loads(pickle.dumps(raised.value)).conflicts == found


def test_kept_conflicts_are_resolved_one_by_one(repo: Repository) -> None:
    ours, theirs = fork(repo, *CONFLICTING)
    assert repo.merge("Both", "master", "dev", keep_conflicts=True) == ours
    assert repo.conflicts().total() == 4
    status = repo.status()
    assert (status.clean, status.conflicts) == (False, 4)
    assert status.operation is not None
    assert (status.operation.kind, status.operation.name) == ("merge", "dev")
    assert repo.checkout(write=False).commit_hash == ours
    acts: list[Callable[[], str]] = [repo.merge_continue, lambda: repo.checkout(write=True).commit("too early")]
    for refused in acts:
        with pytest.raises(MergeConflictError, match="4 conflicts"):
            refused()
        repo.close()
    assert repo.resolve(("labels", 1), "ours") == 3
    assert repo.resolve([("labels", 2), FlatColumnDataKey("labels", 3)], "theirs") == 1
    assert repo.conflicts().t1.samples == (FlatColumnDataKey("labels", "new"),)
    assert repo.resolve("labels", np.int64(9)) == 0
    assert repo.conflicts() == Conflicts.none()
    assert repo.resolve(("labels", 1), "theirs") == 0
    merged = repo.merge_continue()
    assert parents(repo, merged) == [ours, theirs]
    assert repo.commit_info(merged).message == "Both"
    assert content(repo, merged)["labels"] == {0: 0, 1: 2, 3: 2, 4: 4, 5: 5, 6: 0, 7: 0, 8: 0, 9: 0, "new": 9}
    assert repo.status().operation is None
    assert repo.verify_repo_integrity()


@pytest.mark.parametrize(
    ("side", "values"), [("ours", (1, 1, None, 1)), ("theirs", (2, None, 2, 2)), ("base", (0, 0, 0, None))]
)
def test_strategies(repo: Repository, side: str, values: tuple[Any, ...]) -> None:
    fork(repo, *CONFLICTING)
    at_once = repo.merge("m", "master", "dev", strategy=side)
    labels = content(repo, at_once)["labels"]
    assert tuple(labels.get(key) for key in (1, 2, 3, "new")) == values
    repo.create_branch("again", "master~1")
    repo.merge("m", "again", "dev", keep_conflicts=True)
    assert repo.resolve(None, side) == 0
    assert tree(repo, repo.merge_continue()) == tree(repo, at_once)


def test_drivers(repo: Repository) -> None:
    ours, _ = fork(
        repo, both(CONFLICTING[0], put("text", "b", "o" * 99)), both(CONFLICTING[1], put("text", "b", "t" * 99))
    )
    seen = []

    def larger(base: Any, ours: Any, theirs: Any) -> Any:
        seen.append(tuple(None if one is None else int(one) for one in (base, ours, theirs)))
        if ours is None:
            return NotImplemented
        return None if theirs is None else max(ours, theirs)

    with pytest.raises(MergeConflictError) as raised:
        repo.merge("m", "master", "dev", strategy={"labels": larger, "text": "theirs"})
    assert raised.value.conflicts.t21.samples == (FlatColumnDataKey("labels", 3),)
    assert sorted(seen, key=str) == [(0, 1, 2), (0, 1, None), (0, None, 2), (None, 1, 2)]
    assert repo.rev_parse("master") == ours
    repo.merge("m", "master", "dev", keep_conflicts=True, strategy={"labels": larger})
    assert repo.conflicts().total() == 2
    assert repo.resolve("text", lambda base, ours, theirs: base + ours + theirs) == 1
    assert repo.resolve(None, "base") == 0
    merged = content(repo, repo.merge_continue())
    assert merged["text"]["b"] == "b" * 100 + "o" * 99 + "t" * 99
    assert merged["labels"] == {0: 0, 1: 2, 3: 0, 4: 4, 5: 5, 6: 0, 7: 0, 8: 0, 9: 0, "new": 2}


def test_a_strategy_names_a_column_as_either_side_does(repo: Repository) -> None:
    fork(repo, both(put("text", "a", "one"), lambda w: w.rename_column("text", "words")), put("text", "a", "two"))
    repo.create_branch("again", "master")
    for branch, name in (("master", "text"), ("again", "words")):
        merged = repo.merge("m", branch, "dev", strategy={name: "theirs"})
        assert repo.checkout(commit=merged)["words", "a"] == "two"


def test_a_value_that_looks_like_a_side(repo: Repository) -> None:
    fork(repo, put("text", "a", "one"), put("text", "a", "two"))
    repo.merge("m", "master", "dev", keep_conflicts=True)
    repo.resolve("text", "ours", literal=True)
    assert repo.checkout(commit=repo.merge_continue())["text", "a"] == "ours"


def test_what_was_written_by_hand(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    writer = repo.checkout(write=True)
    writer["labels", 1] = 77
    del writer["labels"][2]
    assert writer.resolve([("labels", 1), ("labels", 2)], "staged") == 2
    writer.close()
    assert repo.resolve(None, "staged") == 0
    found = content(repo, repo.merge_continue())["labels"]
    assert [found.get(key) for key in (1, 2, 3, "new")] == [77, None, None, 1]


def test_a_nested_sample_deleted_whole(repo: Repository) -> None:
    fork(repo, drop("boxes", "x"), drop("boxes", ("x", 0)))
    with pytest.raises(MergeConflictError) as raised:
        repo.merge("m", "master", "dev")
    assert raised.value.conflicts.t21.samples == (NestedColumnDataKey("boxes", "x", 1),)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    assert repo.resolve(("boxes", "x"), "theirs") == 0
    assert set(content(repo, repo.merge_continue())["boxes"]["x"]) == {1}


def test_a_column_deleted_against_changes(repo: Repository) -> None:
    ours, _ = fork(repo, drop("text"), put("text", "a", "changed"))
    repo.merge("m", "master", "dev", keep_conflicts=True)
    assert list(repo.conflicts().t21.schema) == [ColumnSchemaKey("text", "flat")]
    with pytest.raises(InvalidInputError, match="whole column"):
        repo.resolve("text", "a value")
    repo.resolve("text", "theirs")
    assert repo.checkout(write=True)["text", "a"] == "changed"
    repo.close()
    repo.resolve(ColumnSchemaKey("text", "flat"), "ours")
    assert tree(repo, repo.merge_continue()) == tree(repo, ours)


def test_one_name_with_two_schemas(repo: Repository) -> None:
    def ours(writer: Any) -> None:
        writer.add_str_column("notes")["k"] = "ours"

    def theirs(writer: Any) -> None:
        writer.add_bytes_column("notes")["k"] = b"theirs"

    fork(repo, ours, theirs)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    assert list(repo.conflicts().t1.schema) == [ColumnSchemaKey("notes", "flat")]
    with pytest.raises(NameTakenError, match="labels"):
        repo.resolve("notes", "labels")
    for choice, expected in (
        ("theirs", {"notes": b"theirs"}),
        ("base", {}),
        ("ours", {"notes": "ours"}),
        ("comments", {"notes": "ours", "comments": b"theirs"}),
        ("remarks", {"notes": "ours", "remarks": b"theirs"}),
    ):
        assert repo.resolve(ColumnSchemaKey("notes", "flat"), choice) == 0
        writer = repo.checkout(write=True)
        names = set(writer.keys()) - {"labels", "boxes", "images", "text"}
        assert {name: writer[name, "k"] for name in names} == expected
        writer.close()
    assert repo.verify_repo_integrity()
    assert set(repo.checkout(commit=repo.merge_continue()).keys()) >= {"notes", "remarks"}


def test_renamed_to_two_names(repo: Repository) -> None:
    fork(
        repo,
        lambda w: w.rename_column("text", "words"),
        both(put("text", "a", "n"), lambda w: w.rename_column("text", "prose")),
    )
    repo.merge("m", "master", "dev", keep_conflicts=True)
    assert repo.resolve("words", "theirs") == 0
    assert repo.checkout(write=True)["prose", "a"] == "n"
    repo.close()
    assert repo.resolve(ColumnSchemaKey("prose", "flat"), "lines") == 0
    assert repo.checkout(commit=repo.merge_continue())["lines", "a"] == "n"


def test_attributes_in_conflict(repo: Repository) -> None:
    def note(value: Any) -> Edit:
        def edit(writer: Any) -> None:
            writer.attributes["made"] = value
            writer["labels"].attributes["unit"] = value

        return edit

    fork(repo, note("ours"), note("theirs"))
    repo.merge("m", "master", "dev", keep_conflicts=True)
    assert repo.conflicts().attributes[None]["made"] == ("by hand", "ours", "theirs")
    assert repo.resolve(AttributeKey(None, "made"), "theirs") == 1
    assert repo.resolve([AttributeKey("labels", "unit")], ["a", "list"]) == 0
    merged = repo.checkout(commit=repo.merge_continue())
    assert dict(merged.attributes) == {"made": "theirs"}
    assert dict(merged["labels"].attributes) == {"unit": ["a", "list"]}


def test_a_merge_can_be_given_up(repo: Repository) -> None:
    ours, _ = fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    repo.resolve(("labels", 1), "theirs")
    assert repo.merge_abort() == ours
    assert (repo.status().clean, repo.conflicts()) == (True, Conflicts.none())
    repo.merge("m", "master", "dev", keep_conflicts=True)
    writer = repo.checkout(write=True)
    writer.reset_staging_area()
    writer.close()
    assert (repo.status().clean, repo.conflicts()) == (True, Conflicts.none())
    assert repo.verify_repo_integrity()


def test_without_commit(repo: Repository) -> None:
    ours, theirs = fork(repo, put("labels", 1, 1), put("labels", 2, 2))
    result = repo.merge_revision("dev", branch="master", commit=False)
    assert (result.committed, repo.rev_parse("master")) == (False, ours)
    assert repo.status().operation is not None
    assert repo.resolve(None, "ours") == 0
    writer = repo.checkout(write=True)
    writer["labels", 3] = 3
    merged = writer.commit("With a change of its own")
    assert parents(repo, merged) == [ours, theirs]
    assert [content(repo, merged)["labels"][key] for key in (1, 2, 3)] == [1, 2, 3]


def test_work_goes_on_while_conflicts_are_open(repo: Repository) -> None:
    """Samples written by hand, columns removed and renamed: what is in conflict is resolved with what is there then."""
    fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    writer = repo.checkout(write=True)
    writer["labels", 1] = 77
    writer.rename_column("labels", "classes")
    with pytest.raises(InvalidStateError, match="is in progress"):
        writer.merge("again", "dev")
    with writer, pytest.raises(InvalidStateError):
        writer.merge_abort()
    with writer:
        writer.resolve(("classes", 1), np.int64(5))
        assert writer.resolve(("classes", 2), "ours") == 2
    writer.columns.delete("classes")
    assert writer.resolve(None, "theirs") == 0
    writer.merge_continue()
    assert "classes" not in writer
    writer.close()
    assert repo.verify_repo_integrity()


def test_another_branch_waits_for_the_merge(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    with pytest.raises(InvalidInputError, match="uncommitted changes on branch 'master'"):
        repo.checkout(write=True, branch="dev")
    with pytest.raises(InvalidStateError, match="a merge of 'dev' is in progress"):
        repo.merge("m", "dev", "master")
    assert repo.conflicts().total() == 4


# ---------------------------------------------------------------------------------------------------- bad input


def test_preview(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    seen = repo.merge_preview("dev", branch="master")
    assert (seen.kind, seen.changes, seen.conflicts.total()) == ("merge", {"labels": (0, 0, 1)}, 4)
    assert repo.merge_preview("master", branch="master").kind == "up-to-date"
    repo.create_branch("old", "master~1")
    forward = repo.merge_preview("dev", branch="old")
    assert (forward.kind, forward.changes) == ("fast-forward", {"labels": (1, 1, 3)})
    assert repo.status().clean


def test_bad_input(repo: Repository) -> None:
    ours, _ = fork(repo, *CONFLICTING)
    head = repo.head()
    calls: list[tuple[tuple[Any, ...], type[Exception]]] = [
        (("m", "master", "nowhere"), RevisionNotFoundError),
        (("m", "nowhere", "dev"), RevisionNotFoundError),
        (("  ", "master", "dev"), InvalidInputError),
        ((7, "master", "dev"), InvalidTypeError),
    ]
    for arguments, error in calls:
        with pytest.raises(error):
            repo.merge(*arguments)
    strategies: list[tuple[Any, type[Exception]]] = [
        ("newest", InvalidInputError),
        (7, InvalidTypeError),
        ({"labels": "newest"}, InvalidInputError),
        ({"nothing": "ours"}, ColumnNotFoundError),
    ]
    for strategy, error in strategies:
        with pytest.raises(error):
            repo.merge("m", "master", "dev", strategy=strategy)
    with pytest.raises(InvalidInputError):
        repo.merge("m", "master", "dev", "yes")  # type: ignore[arg-type]
    for act in (repo.merge_continue, repo.merge_abort, lambda: repo.resolve(None, "ours")):
        with pytest.raises(InvalidStateError, match="no merge is in progress"):
            act()
    assert (repo.head(), repo.rev_parse("master"), repo.status().clean) == (head, ours, True)


def test_bad_resolutions(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    for keys, with_, error in (
        ("text", "ours", ColumnNotFoundError),
        (("labels", 9), "ours", SampleNotFoundError),
        (("labels", "x y"), "ours", SampleNotFoundError),
        ((1, 2), "ours", InvalidTypeError),
        (7, "ours", InvalidTypeError),
        ([7], "ours", InvalidTypeError),
        ("labels", "newest", InvalidInputError),
        ("labels", np.zeros(3), InvalidInputError),
        (ColumnSchemaKey("labels", "flat"), "ours", SampleNotFoundError),
    ):
        with pytest.raises(error):
            repo.resolve(keys, with_)
    with pytest.raises(ZeroDivisionError):
        repo.resolve(None, lambda base, ours, theirs: 1 / 0)
    assert repo.conflicts().total() == 4
    assert repo.resolve([], "ours") == 4


def test_dirty_staging_area_and_lock(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    for branch in ("master", "dev"):
        writer = repo.checkout(write=True, branch=branch)
        with pytest.raises(LockedError):
            repo.merge("m", "master", "dev", strategy="ours")
        writer["labels", 0] = 5
        with pytest.raises(InvalidStateError, match="uncommitted changes"):
            writer.merge("m", "master" if branch == "dev" else "dev")
        writer.close()
        with pytest.raises(RuntimeError, match="uncommitted changes"):
            repo.merge("m", "master", "dev", strategy="ours")
        writer = repo.checkout(write=True, branch=branch)
        assert writer["labels", 0] == 5
        writer["labels", 0] = 0
        assert writer.diff.status() == "CLEAN"
        writer.close()
    assert repo.merge("m", "master", "dev", strategy="ours")


def test_unrelated_histories(repo: Repository) -> None:
    write(repo, "master", begin)
    repo.stores.db.update(
        lambda transaction: repo.stores.refs.create(
            transaction, "heads/other", None, who=("A", "a"), operation="branch"
        )
    )
    write(repo, "other", begin)
    for act in (lambda: repo.merge("m", "master", "other"), lambda: repo.merge_preview("other", branch="master")):
        with pytest.raises(InvalidInputError, match="no common ancestor"):
            act()


def test_a_merge_with_damaged_conflicts_can_be_given_up(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    assert repo.fsck().problems == ()
    with repo.stores.db.read() as transaction:
        key = max(key for key, _ in transaction.scan(CONFLICTS))
    repo.stores.db.update(lambda transaction: transaction.put(CONFLICTS, key, b"\x96"))
    assert all("conflict" in problem.detail for problem in repo.fsck().problems)
    assert repo.fsck().problems
    assert repo.merge_abort()
    assert repo.fsck().problems == ()


def test_a_repository_that_is_only_read_shows_conflicts(repo: Repository) -> None:
    fork(repo, *CONFLICTING)
    repo.merge("m", "master", "dev", keep_conflicts=True)
    repo.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Repository(repo.path).conflicts().total() == 4
