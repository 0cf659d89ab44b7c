"""Flat columns: sample key -> value.

A reader is a ``Mapping`` in all but name: keys in order, values read when asked for. Batches by key or by position are read as batches: one
walk down the tree, one gather in the blob store, no Python call for each sample. A writer adds to that; what it writes
outside a ``with`` block is durable when the call returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, overload

import numpy as np
import numpy.typing as npt

from hangar.columns.base import ColumnBase, Session, Source
from hangar.columns.lookup import KeyBatch, position_batch
from hangar.columns.values import ValueReader
from hangar.errors import (
    InvalidInputError,
    InvalidTypeError,
    PositionNotFoundError,
    SampleNotFoundError,
    UnsupportedVersionError,
)
from hangar.names import SampleKey
from hangar.objects.lookup import find_ints, find_keys, get_many
from hangar.objects.order import select, select_cells, select_refs, slice_refs
from hangar.objects.scan import leaves
from hangar.schema.base import ColumnSchema, Rows
from hangar.schema.keys import decode_key, decode_keys, lookup_key

__all__ = ["FlatSampleReader"]

_CHUNK_ENTRIES = 1024
_CHUNK_BYTES = 8 * 2**20
"""Iteration reads ahead by at most so many samples, of at most so many bytes together where that is known."""


class FlatSampleReader(ColumnBase):
    """Samples of one flat column, as one commit (or the staging area) holds them."""

    column_layout: ClassVar[Literal["flat", "nested"]] = "flat"

    def __init__(self, session: Session, source: Source) -> None:
        super().__init__(session, source)
        if self._schema.nested:
            raise UnsupportedVersionError(
                f"column {source.name!r} holds subsamples, which this version of Hangar cannot open: install a newer one"
            )
        self._nodes = session.nodes
        self._values = ValueReader(session.stores.blobs, self._schema)

    def _use_schema(self, schema: ColumnSchema) -> None:
        super()._use_schema(schema)
        self._values = ValueReader(self._session.stores.blobs, schema)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._session.reduce_column(self._source.name)

    # ------------------------------------------------------------------ one sample

    def _cell(self, key: Any) -> bytes | None:
        self._session.check()
        encoded = lookup_key(key)
        return None if encoded is None else self._source.cell(encoded)

    def _missing(self, key: object) -> SampleNotFoundError:
        return SampleNotFoundError(f"column {self._source.name!r} has no sample {key!r}")

    @overload
    def __getitem__(self, key: list[SampleKey]) -> list[Any]: ...
    @overload
    def __getitem__(self, key: SampleKey) -> Any: ...
    def __getitem__(self, key: SampleKey | list[SampleKey]) -> Any:
        """Value of the sample ``key``, or of each of a list of keys.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample.
        InvalidTypeError
            (a ``TypeError``) the type of ``key`` can never be that of a key.
        CorruptionError
            The stored bytes are not what they were.
        """
        if type(key) is list:
            return self._values.many(self._cells(key))
        cell = self._cell(key)
        if cell is None:
            raise self._missing(key)
        return self._values.one(cell)

    def get(self, key: SampleKey, default: Any = None) -> Any:
        """Value of the sample ``key``, or ``default`` where there is none."""
        cell = self._cell(key)
        return default if cell is None else self._values.one(cell)

    def __contains__(self, key: object) -> bool:
        self._session.check()
        try:
            encoded = lookup_key(key)
        except InvalidTypeError:
            return False
        return encoded is not None and self._source.cell(encoded) is not None

    def __len__(self) -> int:
        self._session.check()
        root = self._source.root()
        return 0 if root is None else root.entries

    # ------------------------------------------------------------------ batches

    def _cells(self, keys: Sequence[Any]) -> list[bytes]:
        """Tree entries of ``keys``, in their order."""
        self._session.check()
        batch = KeyBatch.of(keys)
        root = self._source.root()
        if not len(batch):
            return []
        if root is None:
            raise self._missing(keys[0])
        cells = get_many(self._nodes, self._schema.form, root.digest, batch.encoded())
        if None in cells:
            raise self._missing(keys[cells.index(None)])
        return cells  # type: ignore[return-value]

    def _refs(self, keys: Sequence[Any] | npt.NDArray[Any]) -> Rows:
        """Tree entries of ``keys`` as an array (n, width)."""
        batch = KeyBatch.of(keys)
        root = self._source.root()
        if not len(batch) or root is None:
            if len(batch):
                raise self._missing(keys[0])
            return np.empty((0, self._schema.form.width), np.uint8)
        if batch.ints is not None:
            found, refs = find_ints(self._nodes, self._schema.form, root.digest, batch.ints)
        else:
            found, refs = find_keys(self._nodes, self._schema.form, root.digest, batch.encoded())
        if not found.all():
            raise self._missing(keys[int(np.argmin(found))])
        return refs

    def _refs_at(self, positions: slice | Sequence[int] | npt.NDArray[Any]) -> Rows:
        """Tree entries at ``positions`` in key order."""
        root = self._source.root()
        entries = 0 if root is None else root.entries
        chosen = position_batch(positions, entries)
        if root is None or len(chosen) == 0:
            return np.empty((0, self._schema.form.width), np.uint8)
        if isinstance(chosen, range):
            return slice_refs(self._nodes, self._schema.form, root.digest, chosen.start, chosen.stop)
        return select_refs(self._nodes, self._schema.form, root.digest, chosen)

    def _cells_at(self, positions: slice | Sequence[int] | npt.NDArray[Any]) -> list[bytes]:
        root = self._source.root()
        chosen = position_batch(positions, 0 if root is None else root.entries)
        return [] if root is None else select_cells(self._nodes, root.digest, chosen)

    def read(
        self,
        keys: Sequence[SampleKey] | npt.NDArray[Any] | slice | None = None,
        out: np.ndarray[Any, Any] | None = None,
        *,
        positions: Sequence[int] | npt.NDArray[Any] | slice | None = None,
    ) -> Any:
        """Read a batch.

        Parameters
        ----------
        keys
            Sample keys in any order, twice if you like: a sequence or an integer array. A ``slice`` selects by position in key order.
        out
            Array of shape ``(n, *shape)`` and the column's dtype to read into.
        positions
            Instead of ``keys``: positions in key order, negative ones from the end.

        Returns
        -------
        numpy.ndarray or list
            Arrays stacked to ``(n, *shape of a sample)``, fresh memory or ``out``; str and bytes as a list.

        Raises
        ------
        SampleNotFoundError, PositionNotFoundError
            A key or position does not exist; nothing was read.
        InvalidInputError
            The samples differ in shape, or ``out`` does not fit.
        CorruptionError
            The stored bytes are not what they were.
        """
        self._session.check()
        if (keys is None) == (positions is None):
            raise InvalidTypeError("read takes keys or positions, one of them")
        where = positions if keys is None else keys if isinstance(keys, slice) else None
        text = self._schema.kind_name != "ndarray"
        if text:
            if out is not None:
                raise InvalidInputError(f"out= is for arrays, and {self._source.name!r} holds {self._schema.kind_name}")
            cells = self._cells(keys) if where is None else self._cells_at(where)  # type: ignore[arg-type]
            return self._values.many(cells)
        refs = self._refs(keys) if where is None else self._refs_at(where)  # type: ignore[arg-type]
        return self._values.stacked(refs, out)

    def read_slice(self, key: SampleKey, slices: Any) -> np.ndarray[Any, Any]:
        """Part of one sample: ``slices`` is what would stand in ``array[...]``. The whole sample is read and checked."""
        value = self[key]
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"column {self._source.name!r} holds {self._schema.kind_name}, which has no slices")
        return np.array(value[slices])

    def at(self, position: int) -> SampleKey:
        """The key at ``position`` in key order; negative ones count from the end.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the column is shorter.
        InvalidTypeError
            (a ``TypeError``) ``position`` is no integer.
        """
        self._session.check()
        if isinstance(position, bool) or not isinstance(position, (int, np.integer)):
            raise InvalidTypeError(f"a position is an int, not {type(position).__name__}: {position!r}")
        position = int(position)
        root = self._source.root()
        entries = 0 if root is None else root.entries
        index = position + entries if position < 0 else position
        if root is None or not 0 <= index < entries:
            raise PositionNotFoundError(f"column {self._source.name!r} has {entries:,} samples, and none at {position}")
        return decode_key(select(self._nodes, root.digest, index)[0])

    # ------------------------------------------------------------------ iteration

    def _chunks(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Encoded keys and entries in key order, so many at a time as iteration should read ahead."""
        self._session.check()
        root = self._source.root()
        if root is None:
            return
        nbytes = getattr(self._schema, "nbytes", 0)
        most = max(1, min(_CHUNK_ENTRIES, _CHUNK_BYTES // nbytes if nbytes else _CHUNK_ENTRIES))
        keys: list[bytes] = []
        cells: list[bytes] = []
        for leaf, first, last in leaves(self._nodes, root.digest):
            keys += leaf.keys[first:last]
            cells += leaf.cells(first, last)
            while len(keys) >= most:
                yield keys[:most], cells[:most]
                del keys[:most], cells[:most]
                self._session.check()
        if keys:
            yield keys, cells

    def __iter__(self) -> Iterator[SampleKey]:
        for keys, _ in self._chunks():
            yield from decode_keys(keys)

    def keys(self, local: bool = False) -> Iterator[SampleKey]:
        """Sample keys in order: ints by value, then strings by code point. ``local``: only of data on this disk."""
        return iter(self)

    def values(self, local: bool = False) -> Iterator[Any]:
        """Values in key order, read ahead in batches."""
        for _, cells in self._chunks():
            yield from self._values.many(cells)

    def items(self, local: bool = False) -> Iterator[tuple[SampleKey, Any]]:
        """Pairs of key and value in key order, read ahead in batches."""
        for keys, cells in self._chunks():
            yield from zip(decode_keys(keys), self._values.many(cells), strict=True)

    def __repr__(self) -> str:
        self._session.check()
        schema = self._schema
        what = schema.kind_name if schema.dtype is None else f"{schema.dtype} {schema.shape}"
        return f"<{type(self).__name__} {self._source.name!r}: {len(self):,} samples of {what}>"
