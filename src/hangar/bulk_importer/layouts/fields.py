"""Arrow fields as columns: which column a field becomes, and its values.

Numbers and fixed-size lists of numbers become arrays, lists of numbers arrays of variable shape, text and bytes stay,
and structs of ``bytes`` and ``path`` (the images of Hugging Face) become image files. Class names, which Hugging Face
keeps in the metadata, become the attribute ``classes``. Other fields are left out, and named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from hangar.bulk_importer.layouts.plan import PlannedColumn, column_name
from hangar.errors import InvalidInputError, MissingPackageError

__all__ = ["FieldPlan", "column_values", "pack", "plan_fields", "require_pyarrow"]

MOST_DIMENSIONS: Final = 8
MOST_METADATA: Final = 16 * 2**20


def require_pyarrow() -> None:
    """Raise MissingPackageError unless pyarrow is installed."""
    try:
        import pyarrow as pa  # noqa: F401
    except ImportError:
        raise MissingPackageError("Parquet and Arrow need pyarrow: run `pip install 'hangar[tables]'`") from None


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """A field of a table and its column.

    Attributes
    ----------
    field
        Name of the field.
    form
        How its values are converted: ``'scalar'``, ``'tensor'``, ``'list'``, ``'text'``, ``'bytes'`` or ``'image'``.
    """

    field: str
    form: str
    column: PlannedColumn

    def packed(self) -> tuple[Any, ...]:
        """The parts that reading needs, as plain values."""
        column = self.column
        return self.field, self.form, column.name, column.kind, column.dtype, list(column.shape), column.variable


def pack(parts: Sequence[Any]) -> FieldPlan:
    """The field of :meth:`FieldPlan.packed`."""
    field, form, name, kind, dtype, shape, variable = parts
    return FieldPlan(field, form, PlannedColumn(name, kind, dtype, tuple(shape), variable))


def plan_fields(
    schema: Any, prefix: str, batches: Callable[[], Iterable[Any]], *, arrays: bool = False
) -> tuple[list[FieldPlan], list[str]]:
    """The columns for the fields of an Arrow schema, and notes for people.

    Parameters
    ----------
    schema
        The ``pyarrow.Schema``.
    prefix
        Beginning of the names of the columns.
    batches
        Gives the record batches; called only if the sizes of lists are needed.
    arrays
        Store images as arrays.

    Raises
    ------
    InvalidInputError
        No field can be a column.
    """
    features = _features(schema)
    fields: list[FieldPlan] = []
    left: list[str] = []
    for field in schema:
        name = column_name(prefix + field.name, [one.column.name for one in fields])
        planned = _plan_field(field.name, name, field.type, features.get(field.name))
        kept = _attributes(field)
        if planned is not None and kept:
            planned = replace(planned, column=replace(planned.column, attributes={**planned.column.attributes, **kept}))
        if planned is None:
            left.append(f"{field.name} ({str(field.type).partition('<')[0]})")
        else:
            fields.append(planned)
    if any(one.form == "list" for one in fields):
        shapes = _shapes([one.field for one in fields if one.form == "list"], batches())
        fields = [_with_shapes(one, shapes[one.field]) if one.form == "list" else one for one in fields]
    if arrays and any(one.form == "image" for one in fields):
        raise InvalidInputError("images in tables are kept as files: import them without arrays")
    if not fields:
        raise InvalidInputError(f"none of the fields can be a column: {', '.join(left) or 'there are none'}")
    return fields, [f"left out, of types that no column holds: {', '.join(left)}"] if left else []


def _plan_field(field: str, name: str, kind: Any, feature: Any) -> FieldPlan | None:
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        names = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        files = "bytes" in names and (types.is_binary(names["bytes"]) or types.is_large_binary(names["bytes"]))
        if files and set(names) <= {"bytes", "path"}:
            image = feature is None or feature.get("_type") == "Image"
            return FieldPlan(
                field, "image", PlannedColumn(name, "image" if image else "bytes", mode="RGB" if image else None)
            )
        return None
    if types.is_string(kind) or types.is_large_string(kind):
        return FieldPlan(field, "text", PlannedColumn(name, "str"))
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return FieldPlan(field, "bytes", PlannedColumn(name, "bytes"))
    if isinstance(kind, pa.FixedShapeTensorType):
        dtype = _dtype(kind.value_type)
        shape = tuple(kind.shape)
        return None if dtype is None else FieldPlan(field, "tensor", PlannedColumn(name, "ndarray", dtype, shape))
    dimensions = 0
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind, dimensions = kind.value_type, dimensions + 1
    dtype = _dtype(kind)
    if dtype is None or dimensions > MOST_DIMENSIONS:
        return None
    if dimensions:
        return FieldPlan(field, "list", PlannedColumn(name, "ndarray", dtype, (0,) * dimensions, variable=True))
    classes = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    named = isinstance(classes, list) and all(isinstance(one, str) for one in classes)
    attributes: dict[str, Any] = {"classes": classes} if named else {}
    if types.is_temporal(kind):
        attributes["time"] = str(kind)  # the unit of the numbers, such as timestamp[us, tz=UTC]
    return FieldPlan(field, "scalar", PlannedColumn(name, "ndarray", dtype, attributes=attributes))


def _dtype(kind: Any) -> str | None:
    from pyarrow import types

    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind) or types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).name)
    if types.is_temporal(kind) and not types.is_interval(kind):
        return "int64"
    return None


def _features(schema: Any) -> dict[str, Any]:
    """The features that Hugging Face keeps in the metadata of a schema; empty if there are none that can be read."""
    data = (schema.metadata or {}).get(b"huggingface", b"")
    if not data or len(data) > MOST_METADATA:
        return {}
    try:
        features = json.loads(data)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {key: one for key, one in features.items() if isinstance(one, dict)} if isinstance(features, dict) else {}


def _attributes(field: Any) -> dict[str, Any]:
    """The attributes that Hangar keeps in the metadata of a field; empty if there are none that can be read."""
    data = (field.metadata or {}).get(b"hangar", b"")
    if not data or len(data) > MOST_METADATA:
        return {}
    try:
        attributes = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _shapes(names: Sequence[str], batches: Iterable[Any]) -> dict[str, set[tuple[int, ...]]]:
    """The shapes of the lists of some fields."""
    found: dict[str, set[tuple[int, ...]]] = {name: set() for name in names}
    for batch in batches:
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            found[name].update(_shape(value.as_py()) for value in column if value.is_valid)
            if len(found[name]) > 1024:
                found[name] = {
                    tuple(max(sizes) for sizes in zip(*found[name], strict=True)),
                    (0,) * len(next(iter(found[name]))),
                }
    return found


def _shape(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _with_shapes(field: FieldPlan, shapes: set[tuple[int, ...]]) -> FieldPlan:
    rank = len(field.column.shape)
    full = [shape + (0,) * (rank - len(shape)) for shape in shapes] or [(1,) * rank]
    largest = tuple(max(1, *sizes) for sizes in zip(*full, strict=True))
    return replace(field, column=replace(field.column, shape=largest, variable=set(full) != {largest}))


def column_values(field: FieldPlan, batch: Any, *, arrays: bool = False) -> Iterator[tuple[int, Any]]:
    """Row and value of each sample of a record batch; null values are no samples."""
    import pyarrow as pa

    index = batch.schema.get_field_index(field.field)
    if index < 0:
        raise InvalidInputError(f"there is no field {field.field!r}")
    column = batch.column(index)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.form == "scalar":
        if pa.types.is_temporal(column.type):
            column = (
                column.cast(pa.int64()) if column.type.bit_width == 64 else column.cast(pa.int32()).cast(pa.int64())
            )
        valid = np.flatnonzero(np.asarray(column.is_valid()))
        numbers = column.drop_null().to_numpy(zero_copy_only=False).astype(field.column.dtype, copy=False)
        yield from zip(valid.tolist(), numbers, strict=True)
        return
    if field.form == "tensor":
        stacked = column.to_numpy_ndarray() if len(column) else np.empty((0, *field.column.shape))
        yield from ((row, stacked[row]) for row in np.flatnonzero(np.asarray(column.is_valid())).tolist())
        return
    for row, scalar in enumerate(column):
        if not scalar.is_valid:
            continue
        value = scalar.as_py()
        if field.form == "image":
            value = value["bytes"]
            if value is None:
                raise InvalidInputError(f"row {row} of {field.field!r} holds the path of a file, not its bytes")
        elif field.form == "list":
            value = _array(value, field)
        yield row, value


def _array(value: Any, field: FieldPlan) -> np.ndarray[Any, Any]:
    rank = len(field.column.shape)
    try:
        array = np.array(value, field.column.dtype)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"a list of {field.field!r} is no array of {field.column.dtype}: {error}") from None
    if array.size == 0 and array.ndim < rank:
        array = array.reshape(array.shape + (0,) * (rank - array.ndim))
    return array
