"""Traversal of all nodes of a tree, for garbage collection, sync and fsck."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hangar.digest import Digest
from hangar.errors import NOT_DAMAGE, HangarError
from hangar.objects.descend import load_level
from hangar.objects.node import Node
from hangar.objects.store import NodeStore

__all__ = ["walk"]

_TOGETHER = 64
"""Maximum number of nodes that are loaded together."""


Failed = Callable[[Digest, HangarError], None]


def walk(
    store: NodeStore, root: bytes, seen: set[Digest] | None = None, failed: Failed | None = None
) -> Iterator[tuple[Digest, Node]]:
    """Every node of a tree, parents before children, leaves in key order.

    Parameters
    ----------
    store
        Has the nodes.
    root
        Digest of the root.
    seen
        Nodes to skip together with everything below them; visited nodes are added. So the shared nodes of several trees
        are visited once.
    failed
        Called for a node that cannot be loaded, which is then left out; None: the error is raised.

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
        for digest, node in _load(store, fresh, level, failed):
            yield digest, node
            if level:
                below += node.children()
        if below:
            stack.append((below, level - 1))


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
