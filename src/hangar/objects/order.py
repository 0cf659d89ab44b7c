"""Order statistics of a tree: entries by position in key order, and positions by key.

Inner nodes count the entries below each child, so finding the k-th entry costs one descent, as finding a key does,
and needs no list of keys. In nested columns the same holds for distinct samples.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt

from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.descend import load_child, load_level
from hangar.objects.gather import (
    SEARCH_BATCH,
    check_form,
    gather_rows,
    reached_children,
    sort_many,
    sorted_parts,
    split_flat,
    unsort,
)
from hangar.objects.node import Node, TreeForm
from hangar.objects.samples import distinct_samples, samples_below
from hangar.objects.store import NodeStore
from hangar.wording import plural

__all__ = [
    "leaves_at",
    "rank",
    "select",
    "select_cells",
    "select_keys",
    "select_refs",
    "select_sample",
    "slice_refs",
]

_TOGETHER = 256
"""Number of leaves of a slice that are loaded together."""


def rank(store: NodeStore, root: bytes, key: bytes) -> int:
    """Number of keys that sort before ``key``."""
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
    _check_positions(node, position, position)
    while node.level:
        index = bisect_right(node.count_ends, position)
        position -= node.count_ends[index] - node.counts[index]
        expected = node.counts[index]
        node = load_child(store, node, index)
        if node.entries != expected:
            raise _miscounted(root)
    return node.keys[position], node.cell(position)


def _check_positions(top: Node, least: int, most: int) -> None:
    if least < 0 or most >= top.entries:
        position = least if least < 0 else most
        raise InvalidInputError(f"position {position} is not among the {plural(top.entries, 'entry')}")


def _miscounted(root: bytes) -> CorruptionError:
    return CorruptionError(f"the tree of root {root.hex()} counts entries that are not there: run `hangar fsck`")


# ---------------------------------------------------------------------- batches


def select_refs(
    store: NodeStore, form: TreeForm, root: bytes, positions: Sequence[int] | npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """The cells at ``positions`` in a tree of fixed width.

    Parameters
    ----------
    store
        Has the nodes.
    form
        Form of the leaves; its kind is by digest, or inline of fixed width.
    root
        Digest of the root.
    positions
        Positions in key order, from 0; shape (n,), in any order; duplicates are allowed.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, width). Not writable.

    Raises
    ------
    InvalidInputError
        The tree has no such position.
    """
    if len(positions) > SEARCH_BATCH:
        flat_positions = np.asarray(positions, np.int64)
        rows = np.empty((len(flat_positions), form.width), np.uint8)
        for part in sorted_parts(flat_positions):
            rows[part] = select_refs(store, form, root, flat_positions[part])
        return rows
    leaves, flat = _select(store, root, positions)
    check_form(leaves, form)
    return gather_rows(leaves, flat, form.width)


def select_keys(store: NodeStore, root: bytes, positions: Sequence[int] | npt.NDArray[np.int64]) -> list[bytes]:
    """Encoded keys at ``positions`` (see :func:`select_refs`)."""
    return _select_each(store, root, positions, lambda leaf, place: leaf.keys[place])


def select_cells(store: NodeStore, root: bytes, positions: Sequence[int] | npt.NDArray[np.int64]) -> list[bytes]:
    """Cells at ``positions`` (see :func:`select_refs`) of a tree of any kind."""
    return _select_each(store, root, positions, Node.cell)


def _select_each(
    store: NodeStore,
    root: bytes,
    positions: Sequence[int] | npt.NDArray[np.int64],
    take: Callable[[Node, int], bytes],
) -> list[bytes]:
    wanted = np.asarray(positions, np.int64)
    taken: list[bytes] = [b""] * len(wanted)
    for part in sorted_parts(wanted):
        leaves, flat = _select(store, root, wanted[part])
        which, flat_positions = split_flat(leaves, flat)
        for i, leaf, place in zip(part.tolist(), which, flat_positions.tolist(), strict=True):
            taken[i] = take(leaves[leaf], place)
    return taken


def _select(
    store: NodeStore, root: bytes, positions: Sequence[int] | npt.NDArray[np.int64]
) -> tuple[list[Node], npt.NDArray[np.intp]]:
    """The leaves that contain ``positions``, and the flat index of each position in these leaves."""
    flat_positions, order = sort_many(np.asarray(positions, np.int64))
    nodes = [store.load(root)]
    if not len(flat_positions):
        return nodes[:0], flat_positions
    _check_positions(nodes[0], int(flat_positions.min()), int(flat_positions.max()))
    for level in reversed(range(nodes[0].level)):
        counts = np.concatenate([node.count_array for node in nodes])
        ends = counts.cumsum()
        flat = ends.searchsorted(flat_positions, side="right")
        if flat.max() == len(counts):
            raise _miscounted(root)
        nodes = load_level(store, reached_children(nodes, flat), level)
        # Children that were not reached are left out, so later flat indices shrink by their counts.
        counts[flat] = 0
        flat_positions = flat_positions - counts.cumsum()[flat]
    if flat_positions.max() >= sum(map(len, [node.keys for node in nodes])):
        raise _miscounted(root)
    return nodes, unsort(flat_positions, order)


def leaves_at(store: NodeStore, root: bytes, start: int, stop: int) -> Iterator[tuple[Node, int, int]]:
    """Leaves with the positions from ``start`` up to, not including, ``stop``, in order.

    Yields
    ------
    tuple
        The leaf, and the range of its entries in this slice: ``leaf.keys[first:last]``, ``leaf.cells(first, last)``.
    """
    if start >= stop:
        return
    nodes = [store.load(root)]
    _check_positions(nodes[0], start, stop - 1)
    if not nodes[0].level:
        yield nodes[0], start, stop
        return
    for level in range(nodes[0].level - 1, 0, -1):
        digests, start, stop = _children_at(nodes, start, stop)
        nodes = load_level(store, digests, level)
    digests, start, stop = _children_at(nodes, start, stop)
    for i in range(0, len(digests), _TOGETHER):
        nodes = load_level(store, digests[i : i + _TOGETHER], 0)
        for leaf, count in zip(nodes, map(len, [node.keys for node in nodes]), strict=True):
            yield leaf, start, min(stop, count)
            start = 0
            stop -= count
    if stop > 0:
        raise _miscounted(root)


def _children_at(nodes: Sequence[Node], start: int, stop: int) -> tuple[list[bytes], int, int]:
    """The children of ``nodes`` with the positions from ``start`` to ``stop``, and both positions relative to them."""
    counts = list(chain.from_iterable([node.counts for node in nodes]))
    ends = list(accumulate(counts))
    first, last = bisect_right(ends, start), bisect_left(ends, stop)
    children: list[bytes] = list(chain.from_iterable([node.children() for node in nodes]))
    before = ends[first] - counts[first]
    return children[first : last + 1], start - before, stop - before


def slice_refs(store: NodeStore, form: TreeForm, root: bytes, start: int, stop: int) -> npt.NDArray[np.uint8]:
    """The cells from position ``start`` up to ``stop`` in a tree of fixed width: uint8, (stop - start, width)."""
    width = form.width
    reached = list(leaves_at(store, root, start, stop))
    check_form([leaf for leaf, _, _ in reached], form)
    parts = [leaf.refs[first * width : last * width] for leaf, first, last in reached]
    return np.frombuffer(b"".join(parts), np.uint8).reshape(max(0, stop - start), width)


# ---------------------------------------------------------------------- samples of nested columns


def select_sample(store: NodeStore, root: bytes, position: int) -> bytes:
    """Key prefix of the sample at ``position`` among the distinct samples of a nested column.

    Raises
    ------
    InvalidInputError
        The tree has no such position.
    """
    node = store.load(root)
    total = samples_below(node)
    if not 0 <= position < total:
        raise InvalidInputError(f"position {position} is not among the {plural(total, 'sample')}")
    while node.level:
        index = bisect_right(node.sample_ends, position)
        position -= node.sample_ends[index] - node.samples[index]
        counted = node.samples[index]
        node = load_child(store, node, index)
        # The child's own count includes a sample shared with its left sibling; the count in the parent does not.
        position += samples_below(node) - counted
    samples = distinct_samples(node.keys)
    if position >= len(samples):
        raise _miscounted(root)
    return samples[position]
