"""Cells of a mixed tree by position, without inner nodes and keys.

A column of texts is read at random positions: each batch touches other leaves, and to decode a leaf means to make an
object of each of its keys. Here the digests of all leaves are known from one pass over the inner nodes, 40 bytes a leaf
(of about 70 entries), and a leaf is decoded to its cells only. Leaves are kept in a cache of bounded size.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, chain
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from hangar import limits
from hangar.bounded import BoundedCache
from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.bulk import MixedLeaf, inner_nodes, mixed_leaves
from hangar.objects.gather import sorted_parts
from hangar.objects.node import Root
from hangar.objects.store import NodeStore
from hangar.wording import plural

__all__ = ["LeafCells"]

_LEAF_BYTES: Final = 600
"""Size of the objects of a leaf, without its cells."""


class _Leaf(msgspec.Struct, frozen=True, gc=False):
    sizes: bytes
    refs: bytes
    ends: array[int]


class LeafCells:
    """Reads the cells of one mixed tree.

    Raises
    ------
    CorruptionError
        An inner node is damaged, or the tree does not have the recorded number of entries.
    """

    __slots__ = ("_cache", "_digests", "_root", "_starts", "_store")

    def __init__(self, store: NodeStore, root: Root) -> None:
        self._store, self._root = store, root
        parts = list(inner_nodes(store, root.digest))
        counts = np.fromiter(chain.from_iterable([node.counts for node in parts]), np.int64)
        self._digests: list[bytes] = list(chain.from_iterable([node.children() for node in parts])) or [root.digest]
        self._starts = np.concatenate(([0], counts.cumsum() if parts else [root.entries]))
        self._cache: BoundedCache[bytes, _Leaf] = BoundedCache(limits.LEAF_CACHE_BYTES)
        if self._starts[-1] != root.entries:
            raise self._miscounted()

    def _miscounted(self) -> CorruptionError:
        return CorruptionError(
            f"the tree of root {self._root.digest.hex()} counts entries that are not there: run `hangar fsck`"
        )

    def at(self, positions: npt.NDArray[np.int64] | range) -> list[bytes]:
        """The cells at positions, in their order.

        Raises
        ------
        InvalidInputError
            The tree has no such position.
        CorruptionError
            A leaf is missing or damaged.
        """
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < self._root.entries):
            raise InvalidInputError(f"a position is not among the {plural(self._root.entries, 'entry')}")
        found: list[bytes] = [b""] * len(wanted)
        for part in sorted_parts(wanted):
            which = self._starts.searchsorted(wanted[part], side="right") - 1
            places = wanted[part] - self._starts[which]
            numbers = which.tolist()
            leaves = self._leaves(list(dict.fromkeys(numbers)))
            for i, number, place in zip(part.tolist(), numbers, places.tolist(), strict=True):
                leaf = leaves[number]
                ends = leaf.ends
                found[i] = leaf.sizes[place : place + 1] + leaf.refs[ends[place] : ends[place + 1]]
        return found

    def _leaves(self, numbers: list[int]) -> dict[int, _Leaf]:
        found: dict[int, _Leaf] = {}
        absent: list[int] = []
        for number in numbers:
            leaf = self._cache.get(self._digests[number])
            if leaf is None:
                absent.append(number)
            else:
                found[number] = leaf
        if absent:
            digests = [self._digests[number] for number in absent]
            for number, digest, read in zip(absent, digests, mixed_leaves(self._store, digests), strict=True):
                found[number] = self._keep(number, digest, read)
        return found

    def _keep(self, number: int, digest: bytes, read: MixedLeaf) -> _Leaf:
        if len(read.lengths) != self._starts[number + 1] - self._starts[number]:
            raise self._miscounted()
        leaf = _Leaf(read.sizes, read.refs, array("I", accumulate(read.lengths, initial=0)))
        self._cache.put(digest, leaf, _LEAF_BYTES + len(leaf.refs) + 5 * len(leaf.sizes))
        return leaf
