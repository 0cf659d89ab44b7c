"""Columns of sparse arrays: values of scipy.sparse, or coordinates of any rank.

``coordinates`` has the canonical form. Two-dimensional arrays are read as ``scipy.sparse.csr_array``, others as
``coo_array``. scipy is optional: coordinates go in and come out without it. Arrays of a fixed shape whose canonical
form has at most 64 bytes are inline; others are blobs whose header has dtype and shape.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np

from hangar import limits
from hangar.digest import DIGEST_BYTES, SPARSE, Header
from hangar.errors import InvalidInputError, MissingPackageError, UnsupportedVersionError
from hangar.objects.node import BY_DIGEST, MIXED, TreeForm
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, KindName, SchemaRecord, register_kind
from hangar.schema.cells import Encoded, Rows
from hangar.schema.coordinates import SPARSE_DTYPES, SparseCoordinates, entry_bytes, pack, unpack
from hangar.schema.dtypes import dtype_code, dtype_of

__all__ = ["CoordinatesSchema", "SparseSchema", "as_scipy", "coordinates_of_scipy", "is_scipy_sparse"]

_EXTRA: Final = "run `pip install 'hangar[sparse]'`, or read coordinates with `column.as_coo(key)`"
_MAX_EXTENT: Final = 2**63 - 1
_MOST_ROWS: Final = 2**26
"""A matrix of more rows is read as a ``coo_array``: the row pointers alone of a ``csr_array`` would take 512 MB."""


class SparseSchema(ColumnSchema):
    """A column of sparse arrays.

    Parameters
    ----------
    dtype
        Element type that scipy has, any byte order.
    shape
        Shape of every sample, or with ``variable`` the largest size of each dimension; rank 1 to 31.
    variable
        Whether samples may differ in shape (of one rank).
    nested
        Whether samples have subsamples.
    inline
        None: values are stored in the tree if the shape is fixed and they take at most 64 bytes. False: never. True:
        InvalidInputError if the shape is variable.
    """

    kind: ClassVar[int] = SPARSE
    kind_name: ClassVar[KindName] = "sparse"
    most_ahead: ClassVar[int] = 64

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: Sequence[int],
        *,
        variable: bool = False,
        nested: bool = False,
        inline: bool | None = None,
    ) -> None:
        if dtype.name not in SPARSE_DTYPES:
            raise InvalidInputError(
                f"a sparse array of {dtype} cannot be stored: use bool, int8 ... uint64, float32, float64, complex64 or "
                "complex128"
            )
        self._code = dtype_code(dtype)
        self._dtype = dtype_of(self._code)
        self._shape = _check_shape(shape)
        self._variable = variable
        if inline and variable:
            raise InvalidInputError("only sparse arrays of fixed shape can be inline")
        inline = not variable and inline is not False
        self._settle(SchemaRecord(SCHEMA_VERSION, SPARSE, self._code, variable, list(self._shape), nested, inline))
        self.header = Header(SPARSE, self._code, self._shape)
        self.inline_bytes = limits.INLINE_TEXT_BYTES if inline else -1
        self.form = TreeForm(MIXED, 0, nested) if inline else TreeForm(BY_DIGEST, DIGEST_BYTES, nested)

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
        return header.kind == SPARSE and header.dtype == self._code and self._fits(header.shape)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self._shape) and all(n <= most for n, most in zip(shape, self._shape, strict=True))

    def covers(self, other: ColumnSchema) -> bool:
        if not isinstance(other, SparseSchema) or not (self.variable and other.variable):
            return super().covers(other)
        return (self.dtype, self.nested) == (other.dtype, other.nested) and self._fits(other.shape)

    def as_coordinates(self) -> CoordinatesSchema:
        """The same schema, whose values are read as coordinates instead of arrays of scipy."""
        return CoordinatesSchema(
            self._dtype, self._shape, variable=self._variable, nested=self.nested, inline=self.inline
        )

    # ------------------------------------------------------------------ in

    def encode(self, value: object) -> tuple[Header, bytes]:
        given = _coordinates_of(value)
        shape = self._check_fit(given.shape)
        header = self.header if shape == self._shape else Header(SPARSE, self._code, shape)
        return header, pack(given.coordinates, given.values, shape, self._dtype)

    def encode_batch(self, values: Any, count: int) -> Encoded:
        pairs = [self.encode(value) for value in values]
        return Encoded([header for header, _ in pairs], [buffer for _, buffer in pairs])

    def _check_fit(self, given: Any) -> tuple[int, ...]:
        shape = _check_shape(given)
        if shape == self._shape:
            return shape
        if not self._variable:
            raise InvalidInputError(f"data shape {shape} != fixed schema {self._shape}")
        if len(shape) != len(self._shape):
            raise InvalidInputError(f"data rank {len(shape)} != aset rank {len(self._shape)}")
        if not self._fits(shape):
            raise InvalidInputError(f"shape {shape} exceeds schema max {self._shape}")
        return shape

    # ------------------------------------------------------------------ out

    def decode(self, header: Header | None, buffer: bytes | Rows) -> Any:
        return as_scipy(self.coordinates(header, buffer))

    def coordinates(self, header: Header | None, buffer: bytes | Rows) -> SparseCoordinates:
        """Decode canonical bytes as coordinates and values; ``header`` is None for an inline value."""
        return unpack(buffer, self._shape if header is None else header.shape, self._dtype)

    def count(self, header: Header | None, nbytes: int) -> int:
        """Number of stored elements of a value of ``nbytes`` canonical bytes."""
        return nbytes // entry_bytes(self._shape if header is None else header.shape, self._dtype.itemsize)


class CoordinatesSchema(SparseSchema):
    """A sparse schema whose values are read as :class:`SparseCoordinates`."""

    def decode(self, header: Header | None, buffer: bytes | Rows) -> Any:
        return self.coordinates(header, buffer)


def _check_shape(given: Any) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in given)
    except (TypeError, ValueError):
        raise InvalidInputError(f"the shape of a sparse array is a tuple of ints, not {given!r}") from None
    if not 1 <= len(shape) <= limits.MAX_RANK:
        raise InvalidInputError(f"a sparse array has 1 to {limits.MAX_RANK} dimensions, not {len(shape)}")
    if any(n < 0 or n > _MAX_EXTENT for n in shape):
        raise InvalidInputError(f"shape {shape} has a dimension that is negative or beyond 2**63 - 1")
    return shape


def is_scipy_sparse(value: object) -> bool:
    """Whether ``value`` is an array or matrix of scipy.sparse. Does not import scipy."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def coordinates_of_scipy(value: Any) -> SparseCoordinates | None:
    """The coordinates of an array or matrix of scipy.sparse, not in canonical form; None if ``value`` is something else."""
    if not is_scipy_sparse(value):
        return None
    coo = value.tocoo()
    where = np.stack(coo.coords if hasattr(coo, "coords") else (coo.row, coo.col))
    return SparseCoordinates(where, coo.data, coo.shape)


