"""What a caller wants of an image: conversions, which frame, and how many pixels at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hangar import limits

__all__ = ["MODES", "Wanted", "mode_named"]

MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
"""Modes of pillow that an image can be converted to."""


def mode_named(name: str) -> str | None:
    """The mode that ``name`` stands for, in any case; None where there is no such mode."""
    return {mode.casefold(): mode for mode in MODES}.get(name.casefold())


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to decode an image.

    Attributes
    ----------
    mode
        Convert to this mode of pillow; None: the samples as the file stores them.
    bits
        8: reduce deeper unsigned samples to their 8 highest bits; None: keep them.
    frame
        Which image of a file that holds several.
    upright
        Turn the image as its orientation tag says.
    pixels, holder
        How many pixels are decoded at most, and the end of a sentence that says why.
    """

    mode: str | None = None
    bits: int | None = None
    frame: int | None = None
    upright: bool = False
    pixels: int = limits.IMAGE_PIXELS
    holder: str = f"{limits.IMAGE_PIXELS:,} are decoded at most where no column says its shape"
