"""Blobs of this process's writer that are not published yet, and readable all the same.

They lie in memory at first (single writes are gathered), then in blob files with their locations in indexes in memory. Who looks
for a blob by digest looks here before the database; nobody else can see any of it.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from hangar.backends.base import Options
from hangar.blobs.index import Index, Mask, Sought
from hangar.digest import Header

__all__ = ["Buffered", "Pending"]


class Buffered(msgspec.Struct, frozen=True):
    """One blob in memory: its logical bytes, and where it is to go."""

    tag: str
    options: Options
    header: Header
    data: bytes


class Pending:
    """What a writer has and the database has not.

    Attributes
    ----------
    buffers
        Blobs that no backend has yet, by digest.
    indexes
        Where the others lie, newest first. Replaced, never changed.
    headers
        Headers of all of them, by id.
    """

    __slots__ = ("buffered_bytes", "buffers", "headers", "indexes")

    def __init__(self) -> None:
        self.buffers: Final[dict[bytes, Buffered]] = {}
        self.buffered_bytes = 0
        self.indexes: tuple[Index, ...] = ()
        self.headers: Final[dict[int, Header]] = {}

    def __len__(self) -> int:
        return len(self.buffers) + sum(index.count for index in self.indexes)

    def __contains__(self, digest: bytes) -> bool:
        prefix = int.from_bytes(digest[:8], "big")
        return digest in self.buffers or any(index.locate_one(digest, prefix) is not None for index in self.indexes)

    def holds(self, sought: Sought) -> Mask:
        """Which of a batch of digests lie in a blob file and are not published yet."""
        held = np.zeros(len(sought.prefixes), np.bool_)
        for index in self.indexes:
            held |= index.search(sought)[0]
        return held

    def add(self, index: Index) -> None:
        """Add the locations of a batch; the number of indexes stays logarithmic in that of batches."""
        indexes = [index, *self.indexes]
        while len(indexes) > 1 and indexes[1].count <= 2 * indexes[0].count:
            indexes[:2] = [Index.merge(indexes[:2])]
        self.indexes = tuple(indexes)

    def merged(self) -> Index:
        """All locations in one index."""
        if len(self.indexes) == 1:
            return self.indexes[0]
        return Index.merge(self.indexes) if self.indexes else Index(np.empty(0, np.uint64), np.empty((0, 8), np.uint64))

    def clear(self) -> None:
        """Forget all of it."""
        self.buffers.clear()
        self.buffered_bytes = 0
        self.indexes = ()
        self.headers.clear()
