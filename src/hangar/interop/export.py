"""Flat columns as a dataset of xarray, a table of Arrow, or a data frame of pandas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from hangar.columns.stack import as_dask
from hangar.errors import InvalidInputError, InvalidTypeError, MissingPackageError, SampleNotFoundError

__all__ = ["package", "to_arrow", "to_pandas", "to_xarray"]

_INSTALL: Final = {
    "xarray": "pip install 'hangar[xarray]'",
    "pyarrow": "pip install 'hangar[tables]'",
    "pandas": "pip install pandas",
}


def package(name: str) -> Any:
    """Import a package that a function needs; MissingPackageError says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise MissingPackageError(f"this needs {name}: run `{_INSTALL[name]}`") from None


def to_xarray(columns: Any, *, batch: int | None = None) -> Any:
    """Flat columns of arrays as one lazy ``xarray.Dataset``.

    Each column is a variable over the dimension ``sample``, whose coordinate has the keys. Attributes of columns become
    attributes of the variables.

    Parameters
    ----------
    columns
        A column, several columns, or ``checkout.columns`` of a reader: arrays of a fixed shape, with the same keys.
    batch
        Samples in a chunk of the dask arrays.

    Raises
    ------
    SampleNotFoundError
        (a ``KeyError``) the columns have different keys.
    InvalidInputError
        (a ``ValueError``) a column does not hold arrays of one shape.
    MissingPackageError
        (an ``ImportError``) xarray or dask is not installed.
    """
    xarray = package("xarray")
    listed = _listed(columns)
    keys = _common_keys(listed)
    variables = {}
    for column in listed:
        dimensions = ("sample", *(f"{column.column}_{axis}" for axis in range(len(column.shape))))
        variables[column.column] = (dimensions, as_dask(column, batch), dict(column.attributes))
    return xarray.Dataset(variables, coords={"sample": _key_array(keys)})


def to_arrow(columns: Any, keys: Sequence[Any] | None = None) -> Any:
    """Flat columns as one ``pyarrow.Table``, with a field for each column and the field ``key``.

    Numbers and arrays of a fixed shape (fixed-shape tensors of Arrow) are handed over without a copy. Arrays of one
    dimension and variable length become lists. Image files stay the bytes of the files. Attributes of a column are in
    the metadata of its field, as JSON under ``hangar``.

    Parameters
    ----------
    columns
        A column, several, or ``checkout.columns``, with the same keys.
    keys
        The samples to take, in this order. None: all, in key order.

    Raises
    ------
    SampleNotFoundError
        (a ``KeyError``) the columns have different keys, or one of ``keys`` does not exist.
    InvalidInputError
        (a ``ValueError``) a column is nested, or its values have no type in Arrow.
    MissingPackageError
        (an ``ImportError``) pyarrow is not installed.
    """
    pa = package("pyarrow")
    listed = _listed(columns)
    chosen = _common_keys(listed) if keys is None else list(keys)
    fields, arrays = [pa.field("key", pa.array(chosen).type if chosen else pa.string())], [_key_field(pa, chosen)]
    for column in listed:
        if column.column == "key":
            raise InvalidInputError(
                "the field 'key' has the keys of the samples, so no column can have this name: rename it"
            )
        array = _arrow_array(pa, column, chosen)
        attributes = {name: value for name, value in column.attributes.items() if _is_json(value)}
        metadata = {"hangar": json.dumps(attributes)} if attributes else None
        fields.append(pa.field(column.column, array.type, metadata=metadata))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def to_pandas(columns: Any, keys: Sequence[Any] | None = None) -> Any:
    """Flat columns as a ``pandas.DataFrame``, with the keys as its index.

    Numbers become columns of their dtype; numbers with class names (the attribute ``classes``) categories; text, bytes
    and arrays columns of objects. Parameters and errors as for :func:`to_arrow`.
    """
    pd = package("pandas")
    listed = _listed(columns)
    chosen = _common_keys(listed) if keys is None else list(keys)
    frame = {}
    for column in listed:
        values = _values(column, chosen)
        classes = column.attributes.get("classes")
        if isinstance(values, np.ndarray) and values.ndim == 1:
            named = (
                isinstance(classes, list) and values.dtype.kind in "iu" and len(set(map(str, classes))) == len(classes)
            )
            known = named and (not len(values) or 0 <= int(values.min()) <= int(values.max()) < len(classes))
            frame[column.column] = pd.Categorical.from_codes(values, classes) if known else values
        else:
            objects = np.empty(len(chosen), object)
            objects[:] = list(values)
            frame[column.column] = objects
    return pd.DataFrame(frame, index=pd.Index(chosen, name="key"))


