"""Chunks that a batch changed and that are not stored yet.

They stay in memory until the end of the batch, so that a chunk that is written many times is stored once. When they take
more than ``limits.CHUNK_BUFFER_BYTES``, those written longest ago are stored. Whoever reads the staged columns in
another way than through an array has the buffer flushed first (``settle``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import numpy as np

from hangar import limits
from hangar.columns.chunked.content import ArrayContent
from hangar.columns.chunked.grid import ChunkIndex, Piece, grid_of, pieces, valid_part
from hangar.columns.chunked.selection import Selection
from hangar.columns.chunked.store import ArrayStore

__all__ = ["ChangedArray", "ChunkBuffer"]

Array = np.ndarray[Any, Any]
_TOGETHER_BYTES: Final = 32 * 2**20
"""Chunks that are read and changed together."""
_DIRECT_BYTES: Final = 8 * 2**20
"""The chunks that a value of this size or more covers are stored at once."""
_HELD_BYTES: Final = 64 * 2**20
"""Copies of chunks that are stored together: two blocks of ``blobs/ingest``, so that one is written while the other is hashed."""


class ChangedArray:
    """An array that the present batch changed.

    Attributes
    ----------
    content
        What it holds.
    """

    __slots__ = ("_chunks", "_put", "_store", "content")

    def __init__(self, store: ArrayStore, content: ArrayContent, put: Callable[[bytes], None]) -> None:
        self._store = store
        self._put = put
        self._chunks: dict[ChunkIndex, Array] = {}
        self.content = ArrayContent(content.reader, content.record, content.digest, content.shape, self._chunks)

    @property
    def held(self) -> int:
        """Number of chunks in memory."""
        return len(self._chunks)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk."""
        return self._store.reader.schema.chunk.nbytes

    # ------------------------------------------------------------------ changes

    def assign(self, selection: Selection, values: Array, done: Callable[[], None]) -> None:
        """Change the selected elements to ``values``, a block of the selection. ``done`` is called after each part.

        Raises
        ------
        HangarError
            A chunk that is changed in part cannot be read.
        """
        source = selection.oriented(values)
        together = max(1, _TOGETHER_BYTES // self.chunk_bytes)
        parts = pieces(selection, self._store.reader.schema.chunks)
        if values.nbytes >= _DIRECT_BYTES:
            parts = self._store_whole(parts, source, done)
        while batch := list(islice(parts, together)):
            self._change(batch, source)
            done()

    def _store_whole(self, parts: Iterator[Piece], source: Array, done: Callable[[], None]) -> Iterator[Piece]:
        """Store the chunks that a large value covers, without waiting for the end of the batch; yield the other pieces.

        Chunks that are contiguous in the value are not copied.
        """
        schema = self._store.reader.schema
        most = max(2, _HELD_BYTES // self.chunk_bytes)
        scratch = self._store.scratch
        held: dict[ChunkIndex, Array] = {}
        copied = 0
        for piece in parts:
            if piece.whole != schema.chunks:
                yield piece
                continue
            chunk = source[piece.outside]
            if not chunk.flags.c_contiguous:
                if copied == len(scratch):
                    scratch.append(np.empty(schema.chunks, schema.dtype))
                np.copyto(scratch[copied], chunk)
                chunk = scratch[copied]
                copied += 1
            held[piece.chunk] = chunk
            if copied == most or len(held) == 4 * most:
                self._store_now(held)
                held, copied = {}, 0
                done()
        if held:
            self._store_now(held)
            done()

    def _store_now(self, chunks: dict[ChunkIndex, Array]) -> None:
        for index in chunks:
            self._chunks.pop(index, None)
        self._set(self.content.shape, chunks, ())

    def _change(self, batch: list[Piece], source: Array) -> None:
        schema, chunks, shape = self._store.reader.schema, self._chunks, self.content.shape
        extents = [valid_part(piece.chunk, shape, schema.chunks) for piece in batch]
        partial = [
            piece.chunk
            for piece, whole in zip(batch, extents, strict=True)
            if piece.whole != whole and piece.chunk not in chunks
        ]
        before = self.content.chunks(partial) if partial else ()
        stored = {partial[i]: chunk for i, chunk in before}
        for piece, whole in zip(batch, extents, strict=True):
            chunk = chunks.pop(piece.chunk, None)
            if chunk is None:
                old = stored.get(piece.chunk)
                if old is not None:
                    chunk = old.copy()
                elif piece.whole == schema.chunks == whole:
                    chunk = np.empty(schema.chunks, schema.dtype)
                else:
                    chunk = np.full(schema.chunks, schema.fill)
            chunk[piece.inside] = source[piece.outside]
            chunks[piece.chunk] = chunk

    def reshape(self, shape: tuple[int, ...]) -> None:
        """Resize the array: what is cut off is cleared."""
        kept = tuple(map(min, shape, self.content.shape))
        if kept != self.content.shape:
            self._shrink(kept)
        self.grow(shape)

    def grow(self, shape: tuple[int, ...]) -> None:
        """Change the shape, and nothing else."""
        content = self.content
        self.content = ArrayContent(content.reader, content.record, content.digest, shape, self._chunks)

    def _shrink(self, shape: tuple[int, ...]) -> None:
        self.flush()
        content = self.content
        schema = content.reader.schema
        grid = grid_of(shape, schema.chunks)
        removed: list[ChunkIndex] = []
        cut: list[ChunkIndex] = []
        for index in content.present():
            if any(at >= extent for at, extent in zip(index, grid, strict=True)):
                removed.append(index)
            elif valid_part(index, shape, schema.chunks) != valid_part(index, content.shape, schema.chunks):
                cut.append(index)
        self._set(shape, {}, removed)
        together = max(1, _TOGETHER_BYTES // self.chunk_bytes)
        for start in range(0, len(cut), together):
            part = cut[start : start + together]
            found: dict[ChunkIndex, Array] = {}
            for i, chunk in self.content.chunks(part):
                assert chunk is not None
                filled = np.full(schema.chunks, schema.fill)
                inside = tuple(map(slice, valid_part(part[i], shape, schema.chunks)))
                filled[inside] = chunk[inside]
                found[part[i]] = filled
            self._set(shape, found, ())

    # ------------------------------------------------------------------ storing

    def flush(self, most: int | None = None) -> None:
        """Store the chunks written longest ago, at most so many, and stage the array."""
        taken = dict(islice(self._chunks.items(), most))
        self._set(self.content.shape, taken, ())
        for index in taken:
            del self._chunks[index]

    def release(self) -> None:
        """Free the memory for copies of chunks."""
        self._store.scratch.clear()

    def _set(self, shape: tuple[int, ...], changed: dict[ChunkIndex, Array], removed: Any) -> None:
        digest, record = self._store.write(self.content.record, shape, changed, removed)
        self._put(digest)
        self.content = ArrayContent(self.content.reader, record, digest, shape, self._chunks)


class ChunkBuffer:
    """The changed arrays of the present batch of a writer.

    Parameters
    ----------
    mine
        Whether the calling thread is the one that writes.
    """

    __slots__ = ("_arrays", "_mine")

    def __init__(self, mine: Callable[[], bool]) -> None:
        self._mine = mine
        self._arrays: dict[tuple[bytes, bytes], ChangedArray] = {}

    def get(self, column: bytes, key: bytes) -> ChangedArray | None:
        """The array at an encoded key of a column, if the batch changed it."""
        return self._arrays.get((column, key))

    def put(self, column: bytes, key: bytes, array: ChangedArray) -> None:
        """Add an array; it replaces one of the same key, whose changes are dropped."""
        self._arrays.pop((column, key), None)
        self._arrays[column, key] = array

    @property
    def nbytes(self) -> int:
        """Bytes of the chunks in memory."""
        return sum(array.held * array.chunk_bytes for array in self._arrays.values())

    def bound(self) -> None:
        """Store chunks if there are too many in memory, those of the arrays changed longest ago first."""
        held = self.nbytes
        if held <= limits.CHUNK_BUFFER_BYTES:
            return
        for array in self._arrays.values():
            size = array.chunk_bytes
            most = -(-(held - limits.CHUNK_BUFFER_BYTES // 2) // size)
            taken = min(most, array.held)
            if taken > 0:
                array.flush(taken)
                held -= taken * size

    def settle(self) -> None:
        """Stage all changed arrays, if this thread is the one that writes. Other threads see the state before the batch."""
        if self._arrays and self._mine():
            self.flush()

    def flush(self) -> None:
        """Store all chunks, and stage the arrays."""
        for name, array in list(self._arrays.items()):
            array.flush()
            array.release()
            self._arrays.pop(name, None)

    def clear(self) -> None:
        """Forget all changes."""
        for array in list(self._arrays.values()):
            array.release()
        self._arrays.clear()
