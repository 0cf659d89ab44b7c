"""Content of one chunked array: an array record, and the changed chunks of a batch over it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, Final

import numpy as np

from hangar.columns.chunked.grid import ChunkIndex, Piece, grid_of, pieces, valid_part
from hangar.columns.chunked.selection import Selection
from hangar.columns.chunked.table import ChunkReader, ChunkTable
from hangar.objects.arrays import ArrayRecord
from hangar.schema.cells import Rows

__all__ = ["ArrayContent", "regions"]

Array = np.ndarray[Any, Any]
_SLABS: Final = 2
"""Consecutive chunks that are read directly into the result; fewer go through the cache."""
_PIECES: Final = 4_096
"""Pieces of a large selection that are read together."""


class ArrayContent:
    """What an array holds at one moment.

    Attributes
    ----------
    shape
        Its shape, which may be larger than that of the record.
    record, digest
        The array record.
    changed
        Chunks that replace those of the record.
    """

    __slots__ = ("_table", "changed", "digest", "reader", "record", "shape")

    def __init__(
        self,
        reader: ChunkReader,
        record: ArrayRecord,
        digest: bytes,
        shape: tuple[int, ...] | None = None,
        changed: Mapping[ChunkIndex, Array] | None = None,
    ) -> None:
        self.reader, self.record, self.digest = reader, record, digest
        self.shape = record.shape if shape is None else shape
        self.changed: Mapping[ChunkIndex, Array] = {} if changed is None else changed
        self._table: ChunkTable | None = None

    def chunks(self, indices: Sequence[ChunkIndex]) -> Iterator[tuple[int, Array | None]]:
        """Chunks with their positions in ``indices``, in any order; None for an absent one. They must not be changed."""
        if len(indices) <= self.reader.few:
            yield from enumerate(map(self._chunk, indices))
            return
        changed = self.changed
        stored = []
        for i, index in enumerate(indices):
            chunk = changed.get(index)
            if chunk is None:
                stored.append(i)
            else:
                yield i, chunk
        for i, chunk in self.reader.read(self.record, self.digest, [indices[i] for i in stored]):
            yield stored[i], chunk

    def _chunk(self, index: ChunkIndex) -> Array | None:
        """One chunk, None if it is absent. It must not be changed."""
        chunk = self.changed.get(index)
        if chunk is not None:
            return chunk
        table = self._table
        if table is None:
            table = self._table = self.reader.table(self.record, self.digest)
        if table is not None:
            row = table.find(index)
            chunk = None if row < 0 else self.reader.read_one(table, row)
            if chunk is not None or row < 0:
                return chunk
            self._table = None
        return next(self.reader.read(self.record, self.digest, [index]))[1]

    def read(self, selection: Selection) -> Any:
        """The selected elements, in new memory; a scalar if the result has no dimension."""
        schema = self.reader.schema
        if self.reader.fetches:
            self.reader.fetch(self.absent(selection))
        block = np.empty(selection.block, schema.dtype)
        if block.size and not self._read_slabs(selection, block):
            target = selection.oriented(block)
            parts = pieces(selection, schema.chunks)
            while batch := list(islice(parts, _PIECES)):
                self._copy(batch, target, selection.basic)
        result = block.reshape(selection.result)
        return result[()] if not selection.result else result

    def absent(self, selection: Selection) -> list[Rows]:
        """Digests of the chunks of a selection that are not on this disk: uint8, shape (n, 32)."""
        found: list[Rows] = []
        parts = pieces(selection, self.reader.schema.chunks) if math.prod(selection.block) else iter(())
        while batch := list(islice(parts, _PIECES)):
            indices = [piece.chunk for piece in batch if piece.chunk not in self.changed]
            found.append(self.reader.absent_of(self.record, self.digest, indices))
        return found

    def _copy(self, batch: list[Piece], target: Array, basic: bool) -> None:
        """Copy pieces of the selection to their places."""
        fill = self.reader.schema.fill
        if len(batch) <= self.reader.few:
            for index, inside, outside, _ in batch:
                found = self._box(index, inside) if basic else self._chunk(index)
                target[outside] = fill if found is None else found if basic else found[inside]
                if basic:
                    self.reader.give_back()
            return
        rest = self._copy_stored(batch, target)
        for i, chunk in self.chunks([piece.chunk for piece in rest]):
            _, inside, outside, _ = rest[i]
            target[outside] = fill if chunk is None else chunk[inside]

    def _copy_stored(self, batch: list[Piece], target: Array) -> list[Piece]:
        """Copy the pieces of chunks that are stored as blobs of their own, on several threads; the others remain."""
        table = self._table or self.reader.table(self.record, self.digest)
        if table is None or table.words is None:
            return batch
        stored, rows, rest = list[Piece](), list[int](), list[Piece]()
        for piece in batch:
            row = -1 if piece.chunk in self.changed else table.find(piece.chunk)
            if row < 0:
                rest.append(piece)
            else:
                stored.append(piece)
                rows.append(row)

        def use(i: int, chunk: Array) -> None:
            target[stored[i].outside] = chunk[stored[i].inside]

        return rest + [stored[i] for i in self.reader.visit(table, rows, use)]

    def _box(self, index: ChunkIndex, inside: tuple[Any, ...]) -> Array | None:
        """A box of one chunk, None if it is absent; it must not be kept."""
        table = self._table
        if table is not None and index not in self.changed:
            row = table.find(index)
            box = None if row < 0 else self.reader.read_part(table, row, inside)
            if box is not None or row < 0:
                return box
        chunk = self._chunk(index)
        return None if chunk is None else chunk[inside]

    def _read_slabs(self, selection: Selection, block: Array) -> bool:
        """Read consecutive chunks that lie one after the other in the result directly into it; False if they do not."""
        reader, chunks, shape = self.reader, self.reader.schema.chunks, self.shape
        if not selection.basic or selection.flips or self.changed:
            return False
        first, *others = selection.groups
        if any(
            one.length != size or size != extent
            for one, size, extent in zip(others, chunks[1:], shape[1:], strict=True)
        ):
            return False
        depth = chunks[0]
        start, length = first.start, first.length  # type: ignore[union-attr]
        a, b = -(-start // depth), (start + length) // depth
        table = reader.table(self.record, self.digest) if first.step == 1 and b - a >= _SLABS else None  # type: ignore[union-attr]
        if table is None:
            return False
        rest = (0,) * len(others)
        full = block[a * depth - start : b * depth - start].reshape(b - a, -1).view(np.uint8)
        rows = [table.find((at, *rest)) for at in range(a, b)]
        reader.read_into(table, self.digest, rows, full)
        for at, part in ((a - 1, slice(0, a * depth - start)), (b, slice(b * depth - start, length))):
            if part.start < part.stop:
                chunk = self._chunk((at, *rest))
                inside = slice(start + part.start - at * depth, start + part.stop - at * depth)
                block[part] = reader.schema.fill if chunk is None else chunk[inside]
        return True

    def present(self) -> Iterable[ChunkIndex]:
        """The chunks that are present in the record, or were changed, in order."""
        stored = self.reader.indices(self.record)
        return sorted({*stored, *self.changed}) if self.changed else stored


def regions(
    indices: Iterable[ChunkIndex] | None, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> Iterator[tuple[slice, ...]]:
    """The part of the array that each chunk covers; ``indices`` None stands for all chunks, in order."""
    every = product(*map(range, grid_of(shape, chunks))) if indices is None else indices
    for index in every:
        extents = valid_part(index, shape, chunks)
        yield tuple(
            slice(at * size, at * size + extent) for at, size, extent in zip(index, chunks, extents, strict=True)
        )
