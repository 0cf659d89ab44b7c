"""Comparison of two chunked arrays: only chunks that differ are read, a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import numpy as np

from hangar.columns.chunked.array import ChunkedArray
from hangar.columns.chunked.content import ArrayContent
from hangar.columns.values import ValueReader
from hangar.diff.arrays import ArrayDifference, ArrayTotal, check_tolerance
from hangar.diff.chunks import MOST_REGIONS, ChunkChange, Region, changed_chunks
from hangar.diff.pictures import picture_kind

__all__ = ["compare_chunked", "is_chunked", "preview", "region_changes"]

_TOGETHER_BYTES: Final = 16 * 2**20
PREVIEW: Final = 512
"""Largest height and width of the part of an array that is shown as a picture."""


def is_chunked(value: object) -> bool:
    """Whether ``value`` is an array of a chunked column."""
    return isinstance(value, ChunkedArray)


def region_changes(before: ChunkedArray, after: ChunkedArray) -> Iterator[ChunkChange]:
    """The chunks that differ between two arrays of columns with equal chunks, in the order of chunks; none is read."""
    first, second = _settled(before), _settled(after)
    return changed_chunks(
        first.reader.nodes, second.reader.schema, first.record, second.record, other=second.reader.nodes
    )


def compare_chunked(
    before: ChunkedArray, after: ChunkedArray, tolerance: float = 0.0, most_bytes: int | None = None
) -> ArrayDifference:
    """Compare two chunked arrays.

    Parameters
    ----------
    tolerance
        Absolute change up to which numbers count as equal. Chunks without a larger change count as unchanged.
    most_bytes
        Reads no more of each array: if more bytes of chunks differ, only the chunks are counted, and ``read`` is False.

    Returns
    -------
    ArrayDifference
        Elements are compared where both arrays have them. ``chunks`` and ``regions`` are those that changed.
    """
    tolerance = check_tolerance(tolerance)
    old, new = before.shape, after.shape
    found = ArrayDifference(before.dtype.name, after.dtype.name, old, new, kind="chunked")
    if len(old) != len(new):
        return found
    if (before.chunks, before.dtype, before.fill_value.tobytes()) != (
        after.chunks,
        after.dtype,
        after.fill_value.tobytes(),
    ):
        return _by_regions(before, after, tolerance)
    changes = region_changes(before, after)
    size = math.prod(after.chunks) * after.dtype.itemsize
    if most_bytes is not None:
        few = list(islice(changes, most_bytes // size + 1))
        if len(few) * size > most_bytes:
            return _counted(found, few, changes)
        changes = iter(few)
    return _compared(_settled(before), _settled(after), changes, found, tolerance)


def _settled(array: ChunkedArray) -> ArrayContent:
    """The content of an array, with the changed chunks of a batch in its record."""
    array.digest  # noqa: B018  stores them
    return array._content()


def _counted(found: ArrayDifference, few: list[ChunkChange], rest: Iterator[ChunkChange]) -> ArrayDifference:
    regions = [change.region for change in few]
    count = len(few)
    for change in rest:
        count += 1
        if len(regions) < MOST_REGIONS:
            regions.append(change.region)
    return replace(found, chunks=count, regions=tuple(regions[:MOST_REGIONS]), read=False)


def _compared(
    before: ArrayContent,
    after: ArrayContent,
    changes: Iterator[ChunkChange],
    found: ArrayDifference,
    tolerance: float,
) -> ArrayDifference:
    schema = after.reader.schema
    common = tuple(map(min, before.shape, after.shape))
    total, regions, count = ArrayTotal(common), list[Region](), 0
    together = max(1, _TOGETHER_BYTES // schema.chunk.nbytes)
    while batch := list(islice(changes, together)):
        old = _chunks(before, [change.before for change in batch])
        new = _chunks(after, [change.after for change in batch])
        for i, change in enumerate(batch):
            start = [at for at, _ in change.region]
            part = tuple(slice(0, stop - at) for at, stop in zip(start, common, strict=True))
            inside = all(at < stop for at, stop in zip(start, common, strict=True))
            beyond = any(stop > extent for (_, stop), extent in zip(change.region, common, strict=True))
            changed = total.changed
            if inside:
                total.add_arrays(old[i][part], new[i][part], tolerance, start)
            if total.changed > changed or (beyond and before.shape != after.shape):
                count += 1
                if len(regions) < MOST_REGIONS:
                    regions.append(change.region)
    result = total.result(before.reader.schema.dtype, schema.dtype, "chunked")
    return replace(
        result,
        shape_before=found.shape_before,
        shape_after=found.shape_after,
        chunks=count,
        regions=tuple(regions),
        pixels=0,
        pixels_changed=0,
    )


def _chunks(content: ArrayContent, cells: Sequence[bytes | None]) -> list[np.ndarray[Any, Any]]:
    """The chunks of cells of a chunk map; of those that are absent fill values."""
    reader, schema = content.reader, content.reader.schema
    values = ValueReader(reader.stores.blobs, schema.chunk, reader._resolve, reader._explain)
    found = iter(values.many([cell for cell in cells if cell is not None]))
    return [np.broadcast_to(schema.fill, schema.chunks) if cell is None else next(found) for cell in cells]


def _by_regions(before: ChunkedArray, after: ChunkedArray, tolerance: float) -> ArrayDifference:
    """Compare arrays of different chunks or dtypes, a region at a time."""
    common = tuple(map(min, before.shape, after.shape))
    total, regions, count = ArrayTotal(common), list[Region](), 0
    for region in after.iter_chunks():
        start = [one.start for one in region]
        if any(at >= extent for at, extent in zip(start, common, strict=True)):
            continue
        part = tuple(slice(one.start, min(one.stop, n)) for one, n in zip(region, common, strict=True))
        changed = total.changed
        total.add_arrays(before[part], after[part], tolerance, start)
        if total.changed > changed:
            count += 1
            if len(regions) < MOST_REGIONS:
                regions.append(tuple((one.start, one.stop) for one in region))
    return replace(
        total.result(before.dtype, after.dtype, "chunked"),
        shape_before=before.shape,
        shape_after=after.shape,
        chunks=count,
        regions=tuple(regions),
        pixels=0,
        pixels_changed=0,
    )


def preview(before: Any, after: Any, found: Any) -> tuple[Any, Any, Region] | None:
    """A part of two chunked arrays that can be shown as a picture: of the changed region, or the middle of an array.

    Parameters
    ----------
    before, after
        The arrays; None where there is none.
    found
        Their difference, if both are there.

    Returns
    -------
    tuple or None
        The part before and after (None where there is none), and the region. None if the arrays are no pictures.
    """
    arrays = [one for one in (before, after) if isinstance(one, ChunkedArray)]
    if not arrays or len({len(one.shape) for one in arrays}) > 1:
        return None
    shape = tuple(min(extents) for extents in zip(*(one.shape for one in arrays), strict=True))
    if picture_kind(arrays[0].dtype.name, shape) is None:
        return None
    box = found.box if isinstance(found, ArrayDifference) else None
    middle = [sum(bounds) // 2 for bounds in box] if box is not None else [extent // 2 for extent in shape]
    side = [1, PREVIEW, PREVIEW] if picture_kind(arrays[0].dtype.name, shape) == "volume" else [PREVIEW, PREVIEW, 4]
    region = []
    for at, extent, size in zip(middle, shape, side, strict=False):
        start = max(0, min(at - size // 2, extent - size))
        region.append((start, min(extent, start + size)))
    part = tuple(start if size == 1 else slice(start, stop) for (start, stop), size in zip(region, side, strict=False))
    first, second = (one[part] if isinstance(one, ChunkedArray) else None for one in (before, after))
    return first, second, tuple(region)
