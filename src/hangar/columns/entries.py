"""Reading of samples by key: one, a list, or stacked into an array.

Flat columns, nested columns and the samples of nested columns share this code; they differ in their key space. A batch
takes one descent of the tree and one gather in the blob store, and no Python call for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hangar.blobs.reader import STALE
from hangar.columns.chunked.array import ChunkedArray
from hangar.columns.keybatch import KeyBatch
from hangar.columns.keyspace import FLAT, KeySpace
from hangar.columns.local import LocalEntries, may_have_promised, named
from hangar.columns.sampletable import Positions, SampleTable
from hangar.columns.views import Chunk
from hangar.errors import (
    InvalidInputError,
    NotLocalError,
    PositionNotFoundError,
    SampleNotFoundError,
)
from hangar.flags import check_flag
from hangar.objects.node import Root
from hangar.objects.order import select_cells, select_refs, slice_refs
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from hangar.schema.cells import Rows

if TYPE_CHECKING:
    from hangar.columns.base import Session, Source
    from hangar.columns.tables import ColumnTable, StagedTable
    from hangar.columns.values import ValueReader
    from hangar.schema import ColumnSchema

__all__ = ["EntryReader", "chunk_entries"]

_CHUNK_BYTES = 8 * 2**20
"""Limit of the read-ahead of iteration in bytes, if the size of values is known."""


def chunk_entries(schema: ColumnSchema) -> int:
    """Number of entries that iteration reads ahead."""
    most = schema.most_ahead
    return max(1, min(most, _CHUNK_BYTES // schema.nbytes)) if schema.nbytes else most


class EntryReader:
    """Reads samples by the keys of ``_space``."""

    _space: KeySpace

    if TYPE_CHECKING:
        # Attributes of a column; samples of a nested column get them from their column.
        @property
        def _session(self) -> Session: ...
        @property
        def _source(self) -> Source: ...
        @property
        def _schema(self) -> ColumnSchema: ...
        @property
        def _nodes(self) -> NodeStore: ...
        @property
        def _values(self) -> ValueReader: ...
        @property
        def _table(self) -> ColumnTable | None: ...
        @property
        def _staged_table(self) -> StagedTable | None: ...

    def _cell(self, key: Any) -> bytes | None:
        self._session.check()
        encoded = self._space.lookup(key)
        return None if encoded is None else self._source.cell(encoded)

    def _missing(self, key: object) -> SampleNotFoundError:
        return SampleNotFoundError(f"column {self._source.name!r} has no sample {key!r}")

    def _first_missing(self, keys: Iterable[Any], index: int) -> SampleNotFoundError:
        return self._missing(next(islice(iter(keys), index, None)))

    def _existing_one(self, key: Any) -> bytes:
        """Encoded form of ``key``; raises if it does not exist."""
        self._session.check()
        encoded = self._space.lookup(key)
        if encoded is None or self._source.cell(encoded) is None:
            raise self._missing(key)
        return encoded

    def _existing(self, keys: Any) -> list[bytes]:
        """Encoded forms of ``keys``; raises if one does not exist."""
        keys = as_keys(keys)
        self._session.check()
        batch = self._space.batch(keys)
        self._cells(keys, batch)
        return batch.encoded()

    def _cells(self, keys: Any, batch: KeyBatch) -> list[bytes]:
        """Cells of ``keys``, in order."""
        cells = self._source.cells(batch.encoded())
        if None in cells:
            raise self._first_missing(keys, cells.index(None))
        return cells  # type: ignore[return-value]

    def _cell_rows(self, keys: Any, batch: KeyBatch) -> Rows:
        """Cells of ``keys`` as an array (n, width)."""
        root = self._source.root()
        if not len(batch):
            return np.empty((0, self._schema.form.width), np.uint8)
        if root is None:
            raise self._first_missing(keys, 0)
        found, cells = batch.find(self._nodes, self._schema.form, root.digest)
        if not found.all():
            raise self._first_missing(keys, int(np.argmin(found)))
        return cells

    def _read_keys(self, keys: Any, out: np.ndarray[Any, Any] | None) -> Any:
        """Values of ``keys``; arrays are stacked."""
        keys = as_keys(keys)
        self._check_out(out)
        if not self._schema.stacks:
            return self._list_of_keys(keys)
        self._session.check()
        batch = self._space.batch(keys)
        return self._by_table(
            self._table or self._table_beneath(batch.encoded),
            len(batch),
            partial(self._positions, batch),
            lambda table, positions: self._values.stacked_of(table, positions, out),
            lambda: self._values.stacked(self._cell_rows(keys, batch), out),
        )

    def _list_of_keys(self, keys: Any) -> list[Any]:
        """Values of ``keys``, as a list."""
        self._session.check()
        batch = self._space.batch(keys)
        found: list[Any] = self._by_table(
            self._table or self._table_beneath(batch.encoded),
            len(batch),
            partial(self._positions, batch),
            self._values.many_of,
            lambda: self._values.many(self._cells(keys, batch)),
        )
        return found

    def _positions(self, batch: KeyBatch, table: SampleTable, root: Root) -> Positions | None:
        return batch.positions(table, self._nodes, root.digest)

    def _table_beneath(self, keys: Callable[[], Iterable[bytes]]) -> ColumnTable | None:
        """Table of a column of the staging area, if it has the current values of the encoded ``keys``."""
        staged = self._staged_table
        return None if staged is None else staged.beneath(keys)

    def _table_of(self, root: Root | None) -> ColumnTable | None:
        """Table of the tree ``root`` of the column."""
        staged = self._staged_table
        return self._table if staged is None else staged.of(root)

    def _by_table(
        self,
        holder: ColumnTable | None,
        count: int,
        find: Callable[[SampleTable, Root], Positions | range | None],
        read: Callable[[SampleTable, Positions | range], Any],
        by_tree: Callable[[], Any],
    ) -> Any:
        """Read samples through the sample table of the column; without one, through its tree.

        Parameters
        ----------
        holder
            Holder of the table; None if there is none.
        count
            Number of samples.
        find
            Finds their positions in a table and its tree; None if the table does not have them.
        read
            Reads the samples at positions of the table.
        by_tree
            Reads the samples through the tree.
        """
        table = None if holder is None or holder.tree is None else holder.ready(count)
        positions = None if table is None or holder is None or holder.tree is None else find(table, holder.tree)
        if holder is None or table is None or positions is None:
            return by_tree()
        try:
            return read(table, positions)
        except STALE:
            # Raises if the data is damaged. Otherwise blobs were moved, and the table is stale.
            found = by_tree()
            holder.discard(table)
            return found

    def _check_out(self, out: np.ndarray[Any, Any] | None) -> None:
        if out is not None and not self._schema.stacks:
            raise InvalidInputError(f"out= is for arrays, and {self._source.name!r} holds {self._schema.kind_name}")

    def _value(self, key: Any) -> Any:
        self._session.check()
        if self._space is not FLAT or not (type(key) is int or isinstance(key, np.integer)):
            return self._value_by_tree(key)
        holder, staged = self._table, self._staged_table
        if staged is not None:
            encoded = self._space.lookup(key)
            holder = None if encoded is None else staged.beneath_one(encoded)
        table = None if holder is None else holder.ready(1)
        position = -1 if table is None else table.position(int(key))
        if holder is None or table is None or position < 0:
            return self._value_by_tree(key)
        try:
            return self._values.one_of(table, position)
        except STALE:
            found = self._value_by_tree(key)
            holder.discard(table)
            return found

    def _value_by_tree(self, key: Any) -> Any:
        encoded = self._space.lookup(key)
        cell = None if encoded is None else self._source.cell(encoded)
        if cell is None:
            raise self._missing(key)
        return self._opened(key, cell)

    def _named(self, error: NotLocalError, key: Any) -> NotLocalError:
        """The error of reading one sample that is not here."""
        return named(error, self._source.name, self._session.rev, key)

    def _opened(self, key: Any, cell: bytes) -> Any:
        """The value of an existing key, whose cell is known."""
        try:
            found = self._values.one(cell)
        except NotLocalError as error:
            raise self._named(error, key) from None
        if self._schema.kind_name == "chunked":  # it is read later
            found.name_errors(partial(self._named, key=key))
        return found

    def _read_slice(self, key: Any, slices: Any) -> np.ndarray[Any, Any]:
        value = self._value(key)
        if not isinstance(value, (np.ndarray, ChunkedArray)):
            raise InvalidInputError(f"column {self._source.name!r} holds {self._schema.kind_name}, which has no slices")
        try:
            return np.array(value[slices])
        except (IndexError, TypeError, ValueError) as error:
            raise PositionNotFoundError(
                f"sample {key!r} of shape {value.shape} has no part {slices!r}: {error}"
            ) from None

    # ------------------------------------------------------------------ by position in the tree

    def _cell_rows_at(self, chosen: range | Positions, root: Root | None) -> Rows:
        """Cells at positions of the tree, as an array (n, width)."""
        if root is None or len(chosen) == 0:
            return np.empty((0, self._schema.form.width), np.uint8)
        if isinstance(chosen, range):
            return slice_refs(self._nodes, self._schema.form, root.digest, chosen.start, chosen.stop)
        return select_refs(self._nodes, self._schema.form, root.digest, chosen)

    def _list_at(self, chosen: range | Positions, root: Root) -> list[Any]:
        """Values at positions of the tree, as a list."""
        found: list[Any] = self._by_table(
            self._table_of(root),
            len(chosen),
            lambda *_: chosen,
            self._values.many_of,
            lambda: self._values.many(select_cells(self._nodes, root.digest, chosen)),
        )
        return found

    def _together_at(self, chosen: range | Positions, root: Root) -> Any:
        """Values at positions of the tree of a column that joins them: one array if they are alike, else a list."""
        return self._by_table(
            self._table_of(root),
            len(chosen),
            lambda *_: chosen,
            self._values.together_of,
            lambda: self._values.together(select_cells(self._nodes, root.digest, chosen)),
        )

    def _read_at(self, chosen: range | Positions, root: Root | None, out: np.ndarray[Any, Any] | None = None) -> Any:
        """Values at positions of the tree: stacked to an array if the schema has one shape, else a list."""
        if not self._schema.stacks:
            return [] if root is None else self._list_at(chosen, root)
        return self._by_table(
            self._table_of(root),
            len(chosen),
            lambda *_: chosen,
            lambda table, at: self._values.stacked_of(table, at, out),
            lambda: self._values.stacked(self._cell_rows_at(chosen, root), out),
        )

    # ------------------------------------------------------------------ in order

    def _snapshot(self) -> tuple[NodeStore, Root | None]:
        self._session.check()
        return self._source.snapshot()

    def _chunks(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Encoded keys and cells of the key space in order, in read-ahead batches."""
        yield from self._chunks_of(*self._snapshot())

    def _chunks_of(self, nodes: NodeStore, root: Root | None) -> Iterator[tuple[list[bytes], list[bytes]]]:
        if root is None:
            return
        most = chunk_entries(self._schema)
        keys: list[bytes] = []
        cells: list[bytes] = []
        for leaf, first, last in leaves(nodes, root.digest, self._space.start, self._space.stop):
            keys += leaf.keys[first:last]
            cells += leaf.cells(first, last)
            while len(keys) >= most:
                yield keys[:most], cells[:most]
                del keys[:most], cells[:most]
                self._session.check()
        if keys:
            yield keys, cells
            self._session.check()

    def _live(self, items: Iterable[Any]) -> Chunk:
        """Register items that an iterator has read ahead; they are dropped when the checkout is closed."""
        return self._session.live.add(items)

    def _viewed(self, local: bool) -> Any:
        """What a view of ``keys``, ``values`` or ``items`` shows: everything, or with ``local`` only what is on this disk."""
        self._session.check()
        return self._on_disk() if check_flag(local, "local") and may_have_promised(self) else self

    def _on_disk(self) -> Any:
        return LocalEntries(self)


def as_keys(keys: Any) -> Any:
    """A batch of keys that can be iterated more than once."""
    return keys if isinstance(keys, np.ndarray) else KeyBatch.checked(keys)
