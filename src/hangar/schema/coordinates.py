"""Canonical form of sparse arrays: which elements are not zero, and their values.

The logical bytes of a sparse array are, for each axis, the coordinates of its elements along that axis, and then the
values. The elements are in C order of their coordinates, each of them once, and none of the values is zero. So equal
content has equal bytes, in whatever format it came. A coordinate has the smallest unsigned type that holds the extent
of its axis. :func:`pack` makes the bytes of any coordinates; :func:`unpack` proves that bytes are of this form before
another library indexes memory with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hangar import limits
from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError

__all__ = ["SPARSE_DTYPES", "SparseCoordinates", "entry_bytes", "linear_index", "pack", "unpack"]

SPARSE_DTYPES: Final = frozenset(
    (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float32", "float64", "complex64", "complex128"),
    )
)
"""Names of the element types that the sparse arrays of scipy have."""

_WIDTHS: Final = ((2**8, 1), (2**16, 2), (2**32, 4))
_MOST_LINEAR: Final = 2**63


class SparseCoordinates(NamedTuple):
    """A sparse array as coordinates and values.

    Attributes
    ----------
    coordinates
        int64, shape (rank, n): a column for each element that is not zero, in C order.
    values
        Shape (n,).
    shape
        Shape of the array.
    """

    coordinates: npt.NDArray[np.int64]
    values: np.ndarray[Any, Any]
    shape: tuple[int, ...]


def coordinate_types(shape: Sequence[int]) -> list[np.dtype[Any]]:
    """Type of the coordinates along each axis: the smallest of u1, u2, u4 and u8 that holds the extent."""
    return [np.dtype(f"<u{next((width for most, width in _WIDTHS if n <= most), 8)}") for n in shape]


def entry_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of one element: its coordinates and its value."""
    return itemsize + sum(kind.itemsize for kind in coordinate_types(shape))


# ---------------------------------------------------------------------- in


