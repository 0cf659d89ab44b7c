"""Bulk construction of a tree from sorted entries.

The result of :func:`build` defines the canonical tree of some content; every other way to make that content must give
the same root. ``split`` divides a level into nodes, each node becomes an entry of the level above, and the tree is
complete with the first level that has a single node.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TypeAlias

import numpy as np

from hangar.digest import Digest
from hangar.errors import InvalidInputError
from hangar.gathering import Rows
from hangar.objects.ascending import as_ascending
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, MIXED, NODE_VERSION, Node, Root, TreeForm
from hangar.objects.samples import count_samples, sample_of
from hangar.objects.split import cuts, marks
from hangar.objects.store import NodeStore
from hangar.wording import plural

__all__ = [
    "NODES_AT_ONCE",
    "Entry",
    "Part",
    "Rows",
    "add_nodes",
    "build",
    "build_above",
    "check_batch",
    "entries_of",
    "make_nodes",
]


Entry: TypeAlias = "tuple[Digest, int, int, bytes | None]"
"""Entry of an inner node for one child, without its last key: digest, entries, samples, and *before*.

The samples are the distinct ones below the child, less one if the first of them is *before*: the last sample of the
sibling before the child, None if there is none. With it the count of an entry that gets another neighbour can be
corrected. It is a plain tuple because ``zip`` makes tuples ten times as fast as instances of any class.
"""


Part: TypeAlias = "tuple[list[bytes], Sequence[bytes] | Rows | Sequence[Entry]]"
"""Content of one node: its keys, and for each key a cell (at level 0) or an entry (on higher levels)."""

NODES_AT_ONCE = 4_096
"""Number of nodes that are made together, so that they are hashed as a batch."""


def build(store: NodeStore, form: TreeForm, keys: Sequence[bytes], cells: Sequence[bytes] | Rows) -> Root | None:
    """Make the tree of sorted entries; its nodes are pending in ``store``.

    Parameters
    ----------
    store
        Gets the new nodes.
    form
        Form of the leaves.
    keys
        Encoded keys, ascending, each once.
    cells
        Cell of each entry (see :class:`~hangar.objects.node.Node`).

    Returns
    -------
    Root or None
        None for no entries.

    Raises
    ------
    InvalidInputError
        Keys do not ascend or are too long, or cells are not of this form.
    """
    check_batch(keys, cells)
    if not keys:
        return None
    return build_above(store, form, 0, *_level(store, form, 0, keys, cells))


def check_batch(keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows) -> None:
    """Raise InvalidInputError unless ``keys`` ascend, are within the length limit, and have one cell each."""
    if len(keys) != len(cells):
        raise InvalidInputError(f"{plural(len(cells), 'entry')} for {plural(len(keys), 'key')}")
    if as_ascending(keys) is None:
        raise InvalidInputError("the keys of a tree must be in ascending order, each only once")


def build_above(store: NodeStore, form: TreeForm, level: int, keys: Sequence[bytes], entries: Sequence[Entry]) -> Root:
    """Build the levels above ``level``, whose nodes are ``entries`` (at least one) with the last keys ``keys``."""
    while len(keys) > 1:
        level += 1
        keys, entries = _level(store, form, level, keys, entries)
    digest, count, samples, _ = entries[0]
    return Root(digest, count, samples if form.nested else count)


def _level(
    store: NodeStore,
    form: TreeForm,
    level: int,
    keys: Sequence[bytes],
    values: Sequence[bytes] | Rows | Sequence[Entry],
) -> tuple[list[bytes], list[Entry]]:
    """Split one whole level into nodes; returns the last key and the entry of each."""
    keys = keys if isinstance(keys, list) else list(keys)
    ends = cuts(keys, marks(keys, level))
    if not ends or ends[-1] < len(keys):
        ends.append(len(keys))
    entries: list[Entry] = []
    start = 0
    for at in range(0, len(ends), NODES_AT_ONCE):
        parts: list[Part] = []
        for end in ends[at : at + NODES_AT_ONCE]:
            parts.append((keys[start:end], values[start:end]))
            start = end
        entries += make_nodes(store, form, level, parts)
    return [keys[end - 1] for end in ends], entries


def make_nodes(store: NodeStore, form: TreeForm, level: int, parts: Sequence[Part]) -> list[Entry]:
    """Make the nodes of one level, one for each part, and return their entries for the level above."""
    made = [
        _inner(store, form, level, keys, values) if level else _leaf(form, keys, values)  # type: ignore[arg-type]
        for keys, values in parts
    ]
    return add_nodes(store, form, made)


def add_nodes(store: NodeStore, form: TreeForm, nodes: Sequence[Node]) -> list[Entry]:
    """Make ``nodes`` pending and return their entries for the level above."""
    return [
        (digest, sum(node.counts), sum(node.samples), None)
        if node.level
        else (digest, len(node.keys), count_samples(node.keys) if form.nested else 0, None)
        for digest, node in zip(store.add_many(nodes), nodes, strict=True)
    ]


def _leaf(form: TreeForm, keys: list[bytes], cells: Sequence[bytes] | Rows) -> Node:
    if isinstance(cells, np.ndarray):
        sizes = bytes((form.width,)) if form.kind == FIXED_INLINE else b""
        refs = cells.tobytes()
        whole = form.kind != MIXED and cells.shape == (len(keys), form.width)
    elif form.kind == MIXED:
        sizes = b"".join([cell[:1] for cell in cells])
        refs = b"".join([cell[1:] for cell in cells])
        whole = len(sizes) == len(cells)
    else:
        sizes = bytes((form.width,)) if form.kind == FIXED_INLINE else b""
        refs = b"".join(cells)
        whole = len(refs) == len(keys) * form.width
    if not whole:
        raise InvalidInputError(f"the entries are not of the form {form}")
    return Node(NODE_VERSION, 0, form.kind, keys, refs, sizes, [], [])


def _inner(store: NodeStore, form: TreeForm, level: int, keys: list[bytes], entries: Sequence[Entry]) -> Node:
    digests, counts, samples, befores = map(list, zip(*entries, strict=True))
    samples = _sample_counts(store, keys, digests, samples, befores) if form.nested else []
    return Node(NODE_VERSION, level, BY_DIGEST, keys, b"".join(digests), b"", counts, samples)


def _sample_counts(
    store: NodeStore,
    keys: Sequence[bytes],
    digests: Sequence[Digest],
    samples: Sequence[int],
    befores: Sequence[bytes | None],
) -> list[int]:
    """Sample count of each child, corrected for its present left neighbour."""
    last_samples: list[bytes | None] = [None, *map(sample_of, keys[:-1])]
    counts = list(samples)
    for i, (before, now) in enumerate(zip(befores, last_samples, strict=True)):
        if before != now:
            first = _first_sample(store, digests[i])
            counts[i] += (first == before) - (first == now)
    return counts


def _first_sample(store: NodeStore, digest: Digest) -> bytes:
    node = store.load(digest)
    while node.level:
        node = store.load(node.child(0))
    return sample_of(node.keys[0])


def entries_of(node: Node) -> list[Entry]:
    """The children of an inner node."""
    count = len(node.keys)
    if not node.samples:
        return list(zip(node.children(), node.counts, repeat(0, count), repeat(None, count), strict=True))
    befores = [None, *map(sample_of, node.keys[:-1])]
    return list(zip(node.children(), node.counts, node.samples, befores, strict=True))
