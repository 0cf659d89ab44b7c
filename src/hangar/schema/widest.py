"""The smallest schema that covers two schemas which differ in their maximum shape."""

from __future__ import annotations

import msgspec

from hangar.errors import CorruptionError
from hangar.schema.base import ColumnSchema, SchemaRecord
from hangar.schema.unavailable import open_schema

__all__ = ["widest"]

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
