"""Unpublished blobs of a writer; readable by its own process (read-your-writes).

Single writes are buffered in memory. Batches are in blob files, and their locations are in indexes in memory. The
locator of this process searches here before the database. No other process can see unpublished blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np

from hangar.backends.base import Options
from hangar.blobs.index import Index, Mask, Sought
from hangar.blobs.merging import runs_to_merge
from hangar.blobs.spilled import SpilledIndex, spilled
from hangar.digest import Digest, Header

__all__ = ["Buffered", "Searched", "UnpublishedBlobs"]

_SPILLED_BLOBS: Final = 32_768
"""Locations of fewer blobs stay in memory."""


class Buffered(msgspec.Struct, frozen=True):
    """One blob buffered in memory: its logical bytes, and the backend it will be written to."""

    tag: str
    options: Options
    header: Header
    data: bytes


class Searched(Protocol):
    """Blobs of this process that a locator searches: those in files by their indexes, and those in memory."""

    @property
    def indexes(self) -> tuple[Index, ...]:
        """Locations of the blobs that are in files, newest index first."""

    @property
    def headers(self) -> dict[int, Header]:
        """Headers of the blobs that are in files, by id."""

    @property
    def in_memory(self) -> int:
        """Number of blobs that are in memory."""

    def buffered_among(self, names: list[Digest]) -> Mask:
        """Mask of the blobs that are in memory."""

    def buffered(self, digest: bytes) -> Buffered | None:
        """A blob that is in memory."""

    def release_pages(self) -> None:
        """Let go of the pages of indexes in files that were read."""


class UnpublishedBlobs:
    """Blobs that a writer has added and the database does not have yet.

    Attributes
    ----------
    buffers
        Blobs that are in memory only, by digest.
    indexes
        Locations of the blobs that are in files, newest index first. The tuple is replaced, never changed.
    headers
        Headers of all of them, by id.
    noted
        Called with the locations of each batch that is in its file, before the batch counts as added.
    spill_to
        A directory: the locations of many blobs are in files without a name there, and not in memory.
    """

    __slots__ = ("buffered_bytes", "buffers", "headers", "indexes", "noted", "spill_to")

    def __init__(self) -> None:
        self.buffers: Final[dict[bytes, Buffered]] = {}
        self.buffered_bytes = 0
        self.indexes: tuple[Index, ...] = ()
        self.headers: Final[dict[int, Header]] = {}
        self.noted: Callable[[Index], object] | None = None
        self.spill_to: Path | None = None

    def __len__(self) -> int:
        return len(self.buffers) + sum(index.count for index in self.indexes)

    def __contains__(self, digest: bytes) -> bool:
        prefix = int.from_bytes(digest[:8], "big")
        return digest in self.buffers or any(index.locate_one(digest, prefix) is not None for index in self.indexes)

    @property
    def in_memory(self) -> int:
        """Number of blobs that are in memory only."""
        return len(self.buffers)

    def buffered_among(self, names: list[Digest]) -> Mask:
        """Mask of the blobs that are in memory only."""
        return np.fromiter(map(self.buffers.__contains__, names), np.bool_, len(names))

    def buffered(self, digest: bytes) -> Buffered | None:
        """A blob that is in memory only."""
        return self.buffers.get(digest)

    def holds(self, sought: Sought) -> Mask:
        """Mask of the digests whose blob is in a file and not published yet."""
        held = np.zeros(len(sought.prefixes), np.bool_)
        for index in self.indexes:
            held |= index.search(sought)[0]
        return held

    def add(self, index: Index) -> None:
        """Add the locations of a batch. Indexes are merged as runs are, so that their number stays small."""
        if self.noted is not None:
            self.noted(index)
        merged = runs_to_merge([one.count for one in self.indexes], index.count)
        self.indexes = (self._merged([index, *self.indexes[:merged]]), *self.indexes[merged:])

    def merged(self) -> Index:
        """All locations in one index."""
        if len(self.indexes) > 1:
            self.indexes = (self._merged(self.indexes),)
        return self.indexes[0] if self.indexes else Index(np.empty(0, np.uint64), np.empty((0, 8), np.uint64))

    def _merged(self, indexes: Sequence[Index]) -> Index:
        if self.spill_to is None or len(indexes) == 1 or sum(index.count for index in indexes) < _SPILLED_BLOBS:
            return Index.merge(indexes)
        return spilled(indexes, self.spill_to)

    def release_pages(self) -> None:
        """Let go of the pages of indexes in files that were read."""
        for index in self.indexes:
            if isinstance(index, SpilledIndex):
                index.release_pages()

    def clear(self) -> None:
        """Forget all of them."""
        self.buffers.clear()
        self.buffered_bytes = 0
        self.indexes = ()
        self.headers.clear()
