"""Writing of whole arrays to chunked columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from hangar.columns.base import StagedSource, WriteSession
from hangar.columns.chunked.array import ChunkedArray
from hangar.columns.chunked.content import regions
from hangar.columns.chunked.selection import parse
from hangar.columns.chunked.store import ArrayStore
from hangar.columns.chunked.table import ChunkReader
from hangar.columns.chunked.writer import ArrayWriter, ChunkedArrayWriter
from hangar.columns.keyspace import batch_list
from hangar.columns.local import named
from hangar.columns.mapping import ValueMapping
from hangar.columns.write import EntryWriter
from hangar.errors import HangarError, InvalidInputError
from hangar.schema import ChunkedSchema, ColumnSchema
from hangar.wording import plural

__all__ = ["ChunkedEntryWriter", "open_entry_writer"]


class ChunkedEntryWriter(EntryWriter):
    """Writes entries of one chunked column: an array is written chunk by chunk."""

    __slots__ = ("arrays",)

    def __init__(self, session: WriteSession, source: StagedSource, schema: ChunkedSchema) -> None:
        super().__init__(session, source, schema)
        resolve = session.resolve
        reader = ChunkReader(
            session.stores,
            session.nodes,
            schema,
            None if resolve is None else partial(resolve, source.id, schema),
            lambda error: named(error, source.name, session.rev),
        )
        store = ArrayStore(reader, session.nodes, session.blobs, self._to)
        self.arrays = ArrayWriter(session, store, source.id, source.stored_cell, source.stage_cell)

    def put_entry(self, encoded: bytes, value: Any) -> None:
        found = self._checked(value)
        with self._session.writing():
            self._put_all([encoded], [found])

    def put_entries(self, encoded: Sequence[bytes], values: Any) -> None:
        listed = batch_list("values", values.values() if isinstance(values, ValueMapping) else values)
        if len(listed) != len(encoded):
            raise InvalidInputError(f"{plural(len(encoded), 'key')} and {plural(len(listed), 'value')}")
        found = list(map(self._checked, listed))
        if encoded:
            with self._session.writing():
                self._put_all(encoded, found)

    def _put_all(self, keys: Sequence[bytes], values: Sequence[Any]) -> None:
        """Write whole arrays. After a failure nothing of the batch is stored."""
        try:
            for key, value in zip(keys, values, strict=True):
                self._put(key, value)
        except HangarError:
            self._session.drop()
            raise

    def _checked(self, value: Any) -> Any:
        schema = self.arrays.schema
        if not isinstance(value, ChunkedArray):
            return schema.whole(value)
        if value.dtype != schema.dtype:
            raise InvalidInputError(f"dtype: {value.dtype} != aset: {schema.dtype}")
        schema.check_shape(value.shape)
        return value

    def _put(self, key: bytes, value: Any) -> None:
        """Write a whole array; a chunked one is copied chunk by chunk."""
        if not isinstance(value, ChunkedArray):
            array = self.arrays.create(key, value.shape)
            if value.size:
                self.arrays.assign(array, parse(..., value.shape), value)
            return
        # It may be the array that is replaced, so its content is taken before.
        content = value._content()
        array = self.arrays.create(key, content.shape)
        for region in regions(content.present(), content.shape, value.chunks):
            selection = parse(region, content.shape)
            self.arrays.assign(array, selection, content.read(selection))

    def create(self, encoded: bytes, shape: tuple[int, ...]) -> None:
        """Stage an array of fill values."""
        found = self.arrays.schema.check_shape(shape)
        with self._session.writing():
            self.arrays.create(encoded, found)

    def opened(self, encoded: bytes, key: object) -> ChunkedArrayWriter:
        """The array at an encoded key, for reading and writing."""
        return ChunkedArrayWriter(self.arrays, encoded, key)

    def retire(self, session: WriteSession) -> None:
        """The arrays that were handed out cannot be used either."""
        self.arrays.session = session


def open_entry_writer(session: WriteSession, source: StagedSource, schema: ColumnSchema) -> EntryWriter:
    """The writer of the entries of a column."""
    if isinstance(schema, ChunkedSchema):
        return ChunkedEntryWriter(session, source, schema)
    return EntryWriter(session, source, schema)
