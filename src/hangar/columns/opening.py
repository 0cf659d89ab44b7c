"""Opens a column as the class for its layout, flat or nested."""

from __future__ import annotations

from typing import TypeAlias

from hangar.columns.base import Session, Source, StagedSource, WriteSession
from hangar.columns.flat import FlatSampleReader
from hangar.columns.flat_write import FlatSampleWriter
from hangar.columns.nested import NestedSampleReader
from hangar.columns.nested_write import NestedSampleWriter

__all__ = ["ColumnReader", "ColumnToWrite", "open_reader", "open_writer"]

ColumnReader: TypeAlias = FlatSampleReader | NestedSampleReader
ColumnToWrite: TypeAlias = FlatSampleWriter | NestedSampleWriter


def open_reader(session: Session, source: Source) -> ColumnReader:
    """Open the column ``source`` for reading."""
    return (NestedSampleReader if source.schema.nested else FlatSampleReader)(session, source)


def open_writer(session: WriteSession, source: StagedSource) -> ColumnToWrite:
    """Open the column ``source`` for reading and writing."""
    return (NestedSampleWriter if source.schema.nested else FlatSampleWriter)(session, source)
