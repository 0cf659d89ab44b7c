"""Chunked arrays for the independent reader, written from ``docs/format.rst`` alone: their records, chunk maps and chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from tests.compat.independent_blobs import NDARRAY, Blobs, Value
from tests.compat.independent_tables import Tables, read_record, require
from tests.compat.independent_trees import Trees

CHUNKED = 4


def read_array(
    tables: Tables, blobs: Blobs, digest: bytes, dtype: int, chunk_shape: Sequence[int], fill: bytes
) -> Value:
    """The whole array of a record."""
    version, shape, chunks, root = read_record(tables, "nodes", "array", digest)
    require(version == 0 and len(shape) == len(chunk_shape), "an array record of another version or rank")
    require((root is None) == (chunks == 0), "an array record is wrong about its chunks")
    size = math.prod(chunk_shape) * len(fill)
    kind, width = (1, size) if size <= 32 else (0, 32)
    whole = bytearray(fill * math.prod(shape))
    for key, cell in Trees(tables, kind, width, False).entries(root, chunks, chunks):
        require(len(key) == 4 * len(shape), "a chunk map has a key of another rank")
        index = [int.from_bytes(key[at : at + 4], "big") for at in range(0, len(key), 4)]
        corner = [at * extent for at, extent in zip(index, chunk_shape, strict=True)]
        require(all(at < extent for at, extent in zip(corner, shape, strict=True)), "a chunk outside of its array")
        data = cell
        if kind == 0:
            value = blobs.read(cell)
            require((value.kind, value.dtype) == (NDARRAY, dtype), "a chunk is of another type")
            require(value.shape == tuple(chunk_shape), "a chunk has another shape")
            data = value.data
        require(data != fill * math.prod(chunk_shape), "a chunk of fill values is stored")
        left = bytearray(data)
        for start, length, target in runs(chunk_shape, corner, shape):
            part = slice(start * len(fill), (start + length) * len(fill))
            whole[target * len(fill) : (target + length) * len(fill)] = data[part]
            left[part] = fill * length
        require(left == fill * math.prod(chunk_shape), "a chunk has other values beyond the edge of its array")
    return Value(NDARRAY, dtype, tuple(shape), bytes(whole))


def runs(chunk_shape: Sequence[int], corner: Sequence[int], shape: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The elements of a chunk within the array: position in the chunk, how many in a row, and position in the array."""
    valid = [min(size, extent - at) for size, at, extent in zip(chunk_shape, corner, shape, strict=True)]
    for row in product(*map(range, valid[:-1])):
        start = target = 0
        for axis, at in enumerate((*row, 0)):
            start = start * chunk_shape[axis] + at
            target = target * shape[axis] + corner[axis] + at
        yield start, valid[-1], target
