"""Which backend, and with which options, new data of a column goes to where nobody says: from its schema alone.

Every threshold here has the measurement behind it. They were taken by ``benchmarks/backends.py`` on two cores that others used
too, so they are ratios within a run and seconds of processor time, not rates; the table is on the page of backends in the documentation.
What a schema cannot tell is whether data compresses. So compression is chosen only where it costs little if it does not, and a
user who knows better says so, per column and at any time. How samples share chunks is each backend's own affair.
"""

from __future__ import annotations

from typing import Any, Final

from hangar.digest import BYTES, NDARRAY, STR
from hangar.errors import InvalidInputError
from hangar.schema import ColumnSchema
from hangar.schema.ndarray import NdarraySchema

__all__ = ["choose_backend"]

MEMMAP: Final = "10"
ROWS: Final = "00"
CHUNKS: Final = "01"
_OTHERS: Final = {STR: "30", BYTES: "31"}

LARGE_BYTES: Final = 4 * 2**20
"""A sample of fixed shape from this size on is compressed (lz4 behind a shuffle of bytes).

Writing a gigabyte takes 1.4 to 1.8 s of processor time instead of 0.6 to 0.7, and goes on two cores; a scan of float32 takes 0.37
of the disk, normal float32, the worst case, 0.94. A random get runs at 0.4 to 0.8 of the rate of ``10``. At 150 KB (photographs,
slices) it runs at 0.1 to 0.3 of it, and at 1 MB still at half in a batch: below this size a shuffled epoch would wait for the codec.
"""

VARIABLE_LARGE_BYTES: Final = 4 * LARGE_BYTES
"""The same for the *largest* size of a column of variable shape, whose samples are taken to be half as large along two of their axes."""

COMPRESSED_ITEM_BYTES: Final = 2
"""Elements of fewer bytes are not compressed unasked.

In wider ones the high bytes repeat, which the shuffle brings together. One-byte elements may be a mask (0.02 of the disk, and faster to
write than raw) or a photograph (0.7 to 0.8 of it, for twice the time to write), and a schema does not say which.
"""

BOOL_OPTIONS: Final[dict[str, Any]] = {"complib": "blosc:lz4", "shuffle": "bit"}
"""Seven of the eight bits of a bool are zero: a shuffle of bits brings even bools without any order to 0.13 of the disk, one of bytes to 0.5."""


def choose_backend(schema: ColumnSchema) -> tuple[str, dict[str, Any]]:
    """Backend for new data of a column, and the options that differ from its defaults.

    Raises
    ------
    InvalidInputError
        There is no backend for data of this kind.
    """
    if schema.needs:
        return MEMMAP, {}  # Nothing can be written to it here.
    if schema.kind != NDARRAY:
        if schema.kind not in _OTHERS:
            raise InvalidInputError(f"there is no backend for data of kind {schema.kind}")
        return _OTHERS[schema.kind], {}
    assert isinstance(schema, NdarraySchema)
    large = VARIABLE_LARGE_BYTES if schema.variable else LARGE_BYTES
    if schema.nbytes < large:
        return MEMMAP, {}
    compressed = ROWS if schema.variable else CHUNKS
    if schema.dtype == bool:
        return compressed, dict(BOOL_OPTIONS)
    return (compressed if schema.dtype.itemsize >= COMPRESSED_ITEM_BYTES else MEMMAP), {}
