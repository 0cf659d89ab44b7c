"""Single entries of a tree, and its entries in order.

Every function takes the digest of the root. Batches are faster through ``batch``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.locate import load_child
from hangar.objects.node import Node
from hangar.objects.samples import sample_of
from hangar.objects.store import NodeStore

__all__ = ["get", "leaves", "rank", "rank_sample", "scan", "select", "select_sample"]

_READ_AHEAD = 64
"""Leaves that a scan loads together, at most."""


def get(store: NodeStore, root: bytes, key: bytes) -> bytes | None:
    """What the tree holds under the encoded ``key``, None where it has no such entry."""
    load = store.load
    node = load(root)
    level = node.level
    while level:
        keys = node.keys
        index = bisect_left(keys, key)
        if index == len(keys):
            return None
        node = load(node.refs[index * 32 : index * 32 + 32])
        level -= 1
    keys = node.keys
    index = bisect_left(keys, key)
    if index == len(keys) or keys[index] != key:
        return None
    return node.cell(index)


def rank(store: NodeStore, root: bytes, key: bytes) -> int:
    """Number of keys below ``key``."""
    node = store.load(root)
    below = 0
    while node.level:
        index = bisect_left(node.keys, key)
        if index == len(node.keys):
            return below + node.entries
        below += node.count_ends[index] - node.counts[index]
        node = load_child(store, node, index)
    return below + bisect_left(node.keys, key)


def select(store: NodeStore, root: bytes, position: int) -> tuple[bytes, bytes]:
    """Key and cell at ``position`` in key order, from 0.

    Raises
    ------
    InvalidInputError
        The tree has no such position.
    """
    node = store.load(root)
    if not 0 <= position < node.entries:
        raise InvalidInputError(f"position {position} is not among the {node.entries} entries")
    while node.level:
        index = bisect_right(node.count_ends, position)
        position -= node.count_ends[index] - node.counts[index]
        node = load_child(store, node, index)
        if position >= node.entries:
            raise CorruptionError(f"the tree of root {root.hex()} counts entries that are not there")
    return node.keys[position], node.cell(position)


def select_sample(store: NodeStore, root: bytes, position: int) -> bytes:
    """What the keys of the sample at ``position``, among the distinct samples of a nested column, begin with."""
    node = store.load(root)
    total = _samples_below(node)
    if not 0 <= position < total:
        raise InvalidInputError(f"position {position} is not among the {total} samples")
    while node.level:
        index = bisect_right(node.sample_ends, position)
        position -= node.sample_ends[index] - node.samples[index]
        adjusted = node.samples[index]
        node = load_child(store, node, index)
        # The child counts a sample that it shares with the sibling before it; its parent does not.
        position += _samples_below(node) - adjusted
    return sorted(set(map(sample_of, node.keys)))[position]


def _samples_below(node: Node) -> int:
    return sum(node.samples) if node.level else len(set(map(sample_of, node.keys)))


def rank_sample(store: NodeStore, root: bytes, sample: bytes) -> int:
    """Number of distinct samples below ``sample`` (an encoded sample, as keys begin with it) in a nested column."""
    node = store.load(root)
    below = 0
    while node.level:
        index = bisect_left(node.keys, sample)
        if index == len(node.keys):
            return below + sum(node.samples)
        below += node.sample_ends[index] - node.samples[index]
        adjusted = node.samples[index]
        node = load_child(store, node, index)
        below -= _samples_below(node) - adjusted
    return below + len(set(map(sample_of, node.keys[: bisect_left(node.keys, sample)])))


def leaves(
    store: NodeStore, root: bytes, start: bytes = b"", stop: bytes | None = None
) -> Iterator[tuple[Node, int, int]]:
    """Leaves with keys from ``start`` up to, not including, ``stop`` (None: to the end), in order.

    Yields
    ------
    tuple
        The leaf, and the range of its entries that lie between: ``leaf.keys[first:last]``, ``leaf.cells(first, last)``.
    """
    for leaf in _nodes_between(store, [store.load(root)], start, stop):
        first = bisect_left(leaf.keys, start)
        last = len(leaf.keys) if stop is None else bisect_left(leaf.keys, stop)
        if first < last:
            yield leaf, first, last


def _nodes_between(store: NodeStore, nodes: list[Node], start: bytes, stop: bytes | None) -> Iterator[Node]:
    for node in nodes:
        if not node.level:
            yield node
            continue
        first = bisect_left(node.keys, start)
        last = len(node.keys) if stop is None else bisect_left(node.keys, stop) + 1
        children = node.children()[first:last]
        ahead = 1
        while children:
            # A scan that is given up early has loaded little, one that goes on loads many at once.
            yield from _nodes_between(store, store.load_many(children[:ahead]), start, stop)
            del children[:ahead]
            ahead = min(4 * ahead, _READ_AHEAD)


def scan(
    store: NodeStore, root: bytes, *, start: bytes = b"", stop: bytes | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and cells from ``start`` up to, not including, ``stop`` (None: to the end), in order."""
    for leaf, first, last in leaves(store, root, start, stop):
        yield from zip(leaf.keys[first:last], leaf.cells(first, last), strict=True)
