"""Columns of chunked arrays: arrays that are larger than memory, or grow.

Each sample has its own shape, up to a maximum. It is divided into chunks of one shape. The value in the tree is the digest
of an array record (``objects/arrays``), whose chunk map names the chunks. A chunk is stored like a sample of a column of
arrays of fixed shape: ``chunk`` is the schema of that column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from hangar import limits
from hangar.digest import DIGEST_BYTES, Digest, Header
from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError
from hangar.objects.arrays import ArrayRecord
from hangar.objects.node import ARRAYS, TreeForm
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, KindName, SchemaRecord, register_kind
from hangar.schema.dtypes import dtype_code, dtype_of
from hangar.schema.ndarray import NdarraySchema, as_array, as_shape
from hangar.schema.numbers import is_number_type, numbers_as_array

__all__ = ["ChunkedRecord", "ChunkedSchema", "as_max_shape"]

_MAX_INDEX = 2**32
"""Chunks along one dimension, exclusively: an index takes four bytes."""


class ChunkedRecord(SchemaRecord, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of the schema of a chunked column: ``shape`` is the maximum, ``limits.MAX_EXTENT`` without one."""

    chunks: list[int]
    fill: bytes


def as_max_shape(shape: object, rank: int) -> tuple[int, ...]:
    """The largest extent of each dimension; None, in a dimension or at all, stands for no limit.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        It is not a shape of this rank.
    """
    sizes = (None,) * rank if shape is None else shape if isinstance(shape, (tuple, list)) else (shape,)
    found = as_shape(tuple(limits.MAX_EXTENT if size is None else size for size in sizes))
    if len(found) != rank:
        raise InvalidInputError(f"shape {shape} has {len(found)} dimensions, but the chunks have {rank}")
    return found


