"""Default backend: chooses backend and options for new data of a column from its schema alone.

Every threshold has its measurement beside it. ``benchmarks/backends.py`` measured them on two cores that were shared
with other work, so they are ratios within a run and seconds of processor time, not rates. The page on backends has the
table. A schema does not tell whether data compresses. So compression is chosen only where it costs little on
incompressible data. Users can choose the backend of a column themselves at any time. Each backend decides how samples
share chunks.
"""

from __future__ import annotations

from typing import Any, Final

from hangar.digest import BYTES, NDARRAY, SPARSE, STR
from hangar.errors import InvalidInputError
from hangar.schema import ColumnSchema
from hangar.schema.ndarray import NdarraySchema

__all__ = ["choose_backend"]

MEMMAP: Final = "10"
ROWS: Final = "00"
CHUNKS: Final = "01"
_OTHERS: Final = {STR: "30", BYTES: "31", SPARSE: MEMMAP}

LARGE_BYTES: Final = 4 * 2**20
"""Samples of fixed shape are compressed from this size on (byte shuffle, then lz4).

Writing a gigabyte takes 1.4 to 1.8 s of processor time instead of 0.6 to 0.7, and runs on two cores. A scan of float32
takes 0.37 of the disk, normal float32, the worst case, 0.94. A random get runs at 0.4 to 0.8 of the rate of ``10``. At
150 KB (photographs, slices) it runs at 0.1 to 0.3 of it, and at 1 MB still at half in a batch: below this size a
shuffled epoch would wait for the codec.
"""

VARIABLE_LARGE_BYTES: Final = 4 * LARGE_BYTES
"""The same threshold for the *largest* size of a column of variable shape. Typical samples are assumed to be half as large along two axes."""

COMPRESSED_ITEM_BYTES: Final = 2
"""Smaller elements are not compressed by default.

In wider elements the high bytes repeat, and the byte shuffle puts them side by side. One-byte elements may be a mask
(0.02 of the disk space, and faster to write than raw) or a photograph (0.7 to 0.8 of it, for twice the time to write).
A schema does not tell which.
"""

BOOL_OPTIONS: Final[dict[str, Any]] = {"complib": "blosc:lz4", "shuffle": "bit"}
"""Seven of the eight bits of a bool are zero: a bit shuffle brings even random bools to 0.13 of the disk space, a byte shuffle to 0.5."""


def choose_backend(schema: ColumnSchema) -> tuple[str, dict[str, Any]]:
    """Backend for new data of a column, and the options that differ from its defaults.

    Raises
    ------
    InvalidInputError
        There is no backend for data of this kind.
    """
    schema = schema.blob_schema
    if schema.needs:
        return MEMMAP, {}  # Nothing can be written to it here.
    if schema.blob_kind != NDARRAY:
        if schema.blob_kind not in _OTHERS:
            raise InvalidInputError(f"there is no backend for data of kind {schema.blob_kind}")
        return _OTHERS[schema.blob_kind], {}
    assert isinstance(schema, NdarraySchema)
    large = VARIABLE_LARGE_BYTES if schema.variable else LARGE_BYTES
    if schema.nbytes < large:
        return MEMMAP, {}
    compressed = ROWS if schema.variable else CHUNKS
    if schema.dtype == bool:
        return compressed, dict(BOOL_OPTIONS)
    return (compressed if schema.dtype.itemsize >= COMPRESSED_ITEM_BYTES else MEMMAP), {}
