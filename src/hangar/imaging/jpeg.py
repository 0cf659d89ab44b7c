"""Parser of JPEG headers (ITU-T T.81, JFIF, Exif): size, components, orientation, and whether the file is complete."""

from __future__ import annotations

from typing import Final, NamedTuple

from hangar.imaging.exif import exif_orientation
from hangar.imaging.stored import Refusal

__all__ = ["JpegHeader", "read_jpeg"]

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers (SOF0 to SOF15)."""
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a segment."""
_SCAN: Final = 0xDA
_APP1: Final = 0xE1
_EXIF: Final = b"Exif\0\0"
_END: Final = b"\xff\xd9"


class JpegHeader(NamedTuple):
    """Header of a JPEG.

    Attributes
    ----------
    width, height
        In pixels, as stored.
    bits
        Bits of one sample.
    components
        1 for gray, 3 for colour, 4 for CMYK.
    orientation
        Exif orientation, 1 to 8.
    scan
        Offset of the first scan.
    """

    width: int
    height: int
    bits: int
    components: int
    orientation: int
    scan: int

    def complete(self, data: bytes) -> bool:
        """Whether the file has an end marker after its first scan."""
        return data.rfind(_END, self.scan) >= 0


def read_jpeg(data: bytes) -> JpegHeader:
    """Read the header.

    Raises
    ------
    Refusal
        It is damaged or has no size.
    """
    width = height = bits = components = 0
    orientation = 1
    at, end = 2, len(data)
    while at + 4 <= end:
        if data[at] != 0xFF:
            raise Refusal("is damaged: its JPEG header has no marker where one must be")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        size = data[at + 2] << 8 | data[at + 3]
        if marker == _SCAN or size < 2:
            break
        if marker in _FRAMES and at + 10 <= end:
            bits, components = data[at + 4], data[at + 9]
            height, width = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
        elif marker == _APP1 and data[at + 4 : at + 10] == _EXIF and orientation == 1:
            orientation = exif_orientation(data[at + 10 : at + 2 + size])
        at += 2 + size
    else:
        raise Refusal("is truncated in its JPEG header")
    if not width or not height or components not in (1, 3, 4):
        raise Refusal(f"is a JPEG of {width} x {height} pixels with {components} components, which is not valid")
    return JpegHeader(width, height, bits, components, orientation, at)
