"""Decoding options: conversions, the frame, and the maximum number of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hangar import limits

__all__ = ["MODES", "Wanted", "mode_named"]

MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
"""Modes of pillow that an image can be converted to."""


def mode_named(name: str) -> str | None:
    """The pillow mode of this name, in upper or lower case; None if there is no such mode."""
    return {mode.casefold(): mode for mode in MODES}.get(name.casefold())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Decoding options of an image.

    Attributes
    ----------
    mode
        Convert to this mode of pillow; None: the samples as stored.
    bits
        8: reduce unsigned samples of more bits to their 8 most significant bits; None: keep them.
    frame
        Which image of a file that holds several.
    upright
        Apply the orientation tag of the image.
    pixels, holder
        Maximum number of pixels, and the end of a sentence that gives the reason.
    advise
        Whether an error tells the options of the command line.
    """

    mode: str | None = None
    bits: int | None = None
    frame: int | None = None
    upright: bool = False
    pixels: int = limits.IMAGE_PIXELS
    advise: bool = True
    holder: str = f"the limit is {limits.IMAGE_PIXELS:,} if no column gives the shape"
