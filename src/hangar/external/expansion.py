"""Protection against decompression bombs: declared sizes are checked before memory is allocated.

A column gives the largest size of a sample, so a file that declares more cannot fit. Where no column is known, a file may
not declare much more than it can hold: the ratio of real data stays far below the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

from hangar import limits
from hangar.errors import InvalidInputError
from hangar.progress import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["MAX_RATIO", "SizeLimit", "check_declared"]

SMALL_BYTES: Final = 64 * 2**20
"""Declared sizes up to this are always allowed."""
MAX_RATIO: Final = 2_000
"""Maximum ratio of declared to stored bytes (deflate reaches 1,032)."""


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """Maximum size of an array.

    Attributes
    ----------
    values
        Maximum number of elements.
    holder
        The reason for the limit, as a clause for error messages: ``"column 'images' holds shape 4 x 5"``.
    """

    values: int
    holder: str


def check_declared(
    shape: Sequence[int], dtype: np.dtype[Any], stored: int, where: str, size_limit: SizeLimit | None = None
) -> int:
    """Check the size of an array that a header declares; return its bytes.

    Parameters
    ----------
    shape, dtype
        As declared.
    stored
        Bytes of the file that hold the array.
    where
        Name of the file in messages.
    size_limit
        Maximum number of elements, from the column.

    Raises
    ------
    InvalidInputError
        The array is too large, or its shape or dtype impossible.
    """
    if dtype.hasobject:
        raise InvalidInputError(f"{where} holds Python objects; only numbers, text and bytes are read")
    extents = [int(extent) for extent in shape]
    if len(extents) > limits.MAX_RANK or any(extent < 0 for extent in extents):
        raise InvalidInputError(f"{where} has the impossible shape {tuple(extents)}")
    elements = prod(extents)
    declared = elements * dtype.itemsize
    if size_limit is not None and elements > size_limit.values:
        raise InvalidInputError(f"{where} has shape {' x '.join(map(str, extents))}, and {size_limit.holder}")
    if declared > limits.MAX_ARRAY_BYTES:
        raise InvalidInputError(f"{where} declares {format_bytes(declared)}: an array has at most 2**40 bytes")
    if size_limit is None and declared > SMALL_BYTES and declared > MAX_RATIO * stored:
        raise InvalidInputError(
            f"{where} declares {format_bytes(declared)} and stores {format_bytes(stored)}: it is not read, as protection "
            "against decompression bombs. Import it into a column whose shape allows it"
        )
    return declared
