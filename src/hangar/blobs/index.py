"""In-memory index from digest to location: sorted arrays, binary search for one digest or a batch.

Run files and unpublished blobs use the same two columns. The prefix column has the first eight bytes of each digest as
a number and is searched. The entry column has eight words: the other 24 bytes of the digest, and the location. Digests
are uniformly distributed, so the prefix alone nearly always decides; equal prefixes are compared in full. The checksum
in an entry is XORed with the second word of the digest. So an entry that ends up at another digest by accident fails
the checksum of the read.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from hangar.backends.location import CHECK, LOCATION_WORDS, Location, Locations, Words

__all__ = [
    "ENTRY_BYTES",
    "ENTRY_WORDS",
    "Digests",
    "Index",
    "Mask",
    "Positions",
    "Sought",
    "rows_differ",
    "sort_digests",
]

_REST_WORDS: Final = 3
ENTRY_WORDS: Final = _REST_WORDS + LOCATION_WORDS
ENTRY_BYTES: Final = 8 * ENTRY_WORDS
_SORTED_SEARCH: Final = 16_384
"""Batches of at least this size are sorted before the search."""

Digests = npt.NDArray[np.uint8]
"""Digests, uint8, shape (n, 32), C order."""
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]

_SECOND = struct.Struct("<Q")
_ENTRY = struct.Struct("<24sQQQQQ")


class Sought(msgspec.Struct, frozen=True):
    """Batch of digests, prepared for searching.

    Attributes
    ----------
    prefixes
        The first eight bytes of each as a number, so that the order of numbers is that of digests; shape (n,).
    words
        The four little-endian words of each, shape (n, 4).
    """

    prefixes: Words
    words: Words

    @classmethod
    def of(cls, digests: Digests) -> Sought:
        """Prepare ``digests``, in their order."""
        return cls(digests.view(">u8")[:, 0].astype(np.uint64), digests.view("<u8").astype(np.uint64, copy=False))

    def __len__(self) -> int:
        return len(self.prefixes)

    def take(self, positions: Positions) -> Sought:
        """Subset of the batch: the digests at some positions."""
        return Sought(self.prefixes.take(positions), self.words.take(positions, axis=0))


def sort_digests(digests: Digests) -> tuple[Positions, Sought, Mask]:
    """Sort a batch of digests.

    Returns
    -------
    tuple
        Positions in ascending order of digest, shape (n,); the digests in that order; mask of those equal to the one
        before.
    """
    sought = Sought.of(digests)
    order = np.argsort(sought.prefixes)
    ordered = sought.take(order)
    repeats = np.zeros(len(order), np.bool_)
    equal = np.flatnonzero(ordered.prefixes[1:] == ordered.prefixes[:-1])
    if equal.size:
        if (ordered.words[equal] != ordered.words[equal + 1]).any():
            # Two digests with one prefix: sort by all of the words.
            columns = digests.view(">u8").astype(np.uint64)
            order = np.lexsort((columns[:, 3], columns[:, 2], columns[:, 1], columns[:, 0]))
            ordered = sought.take(order)
            equal = np.flatnonzero(ordered.prefixes[1:] == ordered.prefixes[:-1])
        repeats[equal + 1] = (ordered.words[equal] == ordered.words[equal + 1]).all(axis=1)
    return order, ordered, repeats


def rows_differ(some: Words, others: Words) -> Mask:
    """Mask of the rows that differ: bool, shape (n,). Faster than ``any`` along rows of three words."""
    mask: Mask = some[:, 0] != others[:, 0]
    for word in range(1, _REST_WORDS):
        mask |= some[:, word] != others[:, word]
    return mask


class Index:
    """Locations of digests, sorted by digest; immutable.

    Parameters
    ----------
    prefixes
        uint64, shape (n,), ascending.
    entries
        uint64, shape (n, 8).
    guard
        Called before each search of columns in a mapped file. Raises if the file is shorter than the map, because a
        read beyond its end would raise SIGBUS and end the process.
    """

    __slots__ = ("_entry_bytes", "_guard", "_prefix_view", "count", "entries", "prefixes")

    def __init__(self, prefixes: Words, entries: Words, guard: Callable[[], None] | None = None) -> None:
        self._guard = guard
        self.count = len(prefixes)
        self.prefixes = prefixes
        self.entries = entries
        self._prefix_view = prefixes.data
        self._entry_bytes = entries.data.cast("B") if self.count else memoryview(b"")

    @classmethod
    def build(cls, digests: Sought, locations: Locations) -> Index:
        """Index of sorted, distinct digests with a location each."""
        entries = np.empty((len(locations), ENTRY_WORDS), np.uint64)
        entries[:, :_REST_WORDS] = digests.words[:, 1:]
        entries[:, _REST_WORDS:] = locations.words
        entries[:, _REST_WORDS + CHECK] ^= digests.words[:, 1]
        return cls(digests.prefixes, entries)

    @classmethod
    def merge(cls, indexes: Sequence[Index]) -> Index:
        """Merge indexes. If two have the same digest, the earlier one in the sequence wins."""
        if len(indexes) == 1:
            return indexes[0]
        # Sorting sorted parts stably is merging them.
        prefixes = np.concatenate([np.empty(0, np.uint64), *(index.prefixes for index in indexes)])
        entries = np.concatenate([np.empty((0, ENTRY_WORDS), np.uint64), *(index.entries for index in indexes)])
        order = np.argsort(prefixes, kind="stable")
        prefixes, entries = prefixes.take(order), entries.take(order, axis=0)
        equal = np.flatnonzero(prefixes[1:] == prefixes[:-1])
        if equal.size:
            rest = entries[:, :_REST_WORDS]
            repeats = (rest[equal + 1] == rest[equal]).all(axis=1)
            if not repeats.all():
                # Two digests with one prefix. lexsort is stable: of two entries of one digest the one of the earlier
                # index stays first.
                words = np.ascontiguousarray(rest).view(">u8").astype(np.uint64)
                order = np.lexsort((words[:, 2], words[:, 1], words[:, 0], prefixes))
                prefixes, entries = prefixes.take(order), entries.take(order, axis=0)
                rest = entries[:, :_REST_WORDS]
                repeats = (rest[equal + 1] == rest[equal]).all(axis=1)
            keep = np.ones(len(prefixes), np.bool_)
            keep[equal[repeats] + 1] = False
            prefixes, entries = prefixes[keep], entries[keep]
        return cls(prefixes, entries)

    def _check(self) -> None:
        if self._guard is not None:
            self._guard()

    def part(self, start: int, stop: int) -> Index:
        """The entries from ``start`` to ``stop``."""
        return Index(self.prefixes[start:stop], self.entries[start:stop], self._guard)

    def digests(self) -> Digests:
        """The digests, ascending: uint8, shape (n, 32)."""
        self._check()
        words = np.empty((self.count, 4), np.uint64)
        words[:, 0] = self.prefixes.astype(">u8").view(np.uint64)
        words[:, 1:] = self.entries[:, :_REST_WORDS]
        return words.view(np.uint8)

    def locations(self) -> Locations:
        """The locations, in the order of digests."""
        self._check()
        words = self.entries[:, _REST_WORDS:].copy()
        words[:, CHECK] ^= self.entries[:, 0]
        return Locations(words)

    def locate_all(self, sought: Sought) -> Words | None:
        """Locations of a batch as uint64 records, shape (n, 5), or None if any digest is unknown."""
        if not self.count:
            return None
        if self._guard is not None:
            self._guard()
        entries = self.entries.take(self.prefixes.searchsorted(sought.prefixes), axis=0, mode="clip")
        # Comparing the last 192 bits is enough: two digests that differ only in the first 64 do not occur.
        same = entries[:, :_REST_WORDS] == sought.words[:, 1:]
        if not same.item(same.argmin()):
            return None
        found: Words = entries[:, _REST_WORDS:]
        found[:, CHECK] ^= sought.words[:, 1]
        return found

    def search(self, sought: Sought) -> tuple[Mask, Positions]:
        """Search a batch: a mask of the digests that are in this index, and their rows (arbitrary for the others)."""
        self._check()
        rows = self._rows(sought.prefixes)
        if not self.count:
            return np.zeros(len(rows), np.bool_), rows
        # Clip, because the search may end at any row of a damaged run.
        same = self.prefixes.take(rows, mode="clip") == sought.prefixes
        hits = np.flatnonzero(same)
        if not hits.size:
            return same, rows
        rest = self.entries.take(rows[hits], axis=0, mode="clip")[:, :_REST_WORDS]
        differ = rows_differ(rest, sought.words.take(hits, axis=0)[:, 1:])
        for at in hits[differ].tolist():
            row = self._row(int(sought.prefixes[at]), sought.words[at, 1:].tobytes())
            same[at] = row >= 0
            rows[at] = row
        return same, rows

    def _rows(self, prefixes: Words) -> Positions:
        if len(prefixes) < _SORTED_SEARCH:
            return self.prefixes.searchsorted(prefixes)
        # Neighbours of a sorted batch are in the same cache lines: three times as fast, with the sort.
        order = np.argsort(prefixes)
        rows = np.empty(len(order), np.intp)
        rows[order] = self.prefixes.searchsorted(prefixes.take(order))
        return rows

    def take(self, rows: Positions, sought: Sought) -> Words:
        """Locations in ``rows`` as uint64 records, shape (n, 5). ``sought`` has the digests of these rows."""
        found: Words = self.entries.take(rows, axis=0, mode="clip")[:, _REST_WORDS:]
        found[:, CHECK] ^= sought.words[:, 1]
        return found

    def _row(self, prefix: int, rest: bytes) -> int:
        """Row of a digest, or -1."""
        view = self._prefix_view
        row = bisect_left(view, prefix)
        while row < self.count and view[row] == prefix:
            if self._entry_bytes[row * ENTRY_BYTES : row * ENTRY_BYTES + len(rest)] == rest:
                return row
            row += 1
        return -1

    def locate_one(self, digest: bytes, prefix: int) -> Location | None:
        """Location of one digest, whose first eight bytes are the number ``prefix``."""
        if self._guard is not None:
            self._guard()
        row = bisect_left(self._prefix_view, prefix)
        if row == self.count or self._prefix_view[row] != prefix:
            return None
        rest, offset, check, stored, header, file_row = _ENTRY.unpack_from(self._entry_bytes, row * ENTRY_BYTES)
        if rest != digest[8:]:
            row = self._row(prefix, digest[8:])
            if row < 0:
                return None
            rest, offset, check, stored, header, file_row = _ENTRY.unpack_from(self._entry_bytes, row * ENTRY_BYTES)
        return offset, check ^ _SECOND.unpack_from(rest)[0], stored, header, file_row
