"""What pillow does not do for a PNG: check that it has one header and all its samples, and read 16-bit colour exactly.

If the compressed data is well-formed but too short, pillow returns zeros for the missing rows without an error. Of 16-bit
samples in several channels it keeps the high byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np

from hangar.imaging.stored import Refusal, Stored
from hangar.wording import plural

__all__ = ["check_complete", "check_header", "deep_samples"]

_PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Passes of an interlaced image (Adam7): first column, first row, and the steps between them."""
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_BLOCK: Final = 2**20
_DEEP: Final = {3: ("RGB", "RGB;16B", "RGB;16L"), 4: ("RGBA", "RGBA;16B", "RGBA;16L")}
"""Mode of pillow for 16-bit samples by number of channels, and the raw modes that keep the first and the second byte."""


def check_header(file: IO[bytes]) -> None:
    """Refuse a PNG whose first chunk is not its header, or that has another header.

    The depth is read from the first chunk at a fixed offset, and pillow takes the size and depth of the last header.
    """
    names = [name for name, _ in _chunks(file)]
    if names[:1] != [b"IHDR"]:
        raise Refusal("is damaged: its first chunk is not its header")
    if names.count(b"IHDR") > 1:
        raise Refusal("is damaged: it has more than one header")


def deep_samples(file: IO[bytes], stored: Stored) -> np.ndarray[Any, Any]:
    """Samples of 16 bits in several channels: uint16, shape (height, width, channels)."""
    check_complete(file)
    samples = np.empty((stored.height, stored.width, stored.channels, 2), np.uint8)
    if stored.channels == 2:
        # Four bytes a pixel, as 8-bit RGBA has.
        samples[...] = _as_mode(file, "RGBA", "RGBA").reshape(samples.shape)
    else:
        mode, *raw_modes = _DEEP[stored.channels]
        for byte, raw in enumerate(raw_modes):
            samples[..., byte] = _as_mode(file, mode, raw)
    return samples.view(">u2")[..., 0].astype(np.uint16)


def _as_mode(file: IO[bytes], mode: str, raw: str) -> np.ndarray[Any, Any]:
    """The pixels of a PNG, unpacked as a raw mode of pillow that has as many bits a pixel as the file."""
    from PIL import PngImagePlugin

    file.seek(0)
    image = PngImagePlugin.PngImageFile(file)
    image._mode = mode
    # A tile is a tuple, and from pillow 11 on a named one.
    tiles: list[Any] = [
        tile._replace(args=raw) if hasattr(tile, "_replace") else (*tile[:3], raw) for tile in image.tile
    ]
    image.tile = tiles
    image.load()
    return np.asarray(image)


def check_complete(file: IO[bytes]) -> None:
    """Refuse a PNG with fewer bytes of samples than its header says."""
    file.seek(16)
    header = file.read(13)
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS[header[9]]
    parts = _PASSES if header[12] else ((0, 0, 1, 1),)
    wanted = 0
    for left, top, across, down in parts:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        wanted += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    found = sum(_inflated(file))
    if found < wanted:
        raise Refusal(f"is truncated: its header needs {plural(wanted, 'byte')} of samples and it has {found:,}")


def _inflated(file: IO[bytes]) -> Iterator[int]:
    """Decompress the data and yield the size of each decompressed part."""
    inflater = zlib.decompressobj()
    for name, size in _chunks(file):
        if name == b"IDAT":
            data = file.read(size)
            while data and not inflater.eof:
                yield len(inflater.decompress(data, _BLOCK))
                data = inflater.unconsumed_tail
    yield len(inflater.flush())


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk up to the last, ``IEND``. The file is at the data of the chunk."""
    at, name = 8, b""
    while name != b"IEND":
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        name, size = head[4:], int.from_bytes(head[:4], "big")
        yield name, size
        at += 12 + size
