"""Image files of every kind that a column of images has a documented result for, made from scikit-learn's photographs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

Array = np.ndarray[Any, Any]
HEIGHT, WIDTH = 48, 70


@cache
def photo(number: int = 0) -> Array:
    """A photograph of 48 x 70 pixels in colour: uint8."""
    whole: Array = load_sample_images().images[number % 2]
    part: Array = whole[number : HEIGHT + number, 60 : WIDTH + 60].copy()
    return part


def encoded(image: Image.Image | Array, file_format: str, **options: Any) -> bytes:
    """The bytes of a file as pillow writes it."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, file_format, **options)
    return file.getvalue()


def jpeg(number: int = 0, orientation: int = 1, **options: Any) -> bytes:
    image = Image.fromarray(photo(number))
    exif = image.getexif()
    if orientation > 1:
        exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, **options)


def png_header(width: int, height: int, data: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims to have this size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gray() -> Array:
    plane: Array = photo()[:, :, 1].copy()
    return plane


def palette() -> Image.Image:
    image = Image.fromarray(gray() // 16)
    image.putpalette([(7 * at) % 256 for at in range(48)])
    return image


def frames(count: int = 3) -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.fromarray(photo(at)) for at in range(1, count)]}


def alpha() -> Array:
    return np.dstack([photo(), gray()])


Maker = Callable[[], bytes]
DEEP = (photo().astype(np.uint16) * 257) ^ np.uint16(0x1234)

DOCUMENTED: dict[str, tuple[Maker, Callable[[], Array] | None, str]] = {
    "JPEG, colour": (jpeg, None, "RGB"),
    "JPEG, gray": (lambda: encoded(gray(), "JPEG"), None, "L"),
    "JPEG, progressive": (lambda: jpeg(progressive=True), None, "RGB"),
    "JPEG, CMYK": (lambda: encoded(Image.fromarray(photo()).convert("CMYK"), "JPEG"), None, "CMYK"),
    "PNG, colour": (lambda: encoded(photo(), "PNG"), photo, "RGB"),
    "PNG, alpha": (lambda: encoded(alpha(), "PNG"), alpha, "RGBA"),
    "PNG, gray": (lambda: encoded(gray(), "PNG"), gray, "L"),
    "PNG, gray and alpha": (lambda: encoded(alpha()[:, :, 1:3], "PNG"), lambda: alpha()[:, :, 1:3], "LA"),
    "PNG, 1 bit": (lambda: encoded(gray() > 90, "PNG"), lambda: gray() > 90, "1"),
    "PNG, 16 bit gray": (lambda: encoded(DEEP[:, :, 0], "PNG"), lambda: DEEP[:, :, 0], "I;16"),
    "PNG, palette": (lambda: encoded(palette(), "PNG"), lambda: gray() // 16, "P"),
    "GIF": (lambda: encoded(palette(), "GIF"), None, "P"),
    "GIF, animated": (lambda: encoded(palette(), "GIF", **frames()), None, "P"),
    "PNG, animated": (lambda: encoded(photo(), "PNG", **frames()), photo, "RGB"),
    "WEBP, animated": (lambda: encoded(photo(), "WEBP", lossless=True, **frames()), photo, "RGB"),
    "WEBP, lossless": (lambda: encoded(photo(), "WEBP", lossless=True), photo, "RGB"),
    "WEBP, alpha": (lambda: encoded(alpha(), "WEBP", lossless=True, exact=True), alpha, "RGBA"),
    "WEBP": (lambda: encoded(photo(), "WEBP", quality=80), None, "RGB"),
    "BMP": (lambda: encoded(photo(), "BMP"), photo, "RGB"),
    "TIFF": (lambda: encoded(photo(), "TIFF"), photo, "RGB"),
    "TIFF, several pages": (lambda: encoded(photo(), "TIFF", **frames()), photo, "RGB"),
    "TIFF, 16 bit gray": (lambda: encoded(DEEP[:, :, 0], "TIFF"), lambda: DEEP[:, :, 0], "I;16"),
    "TIFF, float": (
        lambda: encoded(gray().astype(np.float32) / 3, "TIFF"),
        lambda: gray().astype(np.float32) / 3,
        "F",
    ),
    "PPM": (lambda: encoded(photo(), "PPM"), photo, "RGB"),
    "PGM": (lambda: encoded(gray(), "PPM"), gray, "L"),
}
"""What a file is made of; the pixels that are read (None: what pillow decodes, or only their shape); and the mode of its info."""
