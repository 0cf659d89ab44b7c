"""Content of one chunked array: an array record, and the changed chunks of a batch over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final

import numpy as np

from hangar.columns.chunked.grid import ChunkIndex, Piece, grid_of, pieces, valid_part
from hangar.columns.chunked.selection import Selection
from hangar.columns.chunked.table import ChunkReader
from hangar.objects.arrays import ArrayRecord

__all__ = ["ArrayContent", "regions"]

Array = np.ndarray[Any, Any]
_PIECES: Final = 4_096
"""Pieces of a selection that are read together."""


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

    __slots__ = ("changed", "digest", "reader", "record", "shape")

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

    def chunks(self, indices: list[ChunkIndex], *, keep: bool = True) -> Iterator[tuple[int, Array | None]]:
        """Chunks with their positions in ``indices``, in any order; None for an absent one. They must not be changed."""
        changed = self.changed
        if not changed:
            yield from self.reader.read(self.record, self.digest, indices, keep=keep)
            return
        stored = []
        for i, index in enumerate(indices):
            chunk = changed.get(index)
            if chunk is None:
                stored.append(i)
            else:
                yield i, chunk
        found = self.reader.read(self.record, self.digest, [indices[i] for i in stored], keep=keep)
        for i, chunk in found:
            yield stored[i], chunk

    def read(self, selection: Selection) -> Any:
        """The selected elements, in new memory; a scalar if the result has no dimension."""
        schema = self.reader.schema
        block = np.empty(selection.block, schema.dtype)
        target = selection.oriented(block)
        if block.size:
            whole = _covers(selection, self.shape)
            batch: list[Piece] = []
            for piece in pieces(selection, schema.chunks):
                batch.append(piece)
                if len(batch) == _PIECES:
                    self._fill(batch, target, keep=not whole)
                    batch = []
            self._fill(batch, target, keep=not whole)
        result = block.reshape(selection.result)
        return result[()] if not selection.result else result

    def _fill(self, batch: list[Piece], target: Array, *, keep: bool) -> None:
        fill = self.reader.schema.fill
        for i, chunk in self.chunks([piece.chunk for piece in batch], keep=keep):
            piece = batch[i]
            target[piece.outside] = fill if chunk is None else chunk[piece.inside]

    def present(self) -> Iterable[ChunkIndex]:
        """The chunks that are present in the record, or were changed, in order."""
        stored = self.reader.indices(self.record)
        return sorted({*stored, *self.changed}) if self.changed else stored


def _covers(selection: Selection, shape: tuple[int, ...]) -> bool:
    """Whether a selection reads every chunk of the array as a whole, so that none of them is needed again."""
    return selection.basic and selection.block == shape


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
