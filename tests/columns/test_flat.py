"""Reading flat columns: every method, default and error of the public API page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import ReaderCheckout, WriterCheckout
from hangar.columns import FlatSampleReader, is_column, is_writer_column
from hangar.errors import (
    ClosedError,
    InvalidInputError,
    InvalidTypeError,
    PositionNotFoundError,
    SampleNotFoundError,
)

COUNT = 300


def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 6, 7), np.uint8)


@pytest.fixture
def reader(repo: Repository, writer: WriterCheckout) -> ReaderCheckout:
    writer.add_ndarray_column("image", (6, 7), np.uint8).write(range(COUNT), images())
    writer.add_ndarray_column("label", (), np.int64).write([f"s{i:03}" for i in range(COUNT)], np.arange(COUNT))
    ragged = writer.add_ndarray_column("ragged", (5, 5), np.float32, variable_shape=True)
    ragged.update({i: np.full((i, 5 - i), i, np.float32) for i in range(6)})
    writer.add_str_column("text").update({"short": "a", "long": "ü" * 500, "empty": ""})
    writer.add_bytes_column("raw").update({1: b"\x00", 2: b"x" * 1000})
    writer.commit("all")
    writer.close()
    return repo.checkout()


def test_getitem(reader: ReaderCheckout) -> None:
    assert reader["image"][5].tolist() == images()[5].tolist()
    assert reader["image"][np.int32(5)].tolist() == images()[5].tolist()
    assert reader["label"]["s007"] == 7
    assert reader["label"]["s007"].shape == ()
    assert reader["ragged"][2].shape == (2, 3)
    assert (reader["text"]["long"], reader["text"]["empty"]) == ("ü" * 500, "")
    assert reader["raw"][2] == b"x" * 1000


def test_getitem_of_what_is_missing(reader: ReaderCheckout) -> None:
    for key in (COUNT, "5", -1, 2**64, "no such", "bad key", "\ud800"):
        with pytest.raises(SampleNotFoundError):
            reader["image"][key]
    for wrong in (None, 1.5, True, b"x", (1,)):
        with pytest.raises(InvalidTypeError):
            reader["image"][wrong]


def test_getitem_of_a_list(reader: ReaderCheckout) -> None:
    assert [v.tolist() for v in reader["image"][[3, 1, 3]]] == [images()[i].tolist() for i in (3, 1, 3)]
    assert reader["text"][["long", "short"]] == ["ü" * 500, "a"]
    assert [v.shape for v in reader["ragged"][[1, 4]]] == [(1, 4), (4, 1)]
    assert reader["image"][[]] == []
    with pytest.raises(SampleNotFoundError):
        reader["image"][[1, COUNT]]


def test_get(reader: ReaderCheckout) -> None:
    assert reader["text"].get("short") == "a"
    assert reader["text"].get("none") is None
    assert reader["text"].get("none", "default") == "default"
    with pytest.raises(InvalidTypeError):
        reader["text"].get(1.5)


def test_contains_len_and_iteration(reader: ReaderCheckout) -> None:
    column = reader["image"]
    assert 5 in column
    assert COUNT not in column
    assert "5" not in column
    assert None not in column
    assert 1.5 not in column
    assert len(column) == COUNT
    assert list(column) == list(column.keys()) == list(range(COUNT))
    assert np.array_equal(np.stack(list(column.values())), images())
    assert [(k, v.tolist()) for k, v in column.items()] == [(i, images()[i].tolist()) for i in range(COUNT)]
    assert list(reader["text"].items()) == [("empty", ""), ("long", "ü" * 500), ("short", "a")]
    assert list(reader["raw"].keys(local=True)) == [1, 2]
    assert list(reader["ragged"].values(local=True))[3].shape == (3, 2)


def test_read_by_keys(reader: ReaderCheckout) -> None:
    keys = [7, 299, 0, 7]
    assert np.array_equal(reader["image"].read(keys), images()[keys])
    assert np.array_equal(reader["image"].read(np.array(keys)), images()[keys])
    assert np.array_equal(reader["image"].read(np.array([7], np.uint8)), images()[[7]])
    assert np.array_equal(reader["image"].read(range(10)), images()[:10])
    assert reader["label"].read(["s005", "s001"]).tolist() == [5, 1]
    assert reader["text"].read(["short", "empty"]) == ["a", ""]
    assert reader["image"].read([]).shape == (0, 6, 7)
    with pytest.raises(SampleNotFoundError, match="300"):
        reader["image"].read([0, COUNT])
    for keys_that_cannot_be in ([-1], np.array([-1]), [2**64], ["x y"]):
        with pytest.raises(SampleNotFoundError):
            reader["image"].read(keys_that_cannot_be)
    for wrong in ("s001", 5, None, [1.5], [True]):
        with pytest.raises(InvalidTypeError):
            reader["label"].read(wrong)


def test_read_by_position(reader: ReaderCheckout) -> None:
    column = reader["image"]
    for part in (slice(3, 9), slice(None), slice(-4, None), slice(9, 3), slice(0, 300, 7), slice(None, None, -1)):
        assert np.array_equal(column.read(part), images()[part]), part
        assert np.array_equal(column.read(positions=part), images()[part]), part
    order = np.random.default_rng(1).permutation(COUNT)
    assert np.array_equal(column.read(positions=order), images()[order])
    assert np.array_equal(column.read(positions=[-1, 0]), images()[[-1, 0]])
    assert reader["label"].read(slice(2, 5)).tolist() == [2, 3, 4]
    assert reader["text"].read(slice(0, 2)) == ["", "ü" * 500]
    for beyond in ([COUNT], [-COUNT - 1]):
        with pytest.raises(PositionNotFoundError):
            column.read(positions=beyond)
    with pytest.raises(InvalidTypeError):
        column.read(positions=[1.5])
    with pytest.raises(InvalidTypeError):
        column.read([1], positions=[1])


def test_read_into(reader: ReaderCheckout) -> None:
    out = np.zeros((3, 6, 7), np.uint8)
    assert reader["image"].read([1, 2, 3], out=out) is out
    assert np.array_equal(out, images()[1:4])
    wide = np.zeros((3, 6, 14), np.uint8)
    reader["image"].read(slice(0, 3), out=wide[:, :, ::2])
    assert np.array_equal(wide[:, :, ::2], images()[:3])
    labels = np.zeros(2, np.int64)
    assert reader["label"].read(["s009", "s002"], out=labels) is labels
    assert labels.tolist() == [9, 2]
    for bad in (np.zeros((2, 6, 7), np.uint8), np.zeros((3, 6, 7), np.int8)):
        with pytest.raises(InvalidInputError):
            reader["image"].read([1, 2, 3], out=bad)
    with pytest.raises(InvalidInputError):
        reader["text"].read(["short"], out=np.zeros(1))


def test_samples_of_different_shapes_cannot_be_stacked(reader: ReaderCheckout) -> None:
    assert reader["ragged"].read([2, 2]).shape == (2, 2, 3)
    with pytest.raises(InvalidInputError, match="stacked"):
        reader["ragged"].read([1, 2])


def test_at_and_read_slice(reader: ReaderCheckout) -> None:
    assert [reader["image"].at(i) for i in (0, 299, -1)] == [0, 299, 299]
    assert reader["text"].at(1) == "long"
    for beyond in (300, -301):
        with pytest.raises(PositionNotFoundError):
            reader["image"].at(beyond)
    assert reader["image"].at(np.uint8(3)) == 3
    for wrong in ("0", None, 1.0, True):
        with pytest.raises(InvalidTypeError, match="a position is an int"):
            reader["image"].at(wrong)
    part = reader["image"].read_slice(5, (slice(0, 2), slice(1, 3)))
    assert part.tolist() == images()[5][0:2, 1:3].tolist()
    with pytest.raises(InvalidInputError):
        reader["text"].read_slice("short", slice(0, 1))


def test_arrays_handed_out_are_the_users_own(reader: ReaderCheckout) -> None:
    column = reader["image"]
    for value in (column[0], column[[0]][0], column.read([0]), column.read(slice(0, 1)), next(iter(column.values()))):
        assert value.flags.writeable
        value[...] = 99
    label = reader["label"]
    for scalar in (label["s000"], label.read(["s000"]), label.read(slice(0, 1)), next(iter(label.values()))):
        scalar[...] = 99
    assert np.array_equal(column[0], images()[0])
    assert label["s000"] == 0


def test_introspection(reader: ReaderCheckout) -> None:
    def facts(column: FlatSampleReader) -> tuple[Any, ...]:
        return (column.column_type, column.schema_type, column.dtype, column.shape, column.backend)

    assert facts(reader["image"]) == ("ndarray", "fixed_shape", np.dtype("u1"), (6, 7), "10")
    assert facts(reader["ragged"]) == ("ndarray", "variable_shape", np.dtype("f4"), (5, 5), "10")
    assert facts(reader["text"]) == ("str", "variable_shape", str, None, "30")
    assert facts(reader["raw"]) == ("bytes", "variable_shape", bytes, None, "31")
    column = reader["image"]
    assert (column.column, column.column_layout, column.backend_options) == ("image", "flat", {})
    assert (column.iswriteable, column.contains_subsamples, column.contains_remote_references) == (False,) * 3
    assert column.remote_reference_keys == ()
    assert "image" in repr(column)
    assert is_column(column)
    assert not is_writer_column(column)
    assert not is_column("image")
    for name in ("__setitem__", "write", "append", "update", "pop", "change_backend"):
        assert not hasattr(column, name)


def test_after_close_everything_refuses(reader: ReaderCheckout) -> None:
    column, columns, values = reader["image"], reader.columns, reader["image"].values()
    reader.close()
    for use in (
        lambda: column[0],
        lambda: column.get(0),
        lambda: 0 in column,
        lambda: len(column),
        lambda: list(column),
        column.keys,
        column.values,
        column.items,
        lambda: column.read([0]),
        lambda: column.at(0),
        lambda: column.shape,
        lambda: column.backend,
        lambda: repr(column),
        column.__enter__,
        lambda: columns["image"],
        columns.keys,
        lambda: repr(columns),
        lambda: next(iter(values)),
        lambda: reader["image", 0],
        lambda: reader.get(("image", 0)),
        lambda: reader.commit_hash,
        lambda: repr(reader),
        reader.close,
    ):
        with pytest.raises(ClosedError):
            use()
    with pytest.raises(PermissionError):
        reader.columns  # noqa: B018
