"""Rows that are held in memory until they are written: readable at once, and written many batches at a time.

Storing a small batch by itself costs several times what its bytes cost: digests are sorted and looked up, a file is
written, an index is built and merged. Held rows cost one entry of a dictionary each. The locator finds them as it finds
the buffered blobs of a writer.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np

from hangar.backends.base import Rows
from hangar.blobs.index import Digests, Index, Mask
from hangar.blobs.unpublished import Buffered
from hangar.digest import Digest, Header, digest_list

__all__ = ["HeldBatch", "HeldRows"]

K = TypeVar("K", bound=Hashable)


class HeldBatch(NamedTuple, Generic[K]):
    """Blobs of one header that are to be written to one place, in several arrays."""

    place: K
    header: Header
    pieces: list[Rows]
    digests: Digests


class _Generation(Generic[K]):
    """Rows that are written together."""

    def __init__(self) -> None:
        # The number of each row, counted over all batches; a digest that came twice has the last one.
        self.numbers: dict[bytes, int] = {}
        self.batches: list[tuple[K, Header, Rows, Digests]] = []
        self.ends: list[int] = []
        self.nbytes = 0

    def add(self, place: K, header: Header, rows: Rows, digests: Digests, names: list[Digest]) -> None:
        begin = self.ends[-1] if self.ends else 0
        end = begin + len(rows)
        # In this order, because others look up without the lock.
        self.batches.append((place, header, rows, digests))
        self.ends.append(end)
        self.numbers.update(zip(names, range(begin, end), strict=True))
        self.nbytes += rows.nbytes

    def get(self, digest: bytes) -> Buffered | None:
        number = self.numbers.get(digest)
        if number is None:
            return None
        _, header, rows, _ = self.batches[at := bisect_right(self.ends, number)]
        return Buffered("", {}, header, rows[number - self.ends[at]].tobytes())  # counted from the end


class HeldRows(Generic[K]):
    """Rows in memory, for a locator to search.

    Attributes
    ----------
    nbytes
        Bytes that are held and not being written.
    """

    indexes: Final[tuple[Index, ...]] = ()
    headers: Final[dict[int, Header]] = {}

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filling: _Generation[K] = _Generation()
        self._written: _Generation[K] | None = None

    @property
    def nbytes(self) -> int:
        return self._filling.nbytes

    @property
    def in_memory(self) -> int:
        """Number of blobs that are found here."""
        written = self._written
        return len(self._filling.numbers) + (0 if written is None else len(written.numbers))

    def hold(self, place: K, header: Header, rows: Rows, digests: Digests) -> None:
        """Hold rows: uint8, shape (n, bytes of one). The caller has verified their digests, and does not change them."""
        names = digest_list(digests)
        with self._lock:
            self._filling.add(place, header, rows, digests, names)

    def buffered_among(self, names: list[Digest]) -> Mask:
        """Mask of the blobs that are held."""
        held = np.zeros(len(names), np.bool_)
        # In this order: what is moved to the second one between the two looks is found.
        for generation in (self._filling, self._written):
            if generation is not None and generation.numbers:
                held |= np.fromiter(map(generation.numbers.__contains__, names), np.bool_, len(names))
        return held

    def buffered(self, digest: bytes) -> Buffered | None:
        """A held blob."""
        filling, written = self._filling, self._written
        return filling.get(digest) or (None if written is None else written.get(digest))

    def release_pages(self) -> None:
        """Nothing is in files."""

    def begin_writing(self) -> list[HeldBatch[K]]:
        """What is held, to be written. It is found here until :meth:`end_writing`; nothing may begin in between."""
        with self._lock:
            found = self._filling
            if not found.batches:
                return []
            self._written = found
            self._filling = _Generation()
        groups: dict[tuple[K, Header], list[tuple[Rows, Digests]]] = {}
        for place, header, rows, digests in found.batches:
            groups.setdefault((place, header), []).append((rows, digests))
        return [
            HeldBatch(place, header, [rows for rows, _ in parts], np.concatenate([digests for _, digests in parts]))
            for (place, header), parts in groups.items()
        ]

    def end_writing(self) -> None:
        """What was to be written is found elsewhere now, or is given up."""
        self._written = None

    def drop(self) -> None:
        """Drop all of it."""
        self._filling, self._written = _Generation(), None
