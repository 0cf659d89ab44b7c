"""Lookup of tree entries by key: one, or a batch in any order.

A batch descends the tree level by level. The nodes that it reaches on one level are concatenated in key order and
searched with one binary search. So the number of Python calls depends on the number of nodes, not on the number of
keys (for integer keys in trees of fixed width).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from hangar.digest import DIGEST_BYTES
from hangar.gathering import Rows
from hangar.objects.descend import load_level
from hangar.objects.gather import (
    SEARCH_BATCH,
    check_form,
    gather_rows,
    reached_children,
    sort_many,
    sorted_parts,
    unsort,
)
from hangar.objects.node import MIXED, Node, TreeForm
from hangar.objects.store import NodeStore

__all__ = ["find_ints", "find_keys", "find_pairs", "get", "get_many", "key_positions", "pair_positions"]

Found = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]


class _OtherKeysError(Exception):
    """A node has keys that are not pairs of ints."""


def get(store: NodeStore, root: bytes, key: bytes) -> bytes | None:
    """The cell of the encoded ``key``, None if the tree has no such entry."""
    recent = store.recent
    node = recent.get(root) or store.load(root)
    level = node.level
    while level:
        keys = node.keys
        index = bisect_left(keys, key)
        if index == len(keys):
            return None
        digest = node.refs[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        node = recent.get(digest) or store.load(digest)
        level -= 1
    keys = node.keys
    index = bisect_left(keys, key)
    if index == len(keys) or keys[index] != key:
        return None
    return node.cell(index)


def get_many(store: NodeStore, form: TreeForm, root: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
    """The cell of each of the encoded ``keys``, in their order; None for a key without an entry.

    Parameters
    ----------
    store
        Has the nodes.
    form
        Form of the leaves.
    root
        Digest of the root.
    keys
        In any order; duplicates are allowed.
    """
    if len(keys) > SEARCH_BATCH:
        cells: list[bytes | None] = [None] * len(keys)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for start in range(0, len(keys), SEARCH_BATCH):
            part = order[start : start + SEARCH_BATCH]
            for i, cell in zip(part, get_many(store, form, root, [keys[i] for i in part]), strict=True):
                cells[i] = cell
        return cells
    return _get_some(store, form, root, keys)


def _get_some(store: NodeStore, form: TreeForm, root: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
    leaves, flat, found = _find(store, root, keys)
    check_form(leaves, form)
    if form.kind == MIXED:
        cells = [
            leaf.sizes[i : i + 1] + leaf.refs[leaf.ref_ends[i] : leaf.ref_ends[i + 1]]
            for leaf, i in zip(leaves, flat, strict=True)
        ]
    else:
        width = form.width
        cells = [leaf.refs[i * width : i * width + width] for leaf, i in zip(leaves, flat, strict=True)]
    if len(cells) == len(keys):
        return cells  # type: ignore[return-value]
    rest = iter(cells)
    return [next(rest) if there else None for there in found]


def find_keys(store: NodeStore, form: TreeForm, root: bytes, keys: Sequence[bytes]) -> tuple[Found, Rows]:
    """Like :func:`find_ints`, for encoded ``keys`` of any kind."""
    if len(keys) > SEARCH_BATCH:
        cells = get_many(store, form, root, keys)
        mask = np.array([cell is not None for cell in cells])
        nothing = bytes(form.width)
        joined = b"".join([nothing if cell is None else cell for cell in cells])
        return mask, np.frombuffer(joined, np.uint8).reshape(len(keys), form.width)
    leaves, flat, found = _find(store, root, keys)
    check_form(leaves, form)
    width = form.width
    joined = b"".join([leaf.refs[i * width : i * width + width] for leaf, i in zip(leaves, flat, strict=True)])
    rows = np.frombuffer(joined, np.uint8).reshape(len(flat), width)
    mask = np.array(found, np.bool_)
    return mask, rows if len(rows) == len(keys) else _spread(rows, mask)


def _find(store: NodeStore, root: bytes, keys: Sequence[bytes]) -> tuple[list[Node], list[int], list[bool]]:
    """For each key that exists its leaf and its index in the leaf; and for each key whether it exists."""
    top = store.load(root)
    last = top.keys[-1]
    inside = [key <= last for key in keys]
    wanted = keys if all(inside) else list(compress(keys, inside))
    nodes = [top] * len(wanted)
    flat = list(map(bisect_left, [node.keys for node in nodes], wanted))
    for level in reversed(range(top.level)):
        digests = [node.refs[i * 32 : i * 32 + 32] for node, i in zip(nodes, flat, strict=True)]
        nodes = load_level(store, digests, level)
        flat = list(map(bisect_left, [node.keys for node in nodes], wanted))
    hits = [node.keys[i : i + 1] == [key] for node, i, key in zip(nodes, flat, wanted, strict=True)]
    if len(wanted) < len(keys):
        rest = iter(hits)
        found = [within and next(rest) for within in inside]
    else:
        found = hits
    if not all(hits):
        nodes, flat = list(compress(nodes, hits)), list(compress(flat, hits))
    return nodes, flat, found


def find_ints(store: NodeStore, form: TreeForm, root: bytes, keys: npt.NDArray[np.uint64]) -> tuple[Found, Rows]:
    """The cells of integer keys in a tree of fixed width.

    Parameters
    ----------
    store
        Has the nodes.
    form
        Form of the leaves; its kind is by digest, or inline of fixed width.
    root
        Digest of the root.
    keys
        Sample keys of a flat column: uint64, shape (n,), in any order; duplicates are allowed.

    Returns
    -------
    found : numpy.ndarray
        bool, shape (n,): mask of the keys that exist.
    rows : numpy.ndarray
        uint8, shape (n, width): the cells; zeros for missing keys. Not writable.
    """
    return _find_numbers(store, form, root, keys, _integers)


def find_pairs(
    store: NodeStore, form: TreeForm, root: bytes, keys: npt.NDArray[np.complex128]
) -> tuple[Found, Rows] | None:
    """Like :func:`find_ints`, for pairs of ints below 2**53 in a nested column.

    A pair is a complex number: the sample is the real part, the subsample the imaginary part, because numpy sorts and
    searches complex numbers as pairs. Returns None if nodes on the way have other keys; :func:`find_keys` takes any.
    """
    try:
        return _find_numbers(store, form, root, keys, _pairs)
    except _OtherKeysError:
        return None


def _find_numbers(
    store: NodeStore, form: TreeForm, root: bytes, keys: Numbers, numbers: Callable[[list[Node]], Numbers]
) -> tuple[Found, Rows]:
    """Look up ``keys`` given as numbers; ``numbers`` gives the keys of nodes in the same form."""
    if len(keys) > SEARCH_BATCH:
        found, rows = np.empty(len(keys), np.bool_), np.empty((len(keys), form.width), np.uint8)
        for part in sorted_parts(keys):
            found[part], rows[part] = _find_numbers(store, form, root, keys[part], numbers)
        return found, rows
    wanted, order = sort_many(keys)
    nodes = [store.load(root)]
    for level in reversed(range(nodes[0].level)):
        digests = reached_children(nodes, numbers(nodes).searchsorted(wanted))
        if not digests:
            return _nothing(len(keys), form.width)
        nodes = load_level(store, digests, level)
    check_form(nodes, form)
    known = numbers(nodes)
    if not len(known):
        return _nothing(len(keys), form.width)
    flat = unsort(known.searchsorted(wanted), order)
    found = known.take(flat, mode="clip") == keys
    if found.all():
        return found, gather_rows(nodes, flat, form.width)
    return found, _spread(gather_rows(nodes, flat[found], form.width), found)


def _nothing(count: int, width: int) -> tuple[Found, Rows]:
    return np.zeros(count, np.bool_), np.zeros((count, width), np.uint8)


def _integers(nodes: list[Node]) -> npt.NDArray[np.uint64]:
    # Joining bytes is six times as fast as concatenating small arrays.
    return np.frombuffer(b"".join([node.integers for node in nodes]), np.uint64)


def _pairs(nodes: list[Node]) -> npt.NDArray[np.complex128]:
    parts = [node.pairs for node in nodes]
    if None in parts:
        raise _OtherKeysError
    return np.frombuffer(b"".join(parts), np.complex128)  # type: ignore[arg-type]


def _spread(rows: Rows, found: Found) -> Rows:
    """Scatter ``rows`` to the positions in the mask ``found``; zeros elsewhere."""
    spread = np.zeros((len(found), rows.shape[1]), np.uint8)
    spread[found] = rows
    return spread


# ---------------------------------------------------------------------- positions of keys


def key_positions(store: NodeStore, root: bytes, keys: Sequence[bytes]) -> npt.NDArray[np.int64] | None:
    """Positions in key order of the encoded ``keys``, of any kind; None if one of them does not exist."""
    nodes = [store.load(root)] * len(keys)
    starts = [0] * len(keys)
    flat = list(map(bisect_left, [node.keys for node in nodes], keys))
    for level in reversed(range(nodes[0].level if nodes else 0)):
        if any(i == len(node.keys) for node, i in zip(nodes, flat, strict=True)):
            return None
        starts = [
            start + node.count_ends[i] - node.counts[i] for start, node, i in zip(starts, nodes, flat, strict=True)
        ]
        nodes = load_level(store, [node.refs[i * 32 : i * 32 + 32] for node, i in zip(nodes, flat, strict=True)], level)
        flat = list(map(bisect_left, [node.keys for node in nodes], keys))
    if [node.keys[i : i + 1] for node, i in zip(nodes, flat, strict=True)] != [[key] for key in keys]:
        return None
    return np.add(starts, flat, dtype=np.int64)


def pair_positions(store: NodeStore, root: bytes, keys: npt.NDArray[np.complex128]) -> npt.NDArray[np.int64] | None:
    """Like :func:`key_positions`, for pairs as in :func:`find_pairs`; also None if nodes have other keys."""
    wanted, order = sort_many(keys)
    nodes = [store.load(root)]
    starts = np.zeros(1, np.int64)
    try:
        for level in reversed(range(nodes[0].level)):
            flat = _pairs(nodes).searchsorted(wanted)
            starts = _starts_of_children(nodes, starts, flat)
            digests = reached_children(nodes, flat)
            if not digests:
                return None
            nodes = load_level(store, digests, level)
        known = _pairs(nodes)
    except _OtherKeysError:
        return None
    entries = unsort(known.searchsorted(wanted), order)
    if not (known.take(entries, mode="clip") == keys).all():
        return None
    counts = np.fromiter(map(len, [node.keys for node in nodes]), np.int64, len(nodes))
    # Skip the entries between the reached leaves.
    gaps = starts - (counts.cumsum() - counts)
    positions: npt.NDArray[np.int64] = entries + gaps.repeat(counts)[entries]
    return positions


def _starts_of_children(
    nodes: Sequence[Node], starts: npt.NDArray[np.int64], flat: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """Position of the first entry below each reached child, given the position of the first entry of each node."""
    counts = np.concatenate([node.count_array for node in nodes])
    children = np.fromiter(map(len, [node.keys for node in nodes]), np.int64, len(nodes))
    before = counts.cumsum() - counts
    first = children.cumsum() - children
    below = before + (starts - before[first]).repeat(children)
    reached = np.zeros(len(counts) + 1, np.bool_)
    reached[flat] = True
    found: npt.NDArray[np.int64] = below[reached[:-1]]
    return found
