"""Parse an index expression by the rules of numpy.

A selection is a product of *groups*. A group is an arithmetic progression along one axis (of an int or a slice), or a
list of points (of index arrays) along one or several axes. Each group is one dimension of the *block*, an intermediate
array; the result has the elements of the block, in another shape.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar.errors import InvalidInputError, PositionNotFoundError

__all__ = ["Group", "Points", "Run", "Selection", "parse"]

Coordinates: TypeAlias = npt.NDArray[np.int64]

_KINDS = "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid indices"


class Run(NamedTuple):
    """Positions ``start``, ``start + step`` ... along one axis; the step is positive."""

    axis: int
    start: int
    step: int
    length: int


class Points(NamedTuple):
    """Positions given by their coordinates along ``axes``: an array of shape (length,) for each."""

    axes: tuple[int, ...]
    coordinates: tuple[Coordinates, ...]
    length: int


Group: TypeAlias = "Run | Points"


class Selection(NamedTuple):
    """What an index selects.

    Attributes
    ----------
    groups
        They cover every axis once.
    flips
        Dimensions of the block that are read backwards.
    result
        Shape of the result.
    basic
        There is no index array.
    """

    groups: tuple[Group, ...]
    flips: tuple[int, ...]
    result: tuple[int, ...]
    basic: bool

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of the block."""
        return tuple([group.length for group in self.groups])

    @property
    def size(self) -> int:
        """Number of selected elements."""
        return math.prod(self.result)

    def oriented(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A view of a block whose dimensions all go forwards."""
        if not self.flips:
            return block
        return block[tuple(slice(None, None, -1) if i in self.flips else slice(None) for i in range(block.ndim))]


def parse(index: Any, shape: tuple[int, ...], *, orthogonal: bool = False) -> Selection:
    """The selection of ``array[index]`` for an array of this shape; with ``orthogonal`` arrays select along their own axis each.

    Raises
    ------
    PositionNotFoundError
        (an ``IndexError``) the index is not valid, or out of bounds.
    """
    found = _parse_basic(index, shape)
    return _Parser(index, shape, orthogonal).selection() if found is None else found


def _parse_basic(index: Any, shape: tuple[int, ...]) -> Selection | None:
    """Parse an index of ints and slices alone; None if it has anything else. The fast path."""
    items = index if type(index) is tuple else (index,)
    if len(items) > len(shape):
        return None
    groups: list[Group] = []
    flips: tuple[int, ...] = ()
    result: list[int] = []
    for axis, extent in enumerate(shape):
        item = items[axis] if axis < len(items) else _ALL
        if type(item) is slice:
            run, backwards = _run(item, axis, extent)
            groups.append(run)
            result.append(run.length)
            if backwards:
                flips = (*flips, axis)
        elif type(item) is int:
            groups.append(Run(axis, _position(item, axis, extent), 1, 1))
        else:
            return None
    return Selection(tuple(groups), flips, tuple(result), True)


_ALL = slice(None)


def _run(item: slice, axis: int, extent: int) -> tuple[Run, bool]:
    """The positions of a slice, and whether it goes backwards."""
    try:
        start, stop, step = item.indices(extent)
    except ValueError as error:  # a step of 0
        raise InvalidInputError(str(error)) from None
    except TypeError as error:
        raise PositionNotFoundError(str(error)) from None
    if step > 0:
        return Run(axis, start, step, max(0, -(-(stop - start) // step))), False
    count = max(0, -(-(start - stop) // -step))
    return Run(axis, start + (count - 1) * step if count else 0, -step, count), True


def _position(item: int, axis: int, extent: int) -> int:
    if not -extent <= item < extent:
        raise PositionNotFoundError(f"index {item} is out of bounds for axis {axis} with size {extent}")
    return item + extent if item < 0 else item


class _Fancy(NamedTuple):
    """One item of an index that selects by arrays: the axes, and the coordinates along each."""

    axes: tuple[int, ...]
    coordinates: tuple[npt.NDArray[Any], ...]


class _Parser:
    def __init__(self, index: Any, shape: tuple[int, ...], orthogonal: bool) -> None:
        self._shape = shape
        self._orthogonal = orthogonal
        # Each item is None (a new axis), an int group, a slice group with its direction, or a fancy item.
        self._items = self._expanded(index if isinstance(index, tuple) else (index,))

    def _expanded(self, given: tuple[Any, ...]) -> list[Any]:
        items = [item if _is_plain(item) else _as_index_array(item) for item in given]
        dots = [i for i, item in enumerate(items) if item is Ellipsis]
        if len(dots) > 1:
            raise PositionNotFoundError("an index can only have a single ellipsis ('...')")
        used = sum(map(_axes_of, items))
        rank = len(self._shape)
        if used > rank:
            raise PositionNotFoundError(
                f"too many indices for array: array is {rank}-dimensional, but {used} were indexed"
            )
        if not dots:
            items.append(Ellipsis)
        found: list[Any] = []
        axis = 0
        for item in items:
            if item is Ellipsis:
                for _ in range(rank - used):
                    found.append(self._item(_ALL, axis))
                    axis += 1
                # Like numpy, an ellipsis separates index arrays even if it stands for no axis.
                found += [Ellipsis] if dots and rank == used else []
            else:
                found.append(None if item is None else self._item(item, axis))
                axis += _axes_of(item)
        return found

    def _item(self, item: Any, axis: int) -> Any:
        extent = self._shape[axis]
        if isinstance(item, slice):
            return _run(item, axis, extent)
        if not isinstance(item, np.ndarray):
            return Run(axis, _position(operator.index(item), axis, extent), 1, 1)
        if item.dtype == np.bool_:
            for i, size in enumerate(item.shape):
                if size != self._shape[axis + i]:
                    raise PositionNotFoundError(
                        f"boolean index did not match indexed array along axis {axis + i}; size of axis is "
                        f"{self._shape[axis + i]} but size of corresponding boolean axis is {size}"
                    )
            return _Fancy(tuple(range(axis, axis + item.ndim)), item.nonzero())
        return _Fancy((axis,), (_in_bounds(item, axis, extent),))

    # ------------------------------------------------------------------ the selection

    def selection(self) -> Selection:
        fancy = [item for item in self._items if isinstance(item, _Fancy)]
        if not fancy:
            return self._made(None, 0, ())
        if self._orthogonal:
            if any(len(item.axes) > 1 or item.coordinates[0].ndim != 1 for item in fancy):
                raise PositionNotFoundError("an orthogonal selection takes arrays of one dimension, one for each axis")
            return self._made(None, 0, ())
        # Ints count as index arrays beside index arrays.
        joint = [i for i, item in enumerate(self._items) if isinstance(item, (_Fancy, Run))]
        adjacent = joint == list(range(joint[0], joint[-1] + 1))
        axes: list[int] = []
        parts: list[npt.NDArray[Any]] = []
        for item in (self._items[i] for i in joint):
            if isinstance(item, Run):
                axes.append(item.axis)
                parts.append(np.array(item.start))
            else:
                axes += item.axes
                parts += item.coordinates
        try:
            spread = np.broadcast_arrays(*parts)
        except ValueError:
            shapes = " ".join(str(part.shape) for part in parts)
            raise PositionNotFoundError(
                f"shape mismatch: indexing arrays could not be broadcast together with shapes {shapes}"
            ) from None
        points = Points(tuple(axes), tuple(part.astype(np.int64).reshape(-1) for part in spread), spread[0].size)
        return self._made(points, joint[0] if adjacent else -1, spread[0].shape)

    def _made(self, points: Points | None, at: int, spread: tuple[int, ...]) -> Selection:
        """The selection; ``points`` are all index arrays together, placed where item ``at`` stands, -1 in front."""
        groups: list[Group] = []
        flips: list[int] = []
        result: list[int] = []
        if points is not None and at < 0:
            groups.append(points)
            result += spread
        for i, item in enumerate(self._items):
            if points is not None and i == at:
                groups.append(points)
                result += spread
            elif item is None:
                result.append(1)
            elif isinstance(item, Run):
                if points is None:
                    groups.append(item)
            elif isinstance(item, _Fancy):
                if points is None:
                    count = item.coordinates[0].size
                    groups.append(Points(item.axes, tuple(part.astype(np.int64) for part in item.coordinates), count))
                    result.append(count)
            elif item is not Ellipsis:
                run, backwards = item
                flips += [len(groups)] if backwards else []
                groups.append(run)
                result.append(run.length)
        return Selection(tuple(groups), tuple(flips), tuple(result), all(isinstance(group, Run) for group in groups))


def _is_plain(item: Any) -> bool:
    return (
        item is None or item is Ellipsis or (isinstance(item, (slice, int, np.integer)) and not isinstance(item, bool))
    )


def _as_index_array(item: Any) -> Any:
    """An index that is neither a plain int, a slice, an ellipsis nor None: as an array of ints or bools, or as an int."""
    if isinstance(item, (bool, np.bool_)):
        raise PositionNotFoundError("a single boolean is not supported as an index")
    if isinstance(item, (str, bytes, float, complex, dict, set)) or item is NotImplemented:
        raise PositionNotFoundError(_KINDS)
    if not isinstance(item, (np.ndarray, list, tuple)) and not hasattr(item, "__array__"):
        try:
            return operator.index(item)
        except TypeError:
            raise PositionNotFoundError(_KINDS) from None
    try:
        array = np.asarray(item)
    except ValueError as error:
        raise PositionNotFoundError(str(error)) from None
    if array.size == 0 and not isinstance(item, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise PositionNotFoundError("arrays used as indices must be of integer (or boolean) type")
    if array.ndim == 0:
        if array.dtype.kind == "b":
            raise PositionNotFoundError("a single boolean is not supported as an index")
        return int(array)
    return array


def _axes_of(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype == np.bool_ else 1


def _in_bounds(item: npt.NDArray[Any], axis: int, extent: int) -> npt.NDArray[Any]:
    if not item.size:
        return item.astype(np.int64)
    least, most = int(item.min()), int(item.max())
    if least < -extent or most >= extent:
        wrong = least if least < -extent else most
        raise PositionNotFoundError(f"index {wrong} is out of bounds for axis {axis} with size {extent}")
    found = item.astype(np.int64)
    return np.where(found < 0, found + extent, found) if least < 0 else found