def _coordinates_of(value: object) -> SparseCoordinates:
    """``value`` as coordinates, not checked yet."""
    found = coordinates_of_scipy(value)
    if found is not None:
        return found
    if isinstance(value, (tuple, list)) and len(value) == 3:
        return SparseCoordinates(*value)
    raise InvalidInputError(
        f"`data` argument type: {type(value)}: a sparse array is one of scipy.sparse, or (coordinates, values, shape)"
    )


def as_scipy(array: SparseCoordinates) -> Any:
    """A ``csr_array`` of two dimensions and at most 2**26 rows, else a ``coo_array``.

    Raises
    ------
    MissingPackageError
        scipy is not installed, or too old for arrays of this rank.
    """
    try:
        from scipy.sparse import coo_array, csr_array
    except ImportError:
        raise MissingPackageError(f"sparse arrays need the package scipy: {_EXTRA}") from None
    rows, values, shape = array
    if len(shape) != 2 or shape[0] > _MOST_ROWS:
        try:
            made = coo_array((values, tuple(rows)), shape=shape)
        except (TypeError, ValueError) as error:
            raise MissingPackageError(
                f"a sparse array of rank {len(shape)} needs scipy 1.15 or newer ({error}): {_EXTRA}"
            ) from None
        made.has_canonical_format = True
        return made
    index = np.int32 if max(*shape, len(values)) <= np.iinfo(np.int32).max else np.int64
    starts = np.zeros(shape[0] + 1, index)
    np.cumsum(np.bincount(rows[0], minlength=shape[0]), out=starts[1:])
    found = csr_array((values, rows[1].astype(index), starts), shape=shape)
    found.has_canonical_format = True
    return found


def _load(record: SchemaRecord) -> SparseSchema:
    dtype = dtype_of(record.dtype)
    if dtype.name not in SPARSE_DTYPES:
        raise UnsupportedVersionError(f"sparse arrays of {dtype.name} need a newer Hangar: install it")
    return SparseSchema(dtype, record.shape, variable=record.variable, nested=record.nested, inline=record.inline)


register_kind(SPARSE, _load)
