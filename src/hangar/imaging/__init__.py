"""Lossless decoding of images: the samples exactly as stored, an explicitly requested conversion, or an error.

The sample format (bits per sample, sign, range, channels) is read from the file header, not from the mode that a
decoder chose, because decoders silently widen, clip, scale and invert samples. The number of pixels is checked before
decoding. Pillow (an optional package) does the decoding, except for formats whose own parser is simpler than a check
of pillow's result.
"""

from __future__ import annotations

from hangar.imaging.decode import decode
from hangar.imaging.encode import ENCODED_FORMATS, QUALITY_FORMATS, encode_image
from hangar.imaging.info import FORMATS, ImageInfo, read_info
from hangar.imaging.opening import load_decoders
from hangar.imaging.reading import READ_MODES, Reading, read_image
from hangar.imaging.stored import Refusal
from hangar.imaging.wanted import MODES, Wanted, mode_named

__all__ = [
    "ENCODED_FORMATS",
    "FORMATS",
    "MODES",
    "QUALITY_FORMATS",
    "READ_MODES",
    "ImageInfo",
    "Reading",
    "Refusal",
    "Wanted",
    "decode",
    "encode_image",
    "load_decoders",
    "mode_named",
    "read_image",
    "read_info",
]
