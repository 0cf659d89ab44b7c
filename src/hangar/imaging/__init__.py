"""Decoding of images: the samples exactly as the file stores them, or a conversion that was asked for, or a refusal.

What a file holds (bits a sample, sign, range, channels) is taken from its own header and never from the mode that a decoder chose, as
decoders widen, clip, scale and invert in silence. The number of pixels is bounded before anything is decoded. Decoding itself is
pillow's (an optional package), except for formats that are simpler to read than to check.
"""

from __future__ import annotations

from hangar.imaging.decode import decode
from hangar.imaging.opening import load_decoders
from hangar.imaging.wanted import MODES, Wanted, mode_named

__all__ = ["MODES", "Wanted", "decode", "load_decoders", "mode_named"]
