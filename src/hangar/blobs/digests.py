"""Set of digests in sorted arrays: 32 bytes each, where a Python set takes more than 100.

Batches are added to small sorted parts that are merged by size (as in a log-structured merge tree), so that adding n
digests takes O(n log n). The first eight bytes of a digest are searched; the rest is compared.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from hangar.backends.location import Words
from hangar.blobs.index import Digests, Mask, Sought, sort_digests
from hangar.digest import DIGEST_BYTES

__all__ = ["DigestSet"]

_WORDS: Final = DIGEST_BYTES // 8


class _Part(NamedTuple):
    """Sorted distinct digests: first words as numbers, shape (n,); the other three words, shape (n, 3)."""

    first: Words
    rest: Words

    @classmethod
    def of(cls, sought: Sought) -> _Part:
        return cls(sought.prefixes, np.ascontiguousarray(sought.words[:, 1:]))

    def merge(self, other: _Part) -> _Part:
        """Both parts, which have no digest in common."""
        first = np.concatenate((self.first, other.first))
        order = np.argsort(first, kind="stable")
        return _Part(first[order], np.concatenate((self.rest, other.rest))[order])

    def holds(self, sought: Sought) -> Mask:
        """Mask of the digests that are in this part."""
        if not len(self.first):
            return np.zeros(len(sought), np.bool_)
        at = self.first.searchsorted(sought.prefixes)
        found: Mask = self.first.take(at, mode="clip") == sought.prefixes
        hits = np.flatnonzero(found)
        differ = (self.rest.take(at[hits], axis=0) != sought.words[hits, 1:]).any(axis=1)
        for hit in hits[differ].tolist():
            # Several digests with the same first word: somebody made them so.
            stop = int(self.first.searchsorted(sought.prefixes[hit], side="right"))
            found[hit] = bool((self.rest[at[hit] : stop] == sought.words[hit, 1:]).all(axis=1).any())
        return found


class DigestSet:
    """Set of digests."""

    __slots__ = ("_parts",)

    def __init__(self, digests: Digests | None = None) -> None:
        self._parts: list[_Part] = []
        if digests is not None:
            self.add(digests)

    def __len__(self) -> int:
        return sum(len(part.first) for part in self._parts)

    @property
    def nbytes(self) -> int:
        """Size of the arrays."""
        return DIGEST_BYTES * len(self)

    def add(self, digests: Digests) -> Digests:
        """Add digests; return those that are new, each once, sorted.

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order, repeated or not.
        """
        if not len(digests):
            return digests
        _, sought, repeats = sort_digests(np.ascontiguousarray(digests))
        fresh = np.flatnonzero(~repeats & ~self._holds(sought))
        if not fresh.size:
            return digests[:0]
        part = _Part.of(sought.take(fresh))
        while self._parts and len(self._parts[-1].first) <= 2 * len(part.first):
            part = part.merge(self._parts.pop())
        self._parts.append(part)
        return sought.words[fresh].view(np.uint8)

    def holds(self, digests: Digests) -> Mask:
        """Mask of the digests that are in the set: bool, shape (n,).

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order; fastest where they are sorted.
        """
        return self._holds(Sought.of(np.ascontiguousarray(digests))) if len(digests) else np.zeros(0, np.bool_)

    def __contains__(self, digest: bytes) -> bool:
        return bool(self.holds(np.frombuffer(digest, np.uint8).reshape(1, DIGEST_BYTES))[0])

    def _holds(self, sought: Sought) -> Mask:
        found = np.zeros(len(sought), np.bool_)
        for part in self._parts:
            found |= part.holds(sought)
        return found

    def digests(self) -> Digests:
        """All digests; not in order."""
        parts = [np.empty((0, _WORDS), np.uint64)]
        for part in self._parts:
            words = np.empty((len(part.first), _WORDS), np.uint64)
            words[:, 0] = part.first.astype(">u8").view(np.uint64)
            words[:, 1:] = part.rest
            parts.append(words)
        return np.concatenate(parts).view(np.uint8)
