"""Set of digests in sorted arrays: 32 bytes each, where a Python set takes more than 100.

Batches are added to small sorted parts that are merged by size (as in a log-structured merge tree), so that adding n
digests takes O(n log n). The first eight bytes of a digest are searched; the rest is compared.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from hangar.backends.location import Words
from hangar.blobs.index import Digests, Mask, Positions, Sought, rows_differ, sort_digests
from hangar.digest import DIGEST_BYTES

__all__ = ["DigestSet", "Marks"]

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

    def find(self, sought: Sought) -> tuple[Mask, Positions]:
        """Mask of the digests that are in this part, and their rows (arbitrary for the others)."""
        if not len(self.first):
            return np.zeros(len(sought), np.bool_), np.zeros(len(sought), np.intp)
        at = self.first.searchsorted(sought.prefixes)
        found: Mask = self.first.take(at, mode="clip") == sought.prefixes
        hits = np.flatnonzero(found)
        differ = rows_differ(self.rest.take(at[hits], axis=0), sought.words.take(hits, axis=0)[:, 1:])
        for hit in hits[differ].tolist():
            # Several digests with the same first word do not occur by chance; a hostile user may have made them.
            stop = int(self.first.searchsorted(sought.prefixes[hit], side="right"))
            same = np.flatnonzero((self.rest[at[hit] : stop] == sought.words[hit, 1:]).all(axis=1))
            found[hit] = bool(same.size)
            at[hit] += int(same[0]) if same.size else 0
        return found, at

    def digests(self) -> Digests:
        """The digests, in order of their first words."""
        words = np.empty((len(self.first), _WORDS), np.uint64)
        words[:, 0] = self.first.astype(">u8").view(np.uint64)
        words[:, 1:] = self.rest
        return words.view(np.uint8)


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
        sought = self._add(digests)[1]
        return sought.words.view(np.uint8)

    def admit(self, digests: Digests) -> Mask:
        """Add digests; return the mask of those that are new, one of equal ones: bool, shape (n,)."""
        mask = np.zeros(len(digests), np.bool_)
        mask[self._add(digests)[0]] = True
        return mask

    def _add(self, digests: Digests) -> tuple[Positions, Sought]:
        """Add digests; return the positions of those that are new, each once, and these, sorted."""
        order, sought, repeats = sort_digests(np.ascontiguousarray(digests))
        keep = ~repeats
        if self._parts:
            keep &= ~self._holds(sought)
        if not keep.all():
            kept = np.flatnonzero(keep)
            order, sought = order[kept], sought.take(kept)
        if len(order):
            part = _Part.of(sought)
            while self._parts and len(self._parts[-1].first) <= 2 * len(part.first):
                part = part.merge(self._parts.pop())
            self._parts.append(part)
        return order, sought

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
            found |= part.find(sought)[0]
        return found

    def digests(self) -> Digests:
        """All digests; not in order."""
        return np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *(part.digests() for part in self._parts)])


class Marks:
    """A fixed set of digests, each of which is marked or not: 33 bytes each.

    Parameters
    ----------
    digests
        uint8, shape (n, 32), in any order, repeated or not.
    """

    __slots__ = ("_marked", "_part")

    def __init__(self, digests: Digests) -> None:
        _, sought, repeats = sort_digests(np.ascontiguousarray(digests))
        self._part = _Part.of(sought.take(np.flatnonzero(~repeats)) if repeats.any() else sought)
        self._marked = np.zeros(len(self._part.first), np.bool_)

    def __len__(self) -> int:
        return len(self._marked)

    @property
    def marked(self) -> int:
        """Number of marked digests."""
        return int(np.count_nonzero(self._marked))

    def mark(self, digests: Digests) -> tuple[Digests, Mask]:
        """Mark digests.

        Returns
        -------
        tuple
            Those that were not marked, each once, sorted; and a mask of the given digests that are in the set.
        """
        if not len(digests):
            return digests, np.zeros(0, np.bool_)
        sought = Sought.of(np.ascontiguousarray(digests))
        # Sorted numbers are found several times faster in a long array.
        order = np.argsort(sought.prefixes)
        found = np.empty(len(order), np.bool_)
        found[order], rows = self._part.find(sought.take(order))
        rows = rows[found[order]]
        rows = rows[~self._marked[rows]]
        rows.sort()
        fresh = rows[np.diff(rows, prepend=-1) != 0]  # np.unique imports a large package
        self._marked[fresh] = True
        return _Part(self._part.first[fresh], self._part.rest[fresh]).digests(), found

    def is_marked(self, digest: bytes) -> bool:
        """Whether a digest is in the set and marked."""
        found, rows = self._part.find(Sought.of(np.frombuffer(digest, np.uint8).reshape(1, DIGEST_BYTES)))
        return bool(found[0] and self._marked[rows[0]])

    def unmarked(self) -> Digests:
        """The digests that are not marked, sorted by their first eight bytes."""
        left = ~self._marked
        return _Part(self._part.first[left], self._part.rest[left]).digests()

    def is_unmarked(self, digests: Digests) -> Mask:
        """Mask of the digests that are in the set and not marked: bool, shape (n,)."""
        found, rows = self._part.find(Sought.of(np.ascontiguousarray(digests)))
        found[found] = ~self._marked[rows[found]]
        return found

    def __contains__(self, digest: bytes) -> bool:
        return bool(self._part.find(Sought.of(np.frombuffer(digest, np.uint8).reshape(1, DIGEST_BYTES)))[0][0])
