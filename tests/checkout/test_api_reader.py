"""What both kinds of checkout offer, seen through a reader: each member of the public API page has a test named after it."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import ReaderCheckout, WriterCheckout
from hangar.columns import Columns, FlatSampleReader, FlatSubsampleReader, NestedSampleReader
from hangar.errors import (
    AccessError,
    ClosedError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    RevisionNotFoundError,
    SampleNotFoundError,
)
from tests.checkout.content import NAMES, fill, image, refuses


@pytest.fixture(params=["reader", "writer"])
def checkout(request: pytest.FixtureRequest, repo: Repository, writer: WriterCheckout) -> Iterator[Any]:
    """A reader and a writer of the same content."""
    fill(writer)
    writer.commit("first")
    yield repo.checkout() if request.param == "reader" else writer
    writer.close() if not writer.session.closed else None


@pytest.fixture
def reader(repo: Repository, writer: WriterCheckout) -> ReaderCheckout:
    fill(writer)
    writer.commit("first")
    writer.close()
    return repo.checkout()


def test_columns_and_arraysets(checkout: Any) -> None:
    assert isinstance(checkout.columns, Columns)
    assert checkout.arraysets is checkout.columns
    assert list(checkout.columns) == NAMES


def test_commit_hash(repo: Repository, checkout: Any) -> None:
    assert checkout.commit_hash == repo.rev_parse("master")


def test_commit_hash_before_the_first_commit(repo: Repository, writer: WriterCheckout) -> None:
    assert writer.commit_hash == ""
    assert repo.checkout().commit_hash == ""
    assert (len(repo.checkout()), dict(repo.checkout().attributes)) == (0, {})


def test_len_in_iteration_keys_values_items(checkout: Any) -> None:
    assert len(checkout) == 5
    assert list(checkout) == checkout.keys() == NAMES
    assert [column.column for column in checkout.values()] == NAMES
    assert [(name, column.column) for name, column in checkout.items()] == [(name, name) for name in NAMES]
    assert ("text" in checkout, "nope" in checkout, 5 in checkout) == (True, False, False)


def test_getitem_of_a_column(checkout: Any) -> None:
    assert isinstance(checkout["image"], FlatSampleReader)
    assert isinstance(checkout["boxes"], NestedSampleReader)
    assert checkout["image"] is checkout.columns["image"]
    for missing in ("nope", ("nope", 1), ("nope", "a", 1), [("nope", 1)]):
        with pytest.raises(ColumnNotFoundError, match="nope"):
            checkout[missing]
        with pytest.raises(KeyError):
            checkout[missing]


def test_getitem_of_a_value(checkout: Any) -> None:
    assert (checkout["image", 3] == image(3)).all()
    assert checkout["text", "k"] == "v"
    assert checkout["raw", 1] == b"\xff"
    assert checkout["label", np.int8(7)] == 7
    for missing in (("text", "nope"), ("text", -1), ("image", 99), ("image", 1, 2)):
        with pytest.raises(SampleNotFoundError):
            checkout[missing]
    for wrong in (("text", None), ("text", 1.5), ("text", ["k"]), ("text", slice(2))):
        with pytest.raises(InvalidTypeError):
            checkout[wrong]


def test_getitem_of_a_nested_column(checkout: Any) -> None:
    assert isinstance(checkout["boxes", "a"], FlatSubsampleReader)
    assert checkout["boxes", "a"].sample == "a"
    assert checkout["boxes", "a", "x"].shape == (2, 4)
    assert {key: array.shape for key, array in checkout["boxes", "a", ...].items()} == {0: (1, 4), "x": (2, 4)}
    for missing in (("boxes", "b"), ("boxes", "a", 5), ("boxes", "b", ...)):
        with pytest.raises(SampleNotFoundError):
            checkout[missing]
    with pytest.raises(InvalidTypeError):
        checkout["boxes", "a", 1, 2]


def test_getitem_of_several(checkout: Any) -> None:
    wanted = [
        ("text", "k"),
        ("boxes", "a", "x"),
        ("image", 3),
        ("boxes", 7, 1),
        ("text", 0),
        ("image", 1),
        ("boxes", "a", ...),
    ]
    for brackets in (tuple(wanted), wanted):
        found = checkout[brackets]
        assert type(found) is list
        assert (found[0], found[4]) == ("v", "zero")
        assert (found[1].shape, found[3].shape, sorted(map(str, found[6]))) == ((2, 4), (9, 4), ["0", "x"])
        assert [int(found[i][0, 0]) for i in (2, 5)] == [3, 1]
    assert checkout[[("text", "k")]] == checkout[("text", "k"),] == ["v"]
    assert checkout[[]] == []
    with pytest.raises(SampleNotFoundError):
        checkout[("text", "k"), ("text", "nope")]
    found = checkout[("image", 1), ("image", 1)]
    found[0][:] = 9
    assert (checkout["image", 1] == 1).all()


@pytest.mark.parametrize("wrong", [5, None, (), (1, 2), [5], ["text"], [("text",)], {"text": 1}, [(5, 1)]], ids=repr)
def test_getitem_of_what_names_nothing(checkout: Any, wrong: Any) -> None:
    with pytest.raises((InvalidTypeError, KeyError)):
        checkout[wrong]


def test_get(checkout: Any) -> None:
    assert checkout.get(("text", "k")) == "v"
    assert checkout.get("text") is checkout["text"]
    assert checkout.get(("boxes", "a", "x")).shape == (2, 4)
    assert checkout.get([("text", "k"), ("text", 0)]) == ["v", "zero"]


def test_get_default(checkout: Any) -> None:
    assert checkout.get(("text", "nope")) is None
    assert checkout.get(("text", "nope"), 5) == checkout.get(("nope", 1), default=5) == checkout.get("nope", 5) == 5
    assert checkout.get(("boxes", "a", 99), 5) == checkout.get(("boxes", "nope"), 5) == 5
    assert checkout.get([("text", "nope"), ("text", "k"), ("nope", 1), ("text", 0)], 5) == [5, "v", 5, "zero"]


def test_get_except_missing(checkout: Any) -> None:
    assert checkout.get(("text", "k"), except_missing=True) == "v"
    for missing in (("text", "nope"), [("text", "k"), ("text", "nope")], "nope"):
        with pytest.raises(KeyError):
            checkout.get(missing, 5, except_missing=True)


def test_log(repo: Repository, checkout: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first = checkout.commit_hash
    repo.create_branch("other")
    assert checkout.log() is None
    assert first in capsys.readouterr().out
    contents = checkout.log(return_contents=True)
    assert capsys.readouterr().out == ""
    assert (contents["head"], contents["order"], contents["ancestors"]) == (first, [first], {first: [""]})
    assert contents == repo.log(return_contents=True) == checkout.log("other", return_contents=True)
    assert checkout.log(commit="master", return_contents=True) == contents
    checkout.log(show_time=True, show_user=True)
    assert "Ada" in capsys.readouterr().out
    with pytest.raises(RevisionNotFoundError):
        checkout.log("nope")
    with pytest.raises(InvalidInputError):
        checkout.log("master", "master")


def test_log_goes_from_this_commit(repo: Repository, writer: WriterCheckout) -> None:
    assert writer.log(return_contents=True)["order"] == []  # type: ignore[index]
    fill(writer)
    first = writer.commit("first")
    del writer["text"]["k"]
    second = writer.commit("second")
    assert repo.checkout(commit=first).log(return_contents=True)["order"] == [first]  # type: ignore[index]
    assert writer.log(return_contents=True)["order"] == [second, first]  # type: ignore[index]


def test_attributes(checkout: Any) -> None:
    assert dict(checkout.attributes) == {}


def test_close(checkout: Any) -> None:
    columns, column, nested, view = checkout.columns, checkout["text"], checkout["boxes"], checkout["boxes", "a"]
    attributes, of_column = checkout.attributes, column.attributes
    iterator = iter(column)
    next(iterator)
    assert checkout.close() is None
    for name in ("columns", "arraysets", "commit_hash", "attributes"):
        refuses(lambda name=name: getattr(checkout, name))  # type: ignore[misc]
    refuses(checkout.close, checkout.keys, checkout.values, checkout.items, checkout.log, checkout.__enter__)
    refuses(lambda: len(checkout), lambda: list(checkout), lambda: "text" in checkout, lambda: repr(checkout))
    refuses(lambda: checkout["text"], lambda: checkout["text", "k"], lambda: checkout.get(("text", "k"), 5))
    refuses(lambda: columns["text"], lambda: list(columns), lambda: len(columns), lambda: repr(columns), columns.keys)
    refuses(lambda: columns.get("text"), lambda: columns.delete("text"), lambda: columns.iswriteable, columns.__enter__)
    refuses(
        lambda: column["k"],
        lambda: column.get("k", 5),
        lambda: list(column),
        lambda: repr(column),
        lambda: "k" in column,
    )
    refuses(lambda: column.shape, lambda: column.backend, lambda: column.schema, column.__enter__)
    refuses(lambda: nested["a"], lambda: len(nested), lambda: view[0], lambda: repr(view), lambda: view.data)
    refuses(lambda: dict(attributes), lambda: dict(of_column), lambda: repr(attributes))
    assert list(rest_of(iterator)) in (["k"], [])


def rest_of(iterator: Iterator[Any]) -> Iterator[Any]:
    """What an iterator still gives before it refuses: at most what it had read ahead."""
    try:
        yield from iterator
    except ClosedError:
        return


def test_with_of_a_reader(reader: ReaderCheckout) -> None:
    for block in (reader, reader.columns, reader["text"], reader["boxes"], reader["boxes", "a"]):
        with block as same:
            assert same is block
            assert reader["text", "k"] == "v"
    with pytest.raises(ZeroDivisionError), reader:
        raise ZeroDivisionError
    assert reader["text", "k"] == "v"


def test_a_reader_has_no_writing_methods(reader: ReaderCheckout) -> None:
    for name in (
        "add_ndarray_column",
        "add_str_column",
        "add_bytes_column",
        "rename_column",
        "commit",
        "merge",
        "reset_staging_area",
        "restore",
        "branch_name",
    ):
        with pytest.raises(AttributeError):
            getattr(reader, name)
    for column in reader.values():
        assert not column.iswriteable
        for name in (
            "append",
            "update",
            "pop",
            "change_backend",
            "widen",
            "write",
            "delete",
            "__setitem__",
            "__delitem__",
        ):
            with pytest.raises(AttributeError):
                getattr(column, name)
    assert not reader.columns.iswriteable
    with pytest.raises(AccessError):
        reader.columns.delete("text")
    with pytest.raises(AccessError):
        del reader.columns["text"]


def test_a_reader_sees_one_commit(repo: Repository, reader: ReaderCheckout) -> None:
    writer = repo.checkout(write=True)
    writer["text"]["k"] = "other"
    writer.columns.delete("image")
    writer.commit("second")
    assert reader["text", "k"] == "v"
    assert (reader["image", 3] == 3).all()
    assert list(reader) == NAMES
    assert list(repo.checkout()) == ["boxes", "label", "raw", "text"]
    writer.close()


def test_a_forgotten_checkout_holds_nothing(repo: Repository, reader: ReaderCheckout) -> None:
    """No cycle keeps what was dropped: it goes at once, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for write in (False, True):
            checkout = repo.checkout(write=write)
            column, view, attributes = checkout["text"], checkout["boxes", "a"], checkout.attributes
            assert (column["k"], len(view), len(attributes), str(checkout) != "") == ("v", 2, 0, True)
            with checkout:
                list(column.items())
            kept = [
                weakref.ref(thing)
                for thing in (checkout, checkout.session, checkout.columns, column, checkout["boxes"])
            ]
            del checkout, column, view, attributes
            assert [one() for one in kept] == [None] * 5
        assert not repo.writer_lock_held
    finally:
        gc.enable()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_checkouts_keep_no_files_open(repo: Repository, reader: ReaderCheckout) -> None:
    reader["image", 3]
    before = open_files()
    checkouts = [repo.checkout() for _ in range(50)]
    for checkout in checkouts:
        checkout["image", 3]
        checkout["boxes", "a", ...]
    assert open_files() <= before + 1
    again = [pickle.loads(pickle.dumps(checkout["text"])) for checkout in checkouts]
    assert [column["k"] for column in again] == ["v"] * 50
    del again
    assert open_files() <= before + 1


def test_pickle(repo: Repository, reader: ReaderCheckout) -> None:
    data = pickle.dumps(reader)
    assert len(data) < 500
    again = pickle.loads(data)
    assert (again.commit_hash, list(again)) == (reader.commit_hash, NAMES)
    things = pickle.dumps([reader["text"], reader["boxes"], reader["boxes", "a"]])
    assert len(things) < 1_000
    reader.close()
    repo.close()
    text, boxes, view = pickle.loads(things)
    assert (text["k"], boxes["a", "x"].shape, view[0].shape) == ("v", (2, 4), (1, 4))
    assert again["text", "k"] == "v"
    again.close()
    for thing in (again, reader):
        with pytest.raises(ClosedError):
            pickle.dumps(thing)


def test_pickle_before_the_first_commit(repo: Repository) -> None:
    assert list(pickle.loads(pickle.dumps(repo.checkout()))) == []
