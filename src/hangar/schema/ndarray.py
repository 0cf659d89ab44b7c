"""Columns of n-dimensional arrays of fixed or variable shape.

The logical content of an array is its elements in C order, little-endian, bools as 0 and 1. Input may have any memory
order and byte order; no dtype is cast. Arrays of a fixed shape of at most 32 bytes are inline; others are blobs whose
header has dtype and shape.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hangar import limits
from hangar.digest import DIGEST_BYTES, Header
from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, TreeForm
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, KindName, SchemaRecord, register_kind
from hangar.schema.cells import Encoded, Rows
from hangar.schema.dtypes import dtype_code, dtype_of, extension_dtype
from hangar.schema.numbers import is_number_type, numbers_as_array

__all__ = ["NdarraySchema", "as_array", "as_shape", "check_out"]

_STACK_BYTES = 64 * 1024
"""Arrays up to this size are copied into one batch; larger ones are passed on one by one without a copy."""
_MAX_DIMENSION = 2**63 - 1


def as_array(value: object) -> np.ndarray[Any, Any]:
    """Convert an array-like ``value`` (``numpy``, ``__array__``, DLPack) to an array."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidInputError(
            "a masked array cannot be stored: its mask would be lost; fill it first (`value.filled(...)`)"
        )
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        try:
            return np.asarray(value if isinstance(value, np.ndarray) else _bits_of_torch(value))
        except Exception as error:
            raise InvalidInputError(f"`data` of type {type(value)} does not give an array: {error}") from error
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception as error:
            raise InvalidInputError(f"`data` of type {type(value)} does not give an array: {error}") from error
    raise InvalidInputError(f"`data` argument type: {type(value)} != `np.ndarray`")