class ChunkedSchema(ColumnSchema):
    """A column of chunked arrays.

    Parameters
    ----------
    dtype
        Element type, any byte order.
    chunks
        Shape of a chunk: 1 to 31 dimensions, none of them empty.
    shape
        The largest extent of each dimension, ``limits.MAX_EXTENT`` where it is not bounded.
    fill_value
        Value of the elements that nobody wrote.
    nested
        Whether samples have subsamples.

    Attributes
    ----------
    chunks
        Shape of a chunk.
    chunk
        Schema of a chunk, which is an array of fixed shape.
    fill
        The fill value: an array of shape ``()``, not writable.
    """

    kind: ClassVar[int] = 4
    kind_name: ClassVar[KindName] = "chunked"
    inline_bytes = -1

    def __init__(
        self,
        dtype: np.dtype[Any],
        chunks: Sequence[int],
        shape: Sequence[int],
        *,
        fill_value: object = 0,
        nested: bool = False,
    ) -> None:
        code = dtype_code(dtype)
        self._dtype = dtype_of(code)
        self._shape = _check_extents(shape, chunks)
        self.chunk = NdarraySchema(self._dtype, chunks)
        if self.chunk.nbytes >= limits.MAX_CHUNK_BYTES:
            raise InvalidInputError(
                f"a chunk of shape {tuple(chunks)} takes {self.chunk.nbytes:,} bytes, the limit is 2**31"
            )
        self.chunks: tuple[int, ...] = self.chunk.shape
        self.fill = _as_fill(fill_value, self._dtype)
        self._settle(
            ChunkedRecord(
                SCHEMA_VERSION,
                self.kind,
                code,
                True,
                list(self._shape),
                nested,
                False,
                list(self.chunks),
                self.fill.tobytes(),
            )
        )
        self.form = TreeForm(ARRAYS, DIGEST_BYTES, nested)

    @property
    def variable(self) -> bool:
        return True

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def max_shape(self) -> tuple[int | None, ...]:
        return tuple(None if extent == limits.MAX_EXTENT else extent for extent in self._shape)

    @property
    def blob_kind(self) -> int:
        return self.chunk.kind

    @property
    def blob_schema(self) -> ColumnSchema:
        return self.chunk

    def covers(self, other: ColumnSchema) -> bool:
        if not isinstance(other, ChunkedSchema) or len(self.shape) != len(other.shape):
            return False
        mine = self.dtype, self.nested, self.chunks, self.fill.tobytes()
        theirs = other.dtype, other.nested, other.chunks, other.fill.tobytes()
        return mine == theirs and all(n <= most for n, most in zip(other.shape, self.shape, strict=True))

    def with_shape(self, shape: Sequence[int]) -> ChunkedSchema:
        """The same schema with another maximum shape."""
        return ChunkedSchema(self._dtype, self.chunks, shape, fill_value=self.fill.tobytes(), nested=self.nested)

    # ------------------------------------------------------------------ arrays

    def check_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """``shape`` as the shape of an array of the column.

        Raises
        ------
        InvalidInputError
            An array cannot have it.
        """
        found = tuple(shape)
        if len(found) != len(self.chunks):
            raise InvalidInputError(
                f"shape {found} has rank {len(found)}; the arrays of the column have {len(self.chunks)}"
            )
        if any(extent < 0 for extent in found):
            raise InvalidInputError(f"shape {found} has a negative dimension")
        if any(extent > most for extent, most in zip(found, self._shape, strict=True)):
            raise InvalidInputError(f"shape {found} exceeds the maximum shape {self.max_shape} of the column")
        if any(-(-extent // size) > _MAX_INDEX for extent, size in zip(found, self.chunks, strict=True)):
            raise InvalidInputError(f"shape {found} has more than 2**32 chunks of {self.chunks} in one dimension")
        if math.prod(extent or 1 for extent in found) * self._dtype.itemsize > limits.MAX_CHUNKED_BYTES:
            raise InvalidInputError(f"an array of shape {found} takes more than 2**60 bytes")
        return found

    def check_record(self, record: ArrayRecord) -> ArrayRecord:
        """Raise CorruptionError unless a record can be that of an array of the column. Nothing is allocated."""
        try:
            self.check_shape(record.shape)
        except InvalidInputError as error:
            raise CorruptionError(f"an array record is not what its column holds: {error}") from None
        if record.chunks > math.prod(-(-n // size) for n, size in zip(record.shape, self.chunks, strict=True)):
            raise CorruptionError(
                f"an array record of shape {record.shape} counts {record.chunks:,} chunks, which are too many"
            )
        return record

    def whole(self, value: object) -> np.ndarray[Any, Any]:
        """``value``, a whole sample, as an array of the column's dtype and rank; no dtype is cast.

        Raises
        ------
        InvalidInputError
            It does not fit the column.
        """
        array = as_array(value)
        if array.dtype != self._dtype and array.dtype.newbyteorder("<") != self._dtype:
            raise InvalidInputError(f"dtype: {array.dtype} != aset: {self._dtype}")
        self.check_shape(array.shape)
        return array

    def part(self, value: object) -> np.ndarray[Any, Any]:
        """``value``, which is assigned to a part of an array, as an array of the column's dtype.

        Numbers are converted by the rules of NumPy for Python numbers, arrays if that loses nothing.

        Raises
        ------
        InvalidInputError
            It cannot be converted.
        """
        if is_number_type(type(value)):
            return numbers_as_array([value], self._dtype).reshape(())  # type: ignore[list-item]
        array = np.asarray(value) if isinstance(value, (list, tuple)) else as_array(value)
        if array.dtype == self._dtype:
            return array
        if np.can_cast(array.dtype, self._dtype, "safe"):
            return array.astype(self._dtype)
        if isinstance(value, (list, tuple)) and array.dtype.kind in "biufc":
            return numbers_as_array(array.reshape(-1).tolist(), self._dtype).reshape(array.shape)
        raise InvalidInputError(
            f"values of dtype {array.dtype} cannot be written to an array of {self._dtype} without loss: convert them "
            f"with `.astype({self._dtype.name!r})` if that is what you want"
        )

    # ------------------------------------------------------------------ what a value of the tree is not

    def encode(self, value: object) -> NoReturn:
        raise AssertionError("a chunked array is written chunk by chunk (columns/chunked)")

    def encode_batch(self, values: Any, count: int) -> NoReturn:
        self.encode(values)

    def decode(self, header: Header | None, buffer: Any) -> NoReturn:
        self.encode(buffer)

    def digest_of(self, cell: bytes) -> NoReturn:
        """Not defined: a cell is the digest of an array record, not that of a blob. See :meth:`array_of`."""
        self.encode(cell)

    def array_of(self, cell: bytes) -> Digest:
        """The digest of the array record that a cell names."""
        return Digest(cell)

    def check_header(self, header: Header) -> bool:
        return self.chunk.check_header(header)


def _check_extents(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    if not chunks:
        raise InvalidInputError("chunked arrays have at least one dimension")
    if any(size < 1 for size in chunks):
        raise InvalidInputError(f"chunks of shape {tuple(chunks)} are empty: each dimension has at least 1 element")
    if len(shape) != len(chunks):
        raise InvalidInputError(f"shape {tuple(shape)} and chunks {tuple(chunks)} have different ranks")
    if any(not 0 <= extent <= limits.MAX_EXTENT for extent in shape):
        raise InvalidInputError(f"shape {tuple(shape)} has a dimension that is negative or beyond 2**63 - 1")
    return tuple(shape)


def _as_fill(value: object, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The fill value as an array of shape ``()``."""
    found: np.ndarray[Any, Any]
    if isinstance(value, bytes) and len(value) == dtype.itemsize:
        found = np.frombuffer(value, dtype).reshape(()).copy()
    elif is_number_type(type(value)):
        if dtype == np.bool_ and value in (0, 1):
            value = bool(value)
        found = numbers_as_array([value], dtype).reshape(())  # type: ignore[list-item]
    else:
        found = np.asarray(value)
        if found.shape or not (found.dtype == dtype or np.can_cast(found.dtype, dtype, "safe")):
            raise InvalidTypeError(f"the fill value must be one {dtype}, not {value!r}")
        found = found.astype(dtype)
    if dtype == np.bool_:
        found = found.view(np.uint8).astype(np.bool_)
    found.flags.writeable = False
    return found


def _load(record: ChunkedRecord) -> ChunkedSchema:
    if record.inline or not record.variable:
        raise ValueError("it is not the record of a chunked column")
    dtype = dtype_of(record.dtype)
    if len(record.fill) != dtype.itemsize:
        raise ValueError(f"a fill value of {len(record.fill)} bytes is none of {dtype}")
    return ChunkedSchema(dtype, record.chunks, record.shape, fill_value=record.fill, nested=record.nested)


register_kind(ChunkedSchema.kind, _load, ChunkedRecord)
