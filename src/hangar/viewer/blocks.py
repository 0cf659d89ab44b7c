"""Draw a picture with characters: two pixels in each cell of a terminal, one above the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

__all__ = ["draw_blocks"]

Array = np.ndarray[Any, Any]

UPPER: Final = "\N{UPPER HALF BLOCK}"
SHADES: Final = " .:-=+*#%@"
"""Characters from dark to light, where there are no colours."""


def draw_blocks(pixels: Array, columns: int, rows: int, colours: bool) -> Iterator[str]:
    """The lines of a drawing.

    Parameters
    ----------
    pixels
        uint8, (height, width, 3).
    columns, rows
        Size of the terminal in characters.
    colours
        Whether 24-bit colours may be used; otherwise characters of different density.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, columns / width, 2 * rows / height)
    small = _resized(pixels, max(2, round(height * scale)), max(1, round(width * scale)))
    if not colours:
        gray = (small @ np.array([0.299, 0.587, 0.114])).astype(int)
        for line in (gray[::2] if len(gray) > 1 else gray) * len(SHADES) // 256:
            yield "".join(SHADES[level] for level in line).rstrip()
        return
    if len(small) % 2:
        small = np.concatenate([small, small[-1:]])
    for above, below in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m{UPPER}"
            for a, b in zip(above, below, strict=True)
        )
        yield "".join(cells) + "\x1b[0m"


def _resized(pixels: Array, height: int, width: int) -> Array:
    """Mean of the pixels of each cell."""
    rows = np.linspace(0, pixels.shape[0], height + 1).astype(int)[:-1]
    columns = np.linspace(0, pixels.shape[1], width + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float64), rows, axis=0), columns, axis=1)
    tall = np.diff([*rows, pixels.shape[0]])[:, None, None]
    wide = np.diff([*columns, pixels.shape[1]])[None, :, None]
    mean: Array = (sums / (tall * wide)).round().astype(np.uint8)
    return mean
