"""Structural diff of two trees; its cost depends on the size of the difference.

Equal content has equal nodes, so a node that occurs in both trees is skipped without reading it, on every level. The
remaining leaves are read a few at a time and compared entry by entry. The lists of differing leaves are held in
memory, their entries are not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain

from hangar.objects.descend import load_level
from hangar.objects.store import NodeStore

__all__ = ["diff"]

_TOGETHER = 64
"""Number of leaves of each tree that are loaded together."""


def diff(
    store: NodeStore, first: bytes | None, second: bytes | None, other: NodeStore | None = None
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Yield the entries that differ between two trees.

    Parameters
    ----------
    store
        Has the nodes of both, or of the first.
    first, second
        Digests of the roots, None for an empty tree.
    other
        Has the nodes of the second; None: ``store`` has them.

    Yields
    ------
    tuple
        Encoded key, its cell in the first tree and its cell in the second (None if the key is absent), in key order.
    """
    if first == second:
        return
    other = store if other is None else other
    ours, theirs = _Frontier(store, first), _Frontier(other, second)
    for level in range(max(ours.level, theirs.level), 0, -1):
        ours.go_below(level)
        theirs.go_below(level)
        if ours.level == theirs.level:
            ours.drop_shared(theirs)
    yield from _compare(_Entries(store, ours), _Entries(other, theirs))


class _Frontier:
    """Nodes of one level that are not known to be shared: the last key below each, and its digest."""

    __slots__ = ("digests", "lasts", "level", "store")

    def __init__(self, store: NodeStore, root: bytes | None) -> None:
        self.store = store
        self.digests: list[bytes] = [] if root is None else [root]
        top = None if root is None else store.load(root)
        self.lasts: list[bytes] = [] if top is None else [top.keys[-1]]
        self.level = 0 if top is None else top.level

    def go_below(self, level: int) -> None:
        """Replace nodes of ``level`` by their children; others stay as they are."""
        if self.level != level:
            return
        nodes = load_level(self.store, self.digests, level)
        self.lasts = list(chain.from_iterable([node.keys for node in nodes]))
        self.digests = list(chain.from_iterable([node.children() for node in nodes]))
        self.level -= 1

    def drop_shared(self, other: _Frontier) -> None:
        """Remove the nodes that both frontiers have from both."""
        shared = set(self.digests).intersection(other.digests)
        if shared:
            self._drop(shared)
            other._drop(shared)

    def _drop(self, shared: set[bytes]) -> None:
        kept = [i for i, digest in enumerate(self.digests) if digest not in shared]
        self.digests = [self.digests[i] for i in kept]
        self.lasts = [self.lasts[i] for i in kept]


class _Entries:
    """Stream of the entries of some leaves in key order, taken up to a bound at a time."""

    __slots__ = ("_cells", "_digests", "_keys", "_lasts", "_next", "_store")

    def __init__(self, store: NodeStore, frontier: _Frontier) -> None:
        self._store = store
        self._digests, self._lasts = frontier.digests, frontier.lasts
        self._next = 0
        self._keys: list[bytes] = []
        self._cells: list[bytes] = []

    def bound(self) -> bytes | None:
        """Last key of the next group of leaves; None if no leaf is left."""
        if self._next == len(self._digests):
            return None
        return self._lasts[min(self._next + _TOGETHER, len(self._digests)) - 1]

    def take(self, bound: bytes | None) -> tuple[list[bytes], list[bytes]]:
        """Keys and cells up to ``bound`` (None: all) that were not taken yet."""
        # The leaf that contains the bound follows the leaves that end before it.
        stop = len(self._digests) if bound is None else bisect_right(self._lasts, bound) + 1
        for leaf in load_level(self._store, self._digests[self._next : stop], 0):
            self._keys += leaf.keys
            self._cells += leaf.cells()
        self._next = max(self._next, min(stop, len(self._digests)))
        end = len(self._keys) if bound is None else bisect_right(self._keys, bound)
        taken = self._keys[:end], self._cells[:end]
        del self._keys[:end], self._cells[:end]
        return taken


def _compare(ours: _Entries, theirs: _Entries) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    while True:
        bounds = [bound for bound in (ours.bound(), theirs.bound()) if bound is not None]
        bound = min(bounds) if bounds else None
        (keys, cells), (other_keys, other_cells) = ours.take(bound), theirs.take(bound)
        if keys == other_keys:
            for key, here, there in zip(keys, cells, other_cells, strict=True):
                if here != there:
                    yield key, here, there
        else:
            first, second = dict(zip(keys, cells, strict=True)), dict(zip(other_keys, other_cells, strict=True))
            for key in sorted({key for key, _ in first.items() ^ second.items()}):
                yield key, first.get(key), second.get(key)
        if bound is None:
            return
