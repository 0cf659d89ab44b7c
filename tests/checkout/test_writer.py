"""The write checkout: batches, commits, resets, the lock."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleWriter
from hangar.db import Database
from hangar.db.tables import STAGING
from hangar.errors import (
    AccessError,
    ClosedError,
    ColumnExistsError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    NothingToDoError,
    RevisionNotFoundError,
    SampleNotFoundError,
)
from tests.checkout.samples import numbers, value

# ---------------------------------------------------------------------- batches


def test_a_block_is_one_batch_and_its_content_is_visible_at_once(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    with writer:
        column[1] = value(1)
        column.write([2, 3], np.stack([value(2), value(3)]))
        assert numbers(column) == {1: 1, 2: 2, 3: 3}
        assert len(column) == 3
        assert writer.diff.status() == "DIRTY"
        assert len(writer.diff.staged().diff.added.samples) == 3
    writer.close()
    assert numbers(repo.checkout(write=True)["x"]) == {1: 1, 2: 2, 3: 3}


def test_an_exception_drops_what_came_after_the_last_commit_in_the_block(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    column[0] = value(9)
    with pytest.raises(ZeroDivisionError), writer:  # noqa: PT012
        column[1] = value(1)
        first = writer.commit("one")
        column[2] = value(2)
        with column:
            column[3] = value(3)
        assert numbers(column) == {0: 9, 1: 1, 2: 2, 3: 3}
        raise ZeroDivisionError
    assert numbers(column) == {0: 9, 1: 1}
    assert writer.commit_hash == first
    assert writer.diff.status() == "CLEAN"
    column[4] = value(4)
    assert numbers(column) == {0: 9, 1: 1, 4: 4}
    writer.close()
    assert numbers(repo.checkout(write=True)["x"]) == {0: 9, 1: 1, 4: 4}


def test_an_inner_exception_that_is_caught_inside_drops_nothing(
    writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    with writer:
        column[1] = value(1)
        with pytest.raises(ZeroDivisionError), column:  # noqa: PT012
            column[2] = value(2)
            raise ZeroDivisionError
        with pytest.raises(InvalidInputError):
            column[3] = "no array"
    assert numbers(column) == {1: 1, 2: 2}


def test_columns_and_columns_collection_make_batches_too(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    for block in (column, writer.columns, writer):
        with pytest.raises(ZeroDivisionError), block:  # noqa: PT012
            column[1] = value(1)
            raise ZeroDivisionError
        assert 1 not in column
    with column as same:
        assert same is column
        same[1] = value(1)
    assert 1 in column


def test_a_batch_of_a_thousand_costs_one_transaction(
    writer: WriterCheckout, column: FlatSampleWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[object] = []
    real = Database.update

    def count(self: Database, function: Any) -> Any:
        updates.append(function)
        return real(self, function)

    monkeypatch.setattr(Database, "update", count)
    data = np.random.default_rng(0).integers(0, 256, (1000, 40), np.uint8)
    column.write(range(1000), data)
    assert len(updates) == 1
    with writer:
        for i in range(1000, 2000):
            column[i] = data[i - 1000] ^ 255
    assert len(updates) == 2


def test_what_was_batched_before_close_is_kept(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    with writer:
        column[1] = value(1)
        writer.close()
    assert numbers(repo.checkout(write=True)["x"]) == {1: 1}


def test_columns_cannot_come_or_go_inside_a_block(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    with writer:
        with pytest.raises(AccessError):
            writer.add_str_column("t")
        with pytest.raises(AccessError):
            writer.columns.delete("x")
        with pytest.raises(InvalidStateError):
            writer.reset_staging_area(force=True)
    assert list(writer) == ["x"]


def test_threads_may_write(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    def work(start: int) -> None:
        for i in range(start, start + 10):
            column[i] = value(i)

    threads = [threading.Thread(target=work, args=(10 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(column) == {i: i for i in range(40)}


# ---------------------------------------------------------------------- columns


def test_columns_collection(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    writer.add_str_column("a")
    columns = writer.columns
    assert writer.arraysets is columns
    assert (columns.keys(), list(columns), len(columns), "a" in columns, "b" in columns) == (
        ["a", "x"],
        ["a", "x"],
        2,
        True,
        False,
    )
    assert columns["x"] is columns.get("x") is column
    assert [c.column for c in columns.values()] == ["a", "x"]
    assert [name for name, _ in columns.items()] == ["a", "x"]
    assert columns.iswriteable
    assert columns.contains_remote_references == {"a": False, "x": False}
    assert columns.remote_sample_keys == {"a": (), "x": ()}
    assert "uint8" in str(columns)
    for missing in ("b", 5):
        with pytest.raises(ColumnNotFoundError):
            columns[missing]  # type: ignore[index]
    with pytest.raises(ColumnNotFoundError):
        columns.get("b")


def test_delete_a_column(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    writer.commit("one")
    assert writer.columns.delete("x") == "x"
    with pytest.raises(ClosedError):
        column[1]
    with pytest.raises(ColumnNotFoundError):
        del writer.columns["x"]
    writer.close()
    again = repo.checkout(write=True)
    assert "x" not in again
    again.commit("gone")
    reader = repo.checkout()
    assert len(reader) == 0
    with pytest.raises(AccessError):
        repo.checkout(commit=repo.log(return_contents=True)["order"][1]).columns.delete("x")  # type: ignore[index]


def test_a_column_that_is_made_again_with_the_same_content_is_no_change(
    writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    column[1] = value(1)
    writer.commit("one")
    del writer.columns["x"]
    assert writer.diff.status() == "DIRTY"
    writer.add_ndarray_column("x", (40,), np.uint8)[1] = value(1)
    assert writer.diff.status() == "CLEAN"
    del writer.columns["x"]
    writer.add_ndarray_column("x", 40, np.int8)[1] = value(1).astype("i1")
    assert writer.commit("two")


def test_add_ndarray_column(writer: WriterCheckout) -> None:
    assert writer.add_ndarray_column("a", 5).dtype == np.float64
    assert writer.add_ndarray_column("b", [2, 3], "uint8").shape == (2, 3)
    assert writer.add_ndarray_column("c", prototype=np.zeros((4, 1), np.int16)).dtype == np.int16
    assert writer.add_ndarray_column("d", ()).shape == ()
    assert writer.add_ndarray_column("e", (3,), variable_shape=True).schema_type == "variable_shape"
    attempts: list[tuple[type[Exception], dict[str, Any]]] = [
        (InvalidInputError, {"shape": (1,), "prototype": np.zeros(1)}),
        (InvalidInputError, {}),
        (InvalidInputError, {"shape": (1,) * 32}),
        (InvalidInputError, {"shape": (-1,)}),
        (InvalidInputError, {"shape": (1,), "dtype": "S5"}),
        (InvalidInputError, {"shape": (1,), "dtype": "not a dtype"}),
        (InvalidInputError, {"shape": (1,), "dtype": object}),
        (InvalidInputError, {"prototype": [1]}),
        (InvalidTypeError, {"shape": (1.5,)}),
        (InvalidTypeError, {"shape": "5"}),
        (InvalidTypeError, {"shape": True}),
        (InvalidInputError, {"shape": (1,), "backend": "30"}),
        (InvalidInputError, {"shape": (1,), "backend": "nonsense"}),
        (InvalidInputError, {"shape": (1,), "backend_options": {"complevel": 3}}),
        (InvalidTypeError, {"shape": (1,), "backend": "10", "backend_options": {"complevel": 3}}),
        (InvalidTypeError, {"shape": (1,), "backend": "10", "backend_options": "x"}),
        (InvalidInputError, {"shape": (100,), "inline": True}),
    ]
    for error, arguments in attempts:
        with pytest.raises(error):
            writer.add_ndarray_column("f", **arguments)
    assert "f" not in writer
    with pytest.raises(ColumnExistsError):
        writer.add_ndarray_column("a", 5)
    with pytest.raises(LookupError):
        writer.add_str_column("a")
    for bad in ("", "a b", "ä", "x" * 65, "a/b", 5):
        with pytest.raises(InvalidInputError):
            writer.add_bytes_column(bad)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- commit and reset


def test_commit(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    assert (writer.branch_name, writer.commit_hash) == ("master", "")
    column[1] = value(1)
    first = writer.commit("first\n\nbody", meta={"run": 5, "tags": ["a"]})
    assert (len(first), writer.commit_hash, writer.diff.status()) == (64, first, "CLEAN")
    assert numbers(column) == {1: 1}
    for _ in range(2):
        with pytest.raises(NothingToDoError, match=r"No changes made in staging area\. Cannot commit\."):
            writer.commit("again")
    column[1] = value(2)
    second = writer.commit("second")
    assert numbers(repo.checkout(commit=first)["x"]) == {1: 1}
    assert numbers(repo.checkout(commit=second)["x"]) == {1: 2}
    info = repo.commit_info(first)
    assert (info.author, info.email, info.message, dict(info.meta)) == (
        "Ada",
        "ada@example.org",
        "first\n\nbody",
        {"run": 5, "tags": ["a"]},
    )
    assert repo.commit_info(second).parents == (first,)


def test_a_change_that_was_taken_back_is_no_change(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    writer.commit("one")
    column[1] = value(2)
    column[2] = value(2)
    assert writer.diff.status() == "DIRTY"
    column[1] = value(1)
    del column[2]
    assert writer.diff.status() == "CLEAN"
    with pytest.raises(NothingToDoError):
        writer.commit("nothing")


def test_commit_amend(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    with pytest.raises(InvalidStateError):
        writer.commit("x", amend=True)
    column[1] = value(1)
    first = writer.commit("first")
    column[1] = value(2)
    second = writer.commit("second")
    third = writer.commit("second, better", amend=True)
    assert repo.commit_info(third).parents == (first,)
    assert repo.commit_info("master").message == "second, better"
    assert numbers(repo.checkout(commit=second)["x"]) == {1: 2}


def test_commit_refuses_what_is_no_message(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    with pytest.raises(InvalidTypeError):
        writer.commit(5)  # type: ignore[arg-type]
    for bad in ("\ud800", "x" * (2**20 + 1)):
        with pytest.raises(InvalidInputError):
            writer.commit(bad)
    with pytest.raises(InvalidInputError):
        writer.commit("x", meta={"a": object()})
    for blank in ("", " ", "\n\t \n"):
        with pytest.raises(InvalidInputError, match="the commit message is empty"):
            writer.commit(blank)
    assert writer.commit_hash == ""
    assert writer.commit(".")


def test_reset_staging_area(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    first = writer.commit("one")
    with pytest.raises(NothingToDoError):
        writer.reset_staging_area()
    assert writer.reset_staging_area(force=True) == first
    column = writer["x"]
    column[1] = value(2)
    writer.add_str_column("t")
    assert writer.reset_staging_area() == first
    with pytest.raises(ClosedError):
        column[1]
    assert list(writer) == ["x"]
    assert numbers(writer["x"]) == {1: 1}
    with writer.session.stores.db.read() as transaction:
        assert transaction.count(STAGING) == 0


def test_access_across_columns(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    writer.add_str_column("t")["a"] = "text"
    assert writer["x"] is column
    assert writer["x", 1].tolist() == value(1).tolist()
    assert [type(v) for v in writer[("x", 1), ("t", "a")]] == [np.ndarray, str]
    assert writer[[("t", "a")]] == ["text"]
    assert writer.get(("t", "a")) == "text"
    assert writer.get(("t", "b")) is None
    assert writer.get([("t", "b"), ("t", "a")], default=5) == [5, "text"]
    assert writer.get(("none", 1), default=0) == 0
    for missing in ("none", ("none", 1), ("t", "b"), [("t", "a"), ("t", "b")]):
        with pytest.raises(KeyError):
            writer[missing]
        with pytest.raises(KeyError):
            writer.get(missing, except_missing=True)
    assert writer[[]] == []
    for wrong in (5, (), [5], (1, 2), None, [("t",)]):
        with pytest.raises(InvalidTypeError):
            writer[wrong]
    assert (list(writer), len(writer), "x" in writer, writer.keys()) == (["t", "x"], 2, True, ["t", "x"])


# ---------------------------------------------------------------------- branches and the lock


def test_changes_staged_on_another_branch(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    writer.commit("one")
    repo.create_branch("other")
    column[1] = value(2)
    writer.close()
    with pytest.raises(InvalidInputError, match="uncommitted changes on branch 'master'"):
        repo.checkout(write=True, branch="other")
    assert not repo.writer_lock_held
    with repo.checkout(write=True) as again:
        again["x"][1] = value(1)
    again.close()
    other = repo.checkout(write=True, branch="other")
    assert other.branch_name == "other"
    other["x"][5] = value(5)
    other.commit("on other")
    other.close()
    assert numbers(repo.checkout()["x"]) == {1: 1, 5: 5}
    assert numbers(repo.checkout(branch="master")["x"]) == {1: 1}
    assert repo.head().last_written == "other"


def test_only_one_writer(repo: Repository, writer: WriterCheckout) -> None:
    with pytest.raises(LockedError, match=r"process \d+"):
        repo.checkout(write=True)
    code = (
        "import sys, hangar\n"
        "try: hangar.Repository(sys.argv[1]).checkout(write=True)\n"
        "except PermissionError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, repo.path], capture_output=True, text=True, check=True)
    assert "force-release" in found.stdout
    held = [repo.writer_lock_held]
    writer.close()
    held.append(repo.writer_lock_held)
    assert held == [True, False]
    repo.checkout(write=True).close()


def test_a_writer_that_is_forgotten_frees_the_lock(repo: Repository) -> None:
    column = repo.checkout(write=True).add_str_column("t")
    gc.collect()
    column["a"] = "kept alive by its column"
    del column
    gc.collect()
    assert repo.checkout(write=True)["t"]["a"] == "kept alive by its column"


def test_a_writer_whose_lock_was_taken_over_can_do_nothing(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    column[1] = value(1)
    with pytest.warns(ResourceWarning):
        assert repo.force_release_writer_lock()
    for use in (
        lambda: column[1],
        lambda: column.__setitem__(2, value(2)),
        lambda: len(column),
        lambda: writer.commit("x"),
        lambda: writer.columns,
    ):
        with pytest.raises(LockedError):
            use()
    second = repo.checkout(write=True)
    second["x"][2] = value(2)
    assert numbers(second["x"]) == {1: 1, 2: 2}
    with pytest.raises(LockedError):
        column[3] = value(3)
    second.close()
    assert numbers(repo.checkout(write=True)["x"]) == {1: 1, 2: 2}


def test_unknown_branches(repo: Repository) -> None:
    arguments: dict[str, Any]
    unknown: Any
    for unknown in ("none", 5, b"master", ["master"]):
        for write in (False, True):
            with pytest.raises(RevisionNotFoundError):
                repo.checkout(write, branch=unknown)
    with pytest.raises(RevisionNotFoundError):
        repo.checkout(commit="abcdef")
    for arguments in ({"write": True, "commit": "master"}, {"write": 1}, {"branch": "master", "commit": "master"}):
        with pytest.raises(InvalidInputError):
            repo.checkout(**arguments)
    assert not repo.writer_lock_held


def test_restore(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column.update({i: value(i) for i in range(5)})
    first = writer.commit("first")
    column[1] = value(11)
    column[9] = value(9)
    del column[2]
    writer.restore("x", [1, 2, 9, 3], commit=first)
    assert numbers(column) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
    assert writer.diff.status() == "CLEAN"
    with pytest.raises(SampleNotFoundError):
        writer.restore("x", [1, 77], commit=first)
    column[1] = value(11)
    second = writer.commit("second")
    del writer.columns["x"]
    writer.add_ndarray_column("x", (2,), np.int32)[1] = np.zeros(2, np.int32)
    with pytest.raises(InvalidInputError):
        writer.restore("x", [1], commit=first)
    with writer, pytest.raises(InvalidStateError):
        writer.restore("x", commit=second)
    writer.restore("x", commit=second)
    assert writer.diff.status() == "CLEAN"
    writer.restore("x", commit="master~1")
    assert numbers(writer["x"]) == {i: i for i in range(5)}
    writer.close()
    again = repo.checkout(write=True)
    assert numbers(again["x"]) == {i: i for i in range(5)}
    again.commit("third")
    assert repo.commit_info("master").tree == repo.commit_info(first).tree
    for error, name, rev in ((ColumnNotFoundError, "y", first), (RevisionNotFoundError, "x", "none")):
        with pytest.raises(error):
            again.restore(name, commit=rev)
