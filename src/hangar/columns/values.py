"""From what a tree holds to the values a user gets, in batches.

A tree entry is a small value itself or the digest of a blob; which of the two is the schema's affair. Fixed shapes come back stacked, by one gather
in the blob store; everything handed out is fresh memory that belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hangar.blobs import BlobStore
from hangar.digest import Header
from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError
from hangar.schema import ColumnSchema, NdarraySchema
from hangar.schema.base import BY_DIGEST, FIXED_INLINE, MIXED, Rows

__all__ = ["ValueReader"]

_SHARED_BYTES = 64 * 1024
"""Arrays of a list share one block of memory when they are smaller than this."""


class ValueReader:
    """Reads the values of one column."""

    __slots__ = ("_blobs", "_fixed", "_kind", "_schema", "_seen")

    def __init__(self, blobs: BlobStore, schema: ColumnSchema) -> None:
        self._blobs = blobs
        self._schema = schema
        self._kind = schema.form.kind
        self._seen: Header | None = None
        self._fixed = schema if isinstance(schema, NdarraySchema) and not schema.variable else None

    def one(self, cell: bytes) -> Any:
        """The value of one tree entry."""
        if self._kind == BY_DIGEST:
            return self._blob(cell)
        if self._kind == FIXED_INLINE:
            return self._schema.decode(None, cell)
        return self._blob(cell[1:]) if cell[0] == 0xFF else self._schema.decode(None, cell[1:])

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
        if self._kind == MIXED:
            return self._mixed(cells)
        if self._fixed is not None and self._fixed.nbytes <= _SHARED_BYTES:
            if not cells:
                return []
            refs = np.frombuffer(b"".join(cells), np.uint8).reshape(len(cells), self._schema.form.width)
            return _separate(self.stacked(refs))
        return self._listed(cells)

    def _mixed(self, cells: Sequence[bytes]) -> list[Any]:
        far = [i for i, cell in enumerate(cells) if cell[0] == 0xFF]
        values = [None if cell[0] == 0xFF else self._schema.decode(None, cell[1:]) for cell in cells]
        for i, value in zip(far, self._listed([cells[i][1:] for i in far]), strict=True):
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

    def stacked(self, refs: Rows, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """Values of a fixed shape as one array.

        Parameters
        ----------
        refs
            Tree entries, uint8, shape (n, width of an entry).
        out
            Array of shape ``(n, *shape)`` and the column's dtype to read into, or None.

        Returns
        -------
        numpy.ndarray
            Shape ``(n, *shape)``: ``out``, or fresh memory.
        """
        schema = self._fixed
        if schema is None:
            return self._stack_list(self._listed(refs.view(f"V{refs.shape[1]}")[:, 0].tolist()), out)
        if out is not None:
            _check_out(out, (len(refs), *schema.shape), schema.dtype)
        if self._kind == FIXED_INLINE or not schema.nbytes:
            values = schema.decode_rows(schema.header, np.array(refs[:, : schema.nbytes], np.uint8, order="C"))
        else:
            rows = None
            if out is not None and out.flags.c_contiguous and len(refs):
                rows = out.reshape(len(refs), -1).view(np.uint8)
            got = self._blobs.read_rows(refs, schema.header, schema.nbytes, rows)
            if rows is not None and out is not None:
                return out
            values = schema.decode_rows(schema.header, got)
        if out is None:
            return values
        out[...] = values
        return out

    def _stack_list(self, values: list[Any], out: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
        shapes = {value.shape for value in values}
        if len(shapes) > 1:
            raise InvalidInputError(
                f"samples of different shapes {sorted(shapes)[:3]} cannot be stacked: use column[[...]] for a list"
            )
        if not values:
            return self._stack_of_none(out)
        if out is not None:
            _check_out(out, (len(values), *values[0].shape), values[0].dtype)
        return np.stack(values, out=out)

    def _stack_of_none(self, out: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
        assert isinstance(self._schema, NdarraySchema)
        shape = (0, *self._schema.shape)
        if out is None:
            return np.empty(shape, self._schema.dtype)
        # No sample has a shape of its own here, so any of the right rank will do.
        _check_out(out, (0, *out.shape[1:]) if np.ndim(out) == len(shape) else shape, self._schema.dtype)
        return out


def _separate(stacked: np.ndarray[Any, Any]) -> list[Any]:
    """The samples of a stack, as arrays (iteration would make numbers of those without dimensions)."""
    return list(stacked) if stacked.ndim > 1 else [stacked[i, ...] for i in range(len(stacked))]


def _check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise InvalidTypeError(f"out must be a numpy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise InvalidInputError(
            f"out has shape {out.shape} and dtype {out.dtype}; these samples need {shape} and {dtype}"
        )
    if not out.flags.writeable:
        raise InvalidInputError("out is not writable")
