"""One column of the staging area: a tree, and an overlay of changed entries on it.

What is asked for by key is looked up in the overlay first, then in the tree. What needs all entries in order asks for the *merged tree*, the tree
with the overlay applied; it is kept, and later changes are applied to it.
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
"""An overlay in memory that has outgrown this goes into the tree, so that a batch without end is bounded."""
_UNCHANGED: Final[Any] = object()


class StagedBatch(NamedTuple):
    """Changes of one batch, ready to be put in: rows for the overlay, or a tree that has them."""

    rows: dict[bytes, bytes | None] | None
    tree: Root | None


class WorkingColumn:
    """One column of the staging area: a tree, and an overlay of changed entries on it.

    Attributes
    ----------
    record
        The column with that tree, as its row in the database has it; the overlay is beside it.
    schema
        The schema that the record names.
    overlay
        The changed entries.
    number
        Of the column's rows in the database, None before the first is stored.
    replaced, row_changed
        Whether the tree, and whether anything in the record, is not stored yet.
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
        """Id of the column, which it keeps when it is renamed."""
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
        """Change what the column is called, or its attributes or schema."""
        self.row_changed = True
        self.record = replace(self.record, **changes)

    # ------------------------------------------------------------------ by key

    def cell(self, key: bytes) -> bytes | None:
        """What the column holds under the encoded ``key``."""
        changed = self.overlay.cells
        if key in changed:
            return changed[key]
        root = self.record.root
        return None if root is None else get(self._nodes, root, key)

    def cells(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What the column holds under each of the encoded ``keys``, in their order."""
        changed, root = self.overlay.cells, self.record.root
        found: list[bytes | None] = [changed.get(key, _UNCHANGED) for key in keys]
        places = [i for i, cell in enumerate(found) if cell is _UNCHANGED]
        if places and root is None:
            return [None if cell is _UNCHANGED else cell for cell in found]
        if places and root is not None:
            rest = get_many(self._nodes, self.schema.form, root, [keys[i] for i in places])
            for i, cell in zip(places, rest, strict=True):
                found[i] = cell
        return found

    def below(self, prefix: bytes) -> dict[bytes, bytes]:
        """The entries whose keys begin with ``prefix``, a sample's in a nested column, in key order."""
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
        """Change many entries; the last of several for one key counts. A large batch goes straight into the tree.

        Cells of one width may come as an array (n, width), uint8.
        """
        self.put(self.prepare(keys, cells))

    def prepare(self, keys: Sequence[bytes], cells: Sequence[bytes | None] | Rows) -> StagedBatch:
        """Make many changes ready for :meth:`put`; until then the column holds what it held."""
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
        """Put in changes that :meth:`prepare` made ready; nothing else was changed since."""
        with self._lock:
            if batch.rows is None:
                self.replaced = True
                self.record = self.record.with_tree(batch.tree)
            else:
                self.overlay.update(batch.rows)

    # ------------------------------------------------------------------ as a tree

    def merged_tree(self) -> Root | None:
        """The tree with the overlay applied. It is kept, and what changes afterwards is applied to it."""
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
        """The tree as it is now, and a store that keeps its nodes whatever is written or forgotten afterwards."""
        with self._lock:
            root = self.merged_tree()
            return self._nodes.snapshot(), root

    def replace_tree(self) -> None:
        """Make the merged tree the column's tree, and begin a new overlay."""
        with self._lock:
            if self.overlay:
                # In this order a step that is interrupted leaves a column that says the same.
                self.replaced = True
                self.record = self.record.with_tree(self.merged_tree())
                self.overlay = Overlay()
            self.forget_merged()

    def forget_merged(self) -> None:
        """Let the merged tree be made again when it is asked for."""
        self._merged = None
        self.overlay.unmerged = set()

    def entry(self) -> ColumnEntry:
        """The column as a commit would list it: with the merged tree."""
        return self.record.with_tree(self.merged_tree()) if self.overlay else self.record
