"""Renamed and widened columns, and attributes: versioned, durable, in batches, and one column for history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleWriter
from hangar.errors import (
    AccessError,
    AttributeNotFoundError,
    ClosedError,
    ColumnExistsError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    NothingToDoError,
)


@pytest.fixture
def ragged(writer: WriterCheckout) -> FlatSampleWriter:
    column = writer.add_ndarray_column("ragged", (2, 3), np.uint8, variable_shape=True)
    column["a"] = np.ones((1, 3), np.uint8)
    return column


def again(repo: Repository, writer: WriterCheckout) -> WriterCheckout:
    """A new writer, as a later process would open it."""
    writer.close()
    return repo.checkout(write=True)


def sound(repo: Repository) -> None:
    assert repo.fsck(data=True).problems == ()


# ---------------------------------------------------------------------- rename


def test_a_renamed_column_is_one_column_for_history(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_str_column("old")
    column["k"] = "v"
    first = writer.commit("first")
    writer.rename_column("old", "new")
    assert writer.diff.status() == "DIRTY"
    staged = writer.diff.staged().diff
    assert staged.renamed == (("old", "new"),)
    assert [part for part in staged if part.schema or part.samples] == []
    assert list(writer) == ["new"]
    assert (column.column, column["k"]) == ("new", "v")
    column["k2"] = "v2"
    second = writer.commit("second")
    assert writer.diff.status() == "CLEAN"
    assert dict(repo.checkout(commit=first)["old"].items()) == {"k": "v"}
    assert dict(repo.checkout(commit=second)["new"].items()) == {"k": "v", "k2": "v2"}
    assert "old" not in repo.checkout(commit=second)
    sound(repo)


def test_a_rename_is_durable_at_once_and_undone_by_a_reset(repo: Repository, writer: WriterCheckout) -> None:
    writer.add_str_column("old")["k"] = "v"
    writer.commit("first")
    writer.rename_column("old", "new")
    writer = again(repo, writer)
    assert list(writer) == ["new"]
    assert writer["new", "k"] == "v"
    assert writer.diff.staged().diff.renamed == (("old", "new"),)
    sound(repo)
    writer.reset_staging_area()
    assert list(writer) == ["old"]
    writer.rename_column("old", "new")
    writer.rename_column("new", "old")
    assert writer.diff.status() == "CLEAN"
    with pytest.raises(NothingToDoError):
        writer.commit("nothing")


def test_names_may_be_swapped_and_given_to_others(repo: Repository, writer: WriterCheckout) -> None:
    for name in ("a", "b", "c"):
        writer.add_str_column(name)["was"] = name
    writer.commit("first")
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        writer.rename_column(old, new)
    writer.columns.delete("c")
    writer.rename_column("a", "c")
    writer.add_str_column("a")["was"] = "nothing"
    for _ in range(2):
        assert {name: column["was"] for name, column in writer.items()} == {"a": "nothing", "b": "a", "c": "b"}
        assert set(writer.diff.staged().diff.renamed) == {("a", "b"), ("b", "c")}
        writer = again(repo, writer)
    writer.commit("second")
    assert {name: column["was"] for name, column in repo.checkout().items()} == {"a": "nothing", "b": "a", "c": "b"}
    sound(repo)


def test_what_rename_column_refuses(writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    writer.add_str_column("text")
    with pytest.raises(ColumnNotFoundError, match="nope"):
        writer.rename_column("nope", "other")
    with pytest.raises(ColumnExistsError, match="text"):
        writer.rename_column("ragged", "text")
    with pytest.raises(ColumnExistsError):
        writer.rename_column("ragged", "ragged")
    for bad in ("", "a b", "a/b", 7, None):
        with pytest.raises(InvalidInputError, match="not suitable"):
            writer.rename_column("ragged", bad)  # type: ignore[arg-type]
    with writer, pytest.raises(AccessError, match="with"):
        writer.rename_column("ragged", "other")
    assert list(writer) == ["ragged", "text"]
    with pytest.raises(AttributeError):
        Repository(writer.session.stores.directory.parent).checkout().rename_column("a", "b")  # type: ignore[attr-defined]


def test_samples_of_a_renamed_column_come_back_by_its_id(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_str_column("old")
    column.update({"k": "first", "l": "first"})
    first = writer.commit("first")
    writer.rename_column("old", "new")
    column.update({"k": "second", "l": "second"})
    writer.commit("second")
    writer.restore("old", ["k"], commit=first)
    assert dict(writer["new"].items()) == {"k": "first", "l": "second"}
    writer.commit("third")
    writer.restore("old", commit=first)
    assert list(writer) == ["old"]
    assert dict(writer["old"].items()) == {"k": "first", "l": "first"}
    writer.commit("fourth")
    sound(repo)


def test_whole_samples_of_a_nested_column_come_back(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_str_column("boxes", contains_subsamples=True)
    column.update({"k": {1: "a", 2: "b"}, 7: {1: "c"}})
    first = writer.commit("first")
    column.attributes["of"] = "boxes"
    writer.rename_column("boxes", "frames")
    column["k"] = {2: "other", 3: "more"}
    column[8] = {1: "new"}
    del column[7]
    writer.commit("second")
    writer.restore("boxes", ["k", 7, 8], commit=first)
    assert {sample: view.data for sample, view in column.items()} == {7: {1: "c"}, "k": {1: "a", 2: "b"}}
    assert dict(column.attributes) == {"of": "boxes"}
    with pytest.raises(KeyError, match="nope"):
        writer.restore("boxes", ["k", "nope"], commit=first)
    writer.commit("third")
    sound(repo)


# ---------------------------------------------------------------------- widen


def test_a_widened_column_takes_larger_arrays(
    repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter
) -> None:
    first = writer.commit("first")
    with pytest.raises(ValueError, match="exceeds schema max"):
        ragged["b"] = np.ones((2, 9), np.uint8)
    ragged.widen((2, 9))
    assert ragged.shape == writer["ragged"].shape == (2, 9)
    assert len(writer.diff.staged().diff.mutated.schema) == 1
    ragged["b"] = np.ones((2, 9), np.uint8)
    writer = again(repo, writer)
    assert writer["ragged"].shape == (2, 9)
    writer["ragged"].write(["c", "d"], np.zeros((2, 2, 8), np.uint8))
    second = writer.commit("second")
    assert repo.checkout(commit=first)["ragged"].shape == (2, 3)
    column = repo.checkout(commit=second)["ragged"]
    assert {key: value.shape for key, value in column.items()} == {"a": (1, 3), "b": (2, 9), "c": (2, 8), "d": (2, 8)}
    sound(repo)


def test_what_widen_refuses(writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    for shape in ((1, 3), (2, 2), (2,), (2, 3, 1), 5, (2, -1), (2**40, 2**40)):
        with pytest.raises(InvalidInputError):
            ragged.widen(shape)
    with pytest.raises(InvalidTypeError):
        ragged.widen("large")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="fixed shape"):
        writer.add_ndarray_column("fixed", 3).widen(4)
    with pytest.raises(InvalidInputError, match="str"):
        writer.add_str_column("text").widen(4)
    with ragged, pytest.raises(AccessError, match="with"):
        ragged.widen((9, 9))
    assert ragged.shape == (2, 3)
    ragged.widen((2, 3))
    assert ragged.shape == (2, 3)


def test_samples_come_back_into_a_widened_column_and_not_into_a_narrower(
    repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter
) -> None:
    first = writer.commit("first")
    ragged.widen([5, 5])
    ragged["a"] = np.zeros((5, 5), np.uint8)
    second = writer.commit("second")
    writer.restore("ragged", ["a"], commit=first)
    assert writer["ragged", "a"].shape == (1, 3)
    assert writer["ragged"].shape == (5, 5)
    writer.restore("ragged", commit=first)
    assert writer["ragged"].shape == (2, 3)
    with pytest.raises(InvalidInputError, match="restore all of it"):
        writer.restore("ragged", ["a"], commit=second)
    writer.commit("third")
    sound(repo)


# ---------------------------------------------------------------------- attributes

VALUES: dict[str, Any] = {
    "unit": "mm",
    "n": 3,
    "f": 0.5,
    "b": True,
    "raw": b"x",
    "list": [1, [2]],
    "map": {"k": 1},
}


@pytest.mark.parametrize("whole", [False, True])
def test_attributes_are_versioned(
    repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter, whole: bool
) -> None:
    def of(checkout: Any) -> Any:
        return checkout.attributes if whole else checkout["ragged"].attributes

    first = writer.commit("first")
    tree = repo.commit_info(first).tree
    of(writer).update(VALUES)
    assert dict(of(writer)) == VALUES
    assert writer.diff.status() == "DIRTY"
    changed = writer.diff.staged().diff.attributes
    assert {key: change.after for key, change in changed[None if whole else "ragged"].items()} == VALUES
    writer = again(repo, writer)
    assert dict(of(writer)) == VALUES
    sound(repo)
    second = writer.commit("second")
    assert writer.diff.status() == "CLEAN"
    assert repo.commit_info(second).tree != tree
    writer["ragged"]["z"] = np.ones((1, 1), np.uint8)
    of(writer)["unit"] = "cm"
    del of(writer)["n"]
    third = writer.commit("third")
    assert dict(of(repo.checkout(commit=first))) == {}
    assert dict(of(repo.checkout(commit=second))) == VALUES
    assert dict(of(repo.checkout(commit=third))) == {**{k: v for k, v in VALUES.items() if k != "n"}, "unit": "cm"}
    of(writer).clear()
    writer.columns["ragged"].pop("z")
    fourth = writer.commit("fourth")
    assert repo.commit_info(fourth).tree == tree
    if whole:
        assert dict(repo.attributes) == {}
    sound(repo)


def test_attributes_are_a_mapping(writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    for attributes in (ragged.attributes, writer.attributes):
        attributes["b"] = [1, 2]
        attributes.update({"a": 1}, c="x")
        attributes.update([("d", 2.5)])
        assert list(attributes) == ["a", "b", "c", "d"]
        assert (len(attributes), "a" in attributes, "z" in attributes, attributes.get("z", 5)) == (4, True, False, 5)
        attributes["b"].append(3)
        assert attributes["b"] == [1, 2]
        assert attributes.setdefault("a", 9) == 1
        assert attributes.pop("a") == 1
        assert attributes.pop("a", None) is None
        assert "2.5" in repr(attributes)
        for missing in ("a", "", 7):
            with pytest.raises(AttributeNotFoundError):
                attributes[missing]  # type: ignore[index]
            with pytest.raises(KeyError):
                del attributes[missing]  # type: ignore[arg-type]
        malformed: Any
        for malformed, error in ((5, InvalidTypeError), ([1], InvalidTypeError), ("ab", InvalidInputError)):
            with pytest.raises(error, match="neither a mapping nor pairs"):
                attributes.update(malformed)
        attributes.clear()
        assert dict(attributes) == {}


@pytest.mark.parametrize(
    "bad",
    [None, object(), {1: 2}, 2**70, "\ud800", "x" * 1_100_000],
    ids=["nil", "object", "key", "large", "lone", "long"],
)
def test_what_no_attribute_can_be(writer: WriterCheckout, ragged: FlatSampleWriter, bad: object) -> None:
    ragged.attributes["good"] = 1
    with pytest.raises(InvalidInputError):
        ragged.attributes["x"] = bad
    with pytest.raises(InvalidInputError):
        writer.attributes.update(x=bad)
    with pytest.raises(InvalidInputError):
        ragged.attributes[7] = "x"  # type: ignore[index]
    assert dict(ragged.attributes) == {"good": 1}
    assert writer["ragged", "a"].shape == (1, 3)


def test_attributes_belong_to_the_batch(repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    ragged.attributes["unit"] = "mm"
    with pytest.raises(ZeroDivisionError), writer:  # noqa: PT012
        ragged.attributes["unit"] = "cm"
        writer.attributes["split"] = {"train": [1, 2]}
        assert dict(ragged.attributes) == {"unit": "cm"}
        writer.commit("inside")
        ragged.attributes["unit"] = "m"
        writer.attributes["more"] = 1
        raise ZeroDivisionError
    assert dict(ragged.attributes) == {"unit": "cm"}
    assert dict(writer.attributes) == {"split": {"train": [1, 2]}}
    with writer:
        for i in range(100):
            writer.attributes["i"] = i
        assert writer.diff.status() == "DIRTY"
    writer = again(repo, writer)
    assert writer.attributes["i"] == 99
    sound(repo)


def test_a_reader_cannot_change_attributes(repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    ragged.attributes["unit"] = "mm"
    writer.commit("first")
    reader = repo.checkout()
    for attributes in (reader["ragged"].attributes, reader.attributes):
        with pytest.raises(TypeError):
            attributes["a"] = 1  # type: ignore[index]
        for name in ("update", "pop", "clear", "setdefault"):
            assert not hasattr(attributes, name)
    kept = reader["ragged"].attributes
    reader.close()
    with pytest.raises(ClosedError):
        dict(kept)
    with pytest.raises(ClosedError):
        repr(kept)


def test_attributes_obtained_before_a_reset_refuse(writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    kept = ragged.attributes
    writer.reset_staging_area()
    with pytest.raises(ClosedError):
        kept["a"] = 1
    with pytest.raises(ClosedError):
        list(kept)


def test_restore_of_samples_however_they_are_listed(writer: WriterCheckout) -> None:
    """Pairs may be lists, as everywhere; one text is not its letters; and twice is once."""
    nested: Any = writer.add_str_column("nested", contains_subsamples=True)
    nested["a"] = {0: "x", 1: "y"}
    flat = writer.add_str_column("flat")
    flat.update({"a": "1", "b": "2"})
    first = writer.commit("first")
    del nested["a", 0], flat["a"], flat["b"]
    writer.restore("nested", [["a", 0], ("a", 0)], commit=first)  # type: ignore[list-item]
    assert nested["a", ...] == {0: "x", 1: "y"}
    with pytest.raises(InvalidInputError, match="not one str"):
        writer.restore("flat", "ab", commit=first)
    with pytest.raises(InvalidTypeError):
        writer.restore("flat", [["a"]], commit=first)  # type: ignore[list-item]
    assert list(flat) == []
    writer.restore("flat", ["b", "b"], commit=first)
    assert list(flat) == ["b"]


def test_attributes_come_back_with_a_restored_column(
    repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter
) -> None:
    ragged.attributes["unit"] = "mm"
    first = writer.commit("first")
    ragged.attributes["unit"] = "cm"
    writer.rename_column("ragged", "other")
    writer.commit("second")
    writer.restore("ragged", commit=first)
    assert dict(writer["ragged"].attributes) == {"unit": "mm"}
    writer.columns.delete("ragged")
    writer.commit("third")
    writer.restore("ragged", ["a"], commit=first)
    assert dict(writer["ragged"].attributes) == {"unit": "mm"}
    sound(repo)


def test_lost_attributes_are_found_by_fsck(repo: Repository, writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    from hangar.db.tables import ATTRIBUTES

    def lose() -> None:
        repo._open().db.update(lambda transaction: transaction.delete_prefix(ATTRIBUTES, b""))

    writer.attributes["a"] = 1
    lose()
    assert {problem.kind for problem in repo.fsck().problems} == {"attributes"}
    writer.reset_staging_area()
    ragged = writer.add_str_column("text")
    ragged.attributes["a"] = 1
    writer.commit("first")
    sound(repo)
    lose()
    assert {problem.kind for problem in repo.fsck().problems} == {"attributes"}


def test_commit_refuses_a_meta_that_is_no_map(writer: WriterCheckout, ragged: FlatSampleWriter) -> None:
    for bad in ("x", 7, [("a", 1)]):
        with pytest.raises(InvalidTypeError, match="meta"):
            writer.commit("m", meta=bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        writer.commit("m", meta={"a": None})
    assert writer.commit_hash == ""
