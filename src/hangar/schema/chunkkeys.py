"""Keys of a chunk map: the index of a chunk along each axis, big-endian, so that keys sort as indices do."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from hangar.errors import CorruptionError

__all__ = ["ChunkIndex", "chunk_key", "chunk_keys", "indices_of"]

ChunkIndex: TypeAlias = "tuple[int, ...]"
"""Index of a chunk along each axis."""


def chunk_key(index: ChunkIndex) -> bytes:
    """Key of a chunk in the chunk map. Keys sort as the indices do."""
    return struct.pack(f">{len(index)}I", *index)


def chunk_keys(indices: Sequence[ChunkIndex]) -> list[bytes]:
    """Keys of many chunks."""
    form = struct.Struct(f">{len(indices[0])}I") if indices else None
    return [] if form is None else [form.pack(*index) for index in indices]


def indices_of(keys: Sequence[bytes], grid: Sequence[int]) -> list[ChunkIndex]:
    """The chunks that keys of a chunk map name.

    Raises
    ------
    CorruptionError
        A key is not that of a chunk of this grid.
    """
    form = struct.Struct(f">{len(grid)}I")
    try:
        found = list(map(form.unpack, keys))
    except struct.error:
        raise CorruptionError(f"a chunk map has a key that is not {form.size} bytes long") from None
    if found:
        most = np.array(found, np.int64).max(axis=0)
        if (most >= np.array([min(extent, 2**33) for extent in grid])).any():
            raise CorruptionError(f"a chunk map names a chunk outside of its array, which has {tuple(grid)} chunks")
    return found
