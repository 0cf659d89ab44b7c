"""When the table of a column is made, kept and thrown away.

The first reads of a column go down its tree, as they always did. When a column has been read so often that the table pays, it is made, kept
in memory for columns of the same tree, and if it is large in a cache file. A table of which a location fails is thrown away: the
blob was moved by a conversion. The read goes down the tree again, and after some reads there is a new table.

A column of a writer changes. Its table is that of the tree beneath its staged changes, as long as that tree is stored as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hangar import limits
from hangar.columns.sampletable import SampleTable, build_table, has_table, load_table
from hangar.columns.source import StagedSource
from hangar.columns.tablefile import CacheFiles
from hangar.errors import HangarError
from hangar.objects.node import Root
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.staging import WorkingColumn
from hangar.stores import Stores

__all__ = ["ColumnTable", "StagedTable"]

_CALL_ENTRIES: Final = 16
"""A call counts as so many entries that it reads."""
_PAYS: Final = 32
"""A table is made after a ``_PAYS``-th of the entries was read: making it costs less per entry than a read by the tree."""


class ColumnTable:
    """The table of the tree of one open column.

    Attributes
    ----------
    tree
        The tree; None of an empty column.
    schema
        What its values are read with.
    table
        The table, when it is there; the fast paths look at this alone.
    """

    __slots__ = (
        "_entries_read",
        "_looked",
        "_making",
        "_name",
        "_nodes",
        "_root",
        "_stores",
        "schema",
        "table",
        "tree",
    )

    def __init__(self, stores: Stores, nodes: NodeStore, schema: ColumnSchema, root: Root | None) -> None:
        self._stores, self._nodes = stores, nodes
        self.schema: Final = schema
        self.tree: Final = root
        self._root = root if has_table(schema) else None
        # Columns of one tree may differ in what they take its values for.
        self._name = b"" if root is None else root.digest + schema.digest
        self._entries_read = 0
        self._looked = self._making = False
        self.table: SampleTable | None = None

    @property
    def possible(self) -> bool:
        """Whether the column can have a table at all."""
        return self._root is not None

    def ready(self, count: int) -> SampleTable | None:
        """The table, if it is there or should be made, now that ``count`` samples are to be read."""
        table = self.table
        if table is not None:
            if table.file is None or table.file.whole():
                return table
            self.discard(table)
        root = self._root
        if root is None or self._making:
            return None
        if not self._looked:
            self._looked = True
            self.table = self._stores.tables.get(self._name) or self._load(root)
            if self.table is not None:
                return self.table
        self._entries_read += count + _CALL_ENTRIES
        if self._entries_read * _PAYS < root.entries:
            return None
        return self._make(root)

    def _load(self, root: Root) -> SampleTable | None:
        if root.entries < limits.SAVED_TABLE_ENTRIES:
            return None
        # Values in the tree have no checksum of their own, so they are checked once and then kept in memory.
        mapped = self.schema.inline_bytes < 0
        file = CacheFiles(self._stores.directory).load(root.digest, mapped=mapped)
        found = None if file is None else load_table(file, self.schema, root)
        if found is not None:
            self._stores.tables.put(self._name, found, found.nbytes)
        return found

    def _make(self, root: Root) -> SampleTable | None:
        self._making = True
        self._entries_read = 0
        try:
            made = build_table(self._nodes, self._stores.blobs, root, self.schema)
        except (HangarError, MemoryError):
            # The read that wants a damaged node will say so; one that does not goes on by the tree.
            return None
        finally:
            self._making = False
        self._stores.tables.put(self._name, made, made.nbytes)
        if root.entries >= limits.SAVED_TABLE_ENTRIES:
            CacheFiles(self._stores.directory).save(root.digest, made.arrays())
        self.table = made
        return made

    def discard(self, table: SampleTable) -> None:
        """Throw a table away: a location in it failed, and the data is there."""
        root = self._root
        if root is None:
            return
        self.table = None
        self._looked = True
        if self._stores.tables.get(self._name) is table:
            self._stores.tables.drop(self._name)
        CacheFiles(self._stores.directory).remove(root.digest)


class StagedTable:
    """The table of one open column of the staging area.

    It is that of the column's tree without the changes that are staged on it. A tree that the database does not have yet has none: a rollback
    would drop it. Other threads may write meanwhile, so all answers are about one tree that the column had during the call.
    """

    __slots__ = ("_last", "_nodes", "_source", "_stores")

    def __init__(self, stores: Stores, nodes: NodeStore, source: StagedSource) -> None:
        self._stores, self._nodes, self._source = stores, nodes, source
        self._last: ColumnTable | None = None

    def beneath(self, keys: Callable[[], Iterable[bytes]]) -> ColumnTable | None:
        """The table of a tree that holds what the column holds under the encoded ``keys``; None where there is none."""
        working = self._source.working
        # The changes before the tree: changes that go into the tree in between are then in both, and not in neither.
        changed = working.overlay.cells
        if changed and not changed.keys().isdisjoint(keys()):
            return None
        return self._of(working, None)

    def of(self, root: Root | None) -> ColumnTable | None:
        """The table of a tree, if the column has it, without changes."""
        return None if root is None else self._of(self._source.working, root)

    def _of(self, working: WorkingColumn, wanted: Root | None) -> ColumnTable | None:
        # In this order, for a tree that is not stored is marked as such before it is put in.
        record, schema = working.record, working.schema
        if working.replaced or record.root is None or (wanted is not None and record.root != wanted.digest):
            return None
        last = self._last
        if last is None or last.schema is not schema or last.tree is None or last.tree.digest != record.root:
            last = self._last = ColumnTable(self._stores, self._nodes, schema, record.tree)
        return last
