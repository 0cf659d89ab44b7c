"""Verifies stored chunks by their checksums, without decoding them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hangar.backends.file import MAX_OFFSET, BlobFile
from hangar.backends.hdf5.codecs import Bytes
from hangar.backends.hdf5.reading import frame_at
from hangar.backends.location import LENGTH_MASK, OFFSET, STORED, Locations
from hangar.backends.raw import read_large
from hangar.errors import CorruptionError

__all__ = ["verify_chunks"]


def verify_chunks(file: BlobFile, locations: Locations) -> npt.NDArray[np.bool_]:
    """Mask of the samples whose chunks are intact: bool, shape (n,). Empty samples are in no chunk and count as intact."""
    intact: npt.NDArray[np.bool_] = locations.length == 0
    filled = np.flatnonzero(~intact)
    taken = locations.words[filled][:, [OFFSET, STORED]]
    order = np.lexsort((taken[:, 1], taken[:, 0]))
    cuts = np.flatnonzero((taken[order[1:]] != taken[order[:-1]]).any(axis=1)) + 1
    for part in np.split(order, cuts) if len(order) else []:
        offset, stored = taken[part[0]].tolist()
        intact[filled[part]] = _is_intact(file, offset, stored)
    return intact


def _is_intact(file: BlobFile, offset: int, stored: int) -> bool:
    """Whether the frame of a location exists and the checksums of its chunks match."""
    try:
        if offset > MAX_OFFSET:
            return False
        frame = frame_at(file, file.need(offset + (stored & LENGTH_MASK)), offset, stored)
        # Read, not taken from the map: touched pages of the map count as memory of the process.
        buffer: Bytes = np.empty(max(frame.stored), np.uint8)
        for number in range(frame.content.pieces):
            start, size = frame.span(number)
            read_large(file, start, buffer[:size])
            frame.check(buffer[:size], number)
    except CorruptionError:
        return False
    return True
