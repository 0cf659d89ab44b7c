"""Parser of TIFF image directories (IFD), as far as size, sample format and orientation need it.

Exif data of JPEG, PNG and WebP files is a TIFF image directory too. Nothing is allocated by what the file claims.
"""

from __future__ import annotations

import struct
from typing import Final

from hangar.imaging.stored import Refusal

__all__ = ["ORIENTATION", "exif_orientation", "read_directory"]

ORIENTATION: Final = 0x0112
_ENTRIES: Final = 4_096
_VALUES: Final = 16
"""Maximum entries of a directory, and values of one entry, that are read."""
_SIZES: Final = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 16: ("Q", 8)}
"""Types of unsigned integers: byte, short, long, long8."""


def read_directory(data: bytes | memoryview) -> dict[int, tuple[int, ...]]:
    """The unsigned integers of the first image directory, by tag. Also of a BigTIFF.

    Raises
    ------
    Refusal
        The directory is damaged.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise Refusal("has no valid TIFF header")
    try:
        (magic,) = struct.unpack_from(f"{order}H", data, 2)
        if magic == 43:
            (at,) = struct.unpack_from(f"{order}Q", data, 8)
            (count,) = struct.unpack_from(f"{order}Q", data, at)
            return _entries(data, order, at + 8, count, big=True)
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        return _entries(data, order, at + 2, count, big=False)
    except struct.error:
        raise Refusal("is truncated in its TIFF directory") from None


def _entries(data: bytes | memoryview, order: str, at: int, count: int, *, big: bool) -> dict[int, tuple[int, ...]]:
    head, step, room = (f"{order}HHQ", 20, 8) if big else (f"{order}HHI", 12, 4)
    found: dict[int, tuple[int, ...]] = {}
    for begin in range(at, at + step * min(count, _ENTRIES), step):
        tag, kind, number = struct.unpack_from(head, data, begin)
        code, size = _SIZES.get(kind, ("", 0))
        if not size or not number:
            continue
        where = begin + step - room
        if number * size > room:
            (where,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, where)
        few = min(number, _VALUES)
        if where + few * size <= len(data):
            found.setdefault(tag, struct.unpack_from(f"{order}{few}{code}", data, where))
    return found


def exif_orientation(data: bytes | memoryview) -> int:
    """The orientation of Exif data, 1 to 8; 1 if it has none, or is damaged."""
    try:
        found = read_directory(data).get(ORIENTATION, (1,))[0]
    except Refusal:
        return 1
    return found if 1 <= found <= 8 else 1