def _bits_of_torch(value: Any) -> Any:
    """A tensor of torch whose dtype numpy lacks (bfloat16, float8), as an array of that dtype; anything else as it is."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.requires_grad:
        return value
    dtype = extension_dtype(str(value.dtype).removeprefix("torch."))
    if dtype is None:
        return value
    return value.view(torch.int16 if dtype.itemsize == 2 else torch.uint8).numpy().view(dtype)


def as_shape(shape: object) -> tuple[int, ...]:
    """``shape`` as a tuple of ints; one int is one dimension."""
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in sizes):
        raise InvalidTypeError(f"a shape is an int or a tuple of ints, not {shape!r}")
    return tuple(int(n) for n in sizes)


def _check_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    if len(shape) > limits.MAX_RANK:
        raise InvalidInputError(f"rank {len(shape)} exceeds {limits.MAX_RANK}, the highest that a column can have")
    if any(n < 0 or n > _MAX_DIMENSION for n in shape):
        raise InvalidInputError(f"shape {tuple(shape)} has a dimension that is negative or beyond 2**63 - 1")
    if math.prod(shape) * itemsize >= limits.MAX_ARRAY_BYTES:
        raise InvalidInputError(f"an array of shape {tuple(shape)} takes 2**40 bytes or more")
    return tuple(shape)


class NdarraySchema(ColumnSchema):
    """A column of arrays.

    Parameters
    ----------
    dtype
        Element type, any byte order.
    shape
        Shape of every sample, or with ``variable`` the largest size of each dimension; rank at most 31.
    variable
        Whether samples may differ in shape (of one rank).
    nested
        Whether samples have subsamples.
    inline
        None: values are stored in the tree if the shape is fixed and takes at most 32 bytes. False: never. True:
        InvalidInputError if they cannot be.
    """

    kind: ClassVar[int] = 1
    kind_name: ClassVar[KindName] = "ndarray"
    stacks: ClassVar[bool] = True

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: Sequence[int],
        *,
        variable: bool = False,
        nested: bool = False,
        inline: bool | None = None,
    ) -> None:
        self._code = dtype_code(dtype)
        self._dtype = dtype_of(self._code)
        self._shape = _check_shape(shape, self._dtype.itemsize)
        self._variable = variable
        self.nbytes = math.prod(self._shape) * self._dtype.itemsize
        fits = not variable and self.nbytes <= limits.INLINE_FIXED_BYTES
        if inline and not fits:
            raise InvalidInputError(
                f"only arrays of fixed shape and at most {limits.INLINE_FIXED_BYTES} bytes can be inline"
            )
        inline = fits and inline is not False
        self._settle(SchemaRecord(SCHEMA_VERSION, 1, self._code, variable, list(self._shape), nested, inline))
        self.header = Header(1, self._code, self._shape)
        self.uniform = not variable
        self.inline_bytes = self.nbytes if inline else -1
        self.form = TreeForm(FIXED_INLINE, self.nbytes, nested) if inline else TreeForm(BY_DIGEST, DIGEST_BYTES, nested)

    @property
    def variable(self) -> bool:
        return self._variable

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def check_header(self, header: Header) -> bool:
        if not self._variable:
            return header == self.header
        return (
            header.kind == self.kind
            and header.dtype == self._code
            and len(header.shape) == len(self._shape)
            and all(n <= most for n, most in zip(header.shape, self._shape, strict=True))
        )

    def covers(self, other: ColumnSchema) -> bool:
        if not isinstance(other, NdarraySchema) or not (self.variable and other.variable):
            return super().covers(other)
        same = (self.dtype, self.nested, self.inline) == (other.dtype, other.nested, other.inline)
        ranks = len(self.shape) == len(other.shape)
        return same and ranks and all(n <= most for n, most in zip(other.shape, self.shape, strict=True))

    # ------------------------------------------------------------------ in

    def _check_fit(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        if dtype != self._dtype and dtype.newbyteorder("<") != self._dtype:
            raise InvalidInputError(f"dtype: {dtype} != aset: {self._dtype}")
        if shape == self._shape:
            return
        if not self._variable:
            raise InvalidInputError(f"data shape {shape} != fixed schema {self._shape}")
        if len(shape) != len(self._shape):
            raise InvalidInputError(f"data rank {len(shape)} != aset rank {len(self._shape)}")
        if any(n > most for n, most in zip(shape, self._shape, strict=True)):
            raise InvalidInputError(f"shape {shape} exceeds schema max {self._shape}")

    def _canonical(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """``array`` in C order, little-endian, with bools of 0 and 1; itself if it is in this form already."""
        if self._code == 1:
            bits = array.view(np.uint8) if array.flags.c_contiguous else np.ascontiguousarray(array).view(np.uint8)
            if bits.size and bits.max() > 1:
                array = bits.astype(np.bool_)
        return np.asarray(array, self._dtype, order="C")

    def _as_array(self, value: object) -> np.ndarray[Any, Any]:
        """``value`` as an array; a column of shape ``()`` also accepts Python numbers."""
        if type(value) is self._dtype.type:
            return np.asarray(value)
        if not self._shape and is_number_type(type(value)):
            return numbers_as_array([value], self._dtype).reshape(())  # type: ignore[list-item]
        return as_array(value)

    def encode(self, value: object) -> tuple[Header, memoryview]:
        array = value if type(value) is np.ndarray else self._as_array(value)
        if array.shape != self._shape or array.dtype != self._dtype:
            self._check_fit(array.dtype, array.shape)
        array = self._canonical(array)
        header = self.header if array.shape == self._shape else Header(1, self._code, array.shape)
        return header, array.reshape(-1).view(np.uint8).data

    def encode_batch(self, values: Any, count: int) -> Encoded:
        if isinstance(values, (list, tuple)):
            return self._encode_sequence(values)
        stacked = as_array(values)
        if stacked.ndim == 0:
            raise InvalidInputError("a batch of values is a sequence or an array whose first axis counts the samples")
        self._check_fit(stacked.dtype, stacked.shape[1:])
        header = self.header if stacked.shape[1:] == self._shape else Header(1, self._code, stacked.shape[1:])
        return Encoded([header], (), self._rows(self._canonical(stacked)))

    def _rows(self, stacked: np.ndarray[Any, Any]) -> Rows:
        count, shape = stacked.shape[0], stacked.shape[1:]
        width = math.prod(shape) * self._dtype.itemsize
        if width == 0 or count == 0:
            return np.empty((count, width), np.uint8)
        return stacked.reshape(count, -1).view(np.uint8)

    def _encode_sequence(self, values: Sequence[object]) -> Encoded:
        kinds = set(map(type, values))
        if not self._shape and kinds and all(map(is_number_type, kinds)):
            return self.encode_batch(numbers_as_array(values, self._dtype), len(values))  # type: ignore[arg-type]
        if not self._shape and kinds == {self._dtype.type}:
            # NumPy's scalars are converted together.
            return self.encode_batch(np.array(values, self._dtype), len(values))
        arrays = values if kinds <= {np.ndarray} else [self._as_array(value) for value in values]
        fits = {(array.dtype, array.shape) for array in arrays}  # type: ignore[attr-defined]
        for dtype, shape in fits:
            self._check_fit(dtype, shape)
        if len(fits) == 1:
            dtype, shape = next(iter(fits))
            if math.prod(shape) * dtype.itemsize <= _STACK_BYTES:
                return self.encode_batch(np.stack(arrays), len(arrays))  # type: ignore[arg-type]
        pairs = [self.encode(array) for array in arrays]
        return Encoded([header for header, _ in pairs], [buffer for _, buffer in pairs])

    # ------------------------------------------------------------------ out

    def decode(self, header: Header | None, buffer: bytes | Rows) -> np.ndarray[Any, Any]:
        shape = self._shape if header is None else header.shape
        try:
            if isinstance(buffer, bytes):
                array: np.ndarray[Any, Any] = np.frombuffer(bytearray(buffer), self._dtype)
            else:
                array = buffer.view(self._dtype)
            return array.reshape(shape)
        except ValueError:
            raise CorruptionError(f"{len(buffer)} stored bytes are not an array of shape {shape}") from None

    def decode_cell(self, cell: bytes) -> np.ndarray[Any, Any]:
        return self.decode(None, cell)

    def decode_rows(self, header: Header, rows: Rows) -> np.ndarray[Any, Any]:
        """Decode canonical ``rows`` as one array of shape (n, *shape), which shares their memory if possible."""
        if rows.shape[1] == 0:
            return np.empty((len(rows), *header.shape), self._dtype)
        return rows.view(self._dtype).reshape((len(rows), *header.shape))

    def separate(self, stacked: np.ndarray[Any, Any]) -> list[Any]:
        # Iteration would give scalars instead of 0-d arrays.
        return list(stacked) if stacked.ndim > 1 else [stacked[i, ...] for i in range(len(stacked))]

    def stack(self, values: list[Any], out: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
        shapes = {value.shape for value in values}
        if len(shapes) > 1:
            raise InvalidInputError(
                f"samples of different shapes {sorted(shapes)[:3]} cannot be stacked: use column[[...]] for a list"
            )
        if not values:
            return self._stack_of_none(out)
        if out is not None:
            check_out(out, (len(values), *values[0].shape), values[0].dtype)
        return np.stack(values, out=out)

    def _stack_of_none(self, out: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
        shape = (0, *self._shape)
        if out is None:
            return np.empty(shape, self._dtype)
        # Without samples there is no actual shape, so any shape of the right rank is accepted.
        check_out(out, (0, *out.shape[1:]) if np.ndim(out) == len(shape) else shape, self._dtype)
        return out


def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> None:
    """Raise InvalidInputError or InvalidTypeError unless ``out`` is a writable array of this shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise InvalidTypeError(f"out must be a numpy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise InvalidInputError(
            f"out has shape {out.shape} and dtype {out.dtype}; these samples need {shape} and {dtype}"
        )
    if not out.flags.writeable:
        raise InvalidInputError("out is not writable")


def _load(record: SchemaRecord) -> NdarraySchema:
    return NdarraySchema(
        dtype_of(record.dtype),
        record.shape,
        variable=record.variable,
        nested=record.nested,
        inline=record.inline,
    )


register_kind(NdarraySchema.kind, _load)
