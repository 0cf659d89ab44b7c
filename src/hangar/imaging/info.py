"""Description of an image file from its header: format, size, mode, orientation. Needs no decoder.

The same pass checks that the file is complete, as far as its structure tells: that a JPEG has an end, a PNG its last
chunk, a WebP, BMP or PNM all its bytes. So a download that broke off is found without decoding anything.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hangar.imaging import pnm
from hangar.imaging.exif import ORIENTATION, exif_orientation, read_directory
from hangar.imaging.jpeg import read_jpeg
from hangar.imaging.opening import format_of, webp_size
from hangar.imaging.stored import Refusal
from hangar.wording import plural

__all__ = ["FORMATS", "ImageInfo", "read_info"]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Header of an image file.

    Attributes
    ----------
    format
        ``'JPEG'``, ``'PNG'``, ``'GIF'``, ``'BMP'``, ``'WEBP'``, ``'TIFF'`` or ``'PNM'``.
    width, height
        Size in pixels as stored, before the orientation is applied.
    mode
        Kind of pixels, as pillow names it: ``'L'`` gray, ``'LA'``, ``'RGB'``, ``'RGBA'``, ``'P'`` palette, ``'CMYK'``,
        ``'1'``; ``'I;16'``, ``'RGB;16'`` ... for 16 bits a channel, ``'I'`` for 32, ``'F'`` for floats.
    orientation
        Exif orientation, 1 (upright) to 8.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int = 1


def read_info(data: bytes) -> ImageInfo:
    """The header of an image file.

    Raises
    ------
    Refusal
        It is not an image of a known format, or is damaged or incomplete.
    """
    name = format_of(data[:64])
    if name is None:
        raise Refusal(f"is not an image of a known format ({', '.join(FORMATS)})")
    try:
        found = _READERS[name](data)
    except (IndexError, ValueError) as error:
        raise Refusal(f"is a damaged {name}: {error}") from None
    if found.width < 1 or found.height < 1:
        raise Refusal(f"is a {found.format} of {found.width} x {found.height} pixels, which is not valid")
    return found


def _number(data: bytes, at: int, size: int, *, big: bool = False, signed: bool = False) -> int:
    if at + size > len(data):
        raise Refusal("is truncated in its header")
    return int.from_bytes(data[at : at + size], "big" if big else "little", signed=signed)


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        raise Refusal(f"is truncated: its header needs {plural(size, 'byte')} and it has {len(data):,}")


def _deep(mode: str, bits: int) -> str:
    if bits <= 8:
        return mode
    return ("I;16" if bits <= 16 else "I") if mode == "L" else f"{mode};{bits}"


def _jpeg(data: bytes) -> ImageInfo:
    header = read_jpeg(data)
    if not header.complete(data):
        raise Refusal("is truncated: a JPEG without an end")
    mode = _deep({1: "L", 3: "RGB", 4: "CMYK"}[header.components], header.bits)
    return ImageInfo("JPEG", header.width, header.height, mode, header.orientation)


_PNG_MODES: Final = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}


def _png(data: bytes) -> ImageInfo:
    if data[12:16] != b"IHDR":
        raise Refusal("is damaged: its first chunk is not its header")
    width, height = _number(data, 16, 4, big=True), _number(data, 20, 4, big=True)
    bits, colour = _number(data, 24, 1), _number(data, 25, 1)
    if colour not in _PNG_MODES:
        raise Refusal(f"is a PNG of colour type {colour}, which is not valid")
    mode = "1" if (bits, colour) == (1, 0) else _deep(_PNG_MODES[colour], bits)
    orientation, at = 1, 8
    while True:
        if at + 12 > len(data):
            raise Refusal("is truncated: a PNG without an end")
        size, name = _number(data, at, 4, big=True), data[at + 4 : at + 8]
        if name == b"eXIf":
            orientation = exif_orientation(data[at + 8 : at + 8 + size])
        at += 12 + size
        if name == b"IEND":
            break
    return ImageInfo("PNG", width, height, mode, orientation)


def _gif(data: bytes) -> ImageInfo:
    return ImageInfo("GIF", _number(data, 6, 2), _number(data, 8, 2), "P")


def _bmp(data: bytes) -> ImageInfo:
    base = 14 if data[:2] == b"BM" else 0
    wide = 2 if _number(data, base, 4) == 12 else 4
    width, height = (_number(data, base + 4 + at, wide, signed=wide == 4) for at in (0, wide))
    bits = _number(data, base + 4 + 2 * wide + 2, 2)
    if wide == 2 or _number(data, base + 16, 4) in (0, 3):  # not compressed
        start = _number(data, 10, 4) if base else _number(data, 0, 4)
        _need(data, start + -(-width * bits // 32) * 4 * abs(height))
    return ImageInfo("BMP", width, abs(height), "P" if bits <= 8 else "RGBA" if bits == 32 else "RGB")


def _webp(data: bytes) -> ImageInfo:
    _need(data, max(30, 8 + _number(data, 4, 4)))
    kind = data[12:16]
    width, height = webp_size(data[:64])
    alpha, orientation = False, 1
    if kind == b"VP8L":
        alpha = bool(_number(data, 21, 4) >> 28 & 1)
    elif kind == b"VP8X":
        alpha = bool(data[20] & 0x10)
        at = 12
        while at + 8 <= len(data):
            size = _number(data, at + 4, 4)
            if data[at : at + 4] == b"EXIF":
                orientation = exif_orientation(data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0"))
                break
            at += 8 + size + size % 2
    elif kind != b"VP8 ":
        raise Refusal("is a WebP without an image")
    return ImageInfo("WEBP", width, height, "RGBA" if alpha else "RGB", orientation)


_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _FORMAT = 256, 257, 258, 262, 277, 339
_PALETTE, _CMYK, _FLOAT = 3, 5, 3


def _tiff(data: bytes) -> ImageInfo:
    tags = read_directory(data)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Refusal("is a TIFF without a width and height")
    (width, *_), (height, *_) = tags[_WIDTH], tags[_HEIGHT]
    bits = max(tags.get(_BITS, (1,)))
    channels = tags.get(_SAMPLES, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (0,))[0]
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    if photometric == _PALETTE:
        mode = "P"
    elif photometric == _CMYK:
        mode = "CMYK"
    elif tags.get(_FORMAT, (1,))[0] == _FLOAT:
        mode = "F"
    elif (bits, channels) == (1, 1):
        mode = "1"
    else:
        mode = _deep(mode, bits)
    orientation = tags.get(ORIENTATION, (1,))[0]
    return ImageInfo("TIFF", width, height, mode, orientation if 1 <= orientation <= 8 else 1)


def _pnm(data: bytes) -> ImageInfo:
    stored, at = pnm.read_header(io.BytesIO(data))
    if data[:2] not in (b"P1", b"P2", b"P3"):
        row = -(-stored.width // 8) if stored.bits == 1 else stored.width * stored.channels * -(-stored.bits // 8)
        _need(data, at + row * stored.height)
    if stored.kind == "f":
        mode = "F"
    elif stored.bits == 1 and data[:2] in (b"P1", b"P4"):
        mode = "1"
    else:
        mode = _deep("RGB" if stored.channels == 3 else "L", 16 if stored.bits > 8 else 8)
    return ImageInfo("PNM", stored.width, stored.height, mode)


_READERS: Final[dict[str, Callable[[bytes], ImageInfo]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "DIB": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
    "PNM": _pnm,
}
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PNM")
"""Formats of image files that are accepted."""
