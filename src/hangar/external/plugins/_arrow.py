"""Columns of Arrow tables as values for a column, in whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.fit import ColumnRequirements, is_added
from hangar.external.plugins._blocks import need_package

__all__ = ["Values", "arrow", "scalars", "to_values"]


class Values:
    """Values of some rows, and what is wrong with the others.

    Attributes
    ----------
    rows
        Positions of the rows that have a value; None: all.
    values
        A stacked array, or a list.
    faults
        Positions of the other rows, with the errors.
    """

    def __init__(self, values: Any, rows: list[int] | None = None, faults: dict[int, HangarError] | None = None):
        self.values, self.rows, self.faults = values, rows, faults or {}


def arrow() -> Any:
    """The package pyarrow."""
    return need_package("pyarrow", "tables")


def to_values(columns: Sequence[Any], requirements: ColumnRequirements | None) -> Values:
    """The values of a batch of rows.

    Parameters
    ----------
    columns
        Arrow arrays of equal length. Several make one vector per row.
    requirements
        Schema of the column that they go to.

    Raises
    ------
    InvalidInputError
        The type of a column cannot become values of the column.
    """
    if len(columns) > 1:
        return _vectors(columns, requirements)
    (column,) = columns
    pa = arrow()
    kind = None if requirements is None else requirements.kind
    if isinstance(column, pa.ExtensionArray):
        return _tensors(column)
    column_type = column.type
    if pa.types.is_dictionary(column_type):
        column = column.cast(column_type.value_type)
        column_type = column.type
    if kind == "str" or (_is_text(pa, column_type) and kind != "ndarray"):
        return _objects(_texts(column) if kind == "str" else column)
    if pa.types.is_binary(column_type) or pa.types.is_large_binary(column_type):
        return _objects(column)
    if pa.types.is_fixed_size_binary(column_type):
        return _raw(column, requirements)
    if pa.types.is_struct(column_type):
        return _structs(column, kind)
    if _is_list(pa, column_type):
        return _lists(column, requirements)
    return scalars(column, None if requirements is None else requirements.dtype)


def _is_text(pa: Any, column_type: Any) -> bool:
    return bool(pa.types.is_string(column_type) or pa.types.is_large_string(column_type))


def _is_list(pa: Any, column_type: Any) -> bool:
    types = pa.types
    return bool(types.is_list(column_type) or types.is_large_list(column_type) or types.is_fixed_size_list(column_type))


def _texts(column: Any) -> Any:
    pa = arrow()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise InvalidInputError(f"values of type {column.type} cannot be texts: {error}") from None


def _missing() -> InvalidInputError:
    return InvalidInputError("the value is missing")


def _objects(column: Any) -> Values:
    """Texts or bytes."""
    try:
        values = column.to_pylist()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"a text is not UTF-8: {error.reason}") from None
    if not column.null_count:
        return Values(values)
    rows = [at for at, value in enumerate(values) if value is not None]
    faults: dict[int, HangarError] = {at: _missing() for at, value in enumerate(values) if value is None}
    return Values([values[at] for at in rows], rows, faults)


def scalars(column: Any, dtype: np.dtype[Any] | None) -> Values:
    """One number a row, in the dtype of the column. Rows that have none, or one that does not fit, are faults."""
    pa = arrow()
    wanted = None
    if dtype is not None and dtype.kind in "biuf" and not is_added(dtype):
        wanted = pa.from_numpy_dtype(dtype)
        if pa.types.is_floating(column.type) and dtype.kind in "iub" and not pa.types.is_null(column.type):
            raise InvalidInputError(f"the values are of type {column.type}, and the column holds {dtype}")
        if pa.types.is_floating(column.type) and dtype.kind == "f" and column.type.bit_width > 8 * dtype.itemsize:
            raise InvalidInputError(f"the values are of type {column.type}, and the column holds {dtype}")
    elif _is_text(pa, column.type):
        wanted = _number_type(pa, column)
    faults: dict[int, HangarError] = {}
    rows: list[int] | None = None
    if column.null_count:
        valid = np.asarray(column.is_valid())
        faults = {int(at): _missing() for at in np.flatnonzero(~valid)}
        rows = np.flatnonzero(valid).tolist()
        column = column.drop_null()
    if wanted is not None and column.type != wanted:
        column, bad = _cast(column, wanted)
        if bad:
            places = rows if rows is not None else list(range(len(column) + len(bad)))
            faults |= {places[at]: error for at, error in bad.items()}
            rows = [place for at, place in enumerate(places) if at not in bad]
    try:
        values = np.array(column.to_numpy(zero_copy_only=False))
    except (pa.ArrowException, NotImplementedError) as error:
        raise InvalidInputError(f"values of type {column.type} are not read: {error}") from None
    if values.dtype.kind in "OmM":
        raise InvalidInputError(f"values of type {column.type} are not read")
    return Values(values, rows, faults)


def _number_type(pa: Any, column: Any) -> Any:
    """The first type that all texts can be read as."""
    for one in (pa.int64(), pa.float64()):
        try:
            column.cast(one)
        except pa.ArrowInvalid:
            continue
        return one
    raise InvalidInputError("the cells are no numbers")


def _cast(column: Any, wanted: Any) -> tuple[Any, dict[int, HangarError]]:
    """Cast without change of any value; what cannot be cast is found by halving."""
    pa = arrow()
    try:
        made = column.cast(wanted, safe=True)
        if not _overflows(column, made):
            return made, {}
    except pa.ArrowInvalid:
        pass
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InvalidInputError(f"values of type {column.type} cannot become {wanted}: {error}") from None
    if len(column) == 1:
        return column.slice(0, 0).cast(wanted), {
            0: InvalidInputError(f"the value {column[0].as_py()!r} is no {np.dtype(wanted.to_pandas_dtype()).name}")
        }
    half = len(column) // 2
    first, bad = _cast(column.slice(0, half), wanted)
    second, more = _cast(column.slice(half), wanted)
    return pa.concat_arrays([first, second]), bad | {at + half: error for at, error in more.items()}


def _overflows(column: Any, made: Any) -> bool:
    """Whether a text of a finite number, such as 1e400, became infinite."""
    pa = arrow()
    compute = need_package("pyarrow.compute", "tables")
    if not _is_text(pa, column.type) or not pa.types.is_floating(made.type):
        return False
    infinite = compute.is_inf(made.cast(pa.float32()) if made.type == pa.float16() else made)
    if not compute.any(infinite).as_py():
        return False
    return bool(compute.any(compute.match_substring_regex(column.filter(infinite), "[0-9]")).as_py())


def _vectors(columns: Sequence[Any], requirements: ColumnRequirements | None) -> Values:
    """Several columns as one vector a row."""
    dtype = None if requirements is None else requirements.dtype
    parts = [scalars(column, dtype) for column in columns]
    faults = {at: error for part in parts for at, error in part.faults.items()}
    if not faults:
        return Values(np.stack([part.values for part in parts], axis=1))
    rows = [at for at in range(len(columns[0])) if at not in faults]
    kept = []
    for part in parts:
        places = range(len(columns[0])) if part.rows is None else part.rows
        at = {place: i for i, place in enumerate(places)}
        kept.append(part.values[[at[row] for row in rows]])
    return Values(np.stack(kept, axis=1), rows, faults)


def _tensors(column: Any) -> Values:
    """Tensors of fixed shape."""
    pa = arrow()
    if not hasattr(column, "to_numpy_ndarray"):
        return to_values([column.storage], None)
    if column.null_count:
        raise InvalidInputError("tensors that are missing are not read")
    try:
        return Values(column.to_numpy_ndarray())
    except (pa.ArrowException, ValueError) as error:
        raise InvalidInputError(f"values of type {column.type} are not read: {error}") from None


def _raw(column: Any, requirements: ColumnRequirements | None) -> Values:
    """Arrays stored as raw bytes, for element types that Arrow does not have."""
    if requirements is None or requirements.dtype is None or requirements.nbytes != column.type.byte_width:
        return _objects(column)
    if column.null_count:
        raise InvalidInputError("values that are missing are not read")
    data = b"".join(column.to_pylist())
    return Values(np.frombuffer(data, requirements.dtype).reshape(len(column), *requirements.shape))


def _structs(column: Any, kind: str | None) -> Values:
    """Arrays of variable shape as ``{data, shape}``; files as ``{bytes, path}``."""
    names = {field.name for field in column.type}
    if {"data", "shape"} <= names:
        return _shaped(column)
    if "bytes" in names and kind in (None, "bytes"):
        return _objects(column.field("bytes"))
    raise InvalidInputError(f"values of type {column.type} are not read")


def _shaped(column: Any) -> Values:
    values: list[Any] = []
    faults: dict[int, HangarError] = {}
    rows = []
    data, shapes = column.field("data"), column.field("shape")
    for at in range(len(column)):
        flat = data[at].values
        shape = shapes[at].as_py()
        if flat is None or shape is None or prod(shape) != len(flat) or any(extent < 0 for extent in shape):
            faults[at] = InvalidInputError(f"{0 if flat is None else len(flat):,} elements do not have shape {shape}")
            continue
        values.append(np.array(flat.to_numpy(zero_copy_only=False)).reshape(shape))
        rows.append(at)
    return Values(values, rows if faults else None, faults)


def _lists(column: Any, requirements: ColumnRequirements | None) -> Values:
    """Lists of numbers, of one length or of several, and lists of such lists."""
    pa = arrow()
    fixed = requirements is not None and requirements.kind == "ndarray" and not requirements.variable
    flat, shape = column, [len(column)]
    if not column.null_count:
        while _is_list(pa, flat.type):
            inner = flat.flatten()
            if len(flat) == 0 or len(inner) % len(flat) or not _equal_lengths(flat, len(inner) // len(flat)):
                break
            shape.append(len(inner) // len(flat))
            flat = inner
        else:
            if flat.null_count:
                raise InvalidInputError("lists with missing numbers are not read")
            found = scalars(flat, requirements.dtype if requirements is not None and requirements.dtype else None)
            if not found.faults:
                stacked = found.values.reshape(shape)
                wanted = requirements.shape if fixed and requirements is not None else None
                if wanted is not None and stacked.shape[1:] != wanted and prod(stacked.shape[1:]) == prod(wanted):
                    stacked = stacked.reshape(len(column), *wanted)
                return Values(stacked)
    return _ragged(column, requirements)


def _equal_lengths(column: Any, length: int) -> bool:
    pa = arrow()
    if pa.types.is_fixed_size_list(column.type):
        return True
    return bool((np.asarray(column.value_lengths()) == length).all())


def _ragged(column: Any, requirements: ColumnRequirements | None) -> Values:
    values: list[Any] = []
    rows: list[int] = []
    faults: dict[int, HangarError] = {}
    dtype = None if requirements is None else requirements.dtype
    for at, one in enumerate(column.to_pylist()):
        try:
            if one is None:
                raise _missing()
            array = np.asarray(one)
            exact = array if dtype is None else array.astype(dtype)
            if array.dtype.kind not in "biuf" or not np.array_equal(exact, array, equal_nan=array.dtype.kind == "f"):
                raise InvalidInputError(f"the list cannot become an array of {dtype or 'numbers'}")
            values.append(exact)
            rows.append(at)
        except HangarError as error:
            faults[at] = error
        except ValueError as error:
            faults[at] = InvalidInputError(f"the list is no array: {error}")
    return Values(values, rows if faults else None, faults)
