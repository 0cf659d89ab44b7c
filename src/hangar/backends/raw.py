"""Reading of unencoded blobs: the fast path for small and medium samples.

A batch of one size is copied and its checksums are verified in one pass (``hangar.gathering``). Large samples are read
with ``preadv``, not copied from the map: touched pages of the map count as memory of the process, so the result would
take twice its size. The caller makes sure with ``BlobFile.need`` that all bytes are mapped.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from xxhash import xxh3_64_intdigest

from hangar import _fs
from hangar.backends.base import Blob, Rows
from hangar.backends.file import BlobFile, Mapped
from hangar.backends.location import Words
from hangar.backends.parts import Parts
from hangar.digest import NDARRAY
from hangar.errors import CorruptionError
from hangar.gathering import checksum_rows, gather_checked

__all__ = ["LARGE_BYTES", "RawParts", "gather_list", "gather_rows", "read_large"]

LARGE_BYTES: Final = 2**22
"""Samples of this size or more are read from the file and not copied from its map."""
_PART_BYTES: Final = 16 * 1024
"""Part of a blob with a checksum of its own."""
_FEW_PARTS: Final = 8
"""So few are hashed faster one by one."""


def gather_rows(file: BlobFile, mapped: Mapped, offsets: Words, checks: Words, rows: Rows, seed: int) -> None:
    """Copy samples of one size, and verify the checksums of the copies.

    Parameters
    ----------
    offsets, checks
        First byte and checksum of each sample, shape (n,).
    rows
        Output: uint8, shape (n, size), C order.
    seed
        Seed of the checksums (the header id).

    Raises
    ------
    CorruptionError
        A sample does not have its checksum.
    """
    if rows.shape[1] < LARGE_BYTES:
        right = gather_checked(mapped.map, offsets, checks, rows, seed) < 0
    else:
        right = True
        for row, offset, check in zip(rows, offsets.tolist(), checks.tolist(), strict=True):
            read_large(file, offset, row)
            right = right and xxh3_64_intdigest(row.data, seed) == check
    if not right:
        raise CorruptionError(f"its checksum does not match in {file.path}")


def read_large(file: BlobFile, offset: int, out: Rows) -> None:
    """Read bytes of the file into ``out``, uint8, shape (size,), without a second copy in memory.

    Raises
    ------
    CorruptionError
        The file is too short.
    StorageError
        The file cannot be read.
    """
    view = out.data
    while view:
        try:
            done = os.preadv(file.descriptor, [view], offset)
        except OSError as error:
            _fs.raise_for(error, "read", file.path)
        if not done:
            raise CorruptionError(f"blob file {file.path} was truncated: it ends at {offset}")
        view, offset = view[done:], offset + done


def gather_list(
    file: BlobFile, mapped: Mapped, offsets: Words, lengths: Words, kinds: set[int], seeds: Words
) -> tuple[list[Blob], list[int]]:
    """Samples of any size, and the checksums of the copies.

    Parameters
    ----------
    offsets, lengths, seeds
        First byte, size, and seed of the checksum of each sample, shape (n,).
    kinds
        Kinds of data in the batch. Samples are returned as uint8 arrays if all are ndarrays, else as ``bytes``.

    Returns
    -------
    tuple
        Samples and checksums, in order.
    """
    arrays = kinds == {NDARRAY}
    array, view = mapped.bytes, mapped.map
    blobs: list[Blob] = []
    sums: list[int] = []
    for start, size, seed in zip(offsets.tolist(), lengths.tolist(), seeds.tolist(), strict=True):
        blob: Blob
        if size >= LARGE_BYTES:
            rows = np.empty(size, np.uint8)
            read_large(file, start, rows)
            blob = rows if arrays else rows.tobytes()
        elif arrays:
            blob = array[start : start + size].copy()
        else:
            blob = view[start : start + size]
        sums.append(xxh3_64_intdigest(blob, seed))  # type: ignore[arg-type]
        blobs.append(blob)
    return blobs, sums


class RawParts(Parts):
    """Parts of an unencoded blob. Their checksums are in memory only."""

    __slots__ = ("_checks", "_nbytes", "_offset")

    def __init__(self, file_id: int, offset: int, nbytes: int) -> None:
        self.file_id, self._offset, self._nbytes = file_id, offset, nbytes
        self.small = nbytes >= 4 * _PART_BYTES
        self._checks: Words | None = None

    def read(self, file: BlobFile, start: int, stop: int, out: Rows) -> None:
        """Read some bytes; see :meth:`Parts.read`."""
        first = start // _PART_BYTES
        last = -(-stop // _PART_BYTES)
        data = out[first * _PART_BYTES : last * _PART_BYTES]
        read_large(file, self._offset + first * _PART_BYTES, data)
        if self._checks is not None:
            checks = self._checks[first:last].tolist()
            if last - first < _FEW_PARTS:
                view = data.data
                found = [xxh3_64_intdigest(view[at : at + _PART_BYTES]) for at in range(0, len(data), _PART_BYTES)]
            else:
                found = _checksums(data).tolist()
            if found != checks:
                raise CorruptionError(f"its checksum does not match in {file.path}")

    def verified(self, data: Rows) -> None:
        """Compute the checksums of the parts."""
        self._checks = _checksums(data)


def _checksums(data: Rows) -> Words:
    """Checksum of each part; the last one may be shorter."""
    whole = len(data) // _PART_BYTES * _PART_BYTES
    found = checksum_rows(data[:whole].reshape(-1, _PART_BYTES), 0)
    return found if whole == len(data) else np.concatenate((found, checksum_rows(data[whole:].reshape(1, -1), 0)))
