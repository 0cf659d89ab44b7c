"""Values that are no pictures, as lines of text."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["as_text"]

MOST_BYTES: Final = 512
MOST_ELEMENTS: Final = 400


def as_text(value: Any) -> list[str]:
    """Lines that show ``value``: text as it is, arrays as tables with ``...`` in the middle, bytes in hexadecimal."""
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, bytes):
        lines = [_hex_line(value, at) for at in range(0, min(len(value), MOST_BYTES), 16)]
        return [*lines, "..."] if len(value) > MOST_BYTES else lines
    array = np.asarray(value)
    head = f"{array.dtype} {' x '.join(map(str, array.shape)) or 'one number'}"
    return [head, *np.array2string(array, threshold=MOST_ELEMENTS, max_line_width=100).split("\n")]


def _hex_line(data: bytes, at: int) -> str:
    part = data[at : at + 16]
    printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{at:08x}  {part.hex(' '):<47}  {printable}"
