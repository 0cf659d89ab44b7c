"""Life cycle of the sample table of a column: when it is built, cached and dropped.

The first reads of a column use its tree. After enough reads to pay for it, the table is built. It is cached in memory,
shared by columns of the same tree, and if it is large, in a cache file. If a read through the table fails because a
blob was moved, the table is dropped. That read uses the tree, and a new table is built after some reads.

A column of a writer changes. It uses the table of its stored tree, for keys without staged changes. The staged changes
of a column that its tree does not contain yet are called its *overlay* (see ``hangar.staging``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hangar import limits
from hangar.columns.samplestarts import SampleStarts, build_starts
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

_SAMPLES: Final = b"samples"

_CALL_ENTRIES: Final = 16
"""Fixed cost of a call, in entries."""
_PAYS: Final = 32
"""The table is built after 1/``_PAYS`` of the entries was read: building it costs less per entry than a read through the tree."""
_PAYS_LEAST: Final = 2
"""Each table that had to be dropped doubles the part that is read before the next one, up to 1/``_PAYS_LEAST``.

With ``fetch_on_read`` each batch of data that was not here drops the table. Built again after every 1/32 of the entries, it took more
than a third of the time of such reads.
"""


class ColumnTable:
    """Holder of the sample table of an open column.

    Attributes
    ----------
    tree
        Tree of the column; None if it is empty.
    schema
        Schema that its values are read with.
    table
        The table, or None if there is none yet; the fast paths read only this.
    """

    __slots__ = (
        "_entries_read",
        "_looked",
        "_making",
        "_name",
        "_nodes",
        "_pays",
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
        # Columns with the same tree may have different schemas.
        self._name = b"" if root is None else root.digest + schema.digest
        self._entries_read = 0
        self._pays = _PAYS
        self._looked = self._making = False
        self.table: SampleTable | None = None

    @property
    def possible(self) -> bool:
        """Whether the column can have a table."""
        return self._root is not None

    def ready(self, count: int) -> SampleTable | None:
        """The table for a read of ``count`` samples. Loads or builds it if that pays; None without one."""
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
        if self._entries_read * self._pays < root.entries:
            return None
        return self._make(root)

    def missed(self) -> None:
        """Note that a read had to fetch data: a table would be stale after it. One pays after so many reads without this as there are entries."""
        self._entries_read = 0
        self._pays = 1

    def prepare(self) -> SampleTable | None:
        """Load or build the table now, before reads have paid for it; None if there can be none."""
        table, root = self.ready(0), self._root
        return self._make(root) if table is None and root is not None and not self._making else table

    def sample_starts(self) -> SampleStarts | None:
        """Where the samples of a nested column begin, found now unless they are known; None if that is not possible."""
        root = self.tree
        if root is None or not self.schema.nested:
            return None
        name = root.digest + _SAMPLES
        found: SampleStarts | None = self._stores.tables.get(name)
        if found is None:
            try:
                found = build_starts(self._nodes, root)
            except (HangarError, MemoryError):
                # A read of a damaged node will raise. Other reads go on through the tree.
                return None
            if found is not None:
                self._stores.tables.put(name, found, found.nbytes)
        return found

    def _load(self, root: Root) -> SampleTable | None:
        if root.entries < limits.SAVED_TABLE_ENTRIES:
            return None
        # Inline values have no checksum of their own. They are verified once and kept in memory.
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
            # Another process of the same data set may have built it since.
            saved = self._load(root)
            if saved is not None:
                self.table = saved
                return saved
            made = build_table(self._nodes, self._stores.blobs, root, self.schema)
        except (HangarError, MemoryError):
            # A read of a damaged node will raise. Other reads go on through the tree.
            return None
        finally:
            self._making = False
        self._stores.tables.put(self._name, made, made.nbytes)
        if root.entries >= limits.SAVED_TABLE_ENTRIES:
            CacheFiles(self._stores.directory).save(root.digest, made.arrays())
        self.table = made
        return made

    def discard(self, table: SampleTable) -> None:
        """Drop a stale table: a location in it failed, but the tree gave the data."""
        root = self._root
        if root is None:
            return
        self.table = None
        self._looked = True
        self._pays = max(self._pays // 2, _PAYS_LEAST)
        if self._stores.tables.get(self._name) is table:
            self._stores.tables.drop(self._name)
        CacheFiles(self._stores.directory).remove(root.digest)


class StagedTable:
    """Holder of the sample table of an open column of the staging area.

    The table is that of the column's stored tree, without the overlay. An unstored tree has no table, because a
    rollback would drop it. Other threads may write at the same time, so each result refers to one tree that the column
    had during the call.
    """

    __slots__ = ("_last", "_nodes", "_source", "_stores")

    def __init__(self, stores: Stores, nodes: NodeStore, source: StagedSource) -> None:
        self._stores, self._nodes, self._source = stores, nodes, source
        self._last: ColumnTable | None = None

    def beneath(self, keys: Callable[[], Iterable[bytes]]) -> ColumnTable | None:
        """Table with the current values of the encoded ``keys``; None if the overlay changes one, or there is no table."""
        working = self._source.working
        # Read the overlay before the tree: changes that are merged into the tree in between are then in both, not in neither.
        changed = working.overlay.cells
        if changed and not changed.keys().isdisjoint(keys()):
            return None
        return self._of(working, None)

    def beneath_one(self, key: bytes) -> ColumnTable | None:
        """As :meth:`beneath`, for one encoded key."""
        working = self._source.working
        return None if key in working.overlay.cells else self._of(working, None)

    def of(self, root: Root | None) -> ColumnTable | None:
        """Table of the tree ``root``, if it is the stored tree of the column."""
        return None if root is None else self._of(self._source.working, root)

    def _of(self, working: WorkingColumn, wanted: Root | None) -> ColumnTable | None:
        # In this order: a tree that is not stored is marked as such before it replaces the old one.
        record, schema = working.record, working.schema
        if working.replaced or record.root is None or (wanted is not None and record.root != wanted.digest):
            return None
        last = self._last
        if last is None or last.schema is not schema or last.tree is None or last.tree.digest != record.root:
            last = self._last = ColumnTable(self._stores, self._nodes, schema, record.tree)
        return last
