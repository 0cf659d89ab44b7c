"""Incremental update of a tree: only nodes on the path of a change are written again.

The update goes level by level, from the leaves up. The leaves that contain changed keys are split again, from the
start of the first one until a new boundary falls on an old one. Removed and added nodes are then the changes of the
level above. The result is the same tree that ``build`` makes of the same content, whatever the order and batches of
the changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from hangar.objects.build import (
    NODES_AT_ONCE,
    Entry,
    Part,
    Rows,
    add_nodes,
    build,
    build_above,
    check_batch,
    entries_of,
    make_nodes,
)
from hangar.objects.descend import Cursor, reached
from hangar.objects.node import Node, Root, TreeForm
from hangar.objects.replace import replaced
from hangar.objects.split import cuts, marks
from hangar.objects.store import NodeStore

__all__ = ["apply", "cells_of"]

_KEYS_AT_ONCE = 4_096
"""Number of changes whose nodes are loaded together."""


def apply(
    store: NodeStore, form: TreeForm, root: Root | None, keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows
) -> Root | None:
    """Insert, change or delete entries of the tree ``root``; the new nodes are pending in ``store``.

    Parameters
    ----------
    store
        Has the nodes of ``root`` and gets the new ones.
    form
        Form of the leaves.
    root
        The tree before the change, None for an empty one.
    keys
        Encoded keys, ascending, each once.
    cells
        The new cell of each key; None deletes the entry if it exists. An array (n, width) is the fast form for a new
        tree.

    Returns
    -------
    Root or None
        None for a tree without entries, ``root`` itself if nothing changed.

    Raises
    ------
    InvalidInputError
        Keys do not ascend or are too long, or cells are not of this form.
    """
    if isinstance(cells, np.ndarray):
        if root is None:
            return build(store, form, keys, cells)
        cells = cells_of(cells)
    if root is None:
        there = [cell for cell in cells if cell is not None]
        if len(there) < len(cells):
            keys = [key for key, cell in zip(keys, cells, strict=True) if cell is not None]
        return build(store, form, keys, there)
    check_batch(keys, cells)
    made_before = len(store.pending)
    top = store.load(root.digest)
    values: Sequence[Any] = cells
    for level in range(top.level + 1):
        if not keys:
            return root
        keys, values = _Level(store, form, top, level, keys, values).change()
    left = [i for i, entry in enumerate(values) if entry is not None]
    if not keys or not left:
        return None if keys else root
    tree = build_above(store, form, top.level, [keys[i] for i in left], [values[i] for i in left])
    return _lowered(store, tree, made_before)


def cells_of(rows: Rows) -> list[bytes]:
    """The rows of an array as a list of cells."""
    count, width = rows.shape
    cells: list[bytes] = np.ascontiguousarray(rows).view(f"V{width}")[:, 0].tolist() if width else [b""] * count
    return cells


def _lowered(store: NodeStore, tree: Root, made_before: int) -> Root:
    """Remove top nodes that have a single child: the first level with one node is the root."""
    digest = tree.digest
    node = store.load(digest)
    while node.level and len(node.keys) == 1:
        if digest in islice(store.pending, made_before, None):
            store.drop(digest)
        digest = node.child(0)
        node = store.load(digest)
    return Root(digest, tree.entries, tree.samples)


class _Level:
    """Update of one level: takes its changed ``keys`` and ``values`` (None deletes), gives those of the level above."""

    __slots__ = ("above", "cursor", "form", "keys", "level", "nodes", "parts", "store", "values")

    def __init__(
        self, store: NodeStore, form: TreeForm, top: Node, level: int, keys: Sequence[bytes], values: Sequence[Any]
    ) -> None:
        self.store, self.form, self.level, self.keys, self.values = store, form, level, keys, values
        self.cursor = Cursor(store, top, level)
        self.above: dict[bytes, Entry | None] = {}
        self.parts: list[Part] = []
        self.nodes: list[Node] = []

    def change(self) -> tuple[list[bytes], list[Entry | None]]:
        done = 0
        while done < len(self.keys):
            upto = min(done + _KEYS_AT_ONCE, len(self.keys))
            for node, start, stop in reached(self.store, self.cursor.top, self.level, self.keys, done, upto):
                if start >= done:  # else the previous call of `_change_run` has handled this node
                    done = self._replace(node, start, stop) or self._change_run(start)
            if len(self.parts) + len(self.nodes) >= NODES_AT_ONCE:
                self._make()
        self._make()
        ordered = sorted(self.above)
        return ordered, [self.above[key] for key in ordered]

    def _replace(self, node: Node, start: int, stop: int) -> int:
        """Replace ``node`` if only its values change. Returns the number of changes done so far, 0 if keys change too.

        The changes of the node begin at ``start`` and end at ``stop`` or later.
        """
        end = bisect_right(self.keys, node.keys[-1], start)
        if end < stop:
            return 0
        new = replaced(node, self.form, self.keys[start:end], self.values[start:end])
        if new is None:
            return 0
        if new is not node:
            self.nodes.append(new)
        return end

    def _change_run(self, done: int) -> int:
        """Split again from the node of change ``done`` until a new boundary falls on an old one.

        Returns the number of changes done so far.
        """
        self.cursor.seek(self.keys[done])
        keys: list[bytes] = []
        values: list[Any] = []
        marked = b""
        while True:
            node = self.cursor.node
            last = node.keys[-1]
            stop = len(self.keys) if self.cursor.at_end() else bisect_right(self.keys, last, done)
            old_values = entries_of(node) if self.level else node.cells()
            merged = _merge(node.keys, old_values, self.keys[done:stop], self.values[done:stop])
            done = stop
            if merged is None:
                if not keys:
                    return done
                merged = node.keys, old_values
            self.above[last] = None
            keys, values, marked = keys + merged[0], values + merged[1], marked + marks(merged[0], self.level)
            start = self._emit(keys, values, cuts(keys, marked))
            if start == len(keys):
                return done
            keys, values, marked = keys[start:], values[start:], marked[start:]
            if not self.cursor.advance():
                self._emit(keys, values, [len(keys)])
                return done

    def _emit(self, keys: list[bytes], values: list[Any], ends: list[int]) -> int:
        start = 0
        for end in ends:
            self.parts.append((keys[start:end], values[start:end]))
            start = end
        return start

    def _make(self) -> None:
        """Make the nodes that were split again or got new values.

        None of them has the same last key as an old node that is met later.
        """
        entries = make_nodes(self.store, self.form, self.level, self.parts)
        self.above.update(zip([keys[-1] for keys, _ in self.parts], entries, strict=True))
        entries = add_nodes(self.store, self.form, self.nodes)
        self.above.update(zip([node.keys[-1] for node in self.nodes], entries, strict=True))
        self.parts, self.nodes = [], []


def _merge(
    keys: list[bytes], values: list[Any], changed_keys: Sequence[bytes], changed_values: Sequence[Any]
) -> tuple[list[bytes], list[Any]] | None:
    """Entries of a node after the changes; None if the changes have no effect."""
    if 4 * len(changed_keys) > len(keys):
        return _merge_many(keys, values, changed_keys, changed_values)
    new_keys = keys
    for key, value in zip(changed_keys, changed_values, strict=True):
        i = bisect_left(new_keys, key)
        there = i < len(new_keys) and new_keys[i] == key
        if (value == values[i]) if there else (value is None):
            continue
        if new_keys is keys:
            new_keys, values = keys.copy(), values.copy()
        if there and value is None:
            del new_keys[i], values[i]
        elif there:
            values[i] = value
        else:
            new_keys.insert(i, key)
            values.insert(i, value)
    return None if new_keys is keys else (new_keys, values)


def _merge_many(
    keys: list[bytes], values: list[Any], changed_keys: Sequence[bytes], changed_values: Sequence[Any]
) -> tuple[list[bytes], list[Any]] | None:
    if changed_keys[0] > keys[-1] and None not in changed_values:
        return [*keys, *changed_keys], [*values, *changed_values]
    merged = dict(zip(keys, values, strict=True))
    merged.update(zip(changed_keys, changed_values, strict=True))
    ordered = sorted(merged)
    new_values = list(map(merged.__getitem__, ordered))
    if None in new_values:
        ordered = [key for key, value in zip(ordered, new_values, strict=True) if value is not None]
        new_values = [value for value in new_values if value is not None]
    return None if ordered == keys and new_values == values else (ordered, new_values)
