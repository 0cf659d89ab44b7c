"""Decode an image to an array: the stored samples, or a requested conversion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError, ResourceLimitError
from hangar.imaging.opening import Opened, open_image, unbounded
from hangar.imaging.png import check_complete, deep_samples
from hangar.imaging.stored import Refusal, Stored
from hangar.imaging.wanted import Wanted
from hangar.wording import plural

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["apply_orientation", "decode", "named"]

Array = np.ndarray[Any, Any]

_WIDE: Final = {"I": np.int32, "I;16": np.uint16, "F": np.float32}
"""Pillow modes of more than 8 bits, and their dtypes."""
_CONVERT: Final = "convert it with --mode RGB, or store it as .npy"
_MODE_OF: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def decode(file: IO[bytes], name: str, wanted: Wanted) -> Array:
    """Decode an image.

    Parameters
    ----------
    file
        The file, at its beginning.
    name
        Name of the image in messages.
    wanted
        Conversions, the frame, and the maximum size.

    Returns
    -------
    numpy.ndarray
        Shape (height, width), or (height, width, channels) for several channels. Without a conversion the dtype is
        the smallest that can hold the stored samples: bool, uint8, uint16 ..., int8 ..., float32. It may be
        read-only.

    Raises
    ------
    InvalidInputError
        It cannot be decoded, is too large, or can only be decoded with a conversion that was not requested.
    ResourceLimitError
        It does not fit in memory.
    """
    with named(name, advise=wanted.advise):
        opened = open_image(file, wanted)
        stored = opened.stored
        if stored.unreadable:
            raise Refusal(f"has {stored.unreadable}")
        with unbounded(stored.width * stored.height):
            deep = stored.format == "PNG" and stored.deep and stored.channels > 1 and not stored.converts
            if deep and wanted.mode is None and wanted.bits is None:
                return apply_orientation(deep_samples(file, stored), opened.orientation if wanted.upright else 1)
            _check_rows(file, opened)
            if wanted.mode is not None:
                array = _converted(opened, wanted)
            elif wanted.bits == 8 and stored.deep:
                array = _reduced(opened)
            else:
                array = _exact(opened)
        return _turned(array, opened, wanted.upright)


@contextmanager
def named(name: str, *, advise: bool) -> Iterator[None]:
    """Translate all exceptions of a decoder for a bad file into an error that names the file."""
    try:
        yield
    except Refusal as refusal:
        advice = f": {refusal.advice}" if advise and refusal.advice else ""
        raise InvalidInputError(f"{name} {refusal}{advice}") from refusal.__cause__
    except HangarError:
        raise
    except MemoryError as error:
        raise ResourceLimitError(f"there is not enough memory to decode {name}") from error
    except Exception as error:  # decoders raise SyntaxError, struct.error, zlib.error, IndexError ... on garbage
        raise InvalidInputError(f"{name} cannot be decoded: {error}") from error


def _check_rows(file: IO[bytes], opened: Opened) -> None:
    """Decode, and refuse a PNG whose last rows are missing, because pillow would return zeros for them."""
    image = opened.image
    if image is None or opened.stored.format != "PNG" or image.tell() > 0:
        return
    interlaced = bool(image.info.get("interlace"))
    image.load()
    width, height = image.size
    if interlaced or not np.asarray(image.crop((0, height - 1, width, height))).any():
        check_complete(file)


# ---------------------------------------------------------------------------------------------------------------- as stored


def _exact(opened: Opened) -> Array:
    """The samples as stored in the file."""
    stored, image = opened.stored, opened.image
    if stored.samples is not None:
        return stored.samples
    assert image is not None
    if stored.converts:
        raise Refusal(f"has {stored.converts}", _CONVERT)
    if stored.deep and stored.channels > 1:
        raise Refusal(f"has {stored.bits} bits a channel, which would be cut to 8", _ways_out(stored))
    array = _restored(np.asarray(image), image.mode, stored)
    channels = array.shape[2] if array.ndim == 3 else 1
    if (channels != stored.channels and stored.channels) or array.dtype != _dtype_of(stored):
        given = f"{plural(channels, 'channel')} of {array.dtype}"
        raise Refusal(
            f"has {plural(stored.channels, 'channel')} of {stored.depth}, which pillow gives as {given}", _CONVERT
        )
    return array


def _restored(array: Array, mode: str, stored: Stored) -> Array:
    """Undo the conversions of pillow for bit depths that it has no mode for."""
    if mode == "1":
        return ~array if stored.inverted else array
    if stored.kind == "u" and stored.bits <= 8:
        if stored.inverted:
            array = 255 - array
        if mode == "L" and stored.bits < 8:
            step = np.uint8(255 // stored.top)
            array = array // step
        return array
    if stored.bits == 8 and array.dtype == np.uint8:
        return array.view(np.int8)
    if stored.bits == 32 and stored.kind == "u" and array.dtype == np.int32:
        return array.view(np.uint32)
    wanted = _dtype_of(stored)
    # Pillow has modes of 16 and 32 bits; samples of fewer bits are stored in one of these, in either byte order.
    return array.astype(wanted) if _holds_all(array, wanted) else array


def _dtype_of(stored: Stored) -> np.dtype[Any]:
    """The smallest dtype that can hold the samples."""
    if stored.bits == 1 and not stored.palette:
        return np.dtype(np.bool_)
    size = next(size for size in (1, 2, 4, 8, 16) if stored.bits <= 8 * size)
    return np.dtype(f"{stored.kind}{size}") if stored.kind in "uif" and size <= 8 else np.dtype("V16")


def _holds_all(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` can hold all values; a float array needs exactly its own dtype."""
    if dtype.kind == "f" or array.dtype.kind not in "ui" or not array.size:
        return bool(array.dtype == dtype)
    info = np.iinfo(dtype)
    return int(array.min()) >= info.min and int(array.max()) <= info.max


