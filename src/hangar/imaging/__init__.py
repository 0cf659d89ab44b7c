"""Lossless decoding of images: the samples exactly as stored, an explicitly requested conversion, or an error.

The sample format (bits per sample, sign, range, channels) is read from the file header, not from the mode that a
decoder chose, because decoders silently widen, clip, scale and invert samples. The number of pixels is checked before
decoding. Pillow (an optional package) does the decoding, except for formats whose own parser is simpler than a check
of pillow's result.
"""

from __future__ import annotations

from hangar.imaging.decode import decode
from hangar.imaging.opening import load_decoders
from hangar.imaging.wanted import MODES, Wanted, mode_named

__all__ = ["MODES", "Wanted", "decode", "load_decoders", "mode_named"]