def _listed(columns: Any) -> list[Any]:
    """Several columns, given in any of the usual ways.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        They are no columns, or none, or nested.
    """
    if hasattr(columns, "column_layout"):
        listed = [columns]
    elif isinstance(columns, Mapping) or hasattr(columns, "values"):
        listed = list(columns.values())
    else:
        listed = list(columns)
    if not listed or not all(hasattr(column, "column_layout") for column in listed):
        raise InvalidTypeError("give at least one column, such as checkout['images']")
    for column in listed:
        if column.contains_subsamples:
            raise InvalidInputError(
                f"column {column.column!r} is nested: only flat columns have one value for each key"
            )
    return listed


def _common_keys(columns: Sequence[Any]) -> list[Any]:
    keys = list(columns[0])
    for column in columns[1:]:
        if list(column) != keys:
            raise SampleNotFoundError(
                f"columns {columns[0].column!r} and {column.column!r} have different keys: name the keys to take"
            )
    return keys


def _values(column: Any, keys: Sequence[Any]) -> Any:
    """The values of some samples: stacked if they are of one shape, image files as bytes."""
    if column.column_type == "image":
        return [column.encoded(key) for key in keys]
    if column.column_type == "ndarray" and column.schema_type == "fixed_shape":
        return column.read(keys)
    return column[list(keys)]


def _key_array(keys: Sequence[Any]) -> np.ndarray[Any, Any]:
    """The keys as an index of xarray."""
    if all(type(key) is int for key in keys):
        return np.array(keys, np.uint64 if any(key >= 2**63 for key in keys) else np.int64)
    found = np.empty(len(keys), object)
    found[:] = keys
    return found


def _key_field(pa: Any, keys: Sequence[Any]) -> Any:
    try:
        return pa.array(keys) if keys else pa.array([], pa.string())
    except (pa.ArrowException, TypeError):
        raise InvalidInputError(
            "keys of both kinds, int and str, are no one field of Arrow: name keys of one kind"
        ) from None


def _arrow_array(pa: Any, column: Any, keys: Sequence[Any]) -> Any:
    values = _values(column, keys)
    kind = column.column_type
    if kind == "str":
        return pa.array(values, pa.string())
    if kind in ("bytes", "image"):
        return pa.array(values, pa.binary())
    if isinstance(values, np.ndarray):
        try:
            if values.ndim == 1:
                return pa.array(values)
            return _tensors(pa, values)
        except (pa.ArrowException, TypeError) as error:
            raise InvalidInputError(f"column {column.column!r} has no type in Arrow: {error}") from None
    if kind == "ndarray" and len(column.shape) == 1:
        lengths = np.fromiter((len(value) for value in values), np.int64, len(values))
        offsets = np.concatenate(([0], lengths.cumsum()))
        flat = np.concatenate(values) if values else np.empty(0, column.dtype)
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat))
    raise InvalidInputError(f"the values of column {column.column!r} ({kind}) have no type in Arrow")


def _tensors(pa: Any, values: np.ndarray[Any, Any]) -> Any:
    flat = pa.array(values.reshape(-1))
    shape = values.shape[1:]
    size = len(flat) // len(values) if len(values) else 1
    storage = pa.FixedSizeListArray.from_arrays(flat, max(1, size))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, shape), storage)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
