"""Descent in a tree: find the nodes of a level that contain given keys.

A key belongs to the first node whose last key is not smaller, or to the last node if there is none. :func:`reached`
finds the nodes of a batch of keys; a :class:`Cursor` moves from node to node.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from hangar.errors import CorruptionError
from hangar.objects.node import Node
from hangar.objects.store import NodeStore

__all__ = ["Cursor", "load_child", "load_level", "reached"]


def load_child(store: NodeStore, node: Node, index: int) -> Node:
    """The child at ``index`` of an inner node.

    Raises
    ------
    CorruptionError
        It is not one level below its parent.
    """
    digest = node.child(index)
    child = store.load(digest)
    if child.level != node.level - 1:
        raise CorruptionError(f"tree node {digest.hex()} has level {child.level} where {node.level - 1} is expected")
    return child


def load_level(store: NodeStore, digests: Sequence[bytes], level: int) -> list[Node]:
    """Load many nodes of one level.

    Raises
    ------
    CorruptionError
        One of them is not of ``level``.
    """
    nodes = store.load_many(digests)
    levels = [node.level for node in nodes]
    if levels.count(level) != len(levels):
        digest, wrong = next((digest, at) for digest, at in zip(digests, levels, strict=True) if at != level)
        raise CorruptionError(f"tree node {digest.hex()} has level {wrong} where {level} is expected")
    return nodes


def reached(
    store: NodeStore, top: Node, level: int, keys: Sequence[bytes], start: int, stop: int
) -> list[tuple[Node, int, int]]:
    """The nodes of ``level`` that contain ``keys[start:stop]`` (ascending), in order, each with its range of keys."""
    groups = [(top, start, stop)]
    for below in reversed(range(level, top.level)):
        digests: list[bytes] = []
        ranges: list[tuple[int, int]] = []
        for node, first, last in groups:
            ends = node.keys
            most = len(ends) - 1
            while first < last:
                index = bisect_left(ends, keys[first])
                if index >= most:
                    index, end = most, last
                else:
                    end = bisect_right(keys, ends[index], first + 1, last)
                digests.append(node.child(index))
                ranges.append((first, end))
                first = end
        nodes = load_level(store, digests, below)
        groups = [(node, *bounds) for node, bounds in zip(nodes, ranges, strict=True)]
    return groups


class Cursor:
    """A position among the nodes of one level.

    Parameters
    ----------
    store
        Has the nodes.
    top
        Root of the tree.
    level
        Level to move on, not above the root's.

    Attributes
    ----------
    node
        The current node, after :meth:`seek`.
    """

    __slots__ = ("_level", "_path", "_store", "node", "top")

    def __init__(self, store: NodeStore, top: Node, level: int) -> None:
        self._store = store
        self._level = level
        self._path: list[tuple[Node, int]] = []
        self.top = self.node = top

    def seek(self, key: bytes) -> None:
        """Move to the node that ``key`` belongs to."""
        self._path = []
        node = self.top
        while node.level > self._level:
            index = min(bisect_left(node.keys, key), len(node.keys) - 1)
            self._path.append((node, index))
            node = load_child(self._store, node, index)
        self.node = node

    def at_end(self) -> bool:
        """Whether this is the last node of the level."""
        return all(index == len(node.keys) - 1 for node, index in self._path)

    def advance(self) -> bool:
        """Move to the next node; False if there is none."""
        path = self._path
        depth = len(path) - 1
        while depth >= 0 and path[depth][1] == len(path[depth][0].keys) - 1:
            depth -= 1
        if depth < 0:
            return False
        node, index = path[depth]
        del path[depth:]
        path.append((node, index + 1))
        node = load_child(self._store, node, index + 1)
        while node.level > self._level:
            path.append((node, 0))
            node = load_child(self._store, node, 0)
        self.node = node
        return True
