"""Bulk read of the leaves of a tree: the cells of many leaves as one array, with no Python object per key.

A scan decodes each key of a leaf to a ``bytes`` object, which takes most of its time. Here the keys stay encoded: only
keys that are all integers are decoded, by numpy, many leaves at a time. The digest of every leaf is verified, and what
is not exactly as expected is left to the decoder of nodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from hangar import limits
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError
from hangar.objects.descend import load_level
from hangar.objects.node import (
    ARRAYS,
    BY_DIGEST,
    DIGEST_TAG,
    FIXED_INLINE,
    MIXED,
    NODE_VERSION,
    Node,
    TreeForm,
    cell_lengths,
    decode_node,
)
from hangar.objects.store import NodeStore

__all__ = [
    "Cells",
    "IntLeaves",
    "MixedLeaf",
    "blobs_in",
    "blobs_of",
    "cells_of",
    "inner_nodes",
    "int_leaves",
    "keys_of",
    "mixed_leaves",
]

_LEAVES: Final = 1_024
"""Number of leaves decoded together: about 70,000 entries, 1 to 4 MB."""
_FIXED_ARRAY: Final = 0x90
_ARRAY_16: Final = 0xDC
_INT_KEY: Final = np.dtype([("bin8", "u1"), ("length", "u1"), ("tag", "u1"), ("number", ">u8")])
"""An encoded integer key in the list of keys of a node: a msgpack string of 9 bytes."""
_INT_KEY_HEAD: Final = {"bin8": 0xC4, "length": 9, "tag": 0x10}
_INT_PAIR: Final = np.dtype([*_INT_KEY.descr, ("tag 2", "u1"), ("number 2", ">u8")])
_INT_PAIR_HEAD: Final = {"bin8": 0xC4, "length": 18, "tag": 0x10, "tag 2": 0x10}


class Cells(msgspec.Struct, frozen=True):
    """The cells of consecutive leaves.

    Attributes
    ----------
    rows
        Digests or inline values: uint8, shape (n, width).
    keys
        The keys as uint64, shape (n,), if they are wanted and all of them are integers of a flat column; else empty.
    """

    rows: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]


class _Leaf(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """A leaf as :class:`hangar.objects.node.Node`, with the keys still encoded."""

    version: int
    level: int
    kind: int
    keys: msgspec.Raw
    refs: bytes
    sizes: bytes
    counts: tuple[()]
    samples: tuple[()]


_decode: Final = msgspec.msgpack.Decoder(_Leaf).decode
_encode: Final = msgspec.msgpack.Encoder().encode
_NO_KEYS: Final = np.empty(0, np.uint64)

Numbers = npt.NDArray[np.int64]


def cells_of(
    store: NodeStore, root: bytes, form: TreeForm, *, keys: bool, seen: set[Digest] | None = None
) -> Iterator[Cells]:
    """The cells of a tree in order, in batches.

    Parameters
    ----------
    store
        Has the nodes.
    root
        Digest of the root node.
    form
        Form of the tree; not mixed.
    keys
        Whether integer keys are wanted.
    seen
        Nodes to skip with everything below them; visited ones are added. So the shared nodes of several trees are read once.

    Raises
    ------
    CorruptionError
        A node is missing or damaged, or a leaf has another form.
    """
    for digests in _leaf_digests(store, root, seen):
        datas = store.encoded(digests)
        found = _cells(datas, form, keys)
        yield _cells_of_nodes(root, list(map(decode_node, datas)), form, keys) if found is None else found


def blobs_of(
    store: NodeStore, root: bytes, form: TreeForm, seen: set[Digest] | None = None
) -> Iterator[npt.NDArray[np.uint8]]:
    """The digests of the blobs that a tree of values names, in order, in batches: uint8, shape (n, 32).

    Parameters are those of :func:`cells_of`, but the tree may be mixed. It may not be one of array records.

    Raises
    ------
    CorruptionError
        A node is missing or damaged, or a leaf has another form.
    """
    if form.kind == BY_DIGEST:
        yield from (cells.rows for cells in cells_of(store, root, form, keys=False, seen=seen))
    elif form.kind == MIXED:
        for digests in _leaf_digests(store, root, seen):
            found = list(mixed_leaves(store, digests))
            yield _tagged(b"".join([leaf.sizes for leaf in found]), b"".join([leaf.refs for leaf in found]))


def blobs_in(leaves: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """The digests of the blobs that verified encoded leaves name, all of one kind, in order: uint8, shape (n, 32)."""
    found = list(map(_decode, leaves))
    refs = b"".join([leaf.refs for leaf in found])
    if found and found[0].kind == MIXED:
        return _tagged(b"".join([leaf.sizes for leaf in found]), refs)
    return np.frombuffer(refs, np.uint8).reshape(-1, DIGEST_BYTES)


def _tagged(sizes: bytes, refs: bytes) -> npt.NDArray[np.uint8]:
    """The digests among the entries of mixed leaves."""
    named = np.frombuffer(sizes, np.uint8) == DIGEST_TAG
    lengths = np.frombuffer(cell_lengths(sizes), np.uint8)
    rows: npt.NDArray[np.uint8] = np.frombuffer(refs, np.uint8)[np.repeat(named, lengths)].reshape(-1, DIGEST_BYTES)
    return rows


def _leaf_digests(store: NodeStore, root: bytes, seen: set[Digest] | None = None) -> Iterator[list[Digest]]:
    """The digests of all leaves in order, in batches."""
    waiting = [] if store.load(root).level else _unseen([Digest(root)], seen)
    for node in inner_nodes(store, root, seen):
        waiting += _unseen(node.children(), seen)
        while len(waiting) >= _LEAVES:
            yield waiting[:_LEAVES]
            del waiting[:_LEAVES]
    if waiting:
        yield waiting


def inner_nodes(store: NodeStore, root: bytes, seen: set[Digest] | None = None) -> Iterator[Node]:
    """The nodes directly above the leaves, in order; none if the root is a leaf. ``seen`` as for :func:`cells_of`."""
    top = store.load(root)
    if top.level and _unseen([Digest(root)], seen):
        yield from _above_leaves(store, top, seen)


def _above_leaves(store: NodeStore, node: Node, seen: set[Digest] | None) -> Iterator[Node]:
    if node.level == 1:
        yield node
        return
    for child in load_level(store, _unseen(node.children(), seen), node.level - 1):
        yield from _above_leaves(store, child, seen)


def _unseen(digests: list[Digest], seen: set[Digest] | None) -> list[Digest]:
    """Those that are not in a set, each once; they are added to it."""
    if seen is None:
        return digests
    fresh = [digest for digest in dict.fromkeys(digests) if digest not in seen]
    seen.update(fresh)
    return fresh


class IntLeaves(msgspec.Struct, frozen=True):
    """Leaves of fixed width whose keys are all integers, of a flat column.

    Attributes
    ----------
    rows
        Digests or inline values: uint8, shape (n, width).
    keys
        The encoded keys: uint8, shape (n, 9).
    ends
        Where each leaf ends in them.
    """

    rows: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint8]
    ends: list[int]


def int_leaves(datas: list[bytes], form: TreeForm) -> IntLeaves | None:
    """Decode leaves that are exactly the canonical encoding of leaves of fixed width with integer keys; None if one is not.

    None, too, for leaves of array records: whoever reads those needs the records that they name.
    """
    leaves = None if form.nested or form.kind == ARRAYS else _leaves(datas, form)
    if leaves is None or list(map(_encode, leaves)) != datas:
        return None
    raws = [leaf.keys for leaf in leaves]
    counts, entries = _records(raws, _INT_KEY, _INT_KEY_HEAD)
    refs = [leaf.refs for leaf in leaves]
    lengths = np.fromiter(map(len, raws), np.int64, len(raws))
    if (
        entries is None
        or not ((counts > 0) & (counts <= limits.NODE_MAX_ENTRIES)).all()
        # A list of up to 15 has a head of one byte.
        or not np.array_equal(lengths, counts * _INT_KEY.itemsize + np.where(counts < 16, 1, 3))
        or not np.array_equal(np.fromiter(map(len, refs), np.int64, len(refs)), counts * form.width)
    ):
        return None
    keys = np.ascontiguousarray(entries.view(np.uint8).reshape(-1, _INT_KEY.itemsize)[:, 2:])
    rows = np.frombuffer(b"".join(refs), np.uint8).reshape(-1, form.width)
    return IntLeaves(rows, keys, counts.cumsum().tolist())


def _leaves(datas: list[bytes], form: TreeForm) -> list[_Leaf] | None:
    """Encoded leaves of fixed width, with the keys still encoded; None if one of them is not as expected."""
    width = form.width
    if not width:
        return None
    try:
        leaves = list(map(_decode, datas))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    sizes = bytes((width,)) if form.kind == FIXED_INLINE else b""
    if {(leaf.version, leaf.level, leaf.kind, leaf.sizes) for leaf in leaves} != {(NODE_VERSION, 0, form.kind, sizes)}:
        return None
    return leaves


def _cells(datas: list[bytes], form: TreeForm, keys: bool) -> Cells | None:
    """The cells of encoded leaves; None if one of them is not as expected."""
    width = form.width
    leaves = _leaves(datas, form)
    if leaves is None:
        return None
    refs = [leaf.refs for leaf in leaves]
    raws = [leaf.keys for leaf in leaves]
    lengths = np.fromiter(map(len, refs), np.int64, len(refs))
    counts, entries = _records(raws, _INT_KEY, _INT_KEY_HEAD) if keys else (_counts(raws), None)
    if not np.array_equal(lengths, counts * width):
        return None
    numbers = _NO_KEYS if entries is None else entries["number"].astype(np.uint64)
    return Cells(np.frombuffer(b"".join(refs), np.uint8).reshape(-1, width), numbers)


def keys_of(store: NodeStore, root: bytes) -> Iterator[list[bytes] | npt.NDArray[np.uint64]]:
    """The keys of the tree of a nested column in order, in batches: pairs of integers as uint64, shape (n, 2); others encoded.

    Raises
    ------
    CorruptionError
        A node is missing or damaged.
    """
    for digests in _leaf_digests(store, root):
        datas = store.encoded(digests)
        entries = None
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            _, entries = _records([leaf.keys for leaf in map(_decode, datas)], _INT_PAIR, _INT_PAIR_HEAD)
        if entries is None:
            yield list(chain.from_iterable([decode_node(data).keys for data in datas]))
        else:
            yield np.stack([entries["number"].astype(np.uint64), entries["number 2"].astype(np.uint64)], axis=1)


class MixedLeaf(msgspec.Struct, frozen=True, gc=False):
    """The cells of a mixed leaf: the size byte of each, the rest of all of them, and the length of each rest."""

    sizes: bytes
    refs: bytes
    lengths: bytes


def mixed_leaves(store: NodeStore, digests: Sequence[bytes]) -> Iterator[MixedLeaf]:
    """The leaves of these digests, which are mixed.

    Raises
    ------
    CorruptionError
        One is missing, damaged, or no mixed leaf.
    """
    for digest, data in zip(digests, store.encoded(digests), strict=True):
        try:
            leaf: _Leaf | Node = _decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            leaf = decode_node(data)
        lengths = cell_lengths(leaf.sizes)
        if (leaf.version, leaf.level, leaf.kind) != (NODE_VERSION, 0, MIXED) or sum(lengths) != len(leaf.refs):
            decode_node(data)
            raise CorruptionError(f"tree node {digest.hex()} is not a leaf of texts: run `hangar fsck`")
        yield MixedLeaf(leaf.sizes, leaf.refs, lengths)


def _lists(raws: list[msgspec.Raw]) -> tuple[bytes, Numbers, Numbers, Numbers]:
    """Encoded lists of keys: joined, where the keys of each begin and end, and their number (-1 if its form is unusual)."""
    joined = b"".join(raws)
    buffer = np.frombuffer(joined, np.uint8)
    ends = np.fromiter(map(len, raws), np.int64, len(raws)).cumsum()
    starts = np.concatenate(([0], ends[:-1]))
    first = buffer[starts].astype(np.int64)
    short = first & 0xF0 == _FIXED_ARRAY
    long = buffer.take(starts + 1, mode="clip").astype(np.int64) << 8 | buffer.take(starts + 2, mode="clip")
    counts = np.where(short, first & 0x0F, np.where(first == _ARRAY_16, long, -1))
    return joined, starts + np.where(short, 1, 3), ends, counts


def _counts(raws: list[msgspec.Raw]) -> Numbers:
    return _lists(raws)[3]


def _records(
    raws: list[msgspec.Raw], dtype: np.dtype[np.void], head: dict[str, int]
) -> tuple[Numbers, npt.NDArray[np.void] | None]:
    """The number of keys in each list, and all keys as records of one dtype; None if they do not have this form."""
    joined, starts, ends, counts = _lists(raws)
    if not np.array_equal(ends - starts, counts * dtype.itemsize):
        return counts, None
    parts = [joined[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    records = np.frombuffer(b"".join(parts), dtype)
    # Keys of the same length may be of text.
    return counts, records if all((records[name] == value).all() for name, value in head.items()) else None


def _cells_of_nodes(root: bytes, leaves: list[Node], form: TreeForm, keys: bool) -> Cells:
    """As :func:`_cells`, of decoded nodes."""
    for leaf in leaves:
        if leaf.level or leaf.kind != form.kind or leaf.width != form.width:
            raise CorruptionError(f"the tree of root {root.hex()} has leaves of another form: run `hangar fsck`")
    count = sum(len(leaf.keys) for leaf in leaves)
    rows = np.frombuffer(b"".join([leaf.refs for leaf in leaves]), np.uint8).reshape(count, form.width)
    numbers = np.frombuffer(b"".join([leaf.integers for leaf in leaves]), np.uint64) if keys else _NO_KEYS
    return Cells(rows, numbers if len(numbers) == count else _NO_KEYS)
