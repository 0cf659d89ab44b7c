"""Batch gather with checksums: copy many samples of one size out of a file and verify the XXH3-64 of each copy.

The compiled kernel (``_gather.c``) copies and checks a batch in one pass, without the GIL. Its checksums equal those
of the ``xxhash`` package, bit for bit. If the kernel was not built, fails a self-test at start-up, or the environment
variable ``HANGAR_NO_KERNEL`` is set, numpy copies and the package computes the checksums.
"""

from __future__ import annotations

import os
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from hangar.hashing import row_buffers

if TYPE_CHECKING:
    import mmap

__all__ = ["KERNEL", "Rows", "checksum_rows", "gather_checked", "gather_entries"]

Rows = npt.NDArray[np.uint8]
"""The bytes of n samples or cells of one size: uint8, shape (n, size), C order."""
Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_BLOCK_BYTES: Final = 2**21
"""Bytes that numpy gathers at a time, so that they are checked while they are in the CPU cache."""
_LONG_ROW_BYTES: Final = 16 * 1024
"""Rows of at least this size are copied one by one, because the copy then costs more than the Python call."""
_KERNEL_ROWS: Final = 4


def _agrees() -> bool:
    """Self-test: whether the kernel gives the checksums of the package on this CPU, for sizes of each code path."""
    pool = np.arange(3_000, dtype=np.uint32).astype(np.uint8)
    for size in (1, 3, 5, 8, 13, 17, 64, 128, 129, 240, 241, 784, 1_024, 1_025, 2_900):
        rows = np.stack([pool[at : at + size] for at in range(4)])
        sums = np.empty(4, np.uint64)
        _checksums(rows, sums, 2**64 - size)
        if sums.tolist() != [xxh3_64_intdigest(row.data, 2**64 - size) for row in rows]:
            return False
    return True


try:
    if os.environ.get("HANGAR_NO_KERNEL"):
        raise ImportError
    from hangar._gather import checksums as _checksums
    from hangar._gather import gather as _gather
    from hangar._gather import gather_table as _gather_table
except ImportError:
    KERNEL = False
    """Whether the compiled kernel is used."""
else:
    KERNEL = _agrees()


def checksum_rows(rows: Rows, seed: int) -> Words:
    """XXH3-64 of each row: uint64, shape (n,); ``rows`` is uint8, shape (n, size)."""
    count = len(rows)
    if not KERNEL or count < _KERNEL_ROWS or not rows.flags.c_contiguous:
        return np.fromiter(map(xxh3_64_intdigest, row_buffers(rows), repeat(seed)), np.uint64, count)
    sums = np.empty(count, np.uint64)
    _checksums(rows, sums, seed)
    return sums


def gather_checked(source: mmap.mmap, offsets: Words, checks: Words, rows: Rows, seed: int) -> int:
    """Copy samples of one size into rows, and verify their checksums.

    Parameters
    ----------
    source
        The mapped file.
    offsets, checks
        Offset and checksum of each sample, uint64, shape (n,).
    rows
        Destination of the samples: uint8, shape (n, size), C order.
    seed
        Seed of the checksums.

    Returns
    -------
    int
        Index of a sample that is outside of the file or does not match its checksum; -1 if all are right. Samples
        after it may not have been copied.
    """
    if not rows.size:
        wrong = checks != xxh3_64_intdigest(b"", seed)
        return int(wrong.argmax()) if wrong.any() else -1
    if len(offsets) and int(offsets.max()) > len(source) - rows.shape[1]:
        return int(offsets.argmax())
    if KERNEL:
        return _gather(source, np.ascontiguousarray(offsets), np.ascontiguousarray(checks), rows, seed)
    if rows.shape[1] >= _LONG_ROW_BYTES:
        return _copy_rows(np.frombuffer(source, np.uint8), offsets, checks, rows, seed)
    return _gather_rows(source, offsets, checks, rows, seed)


def gather_entries(
    source: mmap.mmap, offsets: Words, checks: Words, positions: Positions | range, rows: Rows, seed: int
) -> int:
    """Like :func:`gather_checked`, for entries of an offset table, in which each checksum is XORed with its position.

    Parameters
    ----------
    source
        The mapped file.
    offsets, checks
        Offsets and checksums of all entries, uint64, shape (n,), contiguous.
    positions
        Entries to copy: int64, shape (m,), contiguous, or a range of step 1. All must be in the table.
    rows
        uint8, shape (m, size), C order.
    seed
        Seed of the checksums.
    """
    if KERNEL and rows.size:
        chosen = positions.start if isinstance(positions, range) else positions
        return _gather_table(source, offsets, checks, chosen, len(positions), rows, seed)
    index = slice(positions.start, positions.stop) if isinstance(positions, range) else positions
    numbers = np.arange(positions.start, positions.stop) if isinstance(positions, range) else positions
    return gather_checked(source, offsets[index], checks[index] ^ numbers.astype(np.uint64), rows, seed)


def _gather_rows(source: mmap.mmap, offsets: Words, checks: Words, rows: Rows, seed: int) -> int:
    """Gather with numpy, on an overlapping (strided) view of the file in which a row begins at every byte."""
    count, size = rows.shape
    every: npt.NDArray[Any] = np.ndarray((len(source) - size + 1,), f"V{size}", source, strides=(1,))
    target = rows.view(f"V{size}")[:, 0]
    starts = offsets.astype(np.int64)
    step = max(1, _BLOCK_BYTES // size)
    for start in range(0, count, step):
        taken = every[starts[start : start + step]]
        target[start : start + step] = taken
        sums = np.fromiter(map(xxh3_64_intdigest, taken.tolist(), repeat(seed)), np.uint64, len(taken))
        right = sums == checks[start : start + step]
        if not right.all():
            return start + int(right.argmin())
    return -1


def _copy_rows(source: Rows, offsets: Words, checks: Words, rows: Rows, seed: int) -> int:
    size = rows.shape[1]
    for index, (offset, check) in enumerate(zip(offsets.tolist(), checks.tolist(), strict=True)):
        rows[index] = source[offset : offset + size]
        if xxh3_64_intdigest(rows[index].data, seed) != check:
            return index
    return -1
