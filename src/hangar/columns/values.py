"""From the cells of a tree to the values a user gets, in batches.

The schema says which cells hold a value and which the digest of a blob, and decodes both. Values of one shape come back stacked, by one gather in
the blob store; everything handed out is fresh memory that belongs to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hangar.blobs import BlobStore
from hangar.digest import Header
from hangar.errors import CorruptionError
from hangar.schema import ColumnSchema
from hangar.schema.cells import Rows
from hangar.schema.ndarray import check_out

__all__ = ["ValueReader"]

_SHARED_BYTES = 64 * 1024
"""Arrays of a list share one block of memory when they are smaller than this."""


class ValueReader:
    """Reads the values of one column."""

    __slots__ = ("_all_blobs", "_blobs", "_no_blobs", "_schema", "_seen")

    def __init__(self, blobs: BlobStore, schema: ColumnSchema) -> None:
        self._blobs = blobs
        self._schema = schema
        self._all_blobs = schema.inline_bytes < 0
        self._no_blobs = schema.uniform and not self._all_blobs
        self._seen: Header | None = None

    def one(self, cell: bytes) -> Any:
        """The value of one tree entry."""
        if self._all_blobs:
            return self._blob(cell)
        digest = None if self._no_blobs else self._schema.digest_of(cell)
        return self._schema.decode_cell(cell) if digest is None else self._blob(digest)

    def _blob(self, digest: bytes) -> Any:
        header, buffer = self._blobs.read_one(digest)
        if header is not self._seen:
            self._check_header(digest, header)
        return self._schema.decode(header, buffer)

    def _check_header(self, digest: bytes, header: Header) -> None:
        if not self._schema.check_header(header):
            raise CorruptionError(f"blob {digest.hex()} is not what its column holds")
        # The blob store gives the same object for the same header, so most blobs need no second look.
        self._seen = header

    def many(self, cells: Sequence[bytes]) -> list[Any]:
        """The values of tree entries, in their order."""
        schema = self._schema
        if schema.uniform and schema.nbytes <= _SHARED_BYTES:
            if not cells:
                return []
            rows = np.frombuffer(b"".join(cells), np.uint8).reshape(len(cells), schema.form.width)
            return schema.separate(self.stacked(rows))
        if self._all_blobs:
            return self._listed(cells)
        values, places, digests = schema.decode_cells(cells)
        for i, value in zip(places, self._listed(digests), strict=True):
            values[i] = value
        return values

    def _listed(self, digests: Sequence[bytes]) -> list[Any]:
        if not digests:
            return []
        pairs = self._blobs.read_list(list(digests))
        for digest, (header, _) in zip(digests, pairs, strict=True):
            if header is not self._seen:
                self._check_header(digest, header)
        return [self._schema.decode(header, buffer) for header, buffer in pairs]

    def stacked(self, cells: Rows, out: np.ndarray[Any, Any] | None = None) -> Any:
        """Values as one array.

        Parameters
        ----------
        cells
            Of the tree, uint8, shape (n, width of a cell).
        out
            Array of shape ``(n, *shape)`` and the column's dtype to read into, or None.

        Returns
        -------
        numpy.ndarray
            Shape ``(n, *shape)``: ``out``, or fresh memory.
        """
        schema = self._schema
        if not schema.uniform:
            header = self._shared_header(cells)
            if header is None or schema.dtype is None:
                return schema.stack(self._listed(cells.view(f"V{cells.shape[1]}")[:, 0].tolist()), out)
            return self._gathered(cells, header, math.prod(header.shape) * schema.dtype.itemsize, out)
        inline = schema.inline_rows(cells)
        if inline is None:
            return self._gathered(cells, schema.header, schema.nbytes, out)
        if out is not None:
            check_out(out, (len(cells), *schema.header.shape), schema.dtype)
        values = schema.decode_rows(schema.header, inline)
        if out is None:
            return values
        out[...] = values
        return out

    def _shared_header(self, digests: Rows) -> Header | None:
        """The header of blobs of a column of variable shape; None where they have several."""
        header = self._blobs.shared_header(digests) if self._schema.dtype is not None else None
        if header is not None and header is not self._seen:
            self._check_header(digests[0].tobytes(), header)
        return header

    def _gathered(self, digests: Rows, header: Header, nbytes: int, out: np.ndarray[Any, Any] | None) -> Any:
        """Blobs of one header as one array, read into ``out`` where it is given."""
        schema = self._schema
        into = None
        if out is not None:
            check_out(out, (len(digests), *header.shape), schema.dtype)
            if out.flags.c_contiguous and out.size:
                into = out.reshape(len(digests), -1).view(np.uint8)
        values = schema.decode_rows(header, self._blobs.read_rows(digests, header, nbytes, into))
        if out is None or into is not None:
            return values if out is None else out
        out[...] = values
        return out
