"""Many digests and their locations, sorted, for searching one or a batch.

The same columns lie in a run file and in the memory of a writer: the first eight bytes of each digest as a number (what is searched),
and beside it an entry of eight words: the other 24 bytes of the digest and the location. Digests are uniform, so the prefix alone
nearly always decides; equal prefixes are compared in full. In an entry the checksum is combined with the second word of the digest, so that
an entry that was moved to another digest, by whatever accident, fails the checksum of the read.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.backends.location import LOCATION_WORDS, Locations, Words

__all__ = ["ENTRY_BYTES", "ENTRY_WORDS", "DigestWords", "Found", "Index", "digest_words", "prefixes_of", "sort_digests"]

ENTRY_WORDS: Final = 3 + LOCATION_WORDS
ENTRY_BYTES: Final = 8 * ENTRY_WORDS
_CHECK_WORD: Final = 5

DigestWords = npt.NDArray[np.uint64]
"""Digests as four little-endian words each, shape (n, 4)."""
Found = tuple[int, int, int, int, int]
"""Location of one blob: its five words."""

_SECOND = struct.Struct("<Q")
_ENTRY = struct.Struct("<24sQQQQQ")


def digest_words(digests: npt.NDArray[np.uint8]) -> DigestWords:
    """Digests, uint8 of shape (n, 32), as words."""
    return np.ascontiguousarray(digests).view("<u8").astype(np.uint64, copy=False)


def prefixes_of(digests: npt.NDArray[np.uint8]) -> Words:
    """The first eight bytes of each digest as a number, so that the order of numbers is the order of digests."""
    return np.ascontiguousarray(digests).view(">u8")[:, 0].astype(np.uint64)


def sort_digests(digests: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """The order of digests, and which of them in that order repeat the one before.

    Returns
    -------
    tuple
        Positions, shape (n,), and a mask over them, shape (n,).
    """
    prefixes = prefixes_of(digests)
    order = np.argsort(prefixes)
    ordered = prefixes[order]
    repeats = np.zeros(len(order), np.bool_)
    equal = ordered[1:] == ordered[:-1]
    if equal.any():
        words = digest_words(digests)
        if (words[order[1:][equal], 1:] != words[order[:-1][equal], 1:]).any():
            # Two digests with one prefix: sort by all of the words.
            columns = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
            order = np.lexsort((columns[:, 3], columns[:, 2], columns[:, 1], columns[:, 0]))
        both = words[order]
        repeats[1:] = (both[1:] == both[:-1]).all(axis=1)
    return order, repeats


class Index:
    """Locations of digests, sorted by digest; immutable.

    Parameters
    ----------
    prefixes
        uint64, shape (n,), ascending.
    entries
        uint64, shape (n, 8).
    """

    __slots__ = ("_entry_bytes", "_prefix_view", "count", "entries", "prefixes")

    def __init__(self, prefixes: Words, entries: Words) -> None:
        self.count = len(prefixes)
        self.prefixes = prefixes
        self.entries = entries
        self._prefix_view = prefixes.data
        self._entry_bytes = entries.data.cast("B") if self.count else memoryview(b"")

    @classmethod
    def build(cls, digests: npt.NDArray[np.uint8], locations: Locations) -> Index:
        """The index of digests that are sorted and distinct, uint8 of shape (n, 32), with a location each."""
        words = digest_words(digests)
        entries = np.empty((len(words), ENTRY_WORDS), np.uint64)
        entries[:, :3] = words[:, 1:]
        entries[:, 3:] = locations.words
        entries[:, _CHECK_WORD] ^= words[:, 1]
        return cls(prefixes_of(digests), entries)

    @classmethod
    def merge(cls, indexes: Sequence[Index]) -> Index:
        """One index of all that ``indexes`` hold; where two hold one digest, the earlier in the sequence counts."""
        prefixes = np.concatenate([index.prefixes for index in indexes])
        entries = np.concatenate([index.entries for index in indexes])
        order = np.argsort(prefixes, kind="stable")
        prefixes, entries = prefixes[order], entries[order]
        equal = prefixes[1:] == prefixes[:-1]
        if equal.any():
            rest = np.ascontiguousarray(entries[:, :3]).view(">u8").astype(np.uint64)
            columns = [rest[:, 2], rest[:, 1], rest[:, 0], prefixes]
            # lexsort is stable: of two entries of one digest the one of the earlier index stays first.
            order = np.lexsort(columns)
            prefixes, entries = prefixes[order], entries[order]
            keep = np.ones(len(prefixes), np.bool_)
            keep[1:] = (prefixes[1:] != prefixes[:-1]) | (entries[1:, :3] != entries[:-1, :3]).any(axis=1)
            prefixes, entries = prefixes[keep], entries[keep]
        return cls(prefixes, entries)

    def digests(self) -> npt.NDArray[np.uint8]:
        """The digests, ascending: uint8, shape (n, 32)."""
        words = np.empty((self.count, 4), np.uint64)
        words[:, 0] = self.prefixes.astype(">u8").view(np.uint64)
        words[:, 1:] = self.entries[:, :3]
        return words.view(np.uint8)

    def locations(self) -> Locations:
        """The locations, in the order of digests."""
        words = self.entries[:, 3:].copy()
        words[:, _CHECK_WORD - 3] ^= self.entries[:, 0]
        return Locations(words)

    def search(self, prefixes: Words, words: DigestWords) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
        """Which digests of a batch are here, and at what positions (any number where one is not).

        Parameters
        ----------
        prefixes, words
            Of the digests looked for, in any order; see :func:`prefixes_of` and :func:`digest_words`.
        """
        places = np.searchsorted(self.prefixes, prefixes)
        if not self.count:
            return np.zeros(len(prefixes), np.bool_), places
        same = self.prefixes.take(places, mode="clip") == prefixes
        if not same.any():
            return same, places
        found = same & (self.entries.take(places, axis=0, mode="clip")[:, :3] == words[:, 1:]).all(axis=1)
        for at in np.flatnonzero(same & ~found).tolist():
            place = self._place(int(prefixes[at]), words[at, 1:].astype("<u8").tobytes())
            if place >= 0:
                found[at], places[at] = True, place
        return found, places

    def take(self, places: npt.NDArray[np.intp], words: DigestWords) -> Words:
        """Words of the locations at ``places``, shape (n, 5); ``words`` are those of the digests there."""
        found = self.entries.take(places, axis=0, mode="clip")[:, 3:]
        found[:, _CHECK_WORD - 3] ^= words[:, 1]
        return found

    def _place(self, prefix: int, rest: bytes) -> int:
        """Position of a digest, or -1."""
        view = self._prefix_view
        place = bisect_left(view, prefix)
        while place < self.count and view[place] == prefix:
            if self._entry_bytes[place * ENTRY_BYTES : place * ENTRY_BYTES + 24] == rest:
                return place
            place += 1
        return -1

    def find(self, digest: bytes, prefix: int) -> Found | None:
        """Location of one digest, whose first eight bytes are the number ``prefix``."""
        place = bisect_left(self._prefix_view, prefix)
        if place == self.count or self._prefix_view[place] != prefix:
            return None
        rest, offset, stored, check, header, where = _ENTRY.unpack_from(self._entry_bytes, place * ENTRY_BYTES)
        if rest != digest[8:]:
            place = self._place(prefix, digest[8:])
            if place < 0:
                return None
            rest, offset, stored, check, header, where = _ENTRY.unpack_from(self._entry_bytes, place * ENTRY_BYTES)
        return offset, stored, check ^ _SECOND.unpack_from(rest)[0], header, where
