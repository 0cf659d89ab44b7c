"""Find where trees name given digests of blobs or tree nodes.

There are two passes. :meth:`DigestFinder.add` walks a tree and marks every node that contains a wanted digest. A
subtree that several trees share is walked once. The chunk maps of chunked arrays belong to the tree: a chunk is found at
the key of its sample. :meth:`DigestFinder.hits` then lists the places in one tree, and reads
marked nodes only. The first pass costs one visit of each distinct node; the second costs as much as its result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from hangar.digest import DIGEST_BYTES, Digest, digest_array, digest_list
from hangar.errors import NOT_DAMAGE, HangarError
from hangar.objects.arrays import ArrayRecord
from hangar.objects.children import array_digests
from hangar.objects.descend import load_level
from hangar.objects.node import ARRAYS, BY_DIGEST, DIGEST_TAG, FIXED_INLINE, MAX_LEVEL, MIXED, Node
from hangar.objects.store import NodeStore

__all__ = ["DigestFinder", "Failed", "Hit"]

Failed = Callable[[Digest, HangarError], None]
_TOGETHER: Final = 64
"""Maximum number of nodes that are loaded together."""
_ARRAY_LEVEL: Final = -1
_CHUNK_MAP: Final = -2 - MAX_LEVEL
"""Added to the levels of chunk maps, so that they are below the array records, which are below the leaves that name them."""


class Hit(NamedTuple):
    """A place in a tree that names a wanted digest.

    Attributes
    ----------
    key
        Encoded key of the entry of a blob, an array record, or a part of a chunk map; the last key below a node.
    after
        For a node, the last key before it, None if there is none. None for a blob.
    entries
        Number of entries: 1 for a blob, those below a node.
    node
        Whether it is a node or an array record.
    """

    digest: Digest
    key: bytes
    after: bytes | None
    entries: int
    node: bool


class DigestFinder:
    """Finds the places in trees that name one of the wanted digests.

    Parameters
    ----------
    wanted
        Digests of blobs, nodes and array records.
    failed
        Called for a node or array record that cannot be loaded and is not wanted itself; None: the error is raised.

    Attributes
    ----------
    marked
        The marked nodes and array records, each with its level, where it is known (0 for a node that cannot be loaded);
        those of chunk maps have negative levels.
    """

    def __init__(self, wanted: Iterable[bytes], failed: Failed | None = None) -> None:
        self.wanted: Final = frozenset(map(Digest, wanted))
        self.marked: dict[Digest, int] = {}
        self._failed = failed
        self._seen: set[Digest] = set()
        self._prefixes = np.unique(_prefixes(digest_array(sorted(self.wanted))))

    # ------------------------------------------------------------------ the first pass

    def add(self, store: NodeStore, root: Digest) -> bool:
        """Walk a tree, as far as it is new, and return whether it contains a wanted digest."""
        if root not in self._seen:
            self._visit_all(store, [root], None)
        return root in self.marked

    def _visit_all(self, store: NodeStore, digests: list[Digest], level: int | None, base: int = 0) -> None:
        """Visit nodes of one level (None: not known) that were not visited before. ``base`` is added to marked levels."""
        self._seen.update(digests)
        nodes = self._load(store, digests, level)
        for digest in self.wanted.intersection(digests):
            self.marked[digest] = base
        leaves = [(digest, node) for digest, node in nodes if not node.level]
        for digest in self._with_blobs(leaves):
            self.marked[digest] = base
        for digest, node in nodes:
            if node.level:
                self._visit_children(store, node, base)
                if digest in self.wanted or not self.marked.keys().isdisjoint(node.children()):
                    self.marked[digest] = base + node.level
            elif node.kind == ARRAYS:
                self._visit_arrays(store, array_digests(node))
                if not self.marked.keys().isdisjoint(array_digests(node)):
                    self.marked[digest] = base

    def _visit_arrays(self, store: NodeStore, digests: list[Digest]) -> None:
        """Visit array records and their chunk maps, as far as they are new."""
        fresh = [digest for digest in dict.fromkeys(digests) if digest not in self._seen]
        self._seen.update(fresh)
        for digest in self.wanted.intersection(fresh):
            self.marked[digest] = _ARRAY_LEVEL
        for digest, record in self._load_arrays(store, fresh):
            root = None if record.root is None else Digest(record.root)
            if root is not None and root not in self._seen:
                self._visit_all(store, [root], None, _CHUNK_MAP)
            if root in self.marked:
                self.marked[digest] = _ARRAY_LEVEL

    def _visit_children(self, store: NodeStore, node: Node, base: int) -> None:
        fresh = [child for child in dict.fromkeys(node.children()) if child not in self._seen]
        if node.level == 1 and fresh and self._is_inline(store, fresh[0]):
            # All leaves of a tree are of one kind, and these name no blob.
            self._seen.update(fresh)
            for digest in self.wanted.intersection(fresh):
                self.marked[digest] = base
            return
        for start in range(0, len(fresh), _TOGETHER):
            self._visit_all(store, fresh[start : start + _TOGETHER], node.level - 1, base)

    def _is_inline(self, store: NodeStore, leaf: Digest) -> bool:
        try:
            return store.load(leaf).kind == FIXED_INLINE
        except NOT_DAMAGE:
            raise
        except HangarError:
            return False

    def _load(self, store: NodeStore, digests: list[Digest], level: int | None) -> list[tuple[Digest, Node]]:
        """The nodes that can be loaded."""
        try:
            nodes = store.load_many(digests) if level is None else load_level(store, digests, level)
            return list(zip(digests, nodes, strict=True))
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            if len(digests) > 1:
                return [found for digest in digests for found in self._load(store, [digest], level)]
            if digests[0] not in self.wanted:
                if self._failed is None:
                    raise
                self._failed(digests[0], error)
            return []

    def _load_arrays(self, store: NodeStore, digests: list[Digest]) -> list[tuple[Digest, ArrayRecord]]:
        """The array records that can be loaded."""
        try:
            return list(zip(digests, store.load_arrays(digests), strict=True))
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            if len(digests) > 1:
                return [found for digest in digests for found in self._load_arrays(store, [digest])]
            if digests[0] not in self.wanted:
                if self._failed is None:
                    raise
                self._failed(digests[0], error)
            return []

    def _with_blobs(self, leaves: Sequence[tuple[Digest, Node]]) -> Iterator[Digest]:
        """The leaves that name a wanted blob."""
        plain = [(digest, leaf) for digest, leaf in leaves if leaf.kind == BY_DIGEST]
        if plain:
            rows = np.frombuffer(b"".join([leaf.refs for _, leaf in plain]), np.uint8).reshape(-1, DIGEST_BYTES)
            ends = np.cumsum([len(leaf.keys) for _, leaf in plain])
            places = self._places(rows)
            for at in np.unique(np.searchsorted(ends, places, side="right")).tolist():
                yield plain[at][0]
        for digest, leaf in leaves:
            if leaf.kind == MIXED and DIGEST_TAG in leaf.sizes and self._places(leaf.blobs()).size:
                yield digest

    def _places(
        self, rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    ) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Positions of the wanted digests among ``rows``, uint8 of shape (n, 32)."""
        if not self._prefixes.size or not len(rows):
            return np.empty(0, np.intp)
        prefixes = _prefixes(rows)
        found = self._prefixes.take(np.searchsorted(self._prefixes, prefixes), mode="clip")
        near = np.flatnonzero(found == prefixes)
        if not near.size:
            return near
        exact = [digest in self.wanted for digest in digest_list(np.ascontiguousarray(rows[near]))]
        return near[np.array(exact, np.bool_)]

    # ------------------------------------------------------------------ the second pass

    def hits(
        self, store: NodeStore, root: Digest, finished: set[Digest], dead: set[Digest], *, once: bool = False
    ) -> Generator[Hit, None, bool]:
        """List the places in a tree that was added, in key order; of the root itself nothing is said.

        Parameters
        ----------
        finished
            Digests that are not of interest any more; the caller may add to it between two results.
        dead
            Nodes to leave out. Those below which all is finished are added.
        once
            Add every node that was walked to ``dead``.

        Returns
        -------
        bool
            Whether there is a wanted digest below that is not finished.
        """
        if root in dead or root not in self.marked:
            return False
        alive = yield from self._hits_below(store, root, None, finished, dead, once)
        if once or not alive:
            dead.add(root)
        return alive

    def _hits_below(
        self,
        store: NodeStore,
        digest: Digest,
        after: bytes | None,
        finished: set[Digest],
        dead: set[Digest],
        once: bool,
    ) -> Generator[Hit, None, bool]:
        nodes = self._load(store, [digest], None)
        if not nodes:
            return False
        node, alive = nodes[0][1], False
        if node.kind == ARRAYS:
            return (yield from self._hits_in_arrays(store, node, finished))
        if not node.level:
            for at, blob in self._blobs(node):
                if blob not in finished:
                    yield Hit(blob, node.keys[at], None, 1, False)
                    alive |= blob not in finished
            return alive
        for at, child in enumerate(node.children()):
            if child not in self.marked:
                continue
            before = node.keys[at - 1] if at else after
            if child in self.wanted and child not in finished:
                yield Hit(child, node.keys[at], before, node.counts[at], True)
                alive |= child not in finished
            if child not in dead:
                below = yield from self._hits_below(store, child, before, finished, dead, once)
                alive |= below
                if once or not below:
                    dead.add(child)
        return alive

    def _hits_in_arrays(self, store: NodeStore, leaf: Node, finished: set[Digest]) -> Generator[Hit, None, bool]:
        """The places below a leaf of array records, each at the key of its sample."""
        alive = False
        for key, digest in zip(leaf.keys, array_digests(leaf), strict=True):
            if digest not in self.marked:
                continue
            if digest in self.wanted and digest not in finished:
                yield Hit(digest, key, None, 1, True)
                alive |= digest not in finished
            for _, record in self._load_arrays(store, [digest]):
                root = record.root
                if root is None or root not in self.marked:
                    continue
                if root in self.wanted and root not in finished:
                    yield Hit(Digest(root), key, None, 1, True)
                    alive |= root not in finished
                # Several samples may share a chunk map, so none of it is dead after the first of them.
                told: set[Digest] = set()
                for hit in self._hits_below(store, Digest(root), None, finished, set(), False):
                    if hit.digest not in told and hit.digest not in finished:
                        told.add(hit.digest)
                        yield hit._replace(key=key, after=None, entries=1)
                        alive |= hit.digest not in finished
        return alive

    def _blobs(self, leaf: Node) -> list[tuple[int, Digest]]:
        """The wanted blobs of a leaf, with their positions."""
        if leaf.kind == MIXED:
            cells = [cell[1:] if cell[0] == DIGEST_TAG else b"" for cell in leaf.cells()]
        else:
            cells = leaf.cells() if leaf.kind == BY_DIGEST else []
        return [(at, Digest(cell)) for at, cell in enumerate(cells) if cell in self.wanted]

    def count_uses(self, store: NodeStore, roots: dict[Digest, int]) -> dict[Digest, int]:
        """How often each wanted digest is named by trees.

        Parameters
        ----------
        roots
            Roots that were added, and how often each tree counts.
        """
        weights = {root: times for root, times in roots.items() if root in self.marked}
        found: dict[Digest, int] = {}
        for digest in sorted(self.marked, key=self.marked.__getitem__, reverse=True):
            weight = weights.get(digest, 0)
            if weight and self.marked[digest] == _ARRAY_LEVEL:
                for _, record in self._load_arrays(store, [digest]):
                    if record.root is not None and record.root in self.marked:
                        weights[Digest(record.root)] = weights.get(Digest(record.root), 0) + weight
                continue
            nodes = self._load(store, [digest], None) if weight else []
            for _, node in nodes:
                if node.level or node.kind == ARRAYS:
                    for child in node.children() if node.level else array_digests(node):
                        if child in self.marked:
                            weights[child] = weights.get(child, 0) + weight
                else:
                    for _, blob in self._blobs(node):
                        found[blob] = found.get(blob, 0) + weight
        return found | {digest: weights[digest] for digest in self.wanted & weights.keys()}


def _prefixes(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The first eight bytes of each digest as a number: uint64, shape (n,)."""
    return np.ascontiguousarray(rows[:, :8]).view(np.uint64)[:, 0]
