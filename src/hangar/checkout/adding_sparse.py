"""Adding columns of sparse arrays to a write checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy.typing as npt

from hangar.columns.opening import ColumnToWrite
from hangar.columns.sparse import FlatSparseWriter, NestedSparseWriter
from hangar.flags import check_flag, check_optional_flag
from hangar.schema import ColumnSchema, SparseSchema, as_shape
from hangar.schema.dtypes import as_dtype

__all__ = ["SparseAdding"]


class SparseAdding:
    """Mixin of the write checkout: adds columns of sparse arrays."""

    if TYPE_CHECKING:

        def _check_new(self, name: str) -> str: ...
        def _add(self, name: str, schema: ColumnSchema, backend: object, options: object) -> ColumnToWrite: ...

    def add_sparse_column(
        self,
        name: str,
        dtype: npt.DTypeLike,
        shape: int | tuple[int, ...] | list[int],
        variable_shape: bool = False,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSparseWriter | NestedSparseWriter:
        """Add a column of sparse arrays.

        Values are arrays and matrices of ``scipy.sparse``, or ``(coordinates, values, shape)``. Values of coordinates that
        occur more than once are added up, and explicit zeros are dropped, so that equal content is stored once, whatever
        its format. Two-dimensional values are read as ``scipy.sparse.csr_array`` (of more than 2**26 rows as
        ``coo_array``), others as ``coo_array``; ``column.as_coo(key)`` reads coordinates of any rank, without scipy.

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        dtype
            Element type: bool, ints, float32, float64, complex64 or complex128.
        shape
            Shape of every sample; with ``variable_shape`` the largest size of each dimension. 1 to 31 dimensions.
        variable_shape
            Whether samples may differ in shape.
        contains_subsamples
            Whether samples hold subsamples.
        backend, backend_options
            Backend for new blobs on this machine, and its options; None chooses from the schema.
        inline
            Whether values of at most 64 bytes are stored in the tree instead of in blobs. None: if the shape is fixed.

        Raises
        ------
        InvalidInputError
            (``ValueError``) a bad name, shape, dtype, backend or yes/no argument.
        ColumnExistsError
            (``LookupError``) a column of that name exists.
        AccessError
            (``PermissionError``) inside a ``with`` block.
        """
        name = self._check_new(name)
        schema = SparseSchema(
            as_dtype(dtype),
            as_shape(shape),
            variable=check_flag(variable_shape, "variable_shape"),
            nested=check_flag(contains_subsamples, "contains_subsamples"),
            inline=check_optional_flag(inline, "inline"),
        )
        return cast("FlatSparseWriter | NestedSparseWriter", self._add(name, schema, backend, backend_options))
