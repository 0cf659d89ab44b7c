"""Writing flat columns: every method, default and error of the public API page."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleWriter, is_writer_column
from hangar.errors import (
    AccessError,
    ClosedError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    SampleNotFoundError,
)
from hangar.lock import WriterLock


@pytest.fixture
def column(writer: WriterCheckout) -> FlatSampleWriter:
    return writer.add_ndarray_column("x", (3, 20), np.float32)


def value(number: float) -> np.ndarray[Any, Any]:
    return np.full((3, 20), number, np.float32)


def test_setitem_and_what_survives(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    column["a"] = value(2)
    column[1] = value(3)
    assert (column[1][0, 0], column["a"][0, 0], len(column)) == (3, 2, 2)
    writer.close()
    again = repo.checkout(write=True)["x"]
    assert (again[1][0, 0], again["a"][0, 0], list(again)) == (3, 2, [1, "a"])


@pytest.mark.parametrize("key", ["a b", "", "x" * 256, -1, 2**64, 1.5, True, None, b"x", "a\n"])
def test_setitem_refuses_bad_keys(column: FlatSampleWriter, key: Any) -> None:
    with pytest.raises(InvalidInputError, match="is not suitable"):
        column[key] = value(1)
    assert len(column) == 0


def test_setitem_refuses_bad_values(column: FlatSampleWriter) -> None:
    for bad in (value(1).astype("f8"), value(1)[:2], [1.0], None, "x"):
        with pytest.raises(InvalidInputError):
            column[1] = bad
    assert len(column) == 0


def test_write_a_stack_and_a_sequence(column: FlatSampleWriter) -> None:
    stack = np.arange(4 * 60, dtype=np.float32).reshape(4, 3, 20)
    column.write([3, 1, 2, 0], stack)
    assert np.array_equal(column.read([3, 1, 2, 0]), stack)
    column.write(iter(["b", "a"]), [stack[0], stack[1]])
    column.write(np.array([9, 8]), (part for part in stack[2:]))
    assert np.array_equal(column.read(["b", "a"]), stack[:2])
    assert np.array_equal(column.read([9, 8]), stack[2:])
    column.write([5, 5], stack[:2])
    assert np.array_equal(column[5], stack[1])
    column.write([], stack[:0])
    column.write([], [])
    assert len(column) == 9


def test_write_is_all_or_nothing(column: FlatSampleWriter) -> None:
    for keys, values in (
        ([1, 2], [value(1)]),
        ([1], [value(1), value(2)]),
        ([1, -2], [value(1), value(2)]),
        ([1, 2], [value(1), value(2)[:1]]),
        ([1, 2], np.zeros((2, 3, 19), np.float32)),
        ([1, 2], np.zeros((2, 3, 20), np.float64)),
        ([1], np.float32(3)),
    ):
        with pytest.raises(InvalidInputError):
            column.write(keys, values)
    assert len(column) == 0


def test_one_str_or_bytes_is_no_batch(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    text, raw = writer.add_str_column("text"), writer.add_bytes_column("raw")
    with pytest.raises(InvalidInputError, match="a batch of values is a sequence, not one str"):
        text.write(["a", "b"], "xy")
    with pytest.raises(InvalidInputError, match="a batch of values is a sequence, not one bytes"):
        raw.write(["a", "b"], b"xy")
    with pytest.raises(InvalidInputError, match="a batch of keys is a sequence, not one str"):
        column.write("ab", [value(1), value(2)])
    assert len(text) == len(raw) == len(column) == 0


def test_append_gives_ordered_unique_keys(column: FlatSampleWriter) -> None:
    keys = [column.append(value(i)) for i in range(5)]
    assert all(type(key) is str for key in keys)
    assert list(column) == sorted(keys) == keys


def test_update(column: FlatSampleWriter) -> None:
    column.update({1: value(1)}, a=value(2))
    column.update([(2, value(3)), (1, value(4))])
    column.update(b=value(5))
    column.update()
    assert {k: float(v[0, 0]) for k, v in column.items()} == {1: 4, 2: 3, "a": 2, "b": 5}
    with pytest.raises(InvalidInputError):
        column.update({7: value(1), 8: "no array"})
    assert 7 not in column
    malformed_ones: list[tuple[Any, type[Exception]]] = [(5, TypeError), ([1], TypeError), ([(1, 2, 3)], ValueError)]
    for malformed, error in malformed_ones:
        with pytest.raises(error):
            column.update(malformed)


def test_delete_and_pop(column: FlatSampleWriter) -> None:
    column.write(range(5), np.stack([value(i) for i in range(5)]))
    del column[0]
    assert column.pop(1)[0, 0] == 1
    assert list(column) == [2, 3, 4]
    for missing in (0, "x", -1, "a b"):
        with pytest.raises(SampleNotFoundError):
            del column[missing]
        with pytest.raises(SampleNotFoundError):
            column.pop(missing)
    with pytest.raises(SampleNotFoundError):
        column.delete([2, 99])
    assert list(column) == [2, 3, 4]
    column.delete([2, 4])
    assert list(column) == [3]
    column[0] = value(9)
    assert column[0][0, 0] == 9


@pytest.mark.parametrize(
    ("shape", "variable"), [((), False), ((0, 4), False), ((4,), False), ((33,), False), ((300, 2), True), ((0,), True)]
)
@pytest.mark.parametrize("dtype", ["?", "i1", "u8", ">i4", "f2", "c16"])
@pytest.mark.parametrize("inline", [None, False])
def test_every_shape_and_dtype(
    repo: Repository, writer: WriterCheckout, shape: tuple[int, ...], variable: bool, dtype: str, inline: bool | None
) -> None:
    given = np.random.default_rng(3).integers(0, 2, (20, *shape)).astype(dtype)
    column = writer.add_ndarray_column("y", shape, np.dtype(dtype), variable_shape=variable, inline=inline)
    column[0] = given[0]
    column.write(range(1, 20), given[1:])
    assert np.array_equal(column.read(slice(None)), given)
    writer.commit("y")
    writer.close()
    read = repo.checkout()["y"]
    assert np.array_equal(read.read(range(20)), given)
    assert all(np.array_equal(read[i], given[i]) and read[i].dtype == given.dtype.newbyteorder("<") for i in range(20))
    assert [v.tolist() for v in read[list(range(20))]] == given.tolist()


def test_large_batches_go_into_the_tree_and_small_ones_do_not(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("n", (), np.int64)
    column.write(range(10_000), np.arange(10_000))
    column.write(range(0, 20_000, 1000), -np.arange(0, 20_000, 1000))
    column.delete([1, 2, 3])
    expected = {i: i for i in range(10_000)} | {i: -i for i in range(0, 20_000, 1000)}
    for gone in (1, 2, 3):
        del expected[gone]
    assert {k: int(v) for k, v in column.items()} == expected
    writer.close()
    again = repo.checkout(write=True)
    assert {k: int(v) for k, v in again["n"].items()} == expected
    again.commit("n")
    assert {k: int(v) for k, v in repo.checkout()["n"].items()} == expected


def test_equal_content_is_stored_once_in_the_whole_repository(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("x", (100_000,), np.uint8)
    other = writer.add_ndarray_column("z", (100_000,), np.uint8)
    data = np.random.default_rng(5).integers(0, 256, (3, 100_000), np.uint8)
    column.write(range(3), data)
    before = repo.size_nbytes
    column.write(range(3, 30), np.concatenate([data] * 9))
    other.write(range(3), data)
    other[7] = data[1]
    with writer:
        other[8] = data[2]
        other[9] = data[2]
    writer.commit("twice")
    assert repo.size_nbytes - before < 100_000
    assert np.array_equal(other[9], data[2])


def test_long_keys(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    keys = ["\U0001d535" * 255, "\U0001d535" * 254, "y" * 255, "é" * 254 + "f"]
    for number, key in enumerate(keys):
        column[key] = value(number)
    del column[keys[1]]
    writer.close()
    again = repo.checkout(write=True)["x"]
    assert {k: int(v[0, 0]) for k, v in again.items()} == {keys[0]: 0, keys[2]: 2, keys[3]: 3}


def test_change_backend(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    text = writer.add_str_column("t")
    assert (column.backend, text.backend) == ("10", "30")
    bad: Any
    for bad in ("30", "99", "50", None):
        with pytest.raises(InvalidInputError):
            column.change_backend(bad)
    options: Any
    for options in ({"level": 3}, "zstd"):
        with pytest.raises(InvalidTypeError):
            column.change_backend("10", options)
    with writer, pytest.raises(InvalidStateError):
        column.change_backend("10")
    column.change_backend("10")
    assert (column.backend, column.backend_options) == ("10", {})
    with pytest.raises(InvalidInputError):
        writer.add_str_column("u", backend="10")
    with pytest.raises(InvalidInputError):
        writer.add_str_column("u", backend_options={"a": 1})
    assert "u" not in writer


def test_writer_columns_say_so_and_do_not_pickle(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    assert column.iswriteable
    assert is_writer_column(column)
    with pytest.raises(AccessError):
        pickle.dumps(column)
    with pytest.raises(AccessError):
        pickle.dumps(writer)


def test_after_close_everything_refuses(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    column[1] = value(1)
    writer.close()
    for use in (
        lambda: column[1],
        lambda: len(column),
        lambda: repr(column),
        lambda: column.shape,
        lambda: column.__setitem__(1, value(2)),
        lambda: column.write([1], [value(1)]),
        lambda: column.append(value(1)),
        lambda: column.update({1: value(1)}),
        lambda: column.pop(1),
        lambda: column.__delitem__(1),
        lambda: column.change_backend("10"),
        lambda: writer.commit("x"),
        lambda: writer.add_str_column("t"),
        writer.reset_staging_area,
        lambda: writer.columns,
        lambda: repr(writer),
        writer.close,
    ):
        with pytest.raises(ClosedError):
            use()


@pytest.mark.parametrize("kind", ["str", "bytes", "ragged", "fixed"])
def test_write_the_values_of_another_column(writer: WriterCheckout, kind: str) -> None:
    """A column is its values here, and iteration over it would give its keys, which a column of text would store."""
    columns: Any = []
    for name in ("one", "two"):
        if kind == "str":
            columns.append(writer.add_str_column(name))
        elif kind == "bytes":
            columns.append(writer.add_bytes_column(name))
        else:
            columns.append(writer.add_ndarray_column(name, (3,), np.int8, variable_shape=kind == "ragged"))
    one, two = columns
    make: Any = {"str": str, "bytes": lambda n: bytes([n])}.get(
        kind, lambda n: np.full(n if kind == "ragged" else 3, n, np.int8)
    )
    one.update({"a": make(1), "b": make(2)})
    two.write(["x", "y"], one)
    assert np.array_equal(two["x"], make(1))
    assert np.array_equal(two["y"], make(2))
    for mapping in ({"a": make(1)}, writer.add_str_column("nested", contains_subsamples=True)):
        with pytest.raises(InvalidTypeError, match=r"use update\(\)"):
            two.write(["z"], mapping)
    assert list(two) == ["x", "y"]


def test_write_of_sets_and_of_no_array(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    """What has no order says of no value which key it belongs to."""
    text = writer.add_str_column("t")
    for unordered in ({"a", "b"}, frozenset("ab")):
        with pytest.raises(InvalidTypeError, match="a set"):
            text.write(["x", "y"], unordered)
        with pytest.raises(InvalidTypeError, match="a set"):
            text.write(unordered, ["x", "y"])
        with pytest.raises(InvalidTypeError, match="a set"):
            column.write(unordered, [value(1), value(2)])
    with pytest.raises(InvalidTypeError, match="a batch of values is a sequence"):
        text.write(["x"], np.array("x"))
    assert len(text) == len(column) == 0


@pytest.mark.parametrize("backend", ["10", "00", "01"])
def test_a_large_value_is_not_copied(writer: WriterCheckout, backend: str) -> None:
    """It goes from the array to the file; ``00`` and ``01`` hold a few chunks of it."""
    column = writer.add_ndarray_column("large", (4096, 4096), np.uint8, backend=backend)
    large = np.random.default_rng(0).integers(0, 256, (4096, 4096), np.uint8)
    column["first"] = large[::-1].copy()
    tracemalloc.start()
    column["large"] = large
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes // 2
    assert np.array_equal(column["large"], large)


def test_a_small_write_asks_for_the_lock_no_more_than_it_must(
    column: FlatSampleWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the checkout may be used, whether the statement may begin; and in the transaction."""
    column[1] = value(1)
    asked: list[bool] = []
    check = WriterLock.check

    def counted(lock: WriterLock, transaction: Any = None) -> None:
        asked.append(transaction is not None)
        check(lock, transaction)

    monkeypatch.setattr(WriterLock, "check", counted)
    column[2] = value(2)
    assert asked == [False, False, True, True]
