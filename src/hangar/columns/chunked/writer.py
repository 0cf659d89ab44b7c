"""A chunked array of the staging area: slices are read and written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Protocol

import numpy as np

from hangar.columns.chunked.array import ChunkedArray
from hangar.columns.chunked.buffer import ChangedArray, ChunkBuffer
from hangar.columns.chunked.content import ArrayContent
from hangar.columns.chunked.selection import Selection, parse
from hangar.columns.chunked.store import ArrayStore
from hangar.columns.chunked.table import ChunkReader
from hangar.errors import AccessError, HangarError, InvalidInputError, SampleNotFoundError
from hangar.objects.arrays import ArrayRecord
from hangar.schema import as_shape
from hangar.schema.chunked import ChunkedSchema

__all__ = ["ArraySession", "ArrayWriter", "ChunkedArrayWriter"]

Array = np.ndarray[Any, Any]


class ArraySession(Protocol):
    """Interface of the writer checkout, as far as arrays need it."""

    arrays: ChunkBuffer

    def check(self) -> None: ...
    def writing(self) -> AbstractContextManager[None]: ...
    def spill_if_large(self) -> None: ...
    def drop(self) -> None: ...


class ArrayWriter:
    """Changes the arrays of one column. Its methods are called within a write of the session.

    Parameters
    ----------
    column_id
        The column.
    cell, put
        Read and stage the cell of an encoded key, without regard to the buffer.
    """

    __slots__ = ("_cell", "_column_id", "_put", "_store", "session")

    def __init__(
        self,
        session: ArraySession,
        store: ArrayStore,
        column_id: bytes,
        cell: Callable[[bytes], bytes | None],
        put: Callable[[bytes, bytes], None],
    ) -> None:
        self.session, self._store, self._column_id, self._cell, self._put = session, store, column_id, cell, put

    @property
    def reader(self) -> ChunkReader:
        """Reader of the column."""
        return self._store.reader

    @property
    def schema(self) -> ChunkedSchema:
        """Schema of the column."""
        return self._store.reader.schema

    def content(self, key: bytes, known: ArrayContent | None = None) -> ArrayContent | None:
        """Present content of the array at an encoded key, None if there is none; ``known`` is returned if it is up to date."""
        changed = self.session.arrays.get(self._column_id, key)
        if changed is not None:
            return changed.content
        cell = self._cell(key)
        if cell is None:
            return None
        if known is not None and known.digest == cell and not known.changed:
            return known
        return ArrayContent(self.reader, self.reader.record(cell), cell)

    def change(self, key: bytes, content: ArrayContent) -> ChangedArray:
        """The array at an encoded key, to be changed."""
        arrays = self.session.arrays
        found = arrays.get(self._column_id, key)
        if found is None:
            found = ChangedArray(self._store, content, lambda digest: self._put(key, digest))
        # Put again, so that the arrays are in the order of the last change.
        arrays.put(self._column_id, key, found)
        return found

    def create(self, key: bytes, shape: tuple[int, ...]) -> ChangedArray:
        """A new array of fill values at an encoded key; it replaces what was there."""
        record = ArrayRecord.of(shape, None)
        empty = ArrayContent(self.reader, record, self.reader.nodes.add_array(record))
        found = ChangedArray(self._store, empty, lambda digest: self._put(key, digest))
        self.session.arrays.put(self._column_id, key, found)
        return found

    def assign(self, array: ChangedArray, selection: Selection, block: Array) -> None:
        """Write a block. After a failure in its middle nothing of the batch is stored."""
        parts = 0

        def done() -> None:
            nonlocal parts
            parts += 1
            self.session.arrays.bound()
            self.session.spill_if_large()

        try:
            array.assign(selection, block, done)
        except HangarError:
            if parts:
                self.session.drop()
            raise


class ChunkedArrayWriter(ChunkedArray):
    """An array of the staging area; it always shows the present content of its sample.

    ``array[...] = value`` writes with numpy's broadcasting. Only the chunks that it touches are written, and only those
    that it changes in part are read. Outside of a ``with`` block a write is durable when it returns.
    """

    __slots__ = ("_key", "_name", "_writer")

    def __init__(self, writer: ArrayWriter, key: bytes, name: object) -> None:
        self._named = None
        self._reader, self._column = writer.reader, None
        self._writer, self._key, self._name = writer, key, name
        self._content_ = self._present(None)

    def _present(self, known: ArrayContent | None) -> ArrayContent:
        found = self._writer.content(self._key, known)
        if found is None:
            raise SampleNotFoundError(f"sample {self._name!r} was deleted")
        return found

    def _content(self) -> ArrayContent:
        self._writer.session.check()
        found = self._content_ = self._present(self._content_)
        return found

    def __reduce__(self) -> NoReturn:
        raise AccessError("an array of a writer cannot be pickled: open a reader checkout")

    @property
    def digest(self) -> str:
        """Digest of the array, in hex; changed chunks of the present batch are stored first."""
        self._writer.session.check()
        self._writer.session.arrays.settle()
        return super().digest

    # ------------------------------------------------------------------ writing

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write ``value``, broadcast as numpy does, to the selected elements.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the index is out of bounds, or not one that numpy accepts.
        InvalidInputError
            (a ``ValueError``) the value does not broadcast to the selection, or its dtype cannot be converted without
            loss. Nothing was written.
        CorruptionError
            A chunk that is written in part cannot be read. Nothing was written.
        """
        self._assign(lambda shape: parse(index, shape), value)

    def _assign(self, parsed: Callable[[tuple[int, ...]], Selection], value: Any) -> None:
        content = self._content()
        selection = parsed(content.shape)
        part = self._writer.schema.part(value)
        block = _block(part, selection)
        if block.size:
            with self._writer.session.writing():
                # Another thread may have written while this one waited for its turn.
                now = self._present(content)
                if now.shape != content.shape:
                    selection = parsed(now.shape)
                    block = _block(part, selection)
                self._writer.assign(self._writer.change(self._key, now), selection, block)

    def resize(self, *shape: Any) -> None:
        """Change the shape: ``array.resize(shape)`` or ``array.resize(n, m)``. What is cut off is lost, what is new has the fill value.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the rank differs, or the shape exceeds the maximum of the column.
        """
        content = self._content()
        found = self._writer.schema.check_shape(as_shape(shape[0] if len(shape) == 1 else shape))
        if found != content.shape:
            with self._writer.session.writing():
                try:
                    self._writer.change(self._key, self._present(content)).reshape(found)
                except HangarError:
                    self._writer.session.drop()
                    raise

    def append(self, values: Any, axis: int = 0) -> tuple[int, ...]:
        """Grow the array along ``axis`` and write ``values`` there; returns the new shape.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) ``values`` differs in rank or in another dimension, its dtype cannot be converted without
            loss, or the array would exceed the maximum shape of the column.
        """
        content = self._content()
        part = self._writer.schema.part(values)
        shape, selection = self._appended(content.shape, part, axis)
        if part.shape[axis]:
            with self._writer.session.writing():
                # Another thread may have written while this one waited for its turn.
                now = self._present(content)
                shape, selection = self._appended(now.shape, part, axis)
                array = self._writer.change(self._key, now)
                array.grow(shape)
                try:
                    self._writer.assign(array, selection, _block(part, selection))
                except HangarError:
                    array.grow(now.shape)
                    raise
        return shape

    def _appended(self, old: tuple[int, ...], part: Array, axis: int) -> tuple[tuple[int, ...], Selection]:
        """The shape after ``part`` was appended, and the selection of the new elements."""
        rank = len(old)
        if not -rank <= axis < rank:
            raise InvalidInputError(f"axis {axis} is out of bounds for an array of dimension {rank}")
        axis %= rank
        if part.ndim != rank or part.shape[:axis] != old[:axis] or part.shape[axis + 1 :] != old[axis + 1 :]:
            raise InvalidInputError(
                f"values of shape {part.shape} cannot be appended to an array of shape {old} along axis {axis}"
            )
        shape = self._writer.schema.check_shape((*old[:axis], old[axis] + part.shape[axis], *old[axis + 1 :]))
        return shape, parse(tuple(slice(old[i], None) if i == axis else slice(None) for i in range(rank)), shape)


def _block(part: Array, selection: Selection) -> Array:
    """``part`` in the shape of the block of a selection."""
    wanted = selection.result
    given = part
    while part.ndim > len(wanted) and part.shape[0] == 1:
        part = part[0]
    try:
        return np.broadcast_to(part, wanted).reshape(selection.block)
    except ValueError:
        raise InvalidInputError(
            f"could not broadcast input array from shape {given.shape} into shape {wanted}"
        ) from None
