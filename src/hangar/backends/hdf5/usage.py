"""What the chunks of a file are used for: how each is encoded, how much of it a sample takes, and whether all of it is named.

Only the heads of frames are read; nothing is decoded.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from hangar.backends.file import BlobFile
from hangar.backends.hdf5.codecs import Encoding
from hangar.backends.hdf5.frames import RAGGED, ROWS, Frame
from hangar.backends.hdf5.reading import frames_of
from hangar.backends.location import Locations
from hangar.errors import CorruptionError

__all__ = ["by_encoding", "holds_only", "shares"]

_NO_ENCODING = Encoding(0, 0, 0)
"""Of samples without bytes, which are in no chunk."""


def by_encoding(file: BlobFile, locations: Locations) -> list[tuple[Encoding, npt.NDArray[np.intp]]]:
    """Group samples by the encoding of their chunks: positions of each group, ascending."""
    groups: dict[Encoding, list[npt.NDArray[np.intp]]] = {}
    filled = np.flatnonzero(locations.length)
    for frame, part in frames_of(file, locations.take(filled)):
        groups.setdefault(frame.encoding, []).append(filled[part])
    if len(filled) < len(locations):
        groups.setdefault(next(iter(groups), _NO_ENCODING), []).append(np.flatnonzero(locations.length == 0))
    return [(encoding, np.sort(np.concatenate(parts))) for encoding, parts in groups.items()]


def shares(file: BlobFile, locations: Locations) -> npt.NDArray[np.float64]:
    """Bytes of the chunk of each sample, divided by the number of samples in it: float64, shape (n,)."""
    found = np.zeros(len(locations), np.float64)
    filled = np.flatnonzero(locations.length)
    for frame, part in frames_of(file, locations.take(filled)):
        found[filled[part]] = frame.length / frame.content.rows
    return found


def holds_only(file: BlobFile, locations: Locations, start: int) -> bool:
    """Whether ``locations`` name every sample of every chunk from ``start`` to the end of the file."""
    offsets, named = np.unique(locations.offset[locations.length > 0], return_counts=True)
    names = dict(zip(offsets.tolist(), named.tolist(), strict=True))
    end = os.fstat(file.descriptor).st_size
    mapped = file.need(end)
    at = start
    try:
        while at < end:
            frame = Frame.find(mapped.map, at, end)
            if frame.content.role in (ROWS, RAGGED) and names.get(at) != frame.content.rows:
                return False
            at += frame.length
    except CorruptionError:
        return False  # what a killed writer left
    return True