def pack(coordinates: object, values: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Canonical bytes of a sparse array.

    Parameters
    ----------
    coordinates
        Integers, shape (rank, n), or a sequence of one array for each axis; in any order. The values of coordinates
        that occur more than once are added up, as scipy does.
    values
        Shape (n,), of ``dtype`` in any byte order. Zeros are left out.
    shape, dtype
        Of the array.

    Raises
    ------
    InvalidInputError
        A coordinate is outside the shape, or an argument has the wrong form.
    """
    where, given = _checked(coordinates, values, shape, dtype)
    where, given = _without_duplicates(*_sorted(where, given, shape))
    filled = given != 0
    if not filled.all():
        where, given = where[:, filled], given[filled]
    if given.size * entry_bytes(shape, dtype.itemsize) >= limits.MAX_ARRAY_BYTES:
        raise InvalidInputError("a sparse array takes 2**40 bytes or more")
    axes = [axis.astype(kind).tobytes() for axis, kind in zip(where, coordinate_types(shape), strict=True)]
    return b"".join([*axes, np.ascontiguousarray(given, dtype).tobytes()])


def _checked(
    coordinates: Any, values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], np.ndarray[Any, Any]]:
    given = np.asarray(values)
    if given.size == 0 and not isinstance(values, np.ndarray):
        given = given.astype(dtype)
    if given.dtype != dtype and given.dtype.newbyteorder("<") != dtype:
        raise InvalidInputError(f"dtype: {given.dtype} != aset: {dtype}")
    try:
        where = np.asarray(coordinates)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the coordinates of a sparse array are no array: {error}") from None
    if where.size == 0:
        where = np.empty((len(shape), 0), np.int64)
    if where.dtype.kind not in "iu":
        raise InvalidTypeError(f"the coordinates of a sparse array are integers, not {where.dtype}")
    if given.ndim != 1 or where.shape != (len(shape), len(given)):
        raise InvalidInputError(
            f"{len(shape)} axes and values of shape {given.shape} need coordinates of shape "
            f"({len(shape)}, {given.size}), not {where.shape}"
        )
    for number, (axis, extent) in enumerate(zip(where, shape, strict=True)):
        if axis.size and (int(axis.min()) < 0 or int(axis.max()) >= extent):
            raise InvalidInputError(
                f"a coordinate of axis {number} is outside 0 to {extent - 1}: {axis.min()} to {axis.max()} were given"
            )
    if given.dtype == np.bool_:
        given = given.view(np.uint8) != 0
    return where, given


def _sorted(
    where: npt.NDArray[Any], values: np.ndarray[Any, Any], shape: tuple[int, ...]
) -> tuple[npt.NDArray[Any], np.ndarray[Any, Any]]:
    """Coordinates in C order, those of one element in the order in which they were given."""
    linear = linear_index(where, shape)
    if linear is not None:
        if (linear[1:] > linear[:-1]).all():
            return where, values
        order = np.argsort(linear, kind="stable")
    else:
        order = np.lexsort(where[::-1])
    return where[:, order], values[order]


def linear_index(where: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[np.int64] | None:
    """Position of each element in C order; None if the shape has 2**63 elements or more."""
    if math.prod(shape) >= _MOST_LINEAR:
        return None
    linear: npt.NDArray[np.int64] = where[0].astype(np.int64)
    for axis, extent in zip(where[1:], shape[1:], strict=True):
        linear *= extent
        linear += axis.astype(np.int64, copy=False)
    return linear


def _without_duplicates(
    where: npt.NDArray[Any], values: np.ndarray[Any, Any]
) -> tuple[npt.NDArray[Any], np.ndarray[Any, Any]]:
    """The coordinates once each, with the sum of their values."""
    if values.size < 2:
        return where, values
    first = np.concatenate(([True], (where[:, 1:] != where[:, :-1]).any(axis=0)))
    if first.all():
        return where, values
    with np.errstate(all="ignore"):
        summed = np.add.reduceat(values, np.flatnonzero(first), dtype=values.dtype)
    return where[:, first], summed


# ---------------------------------------------------------------------- out


def unpack(buffer: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> SparseCoordinates:
    """Coordinates and values of canonical bytes, in new memory.

    Raises
    ------
    CorruptionError
        The bytes are not the canonical form of an array of this shape.
    """
    data = np.frombuffer(buffer, np.uint8)
    count, rest = divmod(data.size, entry_bytes(shape, dtype.itemsize))
    if rest:
        raise CorruptionError(f"{data.size} stored bytes are not a sparse array of shape {shape}")
    where = np.empty((len(shape), count), np.int64)
    at = 0
    for axis, kind in enumerate(coordinate_types(shape)):
        size = count * kind.itemsize
        stored = data[at : at + size].view(kind)
        if count and int(stored.max()) >= shape[axis]:
            raise CorruptionError(f"a stored sparse array of shape {shape} has a coordinate beyond axis {axis}")
        where[axis] = stored
        at += size
    values = data[at:].view(dtype).copy()
    if not _ascends(where, shape) or not (values != 0).all():
        raise CorruptionError(f"a stored sparse array of shape {shape} is not in canonical form")
    if dtype == np.bool_ and count and int(values.view(np.uint8).max()) > 1:
        raise CorruptionError("a stored sparse array of bools has other bytes than 0 and 1")
    return SparseCoordinates(where, values, shape)


def _ascends(where: npt.NDArray[np.int64], shape: tuple[int, ...]) -> bool:
    """Whether the coordinates are in C order, each of them once."""
    linear = linear_index(where, shape)
    if linear is not None:
        return bool((linear[1:] > linear[:-1]).all())
    equal = np.ones(max(0, where.shape[1] - 1), np.bool_)
    for axis in where:
        if (equal & (axis[1:] < axis[:-1])).any():
            return False
        equal &= axis[1:] == axis[:-1]
    return not equal.any()
