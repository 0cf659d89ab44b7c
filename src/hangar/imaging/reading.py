"""Decode the bytes of an image file for an image column: to the pixels as stored, or converted to one mode.

JPEGs of 8 bits in gray or colour are decoded by simplejpeg (libjpeg-turbo without the overhead of pillow), if it is
installed; all other files by pillow. Both give the same pixels, bit for bit. A file that simplejpeg refuses is given to
pillow, which decides. Decoders release the interpreter's lock, so that threads decode in parallel.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from hangar import limits
from hangar.errors import MissingPackageError
from hangar.imaging.decode import apply_orientation, decode, named
from hangar.imaging.info import read_info
from hangar.imaging.jpeg import JpegHeader, read_jpeg
from hangar.imaging.opening import load_decoders
from hangar.imaging.stored import Refusal
from hangar.imaging.wanted import Wanted
from hangar.threads import parallel_list

__all__ = ["READ_MODES", "Reading", "common_shape", "read_image", "read_images_into", "require_decoder"]

Array = np.ndarray[Any, Any]

READ_MODES: Final = ("L", "LA", "RGB", "RGBA")
"""Modes that images can be converted to when they are read."""
_SIMPLE: Final[dict[int, tuple[str | None, ...]]] = {1: (None, "L", "RGB"), 3: (None, "RGB")}
_JPEG: Final = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Reading:
    """How images are decoded.

    Attributes
    ----------
    mode
        One of :data:`READ_MODES`; None: the pixels as stored.
    orient
        Whether the Exif orientation is applied, as a viewer does.
    frame
        Which image of a file that holds several.
    max_pixels
        Maximum number of pixels. A larger image is refused before anything is allocated.
    """

    mode: str | None = None
    orient: bool = True
    frame: int = 0
    max_pixels: int = limits.IMAGE_PIXELS


def require_decoder() -> None:
    """Raise MissingPackageError (an ``ImportError``) if pillow is not installed."""
    try:
        load_decoders()
    except ImportError as error:
        raise MissingPackageError(f"decoding images needs pillow ({error}): run `pip install hangar[images]`") from None


@lru_cache(maxsize=1)
def _simplejpeg() -> Callable[..., Any] | None:
    try:
        import simplejpeg
    except ImportError:
        return None
    found: Callable[..., Any] = simplejpeg.decode_jpeg
    return found


def read_image(data: bytes, reading: Reading, name: str = "the image") -> Array:
    """Decode an image.

    Parameters
    ----------
    data
        The bytes of the file.
    reading
        How.
    name
        Name of the image in messages.

    Returns
    -------
    numpy.ndarray
        New, writable memory: shape (height, width) for one channel, else (height, width, channels). With a mode uint8;
        without one the smallest dtype that holds the stored samples.

    Raises
    ------
    InvalidInputError
        It is not an image, is damaged or too large, or cannot be given in this form.
    MissingPackageError
        Pillow is not installed.
    """
    with named(name, advise=False):
        if data[:3] == _JPEG and not reading.frame:
            found = _by_simplejpeg(data, reading)
            if found is not None:
                return found
        require_decoder()
        info = read_info(data)
        _check_size(info.width, info.height, reading)
        wanted = Wanted(
            mode=reading.mode,
            bits=None if reading.mode is None else 8,
            frame=reading.frame,
            pixels=reading.max_pixels,
            advise=False,
            holder=_limit(reading),
        )
        array = decode(io.BytesIO(data), name, wanted)
        if reading.orient:
            array = apply_orientation(array, info.orientation)
        return array if array.flags.writeable and array.flags.c_contiguous else array.copy()


def common_shape(files: Sequence[bytes], reading: Reading) -> tuple[int, ...] | None:
    """Shape of the pixels of all files, if they are upright JPEGs of one size, and can be decoded into the rows of an array."""
    if reading.frame or _simplejpeg() is None:
        return None
    shapes = {_simple_shape(data, reading) for data in files}
    return shapes.pop() if len(shapes) == 1 else None


def _simple_shape(data: bytes, reading: Reading) -> tuple[int, ...] | None:
    """Shape of the pixels of a file that simplejpeg decodes as they are wanted; None for others."""
    if data[:3] != _JPEG:
        return None
    try:
        header = read_jpeg(data)
    except Refusal:
        return None
    if (
        not _is_simple(header, reading)
        or (reading.orient and header.orientation > 1)
        or header.width * header.height > reading.max_pixels
    ):
        return None
    gray = header.components == 1 and reading.mode != "RGB"
    return (header.height, header.width) if gray else (header.height, header.width, 3)


def read_images_into(files: Sequence[bytes], reading: Reading, batch: Array) -> list[int] | None:
    """Decode images into the rows of an array, on threads.

    Returns
    -------
    list or None
        Numbers of the files that simplejpeg refused: they are left to :func:`read_image`. None if not all files have
        the shape of a row, see :func:`common_shape`: then the array has any content.
    """
    decode_jpeg = _simplejpeg()
    assert decode_jpeg is not None
    shape = batch.shape[1:]
    colours, rows = ("RGB", batch) if len(shape) == 3 else ("GRAY", batch[..., None])
    refused: list[int] = []
    differ: list[int] = []

    def decode_at(index: int) -> None:
        data = files[index]
        if differ or _simple_shape(data, reading) != shape:
            differ.append(index)
            return
        try:
            decode_jpeg(data, colours, strict=True, buffer=rows[index])
        except ValueError:
            refused.append(index)

    parallel_list(decode_at, range(len(files)))
    return None if differ else sorted(refused)


def _is_simple(header: JpegHeader, reading: Reading) -> bool:
    """Whether simplejpeg gives the pixels of such a file as pillow would."""
    return header.bits == 8 and reading.mode in _SIMPLE.get(header.components, ())


def _by_simplejpeg(data: bytes, reading: Reading) -> Array | None:
    """The pixels of a JPEG, or None if pillow has to decode it."""
    decode_jpeg = _simplejpeg()
    header = read_jpeg(data)
    _check_size(header.width, header.height, reading)
    channels = header.components
    if decode_jpeg is None or not _is_simple(header, reading):
        return None
    try:
        # Without tolerance: pillow decides about files with warnings.
        pixels: Array = decode_jpeg(data, "GRAY" if channels == 1 else "RGB", strict=True)
    except ValueError:
        return None
    if channels == 1:
        pixels = pixels[:, :, 0] if reading.mode != "RGB" else pixels.repeat(3, axis=2)
    return apply_orientation(pixels, header.orientation) if reading.orient else pixels


def _check_size(width: int, height: int, reading: Reading) -> None:
    if width * height > reading.max_pixels:
        raise Refusal(f"has {height:,} x {width:,} pixels, and {_limit(reading)}")


def _limit(reading: Reading) -> str:
    return f"the limit is {reading.max_pixels:,}: `column.decoding(max_pixels=...)` sets another"
