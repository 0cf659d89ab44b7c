"""Value reader: decodes the cells of a tree into values, in batches.

A cell holds an inline value or the digest of a blob; the schema tells which, and decodes both. Values of one shape are
returned stacked, by one gather in the blob store. Returned memory is new and belongs to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hangar.backends.location import HEADER
from hangar.blobs import BlobStore
from hangar.blobs.asked import Resolve
from hangar.blobs.offsets import OffsetTable
from hangar.columns.sampletable import Positions, SampleTable
from hangar.digest import Header, digest_array
from hangar.errors import CorruptionError, NotLocalError
from hangar.objects.gather import wrong_form
from hangar.schema import ColumnSchema
from hangar.schema.cells import Rows
from hangar.schema.ndarray import check_out

__all__ = ["ValueReader"]

_SHARED_BYTES = 64 * 1024
"""Smaller arrays of a list share one block of memory."""


class ValueReader:
    """Reads the values of one column.

    Parameters
    ----------
    resolve
        Fetches blobs that are not here; None: reading them is an error.
    explain
        Makes that error name the column.
    """

    __slots__ = ("_all_blobs", "_blobs", "_explain", "_no_blobs", "_resolve", "_schema", "_seen")

    def __init__(
        self,
        blobs: BlobStore,
        schema: ColumnSchema,
        resolve: Resolve | None = None,
        explain: Callable[[NotLocalError], NotLocalError] | None = None,
    ) -> None:
        self._blobs = blobs
        self._resolve = resolve
        self._explain = explain or _as_it_is
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

    def fetch(self, cells: Sequence[bytes]) -> int:
        """Have the data of tree entries fetched that is not here, with one request; returns its bytes."""
        if self._resolve is None or self._no_blobs:
            return 0
        found = [digest for digest in map(self._schema.digest_of, cells) if digest is not None]
        return self._blobs.fetch(digest_array(found), self._resolve)

    def _blob(self, digest: bytes) -> Any:
        try:
            header, buffer = self._blobs.read_one(digest, resolve=self._resolve)
        except NotLocalError as error:
            raise self._explain(error) from None
        if header is not self._seen:
            self._check_header(header, digest)
        return self._schema.decode(header, buffer)

    def _check_header(self, header: Header, digest: bytes | None = None) -> None:
        if not self._schema.check_header(header):
            raise CorruptionError(
                f"{'a blob' if digest is None else f'blob {digest.hex()}'} is not what its column holds"
            )
        # The blob store returns the same object for equal headers, so most blobs need only an identity check.
        self._seen = header

    def many(self, cells: Sequence[bytes]) -> list[Any]:
        """The values of tree entries, in order."""
        schema = self._schema
        if schema.uniform and schema.nbytes <= _SHARED_BYTES:
            if not cells:
                return []
            joined, width = b"".join(cells), schema.form.width
            if len(joined) != len(cells) * width:
                raise wrong_form(schema.form)
            rows = np.frombuffer(joined, np.uint8).reshape(len(cells), width)
            return schema.separate(self.stacked(rows))
        if self._all_blobs:
            return self._listed(cells)
        values, places, digests = schema.decode_cells(cells)
        for i, value in zip(places, self._listed(digests), strict=True):
            values[i] = value
        return values

    def _listed(self, digests: Sequence[bytes]) -> list[Any]:
        return self._schema.decode_all(self._pairs(digests)) if digests else []

    def _pairs(self, digests: Sequence[bytes]) -> list[tuple[Header, Any]]:
        """Header and canonical bytes of blobs."""
        try:
            pairs = self._blobs.read_list(list(digests), resolve=self._resolve)
        except NotLocalError as error:
            raise self._explain(error) from None
        for digest, (header, _) in zip(digests, pairs, strict=True):
            if header is not self._seen:
                self._check_header(header, digest)
        return pairs

    def together(self, cells: Sequence[bytes]) -> Any:
        """The values of tree entries of a column that joins them: one array if they are alike, else a list."""
        return self._schema.decode_together(self._pairs(cells)) if cells else []

    def buffers(self, cells: Sequence[bytes]) -> list[Any]:
        """The canonical bytes of tree entries of a column whose values are all blobs, in order."""
        return [buffer for _, buffer in self._pairs(cells)] if cells else []

    def stacked(self, cells: Rows, out: np.ndarray[Any, Any] | None = None) -> Any:
        """Values as one array.

        Parameters
        ----------
        cells
            Cells of the tree, uint8, shape (n, width of a cell).
        out
            Array of shape ``(n, *shape)`` and the column's dtype to read into, or None.

        Returns
        -------
        numpy.ndarray
            Shape ``(n, *shape)``: ``out``, or new memory.
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
        """The common header of blobs of a column of variable shape; None if they have several."""
        header = self._blobs.shared_header(digests) if self._schema.dtype is not None else None
        if header is not None and header is not self._seen:
            self._check_header(header, digests[0].tobytes())
        return header

    def _gathered(self, digests: Rows, header: Header, nbytes: int, out: np.ndarray[Any, Any] | None) -> Any:
        try:
            return self._read_into(
                out,
                len(digests),
                header,
                lambda into: self._blobs.read_rows(digests, header, nbytes, into, resolve=self._resolve),
            )
        except NotLocalError as error:
            raise self._explain(error) from None

    def _read_into(
        self, out: np.ndarray[Any, Any] | None, count: int, header: Header, read: Callable[[Rows | None], Rows]
    ) -> Any:
        """Read blobs of one header into one array: directly into ``out``, if given and contiguous."""
        schema = self._schema
        into = None
        if out is not None:
            check_out(out, (count, *header.shape), schema.dtype)
            if out.flags.c_contiguous and out.size:
                into = out.reshape(count, -1).view(np.uint8)
        values = schema.decode_rows(header, read(into))
        if out is None or into is not None:
            return values if out is None else out
        out[...] = values
        return out

    # ------------------------------------------------------------------ from a sample table

    def one_of(self, table: SampleTable, position: int) -> Any:
        """The value at a position.

        Raises
        ------
        CorruptionError, PathNotFoundError
            The blob is damaged, or was moved since the table was built.
        """
        offsets = table.offsets
        if offsets is None:
            return table.values[position, ...].copy()
        header, buffer = self._blobs.read_one_of(offsets, position)
        if header is not self._seen:
            self._check_header(header)
        return self._schema.decode(header, buffer)

    def many_of(self, table: SampleTable, positions: Positions | range) -> list[Any]:
        """The values at some positions; raises like :meth:`one_of`."""
        schema, offsets = self._schema, table.offsets
        if schema.uniform and schema.nbytes <= _SHARED_BYTES:
            return schema.separate(self.stacked_of(table, positions, None))
        if offsets is None or not len(positions):
            return []
        return schema.decode_all(self._pairs_of(offsets, positions))

    def _pairs_of(self, offsets: OffsetTable, positions: Positions | range) -> list[tuple[Header, Any]]:
        """Header and canonical bytes of the blobs at some positions."""
        pairs = self._blobs.read_list_at(offsets.words(positions))
        for header, _ in pairs:
            if header is not self._seen:
                self._check_header(header)
        return pairs

    def together_of(self, table: SampleTable, positions: Positions | range) -> Any:
        """As :meth:`together`, at some positions; raises like :meth:`one_of`."""
        assert table.offsets is not None
        return self._schema.decode_together(self._pairs_of(table.offsets, positions)) if len(positions) else []

    def stacked_of(self, table: SampleTable, positions: Positions | range, out: np.ndarray[Any, Any] | None) -> Any:
        """The values at some positions as one array; raises like :meth:`one_of`."""
        schema, offsets = self._schema, table.offsets
        if offsets is None:
            return self._inline(table.values, positions, out)
        if schema.uniform:
            header, nbytes = schema.header, schema.nbytes
            return self._read_into(
                out,
                len(positions),
                header,
                lambda into: self._blobs.read_rows_of(offsets, positions, header, nbytes, into),
            )
        words = offsets.words(positions)
        header_ids = words[:, HEADER]
        if schema.dtype is None or not len(words) or (header_ids != header_ids[0]).any():
            return schema.stack(self.many_of(table, positions), out)
        header = self._blobs.header(int(header_ids[0]))
        self._check_header(header)
        nbytes = math.prod(header.shape) * schema.dtype.itemsize
        return self._read_into(
            out, len(words), header, lambda into: self._blobs.read_rows_at(words, header, nbytes, into)
        )

    def _inline(self, values: Any, positions: Positions | range, out: np.ndarray[Any, Any] | None) -> Any:
        if out is not None:
            check_out(out, (len(positions), *values.shape[1:]), values.dtype)
        if isinstance(positions, range):
            found = values[positions.start : positions.stop]
            if out is None:
                return found.copy()
        else:
            found = values.take(positions, axis=0)
        if out is None:
            return found
        out[...] = found
        return out


def _as_it_is(error: NotLocalError) -> NotLocalError:
    return error