def _ways_out(stored: Stored) -> str:
    if stored.kind == "u":
        return "--bits 8 keeps the 8 highest, or store it as .npy"
    return "store it as .npy"


# ---------------------------------------------------------------------------------------------------------------- converted


def _converted(opened: Opened, wanted: Wanted) -> Array:
    """Convert the image to the requested pillow mode."""
    stored, mode = opened.stored, wanted.mode
    assert mode is not None
    if stored.deep and wanted.bits is None:
        if mode not in _WIDE or stored.channels > 1:
            raise Refusal(f"has {stored.depth}, and mode {mode} holds 8 bits a channel", _ways_out(stored))
        return _widened(_exact(opened), mode, stored)
    if stored.deep:
        reduced = 255 - _reduced(opened) if stored.negative else _reduced(opened)
        image = _image_of(reduced, _MODE_OF[reduced.shape[2] if reduced.ndim == 3 else 1])
    else:
        image = _appearance(opened)
    try:
        return np.asarray(image.convert(mode))
    except ValueError as error:
        raise Refusal(f"cannot be converted to mode {mode}: {error}") from error


def _widened(array: Array, mode: str, stored: Stored) -> Array:
    """Convert samples of more than 8 bits to a mode that can hold all of them, or refuse."""
    dtype = np.dtype(_WIDE[mode])
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if array.dtype != dtype and not np.array_equal(converted, array):
        raise Refusal(f"has {stored.depth} that mode {mode} does not hold", "import it without --mode")
    return converted


def _reduced(opened: Opened) -> Array:
    """The 8 most significant bits of unsigned samples of more than 8 bits."""
    stored, image = opened.stored, opened.image
    if stored.kind != "u":
        raise Refusal(f"has {stored.depth}, which are not reduced to 8 bits", "--bits 8 is for unsigned ones")
    if stored.channels == 1 or stored.samples is not None:
        exact = _exact(opened)
        return (exact.astype(np.uint64) * 256 // (stored.top + 1)).astype(np.uint8)
    if stored.converts or stored.bits != 16 or image is None:
        raise Refusal(
            f"has {stored.converts or stored.depth} in {plural(stored.channels, 'channel')}", "store it as .npy"
        )
    array = np.asarray(image)  # pillow keeps the high byte of each sample
    if stored.channels == 2 and array.shape[2:] == (4,):
        array = array[:, :, [0, 3]]  # gray and alpha, which pillow reads as three equal colours and alpha
    if array.shape[2:] != (stored.channels,) or array.dtype != np.uint8:
        raise Refusal(
            f"has {plural(stored.channels, 'channel')} of {stored.depth}, which pillow does not give",
            "store it as .npy",
        )
    return array


def _appearance(opened: Opened) -> Image.Image:
    """An image of up to 8 bits a channel scaled for display: 0 is black, and the largest value is white."""
    stored, image = opened.stored, opened.image
    samples = stored.samples
    if samples is None:
        assert image is not None
        if stored.format == "PNG" and stored.bits in (2, 4) and isinstance(image.info.get("transparency"), int):
            image.load()
            image.info["transparency"] *= 255 // stored.top  # pillow scales the samples, but not this value
        return image
    if stored.palette:
        indexed = _image_of(samples, "P")
        indexed.putpalette(stored.colours)
        return indexed
    if samples.dtype == np.bool_:
        return _image_of(samples, "1")
    scaled = samples if stored.top == 255 else (samples.astype(np.uint16) * 255 + stored.top // 2) // stored.top
    return _image_of(scaled.astype(np.uint8), _MODE_OF[stored.channels])


def _image_of(array: Array, mode: str) -> Image.Image:
    from PIL import Image

    array = np.ascontiguousarray(array)
    if mode == "1":
        return Image.fromarray(array)
    return Image.frombytes(mode, (array.shape[1], array.shape[0]), array.tobytes())


# ---------------------------------------------------------------------------------------------------------------- turned


def _turned(array: Array, opened: Opened, upright: bool) -> Array:
    """Rows in stored order, or turned by the orientation tag."""
    if (opened.stored.format == "TIFF") == upright:
        return array  # pillow has already turned a TIFF
    orientation = opened.orientation
    inverse = {6: 8, 8: 6}
    return apply_orientation(array, orientation if upright else inverse.get(orientation, orientation))


def apply_orientation(array: Array, orientation: int) -> Array:
    """Apply an EXIF orientation to an image."""
    if orientation < 2:
        return array
    turns: dict[int, Callable[[], Array]] = {
        2: lambda: array[:, ::-1],
        3: lambda: array[::-1, ::-1],
        4: lambda: array[::-1],
        5: lambda: array.swapaxes(0, 1),
        6: lambda: array[::-1].swapaxes(0, 1),
        7: lambda: array[::-1, ::-1].swapaxes(0, 1),
        8: lambda: array[:, ::-1].swapaxes(0, 1),
    }
    return np.ascontiguousarray(turns[orientation]())
