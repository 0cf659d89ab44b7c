"""What a column holds: kind, dtype, shape, layout, and whether small values lie in the tree.

A schema is part of history and says nothing of where bytes lie. ``base`` holds the record, the registry and what all kinds have in common,
``ndarray`` and ``scalar`` the kinds, ``cells`` batches of values on their way into a tree, ``dtypes`` the closed table of element types, ``keys`` the
order-preserving encoding of keys.
"""

from __future__ import annotations

from hangar.schema.base import ColumnSchema, load_schema
from hangar.schema.cells import Encoded
from hangar.schema.ndarray import NdarraySchema, as_shape, widened
from hangar.schema.scalar import BytesSchema, StrSchema
from hangar.schema.unavailable import open_schema

__all__ = [
    "BytesSchema",
    "ColumnSchema",
    "Encoded",
    "NdarraySchema",
    "StrSchema",
    "as_shape",
    "load_schema",
    "open_schema",
    "widened",
]
