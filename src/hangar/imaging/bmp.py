"""Parser of BMP headers, and reader of BMP files with a palette.

If the palette is gray, pillow treats 4- and 8-bit indices as gray values or as single bits, and reads them with the
wrong width.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import IO, Any, Final

import numpy as np

from hangar.imaging.stored import Refusal, Stored, size_of
from hangar.wording import plural

__all__ = ["read_bmp"]

_BLACK_AND_WHITE: Final = bytes((0, 0, 0, 255, 255, 255))


def read_bmp(file: IO[bytes]) -> Stored:
    """Read the sample format from the header, and the indices if they are not compressed."""
    file.seek(0)
    head = file.read(14)
    base, data_at = (14, int.from_bytes(head[10:14], "little")) if head[:2] == b"BM" else (0, 0)
    file.seek(base)
    header = file.read(124)
    size = int.from_bytes(header[:4], "little")
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", header, 4)
        compression = used = 0
    elif 40 <= size <= 124:
        width, height, _, bits, compression, _, _, _, used = struct.unpack_from("<iiHHIIiiI", header, 4)
    else:
        raise Refusal("is a BMP with an unknown header")
    if width <= 0 or not height or bits not in (1, 2, 4, 8, 16, 24, 32):
        raise Refusal(f"is a BMP of {width} x {height} pixels of {bits} bits, which is not valid")
    if bits > 8:
        why = "5 or 6 bits a channel, which pillow scales to 8" if bits == 16 else ""
        return Stored("BMP", width, abs(height), 8, channels=0, top=255, converts=why)
    stored = Stored("BMP", width, abs(height), bits, top=2**bits - 1, palette=True)
    if compression:
        return stored  # run-length encoded: pillow's decoder gives the indices for every palette
    step = 3 if size == 12 else 4
    file.seek(base + size)
    count = min(used or 2**bits, 2**bits)
    table = np.frombuffer(file.read(step * count), np.uint8)
    if len(table) < step * count:
        raise Refusal("is truncated in its palette")
    colours = table.reshape(count, step)[:, 2::-1].tobytes()
    return _with_samples(file, stored, data_at or base + size + step * (used or 2**bits), height < 0, colours)


def _with_samples(file: IO[bytes], stored: Stored, at: int, downwards: bool, colours: bytes) -> Stored:
    """Read the indices: rows from the bottom up, each padded to 4 bytes."""
    row = -(-stored.width * stored.bits // 32) * 4
    if at + row * stored.height > size_of(file):
        raise Refusal(f"is truncated: its header needs {plural(row * stored.height, 'byte')} of samples")
    file.seek(at)
    packed = np.frombuffer(file.read(row * stored.height), np.uint8).reshape(stored.height, row)
    samples = _unpacked(packed, stored.bits, stored.width)
    samples = np.ascontiguousarray(samples if downwards else samples[::-1])
    if stored.bits == 1 and colours == _BLACK_AND_WHITE:
        return replace(stored, samples=samples.astype(np.bool_), palette=False)
    return replace(stored, samples=samples, colours=colours)


def _unpacked(packed: np.ndarray[Any, Any], bits: int, width: int) -> np.ndarray[Any, Any]:
    """Unpack samples of 1, 2, 4 or 8 bits from rows of bytes, the most significant bits first."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    samples: np.ndarray[Any, Any] = (packed[:, :, None] >> shifts) & np.uint8(2**bits - 1)
    return samples.reshape(len(packed), -1)[:, :width]
