"""The grid of chunks: keys of a chunk map, and which part of a selection lies in which chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hangar.columns.chunked.selection import Group, Points, Run, Selection
from hangar.schema.chunkkeys import ChunkIndex, chunk_key, chunk_keys, indices_of

__all__ = ["ChunkIndex", "Piece", "chunk_key", "chunk_keys", "grid_of", "indices_of", "pieces", "valid_part"]

_Selector: TypeAlias = "slice | np.ndarray[Any, np.dtype[np.int64]]"


class Piece(NamedTuple):
    """The part of a selection in one chunk.

    Attributes
    ----------
    chunk
        The chunk.
    inside
        Index expression of the part in the chunk, which gives it in the shape of the block.
    outside
        Index expression of the part in the block.
    whole
        Number of elements that the part has along each axis of the chunk if it is a box without gaps; else empty.
    """

    chunk: ChunkIndex
    inside: tuple[Any, ...]
    outside: tuple[Any, ...]
    whole: tuple[int, ...]


def grid_of(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Number of chunks along each axis."""
    return tuple([-(-extent // size) for extent, size in zip(shape, chunks, strict=True)])


def valid_part(index: ChunkIndex, shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Extents of the part of a chunk that lies within the array."""
    return tuple([min(size, extent - at * size) for at, extent, size in zip(index, shape, chunks, strict=True)])


def pieces(selection: Selection, chunks: Sequence[int]) -> Iterator[Piece]:
    """The parts of a selection, chunk by chunk; in the order of chunks if the index has no arrays."""
    parts = [_parts(group, chunks) for group in selection.groups]
    if selection.basic:
        # The groups are those of the axes, in order.
        for combination in product(*parts):
            index, inside, outside, whole = zip(*combination, strict=True)
            yield Piece(index, inside, outside, whole)
        return
    for combination in product(*parts):
        yield _piece(selection.groups, combination, len(chunks))


def _parts(group: Group, chunks: Sequence[int]) -> list[Any]:
    return _parts_of_run(group, chunks[group.axis]) if isinstance(group, Run) else _parts_of_points(group, chunks)


def _parts_of_run(run: Run, size: int) -> list[tuple[int, slice, slice, int]]:
    """For each chunk along the axis: its index, the part in the chunk, the part in the block, and its length (0 with gaps)."""
    _, start, step, count = run
    found: list[tuple[int, slice, slice, int]] = []
    if not count:
        return found
    first, last = start // size, (start + (count - 1) * step) // size
    if step == 1:
        for at in range(first, last + 1):
            low = max(0, at * size - start)
            high = min(count, (at + 1) * size - start)
            begin = start + low - at * size
            found.append((at, slice(begin, begin + high - low), slice(low, high), high - low))
        return found
    low = 0
    while low < count:
        at = (start + low * step) // size
        high = min(count, -(-((at + 1) * size - start) // step))
        begin = start + low * step - at * size
        found.append(
            (at, slice(begin, begin + (high - low - 1) * step + 1, step), slice(low, high), int(high - low == 1))
        )
        low = high
    return found


def _parts_of_points(
    points: Points, chunks: Sequence[int]
) -> list[tuple[ChunkIndex, tuple[Any, ...], np.ndarray[Any, np.dtype[np.int64]]]]:
    """For each chunk: its index along the axes, the coordinates within the chunk, and the positions of the points."""
    if not points.length:
        return []
    sizes = [chunks[axis] for axis in points.axes]
    of = [part // size for part, size in zip(points.coordinates, sizes, strict=True)]
    # In a stable order, so that the last of several values for one element counts.
    order = np.lexsort(of[::-1])
    ordered = [part[order] for part in of]
    changes = np.zeros(points.length - 1, np.bool_)
    for part in ordered:
        changes |= part[1:] != part[:-1]
    found = []
    for positions in np.split(order, np.flatnonzero(changes) + 1):
        index = tuple(int(part[positions[0]]) for part in of)
        local = tuple(
            part[positions] - at * size for part, at, size in zip(points.coordinates, index, sizes, strict=True)
        )
        found.append((index, local, positions))
    return found


def _piece(groups: Sequence[Group], combination: Sequence[Any], rank: int) -> Piece:
    index = [0] * rank
    inside: list[Any] = [None] * rank
    outside: list[_Selector] = []
    for dimension, (group, part) in enumerate(zip(groups, combination, strict=True)):
        along = [1] * len(groups)
        along[dimension] = -1
        if isinstance(group, Run):
            at, taken, positions, _ = part
            index[group.axis] = at
            inside[group.axis] = np.arange(taken.start, taken.stop, taken.step or 1).reshape(along)
        else:
            chosen, local, positions = part
            for axis, at, coordinates in zip(group.axes, chosen, local, strict=True):
                index[axis] = at
                inside[axis] = coordinates.reshape(along)
        outside.append(positions)
    if sum(not isinstance(one, slice) for one in outside) > 1:
        listed = [np.arange(one.start, one.stop) if isinstance(one, slice) else one for one in outside]
        return Piece(tuple(index), tuple(inside), np.ix_(*listed), ())
    return Piece(tuple(index), tuple(inside), tuple(outside), ())
