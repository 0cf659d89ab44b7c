"""Traversal of all nodes of a tree, for garbage collection, sync and fsck."""

from __future__ import annotations

from collections.abc import Iterator

from hangar.digest import Digest
from hangar.objects.descend import load_level
from hangar.objects.node import Node
from hangar.objects.store import NodeStore

__all__ = ["walk"]

_TOGETHER = 64
"""Maximum number of nodes that are loaded together."""


def walk(store: NodeStore, root: bytes, seen: set[Digest] | None = None) -> Iterator[tuple[Digest, Node]]:
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
    level = store.load(root).level
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
        for digest, node in zip(fresh, load_level(store, fresh, level), strict=True):
            yield digest, node
            if level:
                below += node.children()
        if below:
            stack.append((below, level - 1))
