"""Opens a column as the class for its kind and layout."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from hangar.columns.base import Session, Source, StagedSource, WriteSession
from hangar.columns.flat import FlatSampleReader
from hangar.columns.flat_write import FlatSampleWriter
from hangar.columns.media import FlatMediaReader, FlatMediaWriter, NestedMediaReader, NestedMediaWriter
from hangar.columns.nested import NestedSampleReader
from hangar.columns.nested_write import NestedSampleWriter
from hangar.columns.sparse import FlatSparseReader, FlatSparseWriter, NestedSparseReader, NestedSparseWriter

__all__ = ["ColumnReader", "ColumnToWrite", "open_reader", "open_writer"]

ColumnReader: TypeAlias = FlatSampleReader | NestedSampleReader
ColumnToWrite: TypeAlias = FlatSampleWriter | NestedSampleWriter


class _Classes(NamedTuple):
    """The classes of a kind of data."""

    flat: type[FlatSampleReader]
    nested: type[NestedSampleReader]
    flat_writer: type[FlatSampleWriter]
    nested_writer: type[NestedSampleWriter]


_PLAIN: Final = _Classes(FlatSampleReader, NestedSampleReader, FlatSampleWriter, NestedSampleWriter)
_MEDIA: Final = _Classes(FlatMediaReader, NestedMediaReader, FlatMediaWriter, NestedMediaWriter)
_BY_KIND: Final[dict[str, Any]] = {
    "audio": _MEDIA,
    "image": _MEDIA,
    "sparse": _Classes(FlatSparseReader, NestedSparseReader, FlatSparseWriter, NestedSparseWriter),
    "video": _MEDIA,
}
"""Kinds whose columns have methods of their own."""


def open_reader(session: Session, source: Source) -> ColumnReader:
    """Open the column ``source`` for reading."""
    classes = _BY_KIND.get(source.schema.kind_name, _PLAIN)
    opened: ColumnReader = (classes.nested if source.schema.nested else classes.flat)(session, source)
    return opened


def open_writer(session: WriteSession, source: StagedSource) -> ColumnToWrite:
    """Open the column ``source`` for reading and writing."""
    classes = _BY_KIND.get(source.schema.kind_name, _PLAIN)
    opened: ColumnToWrite = (classes.nested_writer if source.schema.nested else classes.flat_writer)(session, source)
    return opened
