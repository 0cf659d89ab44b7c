"""The comparison of two values, against what numpy says with wider types."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hangar.diff import ArrayDifference, TextDifference, difference
from hangar.diff import arrays as module
from hangar.diff.arrays import compare_arrays, compare_stacks
from hangar.diff.values import differences
from hangar.errors import InvalidInputError

Array = np.ndarray[Any, Any]
DTYPES = ("bool", "int8", "uint8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64", "complex64")


def expected(before: Array, after: Array, tolerance: float) -> dict[str, Any]:
    """The same by plain Python, element by element."""
    changed, moves, gained, lost = [], [], 0, 0
    for index in np.ndindex(before.shape):
        a, b = before[index].item(), after[index].item()
        nan_a, nan_b = np.isnan(before[index]), np.isnan(after[index])
        if nan_a or nan_b:
            same = nan_a and nan_b and (not isinstance(a, complex) or _parts_same(a, b))
            if not same:
                changed.append(index)
                gained += bool(nan_b and not nan_a)
                lost += bool(nan_a and not nan_b)
            continue
        if a == b:
            continue
        if isinstance(a, complex):
            move: Any = abs(b - a)
            move = math.inf if math.isnan(move) else move
        elif isinstance(a, float):
            move = abs(b - a)
        else:
            move = abs(int(b) - int(a))
        if move <= tolerance:
            continue
        changed.append(index)
        moves.append(move)
    box = (
        None
        if not changed
        else tuple((min(axis), max(axis) + 1) for axis in zip(*changed, strict=True))
        if before.ndim
        else ()
    )
    return {
        "changed": len(changed),
        "largest": max(moves) if moves else None,
        "mean": _mean(moves),
        "box": box,
        "nans_gained": gained,
        "nans_lost": lost,
        "elements": before.size,
    }


def _parts_same(a: complex, b: complex) -> bool:
    pairs = ((a.real, b.real), (a.imag, b.imag))
    return all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in pairs)


def _mean(moves: list[Any]) -> float | None:
    if not moves:
        return None
    if any(isinstance(one, float) and math.isinf(one) for one in moves):
        return math.inf
    try:
        return float(sum(map(Fraction, moves)) / len(moves))
    except OverflowError:
        return math.inf


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Array, Array]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    before = draw(arrays.arrays(dtype, shape))
    other = draw(arrays.arrays(dtype, shape))
    mask = draw(arrays.arrays(np.bool_, shape))
    return before, np.where(mask, other, before).astype(dtype)


@given(pairs(), st.sampled_from((0.0, 0.5, 3.0, 1e30, math.inf)))
def test_arrays_compare_as_their_numbers_do(pair: tuple[Array, Array], tolerance: float) -> None:
    before, after = pair
    with np.errstate(all="ignore"):
        found = difference(before, after, tolerance)
        wanted = expected(before, after, tolerance)
    assert isinstance(found, ArrayDifference)
    for name, value in wanted.items():
        here = getattr(found, name)
        if isinstance(value, float) and math.isfinite(value):
            # float64 sums lose what exact fractions do not, and may overflow where a mean does not.
            assert here == pytest.approx(value, rel=1e-6) or math.isinf(here), name
        else:
            assert here == value, name
    assert found.differs == bool(wanted["changed"])


@given(pairs(), st.integers(1, 7))
def test_pieces_of_any_size_give_the_same(pair: tuple[Array, Array], piece: int) -> None:
    before, after = pair
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        whole = compare_arrays(before, after)
        patch.setattr(module, "PIECE", piece)
        cut = compare_arrays(before, after)
    assert cut.mean == whole.mean or cut.mean == pytest.approx(whole.mean, rel=1e-9, nan_ok=True)
    assert [getattr(cut, name) for name in ArrayDifference.__slots__ if name != "mean"] == [
        getattr(whole, name) for name in ArrayDifference.__slots__ if name != "mean"
    ]


@given(st.lists(pairs(), max_size=6), st.sampled_from((0.0, 2.0)))
def test_many_compare_as_each_does(given_pairs: list[tuple[Array, Array]], tolerance: float) -> None:
    with np.errstate(all="ignore"):
        together = differences([*given_pairs, *given_pairs], tolerance)
        alone = [compare_arrays(a, b, tolerance) for a, b in given_pairs]
    assert list(map(repr, together)) == list(map(repr, [*alone, *alone]))


def test_integers_at_their_limits() -> None:
    assert compare_arrays(np.array([200], "uint8"), np.array([10], "uint8")).largest == 190
    low, high = np.array([-(2**63), 0]), np.array([2**63 - 1, 0])
    found = compare_arrays(low, high)
    assert (found.largest, found.mean) == (2**64 - 1, float(2**64 - 1))
    top = np.full(70_000, 2**64 - 1, "uint64")
    assert compare_arrays(top, np.zeros_like(top)).mean == float(2**64 - 1)
    signed, unsigned = np.array([-1, 5]), np.array([2**63, 5], "uint64")
    assert compare_arrays(signed, unsigned).changed == 1
    within = compare_arrays(np.array([-(2**63)]), np.array([2**63 - 1]), tolerance=2.0**70)
    assert not within.differs


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_small_floats_of_ml_dtypes(name: str) -> None:
    dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(dtypes, name))
    before = np.array([1.0, 2.0, math.nan, 0.0]).astype(dtype)
    after = np.array([1.0, -2.0, 3.0, math.nan]).astype(dtype)
    found = compare_arrays(before, after)
    assert (found.changed, found.largest, found.mean) == (3, 4.0, 4.0)
    assert (found.nans_gained, found.nans_lost, found.box) == (1, 1, ((1, 4),))
    assert found.dtype_after == name


def test_equal_numbers_of_other_bits_are_no_difference() -> None:
    found = compare_arrays(np.array([0.0, math.nan]), np.array([-0.0, -math.nan]))
    assert (found.changed, found.largest, found.differs) == (0, None, False)


def test_infinities() -> None:
    before = np.array([math.inf, math.inf, 1.0])
    after = np.array([math.inf, -math.inf, 2.0])
    found = compare_arrays(before, after)
    assert (found.changed, found.largest, found.box) == (2, math.inf, ((1, 3),))


def test_shapes_and_dtypes() -> None:
    found = compare_arrays(np.zeros((2, 3), "uint8"), np.zeros((3, 2), "float32"))
    assert not found.same_shape
    assert found.differs
    assert (found.elements, found.box, found.share) == (0, None, 0.0)
    assert (found.dtype_before, found.shape_after) == ("uint8", (3, 2))
    same = compare_arrays(np.array([True, False]), np.array([1, 5]))
    assert (same.changed, same.largest, same.differs) == (1, 5, True)
    assert compare_arrays(np.zeros(3, "int8"), np.zeros(3, "int16")).differs


def test_pixels_of_an_image() -> None:
    before = np.zeros((6, 7, 3), "uint8")
    after = before.copy()
    after[2, 3] = 9
    after[4, 5, 1] = 1
    found = compare_arrays(before, after)
    assert (found.changed, found.pixels_changed, found.pixels) == (4, 2, 42)
    assert compare_stacks(before[None], after[None]) == [found]
    volume = compare_arrays(np.zeros((5, 6, 7)), np.ones((5, 6, 7)))
    assert (volume.pixels, volume.pixels_changed) == (210, 210)


def test_a_large_array_is_compared_in_bounded_memory() -> None:
    import tracemalloc

    before = np.zeros((40, 1000, 500), np.float32)
    after = before.copy()
    after[7:9, 500, :] = 2
    after[39, 999, 499] = np.nan
    tracemalloc.start()
    found = compare_arrays(before, after)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20
    assert before.nbytes == 80_000_000
    assert (found.changed, found.nans_gained, found.largest) == (1001, 1, 2.0)
    assert found.box == ((7, 40), (500, 1000), (0, 500))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_texts(start: str, a: str, b: str, end: str) -> None:
    before, after = start + a + end, start + b + end
    found = difference(before, after)
    assert isinstance(found, TextDifference)
    assert before[: found.start] == after[: found.start]
    assert before[found.stop_before :] == after[found.stop_after :]
    assert found.start >= len(start)
    assert found.differs == (before != after)
    # The part between cannot be made smaller at either end.
    old, new = before[found.start : found.stop_before], after[found.start : found.stop_after]
    assert not old or not new or (old[0] != new[0] and old[-1] != new[-1])
    assert difference(before.encode(), after.encode()).differs == found.differs


def test_what_cannot_be_compared() -> None:
    for a, b in ((1, 2), ("a", b"a"), (np.zeros(1), "a"), (None, None)):
        with pytest.raises(InvalidInputError, match="can be compared"):
            difference(a, b)
    for tolerance in (-1, math.nan, "x"):
        with pytest.raises(InvalidInputError, match="tolerance"):
            difference(np.zeros(1), np.zeros(1), tolerance)  # type: ignore[arg-type]
    assert differences([("a", b"a"), (None, "a")]) == [None, None]
