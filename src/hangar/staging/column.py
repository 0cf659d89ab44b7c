"""One column of the staging area: a tree, and an overlay of changed entries on it.

A lookup by key searches the overlay first, then the tree. Access in order uses the *merged tree*: the tree
with the overlay applied. It is cached, and later changes are applied to it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from hangar import limits
from hangar.digest import Digest
from hangar.objects.apply import apply, cells_of
from hangar.objects.ascending import as_ascending
from hangar.objects.build import Rows
from hangar.objects.commit import ColumnEntry
from hangar.objects.lookup import get, get_many
from hangar.objects.node import Root
from hangar.objects.scan import entries_below, starts_with
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.staging.overlay import Overlay

__all__ = ["StagedBatch", "WorkingColumn"]

_MOST_ROWS: Final = 16 * limits.STAGED_ROWS
"""An overlay larger than this is merged into the tree, so that the memory of a long batch is bounded."""
_UNCHANGED: Final[Any] = object()


class StagedBatch(NamedTuple):
    """Prepared changes of one batch: rows for the overlay, or a new tree that contains them."""

    rows: dict[bytes, bytes | None] | None
    tree: Root | None


class WorkingColumn:
    """One column of the staging area: a tree, and an overlay of changed entries on it.

    Attributes
    ----------
    record
        The column with its tree, as in its database row; without the overlay.
    schema
        The schema that the record refers to.
    overlay
        The changed entries.
    number
        Number of the column in the keys of its database rows, None before the first is stored.
    replaced, row_changed
        Whether the tree, or any part of the record, is not stored yet.
    """

    __slots__ = ("_lock", "_merged", "_nodes", "number", "overlay", "record", "replaced", "row_changed", "schema")

    def __init__(
        self, nodes: NodeStore, record: ColumnEntry, schema: ColumnSchema, lock: threading.RLock | None = None
    ) -> None:
        self._nodes = nodes
        self._lock = lock or threading.RLock()
        self.record = record
        self.schema = schema
        self.overlay = Overlay()
        self.number: int | None = None
        self.replaced = False
        self.row_changed = False
        self._merged: tuple[Root | None] | None = None

    @property
    def id(self) -> bytes:
        """Id of the column; it does not change when the column is renamed."""
        return self.record.id

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.record.name

    @property
    def attributes(self) -> Digest | None:
        """Digest of its attributes."""
        return self.record.attributes

    def change_record(self, **changes: Any) -> None:
        """Change the name, attributes or schema of the column."""
        self.row_changed = True
        self.record = replace(self.record, **changes)

    # ------------------------------------------------------------------ by key

    def cell(self, key: bytes) -> bytes | None:
        """The cell of the encoded ``key``, None if there is no such entry."""
        changed = self.overlay.cells
        if key in changed:
            return changed[key]
        root = self.record.root
        return None if root is None else get(self._nodes, root, key)

    def cells(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The cell of each of the encoded ``keys``, in their order; None for a key without an entry."""
        changed, root = self.overlay.cells, self.record.root
        found: list[bytes | None] = [changed.get(key, _UNCHANGED) for key in keys]
        missing = [i for i, cell in enumerate(found) if cell is _UNCHANGED]
        if missing and root is None:
            return [None if cell is _UNCHANGED else cell for cell in found]
        if missing and root is not None:
            rest = get_many(self._nodes, self.schema.form, root, [keys[i] for i in missing])
            for i, cell in zip(missing, rest, strict=True):
                found[i] = cell
        return found

    def below(self, prefix: bytes) -> dict[bytes, bytes]:
        """The entries whose keys begin with the sample prefix ``prefix`` of a nested column, in key order."""
        with self._lock:
            root = self.record.root
            found = {} if root is None else dict(zip(*entries_below(self._nodes, root, prefix), strict=True))
            changed = self.overlay.below(prefix)
            if not changed:
                return found
            merged = found | {key: self.overlay.cells[key] for key in changed}
            return {key: cell for key in sorted(merged) if (cell := merged[key]) is not None}

    def starts_with(self, prefix: bytes) -> bool:
        """Whether some key begins with ``prefix``."""
        with self._lock:
            changed = self.overlay.below(prefix)
            if any(self.overlay.cells[key] is not None for key in changed):
                return True
            root = self.record.root
            if root is None or not changed:
                return root is not None and starts_with(self._nodes, root, prefix)
            return bool(self.below(prefix))

    # ------------------------------------------------------------------ changes

    def set(self, key: bytes, cell: bytes | None) -> None:
        """Change one entry; None deletes it."""
        with self._lock:
            overlay = self.overlay
            overlay.set(key, cell)
            if len(overlay.cells) > _MOST_ROWS:
                self.replace_tree()

    def set_many(self, keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows) -> None:
        """Change many entries; the last of several for one key counts. A large batch is merged into the tree directly.

        Cells of one width may come as an array (n, width), uint8.
        """
        self.put(self.prepare(keys, cells))

    def prepare(self, keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows) -> StagedBatch:
        """Prepare many changes for :meth:`put`, without changing the column."""
        with self._lock:
            ascending = as_ascending(keys) if len(keys) > limits.STAGED_ROWS else None
            if isinstance(cells, np.ndarray) and ascending is None:
                cells = cells_of(cells)
            if len(keys) <= limits.STAGED_ROWS:
                return StagedBatch(dict(zip(keys, cells, strict=True)), None)
            self.replace_tree()
            if ascending is None:
                batch = dict(zip(keys, cells, strict=True))
                ordered = sorted(batch)
                cells = [batch[key] for key in ordered]
            else:
                ordered = ascending
            return StagedBatch(None, apply(self._nodes, self.schema.form, self.record.tree, ordered, cells))

    def put(self, batch: StagedBatch) -> None:
        """Apply changes from :meth:`prepare`; the column must not have changed since."""
        with self._lock:
            if batch.rows is None:
                self.replaced = True
                self.record = self.record.with_tree(batch.tree)
            else:
                self.overlay.update(batch.rows)

    # ------------------------------------------------------------------ as a tree

    def merged_tree(self) -> Root | None:
        """The tree with the overlay applied. It is cached, and later changes are applied to it."""
        if not self.overlay:
            return self.record.tree
        with self._lock:
            changed = self.overlay.cells
            merged = self._merged
            tree, keys = (self.record.tree, changed) if merged is None else (merged[0], self.overlay.unmerged)
            if keys:
                ordered = sorted(keys)
                cells = [changed[key] for key in ordered]
                self._merged = (apply(self._nodes, self.schema.form, tree, ordered, cells),)
                self.overlay.unmerged = set()
            return self.record.tree if self._merged is None else self._merged[0]

    def snapshot(self) -> tuple[NodeStore, Root | None]:
        """The merged tree as it is now, and a store that keeps its nodes, even if the writer drops them."""
        with self._lock:
            root = self.merged_tree()
            return self._nodes.snapshot(), root

    def replace_tree(self) -> None:
        """Replace the column's tree by the merged tree, and begin an empty overlay."""
        with self._lock:
            if self.overlay:
                # In this order an interrupt between two steps does not change the content of the column.
                self.replaced = True
                self.record = self.record.with_tree(self.merged_tree())
                self.overlay = Overlay()
            self.forget_merged()

    def forget_merged(self) -> None:
        """Drop the cached merged tree; it is made again on the next use."""
        self._merged = None
        self.overlay.unmerged = set()

    def entry(self) -> ColumnEntry:
        """The column as a commit would list it: with the merged tree."""
        return self.record.with_tree(self.merged_tree()) if self.overlay else self.record
