"""Range scans of a tree in key order, with read-ahead."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from hangar.objects.descend import load_child, load_level
from hangar.objects.node import Node
from hangar.objects.samples import distinct_samples
from hangar.objects.store import NodeStore

__all__ = ["entries_below", "leaves", "scan", "scan_samples", "starts_with"]

_READ_AHEAD = 64
"""Maximum number of nodes that a scan loads together."""


def leaves(
    store: NodeStore, root: bytes, start: bytes = b"", stop: bytes | None = None
) -> Iterator[tuple[Node, int, int]]:
    """Leaves with keys from ``start`` up to, not including, ``stop`` (None: to the end), in order.

    Yields
    ------
    tuple
        The leaf, and the range of its entries in this slice: ``leaf.keys[first:last]``, ``leaf.cells(first, last)``.
    """
    for leaf in _leaves_of(store, [store.load(root)], start, stop):
        first = bisect_left(leaf.keys, start)
        last = len(leaf.keys) if stop is None else bisect_left(leaf.keys, stop)
        if first < last:
            yield leaf, first, last


def _leaves_of(store: NodeStore, nodes: list[Node], start: bytes, stop: bytes | None) -> Iterator[Node]:
    for node in nodes:
        if not node.level:
            yield node
            continue
        first = bisect_left(node.keys, start)
        last = len(node.keys) if stop is None else bisect_left(node.keys, stop) + 1
        children = node.children()[first:last]
        ahead = 1
        while children:
            # The read-ahead grows: a scan that stops early has loaded little, a long one loads many nodes at once.
            yield from _leaves_of(store, load_level(store, children[:ahead], node.level - 1), start, stop)
            del children[:ahead]
            ahead = min(4 * ahead, _READ_AHEAD)


def scan(
    store: NodeStore, root: bytes, *, start: bytes = b"", stop: bytes | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and cells from ``start`` up to, not including, ``stop`` (None: to the end), in order."""
    for leaf, first, last in leaves(store, root, start, stop):
        yield from zip(leaf.keys[first:last], leaf.cells(first, last), strict=True)


def starts_with(store: NodeStore, root: bytes, prefix: bytes) -> bool:
    """Whether some key begins with ``prefix``."""
    node = store.load(root)
    while node.level:
        index = bisect_left(node.keys, prefix)
        if index == len(node.keys):
            return False
        node = load_child(store, node, index)
    index = bisect_left(node.keys, prefix)
    return index < len(node.keys) and node.keys[index].startswith(prefix)


def scan_samples(store: NodeStore, root: bytes, start: bytes = b"") -> Iterator[list[bytes]]:
    """Yield the key prefixes of the distinct samples of a nested column in order, from ``start`` on, in batches.

    Leaves in the middle of a long sample are not loaded.
    """
    last = b""
    while True:
        for leaf, at, stop in leaves(store, root, start):
            samples = distinct_samples(leaf.keys[at:stop])
            if samples[0] == last:
                del samples[0]
            if not samples:
                # The whole leaf belongs to the last sample: seek to the next sample instead of scanning on.
                break
            yield samples
            last = samples[-1]
            start = last + b"\xff"
        else:
            return


def entries_below(store: NodeStore, root: bytes, prefix: bytes) -> tuple[list[bytes], list[bytes]]:
    """Keys that begin with the sample prefix ``prefix`` in a nested column, and their cells."""
    keys: list[bytes] = []
    cells: list[bytes] = []
    for leaf, first, last in leaves(store, root, prefix, prefix + b"\xff"):
        keys += leaf.keys[first:last]
        cells += leaf.cells(first, last)
    return keys, cells
