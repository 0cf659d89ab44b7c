"""``repo.diff``, ``checkout.diff`` of readers and writers, and the stream of changes with values."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.diff import (
    Changes,
    ColumnSchemaKey,
    Conflicts,
    FlatColumnDataKey,
    NestedColumnDataKey,
    ReaderUserDiff,
    Unavailable,
    ValueChange,
    WriterUserDiff,
)
from hangar.errors import (
    ClosedError,
    ColumnNotFoundError,
    CorruptionError,
    NotLocalError,
    PurgedError,
    RevisionNotFoundError,
)
from hangar.objects.store import NodeStore

Edit = Callable[[WriterCheckout], object]


def commit(repo: Repository, *edits: Edit, branch: str = "master") -> str:
    """Commit the edits to a branch."""
    writer = repo.checkout(write=True, branch=branch)
    for edit in edits:
        edit(writer)
    digest = writer.commit("Change")
    writer.close()
    return digest


def make(writer: WriterCheckout) -> None:
    """A column of each kind."""
    writer.add_ndarray_column("labels", shape=(), dtype="int64").write(range(10), np.arange(10))
    writer.add_ndarray_column("images", shape=(6, 6), dtype="uint8").write([1, 2], np.zeros((2, 6, 6), "uint8"))
    writer.add_ndarray_column("scans", shape=(50, 50), dtype="float32", variable_shape=True)["a"] = np.zeros(
        (4, 5), "float32"
    )
    writer.add_str_column("text")["a"] = "before"
    writer.add_bytes_column("raw")["a"] = b"\x00" * 100
    writer.add_str_column("notes", contains_subsamples=True)["s"] = {1: "one", "b": "two"}


def edit(writer: WriterCheckout) -> None:
    """A change of each kind."""
    writer["labels"][3] = 30
    del writer["labels"][4]
    writer["labels"]["new"] = 7
    writer["images"][2] = np.full((6, 6), 200, "uint8")
    writer["scans"]["a"] = np.ones((4, 6), "float32")
    writer["text"]["a"] = "after"
    writer["raw"]["a"] = b"\x00" * 99 + b"\x01"
    writer["notes"]["s"] = {"b": "zwei"}


def shown(change: ValueChange) -> tuple[Any, ...]:
    """A change as plain values."""
    values = [one.tolist() if isinstance(one, np.ndarray) else one for one in (change.before, change.after)]
    return (change.kind, *change.key, *values)


SMALL = [
    ("mutated", "labels", 3, 3, 30),
    ("deleted", "labels", 4, 4, None),
    ("added", "labels", "new", None, 7),
    ("mutated", "notes", "s", "b", "two", "zwei"),
    ("mutated", "text", "a", "before", "after"),
]


def test_stream_of_changes(repo: Repository) -> None:
    first = commit(repo, make)
    second = commit(repo, edit)
    found = list(repo.changes(first, second))
    small = [shown(one) for one in found if one.column in ("labels", "notes", "text")]
    assert small == SMALL
    others = {one.column: one for one in found if one.column not in ("labels", "notes", "text")}
    assert sorted(others) == ["images", "raw", "scans"]
    assert others["images"].difference().largest == 200  # type: ignore[union-attr]
    assert others["scans"].difference().shape_after == (4, 6)  # type: ignore[union-attr]
    assert others["raw"].difference().start == 99  # type: ignore[union-attr]
    assert others["images"].difference(200).differs is False  # type: ignore[union-attr]
    assert next(one for one in found if one.kind == "added").difference() is None
    assert [shown(one) for one in repo.changes(first, "master", columns=["text"])] == [SMALL[-1]]
    assert [one.kind for one in repo.changes("master", first, columns=["labels"])] == ["mutated", "added", "deleted"]
    # What was handed out is the user's own.
    others["images"].after[...] = 0
    assert next(repo.changes(first, second, columns=["images"])).after.min() == 200


def test_diff_goes_from_the_first_to_the_second(repo: Repository) -> None:
    first = commit(repo, make)
    repo.create_branch("side")
    second = commit(repo, edit)
    there, back = repo.diff("side", "master"), repo.diff(second, first)
    assert there.diff.added.samples == back.diff.deleted.samples == (FlatColumnDataKey("labels", "new"),)
    assert there.diff.deleted.samples == (FlatColumnDataKey("labels", 4),)
    assert NestedColumnDataKey("notes", "s", "b") in there.diff.mutated.samples
    assert there.conflict == back.conflict == Conflicts.none()
    assert repo.diff("master~1", "HEAD") == there
    repo_tags = repo.diff(first[:10], second[:10])
    assert repo_tags == there
    with pytest.raises(RevisionNotFoundError, match="nope"):
        repo.diff("master", "nope")
    with pytest.raises(RevisionNotFoundError, match="nope"):
        repo.changes("nope", "master")
    with pytest.raises(ColumnNotFoundError, match="labls"):
        repo.changes("side", "master", columns=["labls"])


def test_readers(repo: Repository) -> None:
    first = commit(repo, make)
    second = commit(repo, edit)
    reader = repo.checkout(commit=first)
    assert isinstance(reader.diff, ReaderUserDiff)
    assert not isinstance(reader.diff, WriterUserDiff)
    assert not hasattr(reader.diff, "staged")
    assert reader.diff.branch("master") == reader.diff.commit(second) == repo.diff(first, second)
    assert [shown(one) for one in reader.diff.changes("master", columns=["text"])] == [SMALL[-1]]
    assert repo.checkout().diff.commit(first).diff == repo.diff(second, first).diff
    for name in (second, "nope", "master~1"):
        with pytest.raises(RevisionNotFoundError, match="no branch"):
            reader.diff.branch(name)
    with pytest.raises(RevisionNotFoundError, match="did you mean 'master'"):
        reader.diff.branch("mster")
    with pytest.raises(RevisionNotFoundError):
        reader.diff.commit("nope")
    differences, stream = reader.diff, reader.diff.changes(second)
    next(stream)
    reader.close()
    for call in (lambda: differences.branch("master"), lambda: differences.commit(second), lambda: next(stream)):
        with pytest.raises(ClosedError):
            call()


def test_conflicts_are_against_the_merge_base(repo: Repository) -> None:
    commit(repo, make)
    repo.create_branch("side")
    commit(repo, lambda w: w["labels"].__setitem__(1, 100), lambda w: w["labels"].__setitem__(2, 5))
    commit(
        repo,
        lambda w: w["labels"].__setitem__(1, 200),
        lambda w: w["labels"].__setitem__(2, 5),
        lambda w: w["labels"].__setitem__(3, 6),
        branch="side",
    )
    key = FlatColumnDataKey("labels", 1)
    found = repo.diff("master", "side")
    assert found.conflict.t3 == Changes({}, (key,))
    assert found.conflict.conflict
    assert found.diff.mutated.samples == (key, FlatColumnDataKey("labels", 3))
    assert repo.checkout(branch="master").diff.branch("side") == found


def test_writers_start_from_the_staging_area(repo: Repository) -> None:
    first = commit(repo, make)
    repo.create_branch("side")
    commit(repo, lambda w: w["labels"].__setitem__(1, 100))
    writer = repo.checkout(write=True, branch="side")
    edit(writer)
    writer["labels"][1] = 200
    assert isinstance(writer.diff, WriterUserDiff)
    back = writer.diff.commit(first)
    assert back.diff.added.samples == (FlatColumnDataKey("labels", 4),)
    assert not back.conflict.conflict
    assert writer.diff.branch("master").conflict.t3.samples == (FlatColumnDataKey("labels", 1),)
    assert [shown(one) for one in writer.diff.staged_changes(columns=["text"])] == [SMALL[-1]]
    assert [shown(one) for one in writer.diff.changes(first, columns=["text"])] == [
        ("mutated", "text", "a", "after", "before")
    ]
    staged = {tuple(one.key) for one in writer.diff.staged_changes()}
    assert staged == {tuple(key) for part in writer.diff.staged().diff for key in part.samples}
    writer.close()
    with pytest.raises(ClosedError):
        writer.diff.status()


def test_later_writes_do_not_affect_a_stream(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    labels = writer.add_ndarray_column("labels", shape=(), dtype="int64")
    labels.write(range(3_000), np.zeros(3_000, np.int64))
    writer.commit("Zeros")
    labels.write(range(3_000), np.ones(3_000, np.int64))
    stream = writer.diff.staged_changes()
    next(stream)
    labels.write(range(3_000), np.full(3_000, 2))
    writer.commit("Twos")
    assert sum(int(one.after) for one in stream) == 2_999


def test_before_the_first_commit(repo: Repository) -> None:
    assert repo.diff("master", "master").diff.rows() == []
    writer = repo.checkout(write=True)
    make(writer)
    assert ColumnSchemaKey("labels", "flat") in writer.diff.staged().diff.added.schema
    assert writer.diff.branch("master").diff.deleted.schema.keys() == writer.diff.staged().diff.added.schema.keys()
    assert sum(one.kind == "added" for one in writer.diff.staged_changes()) == 17
    assert repo.checkout().diff.branch("master").diff.rows() == []


def test_renamed_removed_and_replaced_columns(repo: Repository) -> None:
    first = commit(repo, make)
    writer = repo.checkout(write=True)
    writer.rename_column("labels", "digits")
    writer["digits"][1] = 11
    writer.columns.delete("text")
    writer.add_bytes_column("text")["a"] = b"now bytes"
    writer.columns.delete("raw")
    second = writer.commit("Two")
    found = [shown(one) for one in repo.changes(first, second, columns=["labels", "text"])]
    assert found == [
        ("mutated", "digits", 1, 1, 11),
        ("deleted", "text", "a", "before", None),
        ("added", "text", "a", None, b"now bytes"),
    ]
    assert [one.column for one in repo.changes(first, second)] == ["digits", "raw", "text", "text"]


def test_streams_decode_in_bounded_memory(repo: Repository) -> None:
    """120 MB of changed arrays on each side pass through some tens of MB."""
    base = np.zeros((1024, 1024), np.uint8)
    writer = repo.checkout(write=True)
    fixed = writer.add_ndarray_column("fixed", shape=(1024, 1024), dtype="uint8", backend="10")
    loose = writer.add_ndarray_column("loose", shape=(4096, 4096), dtype="uint8", variable_shape=True, backend="10")
    for key in range(60):
        base[0, :2] = 1, key
        fixed[key], loose[key] = base, base
    first = writer.commit("One")
    for key in range(60):
        base[0, :2] = 2, key
        fixed[key], loose[key] = base, base
    second = writer.commit("Two")
    writer.close()
    tracemalloc.start()
    found = [one.difference().largest for one in repo.changes(first, second)]  # type: ignore[union-attr]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [1] * 120
    assert peak < 48 * 2**20


def test_values_that_are_not_here(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = commit(repo, make), commit(repo, edit)
    from hangar.columns.values import ValueReader

    read = ValueReader.many
    error: Exception = NotLocalError("promised by origin")

    def many(self: ValueReader, cells: Any) -> list[Any]:
        values = read(self, cells)
        if any(isinstance(one, np.ndarray) and one.shape == (6, 6) and one.max() == 200 for one in values):
            raise error
        return values

    monkeypatch.setattr(ValueReader, "many", many)
    (change,) = repo.changes(first, second, columns=["images"])
    assert change.before.max() == 0
    assert isinstance(change.after, Unavailable)
    assert change.after.reason == "not on this disk"
    assert change.difference() is None
    error = PurgedError("erased by Ada")
    (change,) = repo.changes(first, second, columns=["images"])
    assert change.after == Unavailable("purged", error)
    error = CorruptionError("rotten")
    with pytest.raises(CorruptionError, match="rotten"):
        list(repo.changes(first, second, columns=["images"]))


def test_changed_keys_cost_few_nodes(repo: Repository) -> None:
    """At most 2.5 nodes per changed key and side, values included, in a column of 200,000."""
    writer = repo.checkout(write=True)
    labels = writer.add_ndarray_column("labels", shape=(), dtype="int64")
    labels.write(range(200_000), np.zeros(200_000, np.int64))
    first = writer.commit("One")
    keys = np.random.default_rng(0).choice(200_000, 200, replace=False)
    labels.write(keys, np.arange(1, 201))
    second = writer.commit("Two")
    writer.close()
    stores = repo.stores
    stores.nodes = NodeStore(stores.db)
    found = list(repo.changes(first, second))
    assert {one.key.sample: int(one.after) for one in found} == dict(zip(keys.tolist(), range(1, 201), strict=True))
    assert stores.nodes.loads <= 2.5 * 2 * 200
    stores.nodes = NodeStore(stores.db)
    assert len(repo.diff(first, second).diff.mutated.samples) == 200
    assert stores.nodes.loads <= 2.5 * 2 * 200


@pytest.mark.nightly
def test_a_thousand_changes_among_a_million(repo: Repository) -> None:
    """Row of the issue: at most 2.5 nodes per changed key and side."""
    writer = repo.checkout(write=True)
    labels = writer.add_ndarray_column("labels", shape=(), dtype="int64")
    labels.write(np.arange(1_000_000), np.zeros(1_000_000, np.int64))
    first = writer.commit("One")
    labels.write(np.random.default_rng(0).choice(1_000_000, 1_000, replace=False), np.arange(1, 1_001))
    second = writer.commit("Two")
    writer.close()
    stores = repo.stores
    stores.nodes = NodeStore(stores.db)
    for stream in (repo.diff(first, second).diff.mutated.samples, repo.changes(first, second)):
        assert sum(1 for _ in stream) == 1_000
        assert stores.nodes.loads <= 2.5 * 2 * 1_000
        stores.nodes = NodeStore(stores.db)
