"""Traversal of all nodes of a tree, for garbage collection, sync and fsck.

The array records that leaves of chunked columns name are expanded: their chunk maps are walked too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hangar.digest import Digest
from hangar.errors import NOT_DAMAGE, HangarError
from hangar.objects.arrays import ArrayRecord
from hangar.objects.children import array_digests
from hangar.objects.descend import load_level
from hangar.objects.node import ARRAYS, Node
from hangar.objects.store import NodeStore

__all__ = ["blob_leaves", "walk"]

_TOGETHER = 64
"""Maximum number of nodes that are loaded together."""


Failed = Callable[[Digest, HangarError], None]


def walk(
    store: NodeStore, root: bytes, seen: set[Digest] | None = None, failed: Failed | None = None
) -> Iterator[tuple[Digest, Node]]:
    """Every node of a tree, parents before children, leaves in key order; those of chunk maps after the leaf that names them.

    Parameters
    ----------
    store
        Has the nodes.
    root
        Digest of the root.
    seen
        Nodes and array records to skip together with everything below them; visited ones are added. So the shared nodes of several trees
        are visited once.
    failed
        Called for a node or array record that cannot be loaded, which is then left out; None: the error is raised.

    Yields
    ------
    tuple
        Digest and node.

    Raises
    ------
    CorruptionError
        A node is missing, damaged, or on another level than its parent says.
    """
    met = set() if seen is None else seen
    try:
        level = store.load(root).level
    except HangarError as error:
        if failed is None or isinstance(error, NOT_DAMAGE):
            raise
        failed(Digest(root), error)
        return
    # A stack of parts of levels. Its size is bounded by the height times the number of children of one part.
    stack: list[tuple[list[Digest], int]] = [([Digest(root)], level)]
    while stack:
        digests, level = stack.pop()
        rest = digests[_TOGETHER:]
        if rest:
            stack.append((rest, level))
        fresh = [digest for digest in dict.fromkeys(digests[:_TOGETHER]) if digest not in met]
        met.update(fresh)
        below: list[Digest] = []
        arrays: list[Digest] = []
        for digest, node in _load(store, fresh, level, failed):
            yield digest, node
            if level:
                below += node.children()
            else:
                arrays += array_digests(node)
        if below:
            stack.append((below, level - 1))
        if arrays:
            stack += _chunk_maps(store, [digest for digest in dict.fromkeys(arrays) if digest not in met], met, failed)


def _load(store: NodeStore, digests: list[Digest], level: int, failed: Failed | None) -> list[tuple[Digest, Node]]:
    try:
        return list(zip(digests, load_level(store, digests, level), strict=True))
    except HangarError as error:
        if failed is None or isinstance(error, NOT_DAMAGE):
            raise
        if len(digests) == 1:
            failed(digests[0], error)
            return []
    return [found for digest in digests for found in _load(store, [digest], level, failed)]


def _chunk_maps(
    store: NodeStore, arrays: Sequence[Digest], met: set[Digest], failed: Failed | None
) -> list[tuple[list[Digest], int]]:
    """The roots of the chunk maps of array records that were not visited yet, each with its level."""
    met.update(arrays)
    found: list[tuple[list[Digest], int]] = []
    for record in _records(store, arrays, failed):
        root = None if record.root is None else Digest(record.root)
        if root is None or root in met:
            continue
        try:
            found.append(([root], store.load(root).level))
        except HangarError as error:
            if failed is None or isinstance(error, NOT_DAMAGE):
                raise
            met.add(root)
            failed(root, error)
    found.reverse()
    return found


def _records(store: NodeStore, digests: Sequence[Digest], failed: Failed | None) -> list[ArrayRecord]:
    try:
        return store.load_arrays(digests)
    except HangarError as error:
        if failed is None or isinstance(error, NOT_DAMAGE):
            raise
        if len(digests) == 1:
            failed(digests[0], error)
            return []
    return [found for digest in digests for found in _records(store, [digest], failed)]


def blob_leaves(
    store: NodeStore, root: bytes, seen: set[Digest] | None = None, failed: Failed | None = None
) -> Iterator[tuple[Digest, Node]]:
    """The leaves whose ``blobs()`` are all blobs of a tree, those of chunk maps included; parameters as for :func:`walk`."""
    for digest, node in walk(store, root, seen, failed):
        if not node.level and node.kind != ARRAYS:
            yield digest, node
