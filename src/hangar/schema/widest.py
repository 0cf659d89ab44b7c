"""Schemas of a larger maximum shape: the one that a user asks for, and the smallest that covers two schemas."""

from __future__ import annotations

from typing import Any

import msgspec

from hangar.errors import CorruptionError, InvalidInputError
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, SchemaRecord
from hangar.schema.chunked import ChunkedSchema, as_max_shape
from hangar.schema.ndarray import NdarraySchema, as_shape
from hangar.schema.sparse import SparseSchema
from hangar.schema.unavailable import open_schema

__all__ = ["widened", "widest"]

_VARIABLE, _SHAPE = (SchemaRecord.__struct_fields__.index(name) for name in ("variable", "shape"))
_decode = msgspec.msgpack.Decoder(list[Any]).decode


def widest(first: ColumnSchema, second: ColumnSchema) -> ColumnSchema | None:
    """The schema with the larger maximum of each dimension, in which the values of both columns are valid.

    Needs no package that the values need. None if the schemas differ in something else, or if such an array would be
    too large.
    """
    if first.digest == second.digest:
        return first
    try:
        one, other = _decode(first.data), _decode(second.data)
        if (
            one[0] != SCHEMA_VERSION
            or not (one[_VARIABLE] and other[_VARIABLE])
            or len(one[_SHAPE]) != len(other[_SHAPE])
        ):
            return None
        record = _with_shape(one, list(map(max, one[_SHAPE], other[_SHAPE])))
    except (msgspec.MsgspecError, IndexError, TypeError):
        return None  # of a newer version
    if record != _with_shape(other, record[_SHAPE]):
        return None
    try:
        return open_schema(msgspec.msgpack.encode(record))
    except CorruptionError:
        return None  # beyond the limits


def widened(schema: ColumnSchema, shape: object, name: str) -> ColumnSchema:
    """The schema of the column ``name`` with a larger maximum shape, so that all present values still fit.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        The column is not of variable shape, or ``shape`` is not a shape, has another rank or is smaller in a dimension.
    """
    schema.require()
    wanted = as_max_shape(shape, len(schema.shape)) if isinstance(schema, ChunkedSchema) else as_shape(shape)
    if not isinstance(schema, (NdarraySchema, SparseSchema, ChunkedSchema)) or not schema.variable:
        what = f"arrays of the fixed shape {schema.shape}" if schema.shape else schema.kind_name
        raise InvalidInputError(f"column {name!r} holds {what}: only columns of variable shape can be widened")
    if len(wanted) != len(schema.shape):
        raise InvalidInputError(f"shape {wanted} has rank {len(wanted)}; column {name!r} has rank {len(schema.shape)}")
    if any(new < old for new, old in zip(wanted, schema.shape, strict=True)):
        raise InvalidInputError(f"shape {shape} is smaller than {schema.max_shape}: a column can only be widened")
    if isinstance(schema, ChunkedSchema):
        return schema.with_shape(wanted)
    return type(schema)(schema.dtype, wanted, variable=True, nested=schema.nested, inline=schema.inline)


def _with_shape(record: list[Any], shape: list[int]) -> list[Any]:
    return [*record[:_SHAPE], shape, *record[_SHAPE + 1 :]]
