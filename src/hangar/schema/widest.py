"""Schemas of a larger maximum shape: the one that a user asks for, and the smallest that covers two schemas."""

from __future__ import annotations

import msgspec

from hangar.errors import CorruptionError, InvalidInputError
from hangar.schema.base import ColumnSchema, SchemaRecord
from hangar.schema.ndarray import NdarraySchema, as_shape
from hangar.schema.sparse import SparseSchema
from hangar.schema.unavailable import open_schema

__all__ = ["widened", "widest"]

_decode = msgspec.msgpack.Decoder(SchemaRecord).decode


def widest(first: ColumnSchema, second: ColumnSchema) -> ColumnSchema | None:
    """The schema with the larger maximum of each dimension, in which the values of both columns are valid.

    Needs no package that the values need. None if the schemas differ in something else, or if such an array would be
    too large.
    """
    if first.digest == second.digest:
        return first
    try:
        one, other = _decode(first.data), _decode(second.data)
    except msgspec.MsgspecError:
        return None  # of a newer version
    if not (one.variable and other.variable) or len(one.shape) != len(other.shape):
        return None
    record = msgspec.structs.replace(one, shape=list(map(max, one.shape, other.shape)))
    if record != msgspec.structs.replace(other, shape=record.shape):
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
    wanted = as_shape(shape)
    if not isinstance(schema, (NdarraySchema, SparseSchema)) or not schema.variable:
        what = f"arrays of the fixed shape {schema.shape}" if schema.shape else schema.kind_name
        raise InvalidInputError(f"column {name!r} holds {what}: only columns of variable shape can be widened")
    if len(wanted) != len(schema.shape):
        raise InvalidInputError(f"shape {wanted} has rank {len(wanted)}; column {name!r} has rank {len(schema.shape)}")
    if any(new < old for new, old in zip(wanted, schema.shape, strict=True)):
        raise InvalidInputError(f"shape {wanted} is smaller than {schema.shape}: a column can only be widened")
    return type(schema)(schema.dtype, wanted, variable=True, nested=schema.nested, inline=schema.inline)
