"""Stores changed chunks of arrays: chunks as blobs, the chunk map, the array record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np

from hangar.backends.preference import Preference
from hangar.blobs import BlobWriter
from hangar.blobs.ingest import hash_and_write_list, hash_and_write_rows
from hangar.columns.chunked.grid import ChunkIndex, chunk_key
from hangar.columns.chunked.table import ChunkReader
from hangar.digest import Digest, digest_list
from hangar.objects.apply import apply
from hangar.objects.arrays import ArrayRecord
from hangar.objects.node import FIXED_INLINE
from hangar.objects.store import NodeStore
from hangar.schema.chunked import ChunkedSchema

__all__ = ["ArrayStore"]

Array = np.ndarray[Any, Any]
_STACKED_BYTES: Final = 64 * 1024
"""Smaller chunks are copied into one array, whose rows are hashed together."""
_UNSIGNED: Final = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.uint64}


class ArrayStore:
    """Writes the arrays of one column.

    Parameters
    ----------
    reader
        Has the schema.
    nodes
        Gets the nodes of chunk maps and the array records.
    blobs
        Gets the chunks.
    preference
        Tells their backend.

    Attributes
    ----------
    scratch
        Copies of chunks that are being stored; their memory is used again in a batch.
    """

    __slots__ = ("_blobs", "_nodes", "_preference", "reader", "scratch")

    def __init__(
        self, reader: ChunkReader, nodes: NodeStore, blobs: BlobWriter, preference: Callable[[], Preference]
    ) -> None:
        self.reader, self._nodes, self._blobs, self._preference = reader, nodes, blobs, preference
        self.scratch: list[Array] = []

    def write(
        self,
        record: ArrayRecord,
        shape: tuple[int, ...],
        changed: Mapping[ChunkIndex, Array],
        removed: Collection[ChunkIndex] = (),
    ) -> tuple[Digest, ArrayRecord]:
        """The record of an array after a change, and its digest; nothing is published.

        Parameters
        ----------
        record
            The array before.
        shape
            Its shape afterwards.
        changed
            Chunks in canonical form but for bools, padded with the fill value; those of fill values alone are removed.
        removed
            Chunks that are removed.
        """
        schema = self.reader.schema
        cells: dict[bytes, bytes | None] = dict.fromkeys(map(chunk_key, removed))
        names: list[bytes] = []
        buffers: list[Array] = []
        for index, chunk in changed.items():
            key = chunk_key(index)
            if _is_fill(chunk, schema.fill):
                cells[key] = None
            else:
                names.append(key)
                buffers.append(_canonical(chunk).reshape(-1).view(np.uint8))
        cells.update(zip(names, self._stored(schema, buffers), strict=True))
        ordered = sorted(cells)
        tree = apply(self._nodes, schema.chunk.form, record.tree, ordered, [cells[key] for key in ordered])
        made = ArrayRecord.of(shape, tree)
        return self._nodes.add_array(made), made

    def _stored(self, schema: ChunkedSchema, buffers: list[Array]) -> list[Any]:
        """The cells of chunks, which are stored."""
        if schema.chunk.form.kind == FIXED_INLINE:
            return [buffer.tobytes() for buffer in buffers]
        if not buffers:
            return []
        try:
            return self._written(schema, buffers)
        except BaseException:
            # The memory of the chunks is used again: a block that is still being written must not be finished later.
            self._blobs.drop_unfinished()
            raise

    def _written(self, schema: ChunkedSchema, buffers: list[Array]) -> list[Any]:
        to, header = self._preference(), schema.chunk.header
        if schema.chunk.nbytes < _STACKED_BYTES:
            rows = np.stack(buffers)
            digests: list[Any] = digest_list(hash_and_write_rows(self._blobs, to.tag, header, rows, to.options))
        else:
            headers = [header] * len(buffers)
            views = [buffer.data for buffer in buffers]
            digests = list(hash_and_write_list(self._blobs, to.tag, headers, views, to.options))
        self._blobs.finish()
        return digests


def _is_fill(chunk: Array, fill: Array) -> bool:
    """Whether every element of a chunk has the bits of the fill value."""
    item = _UNSIGNED[fill.dtype.itemsize]
    bits: Array = chunk.reshape(-1).view(item)
    wanted: Array = fill.reshape(-1).view(item)
    if len(wanted) > 1:
        bits = bits.reshape(-1, len(wanted))
        return bool((bits[0] == wanted).all() and (bits == wanted).all())
    value = wanted[0]
    # Most chunks differ in a few elements already.
    return bool(bits[-1] == value and (bits[:: max(1, len(bits) // 64)] == value).all() and (bits == value).all())


def _canonical(chunk: Array) -> Array:
    """A chunk with bools of 0 and 1."""
    if chunk.dtype != np.bool_:
        return chunk
    bits = chunk.view(np.uint8)
    return bits.astype(np.bool_) if bits.max() > 1 else chunk
