"""Comparison of two arrays, element by element.

Arrays are compared exactly as numbers: differences of integers never overflow (uint8 200 to 10 is 190), floats of 8 and
16 bits are compared as float64. A NaN equals a NaN, 0.0 equals -0.0. Memory is bounded: large arrays are compared in
pieces of :data:`PIECE` elements, and small arrays of one shape many at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar.errors import InvalidInputError

__all__ = [
    "PIECE",
    "ArrayDifference",
    "ArrayTotal",
    "changed_mask",
    "check_tolerance",
    "compare_arrays",
    "compare_stacks",
]

PIECE: Final = 2**18
"""Number of elements that are compared together."""
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(2**32 - 1)

Array: TypeAlias = "np.ndarray[Any, Any]"
Mask: TypeAlias = "npt.NDArray[np.bool_]"
Box: TypeAlias = "tuple[tuple[int, int], ...]"


@dataclass(frozen=True, slots=True)
class ArrayDifference:
    """Difference of two arrays. Arrays of different shapes are not compared element by element.

    Attributes
    ----------
    dtype_before, dtype_after
        Names of the element types.
    shape_before, shape_after
        Shapes.
    elements
        Number of elements compared; 0 if the shapes differ.
    changed
        Number of elements that changed by more than the tolerance, or from or to NaN.
    largest
        Largest absolute change, an exact int for integers; None if no number changed to another number.
    mean
        Mean absolute change of the elements that changed from one number to another; None as above.
    box
        Bounds (start, stop) of the smallest region that contains all changes, for each axis, so that
        ``array[start:stop, ...]`` selects it; None if nothing changed.
    nans_gained, nans_lost
        Number of elements that became NaN, and that were NaN.
    pixels, pixels_changed
        As ``elements`` and ``changed``, with the last axis of an array (height, width, 2 to 4) taken as channels.
    kind
        ``'ndarray'``, ``'sparse'`` (``elements`` are those that are not zero on one of the sides) or ``'chunked'``
        (elements are compared where both arrays have them, also if their shapes differ).
    chunks, regions
        Of chunked arrays: number of chunks that changed, and the regions that they cover, as bounds (start, stop) along
        each axis; at most 1,000 of them.
    read
        Whether the elements were compared. False: too much changed, so that only the chunks were counted.
    """

    dtype_before: str
    dtype_after: str
    shape_before: tuple[int, ...]
    shape_after: tuple[int, ...]
    elements: int = 0
    changed: int = 0
    largest: int | float | None = None
    mean: float | None = None
    box: Box | None = None
    nans_gained: int = 0
    nans_lost: int = 0
    pixels: int = 0
    pixels_changed: int = 0
    kind: str = "ndarray"
    chunks: int = 0
    regions: tuple[Box, ...] = ()
    read: bool = True

    @property
    def same_shape(self) -> bool:
        """Whether the arrays have one shape, so that their elements were compared."""
        return self.shape_before == self.shape_after

    @property
    def share(self) -> float:
        """Share of changed elements, 0 to 1."""
        return self.changed / self.elements if self.elements else 0.0

    @property
    def differs(self) -> bool:
        """Whether shape or dtype changed, or any element by more than the tolerance."""
        same = self.same_shape and self.dtype_before == self.dtype_after and self.read
        return not same or self.changed > 0


def check_tolerance(tolerance: float) -> float:
    """``tolerance`` as a float; InvalidInputError if it is negative, NaN or no number."""
    try:
        value = float(tolerance)
    except (TypeError, ValueError):
        value = math.nan
    if not value >= 0:
        raise InvalidInputError(f"a tolerance is a number from 0 on, not {tolerance!r}")
    return value


def compare_arrays(before: Array, after: Array, tolerance: float = 0.0) -> ArrayDifference:
    """Compare two arrays, large ones in pieces; see :func:`difference`."""
    tolerance = check_tolerance(tolerance)
    if before.shape != after.shape:
        return ArrayDifference(before.dtype.name, after.dtype.name, before.shape, after.shape)
    found = ArrayTotal(before.shape)
    found.add_arrays(before, after, tolerance)
    return found.result(before.dtype, after.dtype)


def compare_stacks(before: Array, after: Array, tolerance: float = 0.0) -> list[ArrayDifference]:
    """Compare the n pairs of arrays in two stacks of shape (n, ...)."""
    tolerance = check_tolerance(tolerance)
    size = math.prod(before.shape[1:])
    if size > PIECE:
        return [compare_arrays(a, b, tolerance) for a, b in zip(before, after, strict=True)]
    together = max(1, PIECE // max(size, 1))
    results = []
    for start in range(0, len(before), together):
        part = before[start : start + together], after[start : start + together]
        block = _Block(*part, tolerance)
        for i, (a, b) in enumerate(zip(*part, strict=True)):
            found = ArrayTotal(before.shape[1:])
            found.add(block, i, [0] * (before.ndim - 1))
            results.append(found.result(a.dtype, b.dtype))
    return results


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Indices that cut an array into pieces, whole in their last axes."""
    if math.prod(shape) <= PIECE:
        yield tuple(slice(None) for _ in shape)
        return
    axis = next(i for i in range(len(shape)) if math.prod(shape[i + 1 :]) <= PIECE)
    step = max(1, PIECE // math.prod(shape[axis + 1 :]))
    for outer in product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            rest = [slice(None)] * (len(shape) - axis - 1)
            yield (*(slice(i, i + 1) for i in outer), slice(start, start + step), *rest)


class _Block:
    """Comparison of two stacks of shape (n, ...): totals of each of the n pairs, as lists."""

    __slots__ = ("boxes", "changed", "gained", "largest", "lost", "numbers", "pixels", "sums")

    def __init__(self, before: Array, after: Array, tolerance: float) -> None:
        a, b = _numbers(before, after)
        if a.dtype.kind in "iu":
            mask, change = _integers(a, b, tolerance)
            numbers = mask
            gained = lost = None
        else:
            mask, numbers, change, gained, lost = _floats(a, b, tolerance)
        count = len(a)
        self.changed = _row_counts(mask)
        none = [0] * count
        self.gained = none if gained is None else _row_counts(gained)
        self.lost = none if lost is None else _row_counts(lost)
        self.numbers = _row_counts(numbers)
        moved = np.where(numbers, change, change.dtype.type(0)).reshape(count, -1)
        self.largest: list[Any] = moved.max(axis=1, initial=0).tolist()
        self.sums = _row_sums(moved)
        channels = mask.ndim == 4 and 2 <= mask.shape[-1] <= 4
        self.pixels = _row_counts(np.any(mask, axis=-1)) if channels else self.changed
        self.boxes = _row_boxes(mask) if any(self.changed) else None


def changed_mask(before: Array, after: Array, tolerance: float = 0.0) -> Mask:
    """Mask of the elements that changed between two arrays of one shape."""
    a, b = _numbers(before, after)
    return (_integers(a, b, tolerance) if a.dtype.kind in "iu" else _floats(a, b, tolerance))[0]


def _numbers(before: Array, after: Array) -> tuple[Array, Array]:
    """Both arrays in one dtype in which they are compared: an integer dtype, float64 or complex128."""
    a, b = (one.view(np.uint8) if one.dtype == np.bool_ else one for one in (before, after))
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        common = np.result_type(a, b)
    else:
        common = np.dtype(np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64)
    return a.astype(common, copy=False), b.astype(common, copy=False)


def _integers(a: Array, b: Array, tolerance: float) -> tuple[Mask, Array]:
    """Mask of changed elements, and absolute changes in the unsigned dtype of the same width, which holds them all."""
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    change = np.maximum(a, b).view(unsigned) - np.minimum(a, b).view(unsigned)
    if not tolerance:
        return a != b, change
    limit = np.iinfo(unsigned).max if math.isinf(tolerance) else min(math.floor(tolerance), np.iinfo(unsigned).max)
    return change > unsigned.type(limit), change


def _floats(a: Array, b: Array, tolerance: float) -> tuple[Mask, Mask, Array, Mask, Mask]:
    """Masks of changed elements and of those with a number on both sides, absolute changes, NaNs gained and lost."""
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    with np.errstate(all="ignore"):
        if a.dtype.kind == "c":
            real_a, real_b = (
                one.reshape(*one.shape, 1).view(np.float64)
                for one in (np.ascontiguousarray(a), np.ascontiguousarray(b))
            )
            unequal = ((real_a != real_b) & ~(np.isnan(real_a) & np.isnan(real_b))).any(axis=-1)
        else:
            unequal = (a != b) & ~(nan_a & nan_b)
        change = np.abs(a - b)
        change[np.isnan(change)] = math.inf  # between infinities; where a side is NaN it is not used
        numbers = unequal & ~(nan_a | nan_b)
        if tolerance:
            within = numbers & (change <= tolerance)
            unequal, numbers = unequal & ~within, numbers & ~within
    return unequal, numbers, change, unequal & nan_b & ~nan_a, unequal & nan_a & ~nan_b


def _row_counts(mask: Mask) -> list[int]:
    counts: list[int] = mask.reshape(len(mask), -1).sum(axis=1).tolist()
    return counts


def _row_sums(rows: Array) -> list[Any]:
    """Sums of rows; exact for integers."""
    if rows.dtype != np.uint64:
        kind = np.uint64 if rows.dtype.kind == "u" else None
        with np.errstate(over="ignore"):
            sums: list[Any] = rows.sum(axis=1, dtype=kind).tolist()
        return sums
    high, low = (part.sum(axis=1, dtype=np.uint64).tolist() for part in (rows >> _HALF, rows & _LOW))
    return [(a << 32) + b for a, b in zip(high, low, strict=True)]


def _row_boxes(mask: Mask) -> list[list[tuple[int, int]]]:
    """Bounds of the changes of each row along each axis; meaningless for a row without changes."""
    axes = []
    for axis in range(1, mask.ndim):
        others = tuple(i for i in range(1, mask.ndim) if i != axis)
        along: Mask = np.asarray(mask.any(axis=others))
        starts = along.argmax(axis=1)
        stops = along.shape[1] - along[:, ::-1].argmax(axis=1)
        axes.append(list(zip(starts.tolist(), stops.tolist(), strict=True)))
    return [list(one) for one in zip(*axes, strict=True)] if axes else [[] for _ in mask]


class ArrayTotal:
    """Sums up the comparison of the pieces of one pair of arrays of one shape."""

    __slots__ = ("_box", "_changed", "_gained", "_largest", "_lost", "_numbers", "_pixels", "_shape", "_sum")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._changed = self._numbers = self._gained = self._lost = self._pixels = 0
        self._largest: Any = 0
        self._sum: Any = 0
        self._box: list[tuple[int, int]] | None = None

    @property
    def changed(self) -> int:
        """Number of elements that changed so far."""
        return self._changed

    def add_arrays(self, before: Array, after: Array, tolerance: float, at: Sequence[int] | None = None) -> None:
        """Compare two arrays of one shape, which begin at the index ``at`` of the whole arrays, and add the result."""
        start = [0] * before.ndim if at is None else at
        for index in _pieces(before.shape):
            a, b = before[index], after[index]
            if a.dtype == b.dtype and (a == b).all():
                continue  # the usual piece of a large array that was retouched somewhere
            block = _Block(a[None], b[None], tolerance)
            self.add(block, 0, [first + (part.start or 0) for first, part in zip(start, index, strict=True)])

    def add(self, block: _Block, row: int, offset: Sequence[int]) -> None:
        """Add row ``row`` of ``block``, which is at ``offset`` of the arrays."""
        if not block.changed[row]:
            return
        self._changed += block.changed[row]
        self._numbers += block.numbers[row]
        self._gained += block.gained[row]
        self._lost += block.lost[row]
        self._pixels += block.pixels[row]
        self._largest = max(self._largest, block.largest[row])
        self._sum += block.sums[row]
        assert block.boxes is not None
        box = [(start + at, stop + at) for (start, stop), at in zip(block.boxes[row], offset, strict=True)]
        if self._box is not None:
            box = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(box, self._box, strict=True)]
        self._box = box

    def result(self, before: np.dtype[Any], after: np.dtype[Any], kind: str = "ndarray") -> ArrayDifference:
        """The difference of the whole arrays, of the dtypes ``before`` and ``after``."""
        elements = math.prod(self._shape)
        channels = self._shape[-1] if len(self._shape) == 3 and 2 <= self._shape[-1] <= 4 else 1
        return ArrayDifference(
            before.name,
            after.name,
            self._shape,
            self._shape,
            elements,
            self._changed,
            self._largest if self._numbers else None,
            _quotient(self._sum, self._numbers),
            None if self._box is None else tuple(self._box),
            self._gained,
            self._lost,
            elements // channels,
            self._pixels,
            kind,
        )


def _quotient(total: Any, count: int) -> float | None:
    return total / count if count else None
