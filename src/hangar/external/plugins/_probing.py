"""Describe an image file by its header, without decoding it and without reading the rest of the file."""

from __future__ import annotations

import mmap
from typing import Any, Final

from hangar.errors import InvalidInputError
from hangar.external.records import Probe
from hangar.imaging import Refusal, read_info
from hangar.inputs import open_input

__all__ = ["probe_image"]

_CHANNELS: Final = {"LA": 2, "RGB": 3, "YCbCr": 3, "LAB": 3, "RGBA": 4, "RGBX": 4, "CMYK": 4}
_DTYPES: Final = {"1": "bool", "F": "float32", "I": "int32"}


def probe_image(fpath: str) -> Probe:
    """Format, mode, size and orientation of an image.

    Raises
    ------
    InvalidInputError
        It is not an image, or is damaged or truncated.
    """
    with open_input(fpath) as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                mapped: Any = data  # slices of it are bytes, which is all that is used
                found = read_info(mapped)
        except Refusal as refusal:
            raise InvalidInputError(f"{fpath} {refusal}") from None
        except (ValueError, TypeError, AttributeError):  # an empty file; a format that is parsed as a whole
            found = _read_whole(file, fpath)
    base, _, bits = found.mode.partition(";")
    dtype = _DTYPES.get(base, "uint8") if not bits else "uint16"
    channels = _CHANNELS.get(base)
    shape = (found.height, found.width) if channels is None else (found.height, found.width, channels)
    return Probe(found.format, "ndarray", dtype, shape, found.mode, found.orientation)


def _read_whole(file: Any, fpath: str) -> Any:
    file.seek(0)
    try:
        return read_info(file.read())
    except Refusal as refusal:
        raise InvalidInputError(f"{fpath} {refusal}") from None
