"""Column schemas: kind, dtype, shape, layout, and whether small values are stored inline in the tree.

A schema is part of history and independent of storage backends. ``base`` has the record, the registry and the common
base class of all kinds; ``ndarray``, ``scalar``, ``sparse`` and ``chunked`` the kinds; ``cells`` the encoded form of batches; ``dtypes`` the
closed table of element types; ``keys`` the order-preserving encoding of keys.
"""

from __future__ import annotations

from hangar.schema.audio import AudioSchema
from hangar.schema.base import ColumnSchema, load_schema
from hangar.schema.cells import Encoded
from hangar.schema.chunked import ChunkedSchema
from hangar.schema.image import ImageSchema
from hangar.schema.media import MediaSchema
from hangar.schema.ndarray import NdarraySchema, as_shape
from hangar.schema.scalar import BytesSchema, StrSchema
from hangar.schema.sparse import SparseSchema
from hangar.schema.unavailable import open_schema
from hangar.schema.video import VideoSchema
from hangar.schema.widest import widened, widest

__all__ = [
    "AudioSchema",
    "BytesSchema",
    "ChunkedSchema",
    "ColumnSchema",
    "Encoded",
    "ImageSchema",
    "MediaSchema",
    "NdarraySchema",
    "SparseSchema",
    "StrSchema",
    "VideoSchema",
    "as_shape",
    "load_schema",
    "open_schema",
    "widened",
    "widest",
]
