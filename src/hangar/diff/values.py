"""Comparison of two values of a column: arrays element by element, text and bytes by their differing part.

``arrays`` compares dense arrays, ``sparse`` sparse and ``chunked`` chunked ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from hangar.diff.arrays import PIECE, ArrayDifference, compare_arrays, compare_stacks
from hangar.diff.sparse import as_coordinates, compare_sparse
from hangar.errors import InvalidInputError

__all__ = ["TextDifference", "ValueDifference", "difference", "differences"]


@dataclass(frozen=True, slots=True)
class TextDifference:
    """Difference of two str or bytes values: ``before[start:stop_before]`` became ``after[start:stop_after]``."""

    start: int
    stop_before: int
    stop_after: int
    length_before: int
    length_after: int

    @property
    def differs(self) -> bool:
        """Whether the values differ."""
        return self.stop_before > self.start or self.stop_after > self.start


ValueDifference: TypeAlias = "ArrayDifference | TextDifference"


def difference(before: Any, after: Any, tolerance: float = 0.0) -> ValueDifference:
    """Compare two values of a column.

    Parameters
    ----------
    before, after
        Two arrays of one kind (dense, sparse or chunked), two str or two bytes.
    tolerance
        Absolute change up to which numbers count as equal.

    Raises
    ------
    InvalidInputError
        The values are of different kinds, or the tolerance is negative.
    """
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return compare_arrays(before, after, tolerance)
    chunked = _compare_chunked(before, after, tolerance)
    if chunked is not None:
        return chunked
    coordinates = as_coordinates(before), as_coordinates(after)
    if coordinates[0] is not None and coordinates[1] is not None:
        return compare_sparse(coordinates[0], coordinates[1], tolerance)
    for kind in (str, bytes):
        if isinstance(before, kind) and isinstance(after, kind):
            return _compare_texts(before, after)
    raise InvalidInputError(
        f"two arrays of one kind, two str or two bytes can be compared, not {type(before).__name__} and {type(after).__name__}"
    )


def differences(
    pairs: Sequence[tuple[Any, Any]], tolerance: float | None = None, most_bytes: int | None = None
) -> list[ValueDifference | None]:
    """The difference of each pair of values; None for a pair that is not of two arrays, two str or two bytes.

    Small arrays of one shape are compared together.

    Parameters
    ----------
    tolerance
        Absolute change up to which numbers count as equal; None: 0.
    most_bytes
        Maximum number of bytes that are read of a chunked array, if there is no tolerance.
    """
    bound = most_bytes if tolerance is None else None
    tolerance = tolerance or 0.0
    found: list[ValueDifference | None] = [None] * len(pairs)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, (a, b) in enumerate(pairs):
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            together = a.shape == b.shape and a.size <= PIECE // 4
            groups.setdefault((a.shape, a.dtype, b.dtype) if together else (i,), []).append(i)
        elif isinstance(a, (str, bytes)) and type(a) is type(b):
            found[i] = _compare_texts(a, b)
        elif (chunked := _compare_chunked(a, b, tolerance, bound)) is not None:
            found[i] = chunked
        elif (first := as_coordinates(a)) is not None and (second := as_coordinates(b)) is not None:
            found[i] = compare_sparse(first, second, tolerance)
    for places in groups.values():
        if len(places) == 1:
            found[places[0]] = compare_arrays(*pairs[places[0]], tolerance)
            continue
        before, after = (np.stack([pairs[i][side] for i in places]) for side in (0, 1))
        for i, one in zip(places, compare_stacks(before, after, tolerance), strict=True):
            found[i] = one
    return found


def _compare_chunked(
    before: Any, after: Any, tolerance: float, most_bytes: int | None = None
) -> ArrayDifference | None:
    """The difference of two chunked arrays; None for other values."""
    from hangar.diff.chunked import compare_chunked, is_chunked  # history and status need no columns

    return compare_chunked(before, after, tolerance, most_bytes) if is_chunked(before) and is_chunked(after) else None


def _compare_texts(before: str | bytes, after: str | bytes) -> TextDifference:
    start = _common(before, after)
    end = _common(before[start:], after[start:], from_end=True)
    return TextDifference(start, len(before) - end, len(after) - end, len(before), len(after))


def _common(a: Any, b: Any, *, from_end: bool = False) -> int:
    """Length of the common beginning, or end, of two sequences; by bisection, which compares in C."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if from_end:
            same = a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]
        else:
            same = a[low:middle] == b[low:middle]
        low, high = (middle, high) if same else (low, middle - 1)
    return low
