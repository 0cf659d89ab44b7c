"""Columns of sparse arrays: the usual columns, whose values can be read as coordinates too."""

from __future__ import annotations

from typing import Any, ClassVar, cast, overload

from hangar.columns.accessor import FlatSubsampleReader, FlatSubsampleWriter
from hangar.columns.base import ColumnBase
from hangar.columns.entries import EntryReader
from hangar.columns.flat import FlatSampleReader
from hangar.columns.flat_write import FlatSampleWriter
from hangar.columns.nested import NestedSampleReader
from hangar.columns.nested_write import NestedSampleWriter
from hangar.schema.coordinates import SparseCoordinates
from hangar.schema.sparse import SparseSchema

__all__ = [
    "FlatSparseReader",
    "FlatSparseWriter",
    "NestedSparseReader",
    "NestedSparseWriter",
    "SparseCoordinates",
    "SparseSubsampleReader",
    "SparseSubsampleWriter",
]


class _SparseReading(EntryReader):
    """Reads sparse arrays as coordinates."""

    @overload
    def as_coo(self, key: list[Any]) -> list[SparseCoordinates]: ...
    @overload
    def as_coo(self, key: Any) -> SparseCoordinates: ...
    def as_coo(self, key: Any) -> SparseCoordinates | list[SparseCoordinates]:
        """The sparse array ``key`` as coordinates, values and shape, for any rank and without scipy; a list for a list of keys.

        Parameters
        ----------
        key
            As in ``column[key]``; in a nested column a pair ``(sample, subsample)``.

        Returns
        -------
        SparseCoordinates
            ``coordinates`` int64, shape (rank, n), in C order; ``values``, shape (n,); ``shape``. Such a tuple can be
            written to a sparse column.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample.
        CorruptionError
            The stored bytes are damaged.
        """
        column = self if isinstance(self, ColumnBase) else cast("FlatSubsampleReader", self)._of
        values = column._reader_of(cast("SparseSchema", self._schema).as_coordinates())
        self._session.check()
        if type(key) is list:
            batch = self._space.batch(key)
            return values.many(self._cells(key, batch))
        cell = self._cell(key)
        if cell is None:
            raise self._missing(key)
        found: SparseCoordinates = values.one(cell)
        return found


class FlatSparseReader(_SparseReading, FlatSampleReader):
    """Sparse arrays of one flat column, as one commit (or the staging area) holds them."""


class FlatSparseWriter(_SparseReading, FlatSampleWriter):
    """A flat column of sparse arrays of the staging area."""


class SparseSubsampleReader(_SparseReading, FlatSubsampleReader):
    """Sparse arrays of one sample of a nested column, by key."""


class SparseSubsampleWriter(_SparseReading, FlatSubsampleWriter):
    """Sparse arrays of one sample of the staging area."""


class NestedSparseReader(_SparseReading, NestedSampleReader):
    """Sparse arrays of one nested column, as one commit (or the staging area) holds them."""

    _accessor: ClassVar[type[FlatSubsampleReader]] = SparseSubsampleReader


class NestedSparseWriter(_SparseReading, NestedSampleWriter):
    """A nested column of sparse arrays of the staging area."""

    _accessor: ClassVar[type[FlatSubsampleReader]] = SparseSubsampleWriter
