"""One column of the staging area: a tree, and an overlay of changed entries on it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hangar import limits
from hangar.digest import Digest
from hangar.objects.apply import apply, cells_of
from hangar.objects.ascending import as_ascending
from hangar.objects.build import Rows
from hangar.objects.commit import FLAT, NESTED, ColumnEntry
from hangar.objects.lookup import get
from hangar.objects.node import Root
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema

__all__ = ["Change", "WorkingColumn", "tree_of"]

_FOLD_ROWS = 16 * limits.STAGED_ROWS
"""An overlay in memory is folded when it has outgrown this, so that a batch without end is bounded."""


def tree_of(entry: ColumnEntry) -> Root | None:
    """The tree of a column."""
    return None if entry.root is None else Root(Digest(entry.root), entry.entries, entry.samples)


class Change(NamedTuple):
    """Changes of one batch: rows for the overlay, or a tree that has them."""

    rows: dict[bytes, bytes | None] | None
    root: Root | None


class WorkingColumn:
    """One column of the staging area: a tree, and an overlay of encoded key -> cell (None: deleted) on it."""

    __slots__ = (
        "_folded",
        "_lock",
        "_nodes",
        "_since",
        "attributes",
        "id",
        "name",
        "number",
        "overlay",
        "replaced",
        "root",
        "row_changed",
        "schema",
        "unsaved",
    )

    def __init__(
        self, nodes: NodeStore, entry: ColumnEntry, schema: ColumnSchema, lock: threading.RLock | None = None
    ) -> None:
        self._nodes = nodes
        self._lock = lock or threading.RLock()
        self.id, self.name, self.schema = entry.id, entry.name, schema
        self.attributes: Digest | None = None if entry.attributes is None else Digest(entry.attributes)
        self.root = tree_of(entry)
        self.overlay: dict[bytes, bytes | None] = {}
        self.unsaved: dict[bytes, bytes | None] = {}
        self.number: int | None = None
        self.replaced = False
        self.row_changed = False
        self._folded: tuple[Root | None] | None = None
        self._since: dict[bytes, bytes | None] = {}

    def cell(self, key: bytes) -> bytes | None:
        """What the column holds under the encoded ``key``."""
        overlay = self.overlay
        if key in overlay:
            return overlay[key]
        return None if self.root is None else get(self._nodes, self.root.digest, key)

    def set(self, key: bytes, cell: bytes | None) -> None:
        """Change one entry; None deletes it."""
        with self._lock:
            self._since[key] = self.overlay[key] = self.unsaved[key] = cell
            if len(self.overlay) > _FOLD_ROWS:
                self.adopt()

    def set_many(self, keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows) -> None:
        """Change many entries; the last of several for one key counts. A large batch goes straight into the tree.

        Cells of one width may come as an array (n, width), uint8.
        """
        self.put(self.changed(keys, cells))

    def changed(self, keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows) -> Change:
        """What :meth:`put` makes these changes with; until then the column says what it said."""
        with self._lock:
            ascending = as_ascending(keys) if len(keys) > limits.STAGED_ROWS else None
            if isinstance(cells, np.ndarray) and ascending is None:
                cells = cells_of(cells)
            if len(keys) <= limits.STAGED_ROWS:
                return Change(dict(zip(keys, cells, strict=True)), None)
            self.adopt()
            if ascending is None:
                batch = dict(zip(keys, cells, strict=True))
                ordered = sorted(batch)
                cells = [batch[key] for key in ordered]
            else:
                ordered = ascending
            return Change(None, apply(self._nodes, self.schema.form, self.root, ordered, cells))

    def put(self, change: Change) -> None:
        """Make changes that :meth:`changed` prepared; nothing else was changed since."""
        with self._lock:
            if change.rows is None:
                self.replaced = True
                self.root = change.root
            else:
                self._since.update(change.rows)
                self.overlay.update(change.rows)
                self.unsaved.update(change.rows)

    def fold(self) -> Root | None:
        """The tree with the overlay applied. It is kept, and what changes afterwards is applied to it."""
        if not self.overlay:
            return self.root
        with self._lock:
            tree, changes = (self.root, self.overlay) if self._folded is None else (self._folded[0], self._since)
            if changes:
                ordered = sorted(changes)
                cells = [changes[key] for key in ordered]
                self._folded = (apply(self._nodes, self.schema.form, tree, ordered, cells),)
                self._since = {}
            return self.root if self._folded is None else self._folded[0]

    def snapshot(self) -> tuple[NodeStore, Root | None]:
        """The tree as it is now, and a store that keeps its nodes whatever is written or forgotten afterwards."""
        with self._lock:
            root = self.fold()
            return self._nodes.snapshot(), root

    def adopt(self) -> None:
        """Make the folded tree the column's tree, and begin a new overlay."""
        with self._lock:
            if self.overlay:
                # In this order a step that is interrupted leaves a column that says the same.
                self.replaced = True
                self.root = self.fold()
                self.overlay, self.unsaved = {}, {}
            self.forget_fold()

    def forget_fold(self) -> None:
        """Let the folded tree be made again when it is asked for."""
        self._folded = None
        self._since = {}

    def entry(self) -> ColumnEntry:
        """The column as a commit would list it."""
        root = self.fold()
        return ColumnEntry(
            name=self.name,
            id=self.id,
            schema=self.schema.digest,
            attributes=self.attributes,
            layout=NESTED if self.schema.nested else FLAT,
            root=None if root is None else root.digest,
            entries=0 if root is None else root.entries,
            samples=0 if root is None else root.samples,
        )
