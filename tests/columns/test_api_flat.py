"""Flat columns: what the public API page says beside reading (``test_flat``) and writing (``test_write``) samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleReader, FlatSampleWriter
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError, SampleNotFoundError


@pytest.fixture
def column(writer: WriterCheckout) -> FlatSampleWriter:
    found = writer.add_ndarray_column("x", (2, 3), np.int32)
    found.write(range(5), np.arange(30, dtype=np.int32).reshape(5, 2, 3))
    return found


def test_a_writer_is_a_subclass_of_its_reader() -> None:
    assert issubclass(FlatSampleWriter, FlatSampleReader)
    for name in ("__setitem__", "write", "append", "update", "__delitem__", "delete", "pop", "change_backend"):
        assert hasattr(FlatSampleWriter, name)
        assert not hasattr(FlatSampleReader, name)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (np.zeros((2, 3)), r"dtype: float64 != aset: int32"),
        (np.zeros((3, 2), np.int32), r"data shape \(3, 2\) != fixed schema \(2, 3\)"),
        ([[1, 2, 3]] * 2, r"`data` argument type: <class 'list'> != `np.ndarray`"),
    ],
)
def test_values_that_do_not_fit(column: FlatSampleWriter, bad: Any, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        column[9] = bad
    with pytest.raises(InvalidInputError, match=text):
        column.write([8, 9], [column[0], bad])
    assert len(column) == 5


def test_values_that_do_not_fit_a_variable_shape(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("v", (2, 3), np.int32, variable_shape=True)
    with pytest.raises(InvalidInputError, match="data rank 1 != aset rank 2"):
        column[0] = np.zeros(2, np.int32)
    with pytest.raises(InvalidInputError, match=r"shape \(3, 1\) exceeds schema max \(2, 3\)"):
        column[0] = np.zeros((3, 1), np.int32)


@pytest.mark.parametrize("wrong", [1, None, 1.5])
def test_write_of_what_is_no_sequence(column: FlatSampleWriter, wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="a batch of keys is a sequence, not"):
        column.write(wrong, [])
    with pytest.raises(InvalidTypeError, match="a batch of values is a sequence, not"):
        column.write([1], wrong)


def test_read_of_slices_that_select_nothing(column: FlatSampleWriter) -> None:
    for wrong in (slice("a", "b"), slice(1.5)):
        with pytest.raises(InvalidTypeError, match="selects no positions"):
            column.read(wrong)
    with pytest.raises(InvalidInputError, match="selects no positions"):
        column.read(slice(None, None, 0))
    with pytest.raises(InvalidTypeError):
        column.read(positions=[[1], [2, 3]])  # type: ignore[list-item]


def test_read_by_the_keys_of_a_mapping(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    label = writer.add_ndarray_column("label", (), np.int64)
    label.write([4, 3], np.array([0, 1]))
    wanted = column.read([3, 4])
    mapping: Any
    for mapping in (label, {3: None, 4: None}):
        assert np.array_equal(column.read(mapping), wanted)
    with pytest.raises(SampleNotFoundError):
        column.read({3: None, 9: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_positions_beyond_those_of_signed_integers(writer: WriterCheckout, layout: str) -> None:
    """They are beyond the end: a cast must not make them negative ones, counted from the end."""
    column: Any = writer.add_ndarray_column("p", (), np.int32, contains_subsamples=layout == "nested")
    column.write([(0, 0)] if layout == "nested" else [0], np.array([7], np.int32))
    for positions in ([2**64 - 1], np.array([0, 2**64 - 1], np.uint64), np.array([2**63], np.uint64)):
        with pytest.raises(PositionNotFoundError, match=r"none at position \d+$"):
            column.read(positions=positions)
    assert len(column.read(positions=np.zeros(2, np.uint64))) == 2


@pytest.mark.parametrize("part", [5, (0, 0, 0), "a", (slice(None), 9)])
def test_read_slice_of_a_part_that_is_not_there(column: FlatSampleWriter, part: Any) -> None:
    with pytest.raises(PositionNotFoundError, match=r"sample 0 of shape .* has no part"):
        column.read_slice(0, part)


def test_read_of_nothing_into(writer: WriterCheckout, column: FlatSampleWriter) -> None:
    ragged = writer.add_ndarray_column("v", (2, 3), np.int32, variable_shape=True)
    for found in (column, ragged):
        out = np.zeros((0, 2, 3), np.int32)
        assert found.read([], out=out) is out
        bad: Any
        for bad in (np.zeros((1, 2, 3), np.int32), np.zeros((0, 2, 3)), np.zeros((0, 2), np.int32)):
            with pytest.raises(InvalidInputError, match="out has"):
                found.read([], out=bad)
        with pytest.raises(InvalidTypeError, match="out must be"):
            found.read([], out=[])  # type: ignore[arg-type]


def test_asarray(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    wanted = np.arange(30, dtype=np.int32).reshape(5, 2, 3)
    writer.commit("all")
    for found in (column, repo.checkout()["x"]):
        array = np.asarray(found)
        assert np.array_equal(array, wanted)
        array[...] = 0
        assert np.array_equal(np.asarray(found), wanted)
        assert np.array(found).dtype == np.int32
        assert np.asarray(found, np.float64).dtype == np.float64
        assert np.array(found, copy=True).shape == (5, 2, 3)
        with pytest.raises(ValueError, match="always a copy"):
            np.array(found, copy=False)
        assert int(np.sum(found)) == int(wanted.sum())
    other = writer.add_ndarray_column("copy", (2, 3), np.int32)
    other.write(range(5), column)
    assert np.array_equal(np.asarray(other), wanted)
    empty = writer.add_ndarray_column("empty", (2, 3), np.int32)
    assert np.asarray(empty).shape == (0, 2, 3)
    with pytest.raises(InvalidTypeError, match="no array"):
        np.asarray(writer.add_str_column("t"))
    ragged = writer.add_ndarray_column("v", (2, 3), np.int32, variable_shape=True)
    ragged.update({0: wanted[0], 1: wanted[0, :1]})
    with pytest.raises(InvalidInputError, match="stacked"):
        np.asarray(ragged)


class Exported:
    """An array of another library: DLPack and nothing else."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class Convertible:
    """An array of another library: the array protocol and nothing else."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self._array


@pytest.mark.parametrize("wrap", [Exported, Convertible])
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_arrays_of_other_libraries(writer: WriterCheckout, wrap: Any, layout: str) -> None:
    column: Any = writer.add_ndarray_column("o", (2, 3), np.int32, contains_subsamples=layout == "nested")
    given = np.arange(24, dtype=np.int32).reshape(4, 2, 3)
    keys = [("s", i) for i in range(4)] if layout == "nested" else list(range(4))
    column[keys[0]] = wrap(given[0])
    column.write(keys[1:], wrap(given[1:]))
    assert np.array_equal(column.read(keys), given)
    column.write(keys, [wrap(array) for array in given[::-1]])
    assert np.array_equal(column.read(keys), given[::-1])


def test_mutating_while_iterating(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("n", (), np.int64)
    column.write(range(9_000), np.arange(9_000))
    seen = []
    for key, value in column.items(local=True):
        seen.append((key, int(value)))
        if key == 0:
            column.write(range(20_000), -np.arange(20_000))
        elif key % 3_000 == 1:
            del column[key]
    assert seen == [(i, i) for i in range(9_000)]
    assert len(column) == 20_000 - 3
    for key in column.keys(local=True):
        del column[key]
        if key == 10:
            column.delete(list(column))
            break
    assert len(column) == 0


def test_iteration_outlives_what_forgets_folded_nodes(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("n", (), np.int64)
    column.write(range(9_000), np.arange(9_000))
    writer.commit("all")
    column[3] = np.array(-3)
    values = iter(column.values())
    assert next(values) == 0
    column.write(range(9_000), np.zeros(9_000, np.int64))
    writer.commit("zeros")
    writer.session.nodes.recent.clear()
    writer.session.nodes._older.clear()
    assert [int(v) for v in values] == [1, 2, -3, *range(4, 9_000)]
    assert repo.fsck().sound
