"""Adding columns to a write checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from hangar.backends.preference import check_preference
from hangar.checkout.session import WriterSession
from hangar.columns.collection import Columns
from hangar.columns.flat_write import FlatSampleWriter
from hangar.columns.nested_write import NestedSampleWriter
from hangar.columns.opening import ColumnToWrite
from hangar.errors import AccessError, ColumnExistsError, InvalidInputError
from hangar.flags import check_flag, check_optional_flag
from hangar.names import check_name
from hangar.objects.commit import column_id
from hangar.schema import BytesSchema, ChunkedSchema, ColumnSchema, NdarraySchema, StrSchema, as_shape
from hangar.schema.chunked import as_max_shape
from hangar.schema.dtypes import as_dtype
from hangar.schema.ndarray import as_array
from hangar.schema.numbers import is_number_type

__all__ = ["ColumnAdding"]

Shape: TypeAlias = "int | tuple[int, ...] | list[int]"
MaxShape: TypeAlias = "int | tuple[int | None, ...] | list[int | None]"


class ColumnAdding:
    """Mixin of the write checkout: adds columns."""

    session: WriterSession

    if TYPE_CHECKING:

        @property
        def columns(self) -> Columns[ColumnToWrite]: ...

    @overload
    def add_ndarray_column(
        self,
        name: str,
        shape: Shape | None = None,
        dtype: npt.DTypeLike | None = None,
        prototype: np.ndarray[Any, Any] | complex | None = None,
        variable_shape: bool = False,
        contains_subsamples: Literal[False] = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSampleWriter: ...
    @overload
    def add_ndarray_column(
        self,
        name: str,
        shape: Shape | None = None,
        dtype: npt.DTypeLike | None = None,
        prototype: np.ndarray[Any, Any] | complex | None = None,
        variable_shape: bool = False,
        *,
        contains_subsamples: Literal[True],
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> NestedSampleWriter: ...
    @overload
    def add_ndarray_column(
        self,
        name: str,
        shape: Shape | None = None,
        dtype: npt.DTypeLike | None = None,
        prototype: np.ndarray[Any, Any] | complex | None = None,
        variable_shape: bool = False,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> ColumnToWrite: ...
    def add_ndarray_column(
        self,
        name: str,
        shape: Shape | None = None,
        dtype: npt.DTypeLike | None = None,
        prototype: np.ndarray[Any, Any] | complex | None = None,
        variable_shape: bool = False,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> ColumnToWrite:
        """Add a column of arrays.

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        shape
            Shape of every sample; with ``variable_shape`` the largest size of each dimension. An int is one dimension,
            ``()`` a scalar.
        dtype
            Element type, by default float64: bool, ints, float16/32/64, complex64/128 (bfloat16, float8 of ml_dtypes),
            as NumPy, torch or TensorFlow write them, or by name (``'float32'``, ``'f4'``, in any case).
        prototype
            An array with the shape and dtype of the samples, instead of ``shape``; a Python number is a sample of shape
            ``()``.
        variable_shape
            Whether samples may differ in shape.
        contains_subsamples
            Whether samples hold subsamples.
        backend, backend_options
            Backend for new blobs on this machine, and its options; None chooses from the schema.
        inline
            Whether values are stored in the tree instead of in blobs. None: if they have a fixed shape and at most 32
            bytes.

        Returns
        -------
        FlatSampleWriter or NestedSampleWriter
            The new column.

        Raises
        ------
        InvalidInputError
            (``ValueError``) a bad name, shape, dtype, backend or yes/no argument, or both ``shape`` and ``prototype``.
        ColumnExistsError
            (``LookupError``) a column of that name exists.
        AccessError
            (``PermissionError``) inside a ``with`` block.
        """
        name = self._check_new(name)
        variable = check_flag(variable_shape, "variable_shape")
        nested, inline = _layout(contains_subsamples, inline)
        if prototype is not None:
            if shape is not None:
                raise InvalidInputError("give a shape or a prototype, not both")
            model = np.asarray(prototype) if is_number_type(type(prototype)) else as_array(prototype)
            wanted, found = model.shape, model.dtype if dtype is None else as_dtype(dtype)
        elif shape is None:
            raise InvalidInputError("give the shape of the samples, or a prototype")
        else:
            wanted, found = as_shape(shape), as_dtype(np.float64 if dtype is None else dtype)
        schema = NdarraySchema(found, wanted, variable=variable, nested=nested, inline=inline)
        return self._add(name, schema, backend, backend_options)

    @overload
    def add_str_column(
        self,
        name: str,
        contains_subsamples: Literal[False] = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSampleWriter: ...
    @overload
    def add_str_column(
        self,
        name: str,
        contains_subsamples: Literal[True],
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> NestedSampleWriter: ...
    @overload
    def add_str_column(
        self,
        name: str,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> ColumnToWrite: ...
    def add_str_column(
        self,
        name: str,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> ColumnToWrite:
        """Add a column of ``str``; parameters and errors as in :meth:`add_ndarray_column`."""
        name = self._check_new(name)
        nested, inline = _layout(contains_subsamples, inline)
        return self._add(name, StrSchema(nested=nested, inline=inline), backend, backend_options)

    @overload
    def add_bytes_column(
        self,
        name: str,
        contains_subsamples: Literal[False] = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSampleWriter: ...
    @overload
    def add_bytes_column(
        self,
        name: str,
        contains_subsamples: Literal[True],
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> NestedSampleWriter: ...
    @overload
    def add_bytes_column(
        self,
        name: str,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> ColumnToWrite: ...
    def add_bytes_column(
        self,
        name: str,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> ColumnToWrite:
        """Add a column of ``bytes``; parameters and errors as in :meth:`add_ndarray_column`."""
        name = self._check_new(name)
        nested, inline = _layout(contains_subsamples, inline)
        return self._add(name, BytesSchema(nested=nested, inline=inline), backend, backend_options)

    @overload
    def add_chunked_column(
        self,
        name: str,
        dtype: npt.DTypeLike,
        chunks: Shape,
        shape: MaxShape | None = None,
        fill_value: object = 0,
        contains_subsamples: Literal[False] = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> FlatSampleWriter: ...
    @overload
    def add_chunked_column(
        self,
        name: str,
        dtype: npt.DTypeLike,
        chunks: Shape,
        shape: MaxShape | None = None,
        fill_value: object = 0,
        *,
        contains_subsamples: Literal[True],
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> NestedSampleWriter: ...
    @overload
    def add_chunked_column(
        self,
        name: str,
        dtype: npt.DTypeLike,
        chunks: Shape,
        shape: MaxShape | None = None,
        fill_value: object = 0,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> ColumnToWrite: ...
    def add_chunked_column(
        self,
        name: str,
        dtype: npt.DTypeLike,
        chunks: Shape,
        shape: MaxShape | None = None,
        fill_value: object = 0,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> ColumnToWrite:
        """Add a column of chunked arrays: arrays that are larger than memory, or grow.

        Parameters
        ----------
        name, dtype, contains_subsamples
            As in :meth:`add_ndarray_column`.
        chunks
            Shape of a chunk; its rank is that of the arrays. A chunk is what a read or write handles as a whole: 1 to 16 MB
            suit most data.
        shape
            The largest extent of each dimension, None where it is not bounded; None alone bounds none of them.
        fill_value
            Value of elements that nobody wrote. Chunks of this value alone are not stored.
        backend, backend_options
            Backend for new chunks on this machine, and its options (codec and level); None chooses from the schema.

        Raises
        ------
        InvalidInputError, ColumnExistsError, AccessError
            As in :meth:`add_ndarray_column`.
        """
        name = self._check_new(name)
        nested = check_flag(contains_subsamples, "contains_subsamples")
        sizes = as_shape(chunks)
        most = as_max_shape(shape, len(sizes))
        schema = ChunkedSchema(as_dtype(dtype), sizes, most, fill_value=fill_value, nested=nested)
        return self._add(name, schema, backend, backend_options)

    def _check_new(self, name: str) -> str:
        self.session.check()
        if self.session.in_batch:
            raise AccessError("a column cannot be added inside a `with` block")
        return self._check_free(name)

    def _check_free(self, name: str) -> str:
        name = check_name(name, "column")
        if name in self.session.staging.columns:
            raise ColumnExistsError(f"there is a column {name!r} already")
        return name

    def _add(self, name: str, schema: ColumnSchema, backend: object, options: object) -> ColumnToWrite:
        preference = check_preference(schema, backend, options)
        staging = self.session.staging
        number = 0
        while (identity := column_id(name, schema.digest, number)) in staging.by_id:
            number += 1
        with self.session.writing():
            staging.add(name, identity, schema)
            if preference is not None:
                self.session.set_preference(identity, preference)
        return self.columns[name]


def _layout(nested: object, inline: object) -> tuple[bool, bool | None]:
    return check_flag(nested, "contains_subsamples"), check_optional_flag(inline, "inline")
