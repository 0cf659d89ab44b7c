"""Write small images as PNG without pillow, which is optional."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = ["encode_png"]

_COLOURS = {1: 0, 3: 2, 4: 6}
"""Colour type in the header of a file, by number of channels: gray, RGB, RGBA."""


def encode_png(pixels: np.ndarray[Any, Any]) -> bytes:
    """The bytes of a PNG file (W3C PNG specification, second edition), without filters.

    Parameters
    ----------
    pixels
        uint8, shape (height, width) or (height, width, 3 or 4).
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    colour = _COLOURS[rows.shape[1] // width]
    # Each row begins with the number of its filter, 0 for none.
    data = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, colour, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
