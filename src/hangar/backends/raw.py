"""Reading blobs that lie in a file as their logical bytes: the fast path of every small and medium sample.

A batch of one size is one gather over a view of the whole file in which a row begins at every byte, so rows need no alignment and files
no single row size. Gathering and checksums go in blocks that stay in the processor's cache, without an interpreted call
for each row. Whoever calls has made sure (``BlobFile.need``) that all of it is mapped.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from hangar.backends.base import Blob, Rows
from hangar.backends.file import Mapped
from hangar.backends.location import Words
from hangar.digest import NDARRAY

__all__ = ["gather_list", "gather_rows"]

_BLOCK_BYTES: Final = 2**21
"""Bytes that are gathered and then checksummed while they are in the cache."""
_LONG_ROW_BYTES: Final = 16 * 1024
"""Rows from this size on are copied one by one: the copy then costs more than the step."""


def gather_rows(mapped: Mapped, offsets: Words, size: int, out: Rows | None, seed: int) -> tuple[Rows, Words]:
    """Samples of one size, and the checksums of what was copied.

    Parameters
    ----------
    offsets
        First byte of each sample, shape (n,).
    size
        Bytes of a sample.
    out
        uint8, shape (n, size), C order, or None for fresh memory.
    seed
        Of the checksums.

    Returns
    -------
    tuple
        The samples, uint8, shape (n, size), and their checksums, uint64, shape (n,).
    """
    count = len(offsets)
    if not size:
        rows = np.empty((count, 0), np.uint8) if out is None else out
        return rows, np.full(count, xxh3_64_intdigest(b"", seed), np.uint64)
    if size >= _LONG_ROW_BYTES:
        return _copy_rows(mapped, offsets, size, out, seed)
    every: npt.NDArray[Any] = np.ndarray((mapped.size - size + 1,), f"V{size}", mapped.map, strides=(1,))
    places = offsets.astype(np.int64)
    step = max(1, _BLOCK_BYTES // size)
    if count <= step:
        taken = every[places]
        sums = np.fromiter(map(xxh3_64_intdigest, taken.tolist(), repeat(seed)), np.uint64, count)
        if out is None:
            return taken.view(np.uint8).reshape(count, size), sums
        out[:] = taken.view(np.uint8).reshape(count, size)
        return out, sums
    rows = np.empty((count, size), np.uint8) if out is None else out
    target = rows.view(f"V{size}")[:, 0]
    sums = np.empty(count, np.uint64)
    for start in range(0, count, step):
        stop = min(start + step, count)
        taken = every[places[start:stop]]
        target[start:stop] = taken
        sums[start:stop] = np.fromiter(map(xxh3_64_intdigest, taken.tolist(), repeat(seed)), np.uint64, stop - start)
    return rows, sums


def _copy_rows(mapped: Mapped, offsets: Words, size: int, out: Rows | None, seed: int) -> tuple[Rows, Words]:
    count = len(offsets)
    source = mapped.bytes
    rows = np.empty((count, size), np.uint8) if out is None else out
    sums = np.empty(count, np.uint64)
    step = max(1, _BLOCK_BYTES // size)
    places = offsets.tolist()
    for start in range(0, count, step):
        stop = min(start + step, count)
        for index in range(start, stop):
            place = places[index]
            rows[index] = source[place : place + size]
        sums[start:stop] = np.fromiter(
            map(xxh3_64_intdigest, list(rows[start:stop]), repeat(seed)), np.uint64, stop - start
        )
    return rows, sums


def gather_list(
    mapped: Mapped, offsets: Words, lengths: Words, kinds: set[int], seeds: Words
) -> tuple[list[Blob], list[int]]:
    """Samples of any size, and the checksums of what was copied.

    Parameters
    ----------
    offsets, lengths, seeds
        First byte, size, and seed of the checksum of each sample, shape (n,).
    kinds
        Kinds of data among them; samples come as uint8 arrays where all are ndarrays, else as ``bytes``.

    Returns
    -------
    tuple
        Samples and checksums, in order.
    """
    starts = offsets.tolist()
    stops = (offsets + lengths).tolist()
    blobs: list[Blob] = []
    sums: list[int] = []
    if kinds == {NDARRAY}:
        array = mapped.bytes
        for start, stop, seed in zip(starts, stops, seeds.tolist(), strict=True):
            rows = array[start:stop].copy()
            sums.append(xxh3_64_intdigest(rows, seed))
            blobs.append(rows)
        return blobs, sums
    view = mapped.map
    for start, stop, seed in zip(starts, stops, seeds.tolist(), strict=True):
        data = view[start:stop]
        sums.append(xxh3_64_intdigest(data, seed))
        blobs.append(data)
    return blobs, sums
