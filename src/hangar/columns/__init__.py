"""Public mappings: the columns of a checkout, the samples of a column, and the subsamples of a sample."""

from __future__ import annotations

from hangar.columns.accessor import FlatSubsampleReader, FlatSubsampleWriter
from hangar.columns.base import ColumnBase
from hangar.columns.collection import Columns
from hangar.columns.evolve import ColumnWriter
from hangar.columns.flat import FlatSampleReader
from hangar.columns.flat_write import FlatSampleWriter
from hangar.columns.media import (
    FlatMediaReader,
    FlatMediaWriter,
    MediaSubsampleReader,
    MediaSubsampleWriter,
    NestedMediaReader,
    NestedMediaWriter,
)
from hangar.columns.nested import NestedSampleReader
from hangar.columns.nested_write import NestedSampleWriter
from hangar.columns.sparse import (
    FlatSparseReader,
    FlatSparseWriter,
    NestedSparseReader,
    NestedSparseWriter,
    SparseCoordinates,
    SparseSubsampleReader,
    SparseSubsampleWriter,
)

__all__ = [
    "Columns",
    "FlatMediaReader",
    "FlatMediaWriter",
    "FlatSampleReader",
    "FlatSampleWriter",
    "FlatSparseReader",
    "FlatSparseWriter",
    "FlatSubsampleReader",
    "FlatSubsampleWriter",
    "MediaSubsampleReader",
    "MediaSubsampleWriter",
    "NestedMediaReader",
    "NestedMediaWriter",
    "NestedSampleReader",
    "NestedSampleWriter",
    "NestedSparseReader",
    "NestedSparseWriter",
    "SparseCoordinates",
    "SparseSubsampleReader",
    "SparseSubsampleWriter",
    "is_column",
    "is_writer_column",
]


def is_column(obj: object) -> bool:
    """Whether ``obj`` is a column, of a reader or of a writer."""
    return isinstance(obj, ColumnBase)


def is_writer_column(obj: object) -> bool:
    """Whether ``obj`` is a column that can be written to."""
    return isinstance(obj, ColumnWriter)
