"""Indexing of chunked arrays follows numpy: the same elements, shapes and classes of errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hangar.columns.chunked.grid import pieces
from hangar.columns.chunked.selection import parse
from hangar.errors import HangarError

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (7, 10, 3)


def read(array: np.ndarray[Any, Any], index: Any, chunks: tuple[int, ...], **how: bool) -> np.ndarray[Any, Any]:
    """``array[index]``, put together chunk by chunk."""
    selection = parse(index, array.shape, **how)
    block = np.full(selection.block, -1, array.dtype)
    target = selection.oriented(block)
    seen = set()
    for piece in pieces(selection, chunks):
        assert piece.chunk not in seen
        seen.add(piece.chunk)
        box = tuple(slice(at * size, (at + 1) * size) for at, size in zip(piece.chunk, chunks, strict=True))
        target[piece.outside] = array[box][piece.inside]
    return block.reshape(selection.result)


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """An index with any of the forms that numpy has."""
    rank = len(shape)
    items: list[Any] = []
    axis = 0
    while axis < rank and draw(st.booleans()):
        extent = shape[axis]
        form = draw(st.sampled_from(["int", "slice", "new", "ints", "bools", "many"]))
        if form == "int" and extent:
            items.append(draw(st.integers(-extent, extent - 1)))
        elif form == "slice":
            items.append(
                draw(st.slices(extent))
                if draw(st.booleans())
                else slice(None, None, draw(st.sampled_from([-3, -1, 2])))
            )
        elif form == "new":
            items.append(None)
            continue
        elif form == "ints" and extent:
            shapes = st.sampled_from([(1,), (4,), (2, 4), ()])
            items.append(draw(hnp.arrays(np.int64, shapes, elements=st.integers(-extent, extent - 1))))
        elif form == "bools":
            items.append(draw(hnp.arrays(np.bool_, (extent,))))
        elif form == "many" and axis + 1 < rank:
            items.append(draw(hnp.arrays(np.bool_, shape[axis : axis + 2])))
            axis += 1
        else:
            continue
        axis += 1
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), Ellipsis)
    return items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)


@given(st.data(), st.tuples(*[st.integers(1, 4)] * 3))
def test_what_numpy_selects(data: st.DataObject, chunks: tuple[int, ...]) -> None:
    shape = data.draw(st.sampled_from([SHAPE, (7, 1, 3), (5, 0, 2)]))
    array = np.arange(np.zeros(shape).size).reshape(shape)
    index = data.draw(indices(shape))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            expected = array[index]
    except (IndexError, DeprecationWarning):  # older numpy only warns of a wrong index where nothing is selected
        with pytest.raises(IndexError):
            parse(index, shape)
        return
    found = read(array, index, chunks)
    assert found.shape == np.shape(expected)
    assert np.array_equal(found, expected)


@given(st.data(), st.tuples(*[st.integers(1, 4)] * 3))
def test_orthogonal_selection(data: st.DataObject, chunks: tuple[int, ...]) -> None:
    array = np.arange(210).reshape(SHAPE)
    axes = [np.arange(extent) for extent in SHAPE]
    index = tuple(
        data.draw(st.one_of(st.slices(extent), st.lists(st.integers(-extent, extent - 1), max_size=5).map(np.array)))
        for extent in SHAPE
    )
    index = tuple(part.astype(np.int64) if isinstance(part, np.ndarray) else part for part in index)
    expected = array[np.ix_(*[axis[part] for axis, part in zip(axes, index, strict=True)])]
    assert np.array_equal(read(array, index, chunks, orthogonal=True), expected)


@pytest.mark.parametrize(
    "index",
    [
        7,
        -8,
        (0, 0, 3),
        (0, 0, 0, 0),
        (..., 0, ...),
        1.5,
        "a",
        [0.5],
        [7],
        ([0, 1], [0, 1, 2]),
        np.zeros(6, bool),
        np.zeros((7, 9), bool),
        slice(None, None, 0),
    ],
    ids=repr,
)
def test_wrong_indices_are_errors_of_numpys_class(index: Any) -> None:
    with pytest.raises((IndexError, ValueError)):
        np.zeros(SHAPE)[index]
    with pytest.raises((IndexError, ValueError)) as caught:
        parse(index, SHAPE)
    assert isinstance(caught.value, HangarError)


@pytest.mark.parametrize("index", [True, np.True_], ids=repr)
def test_single_booleans_are_refused(index: Any) -> None:
    with pytest.raises(IndexError, match="single boolean"):
        parse(index, SHAPE)


def test_a_huge_shape_costs_nothing() -> None:
    shape = (2**62, 2**40)
    selection = parse((slice(2**61, 2**61 + 3), -1), shape)
    assert [piece.chunk for piece in pieces(selection, (2, 2**20))] == [(2**60, 2**20 - 1), (2**60 + 1, 2**20 - 1)]
    wide: Callable[[], Any] = lambda: next(pieces(parse(slice(0, None, 2**50), shape[:1]), (2,)))  # noqa: E731
    assert wide().chunk == (0,)
