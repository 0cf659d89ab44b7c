"""Encode arrays, and images of pillow, as files: PNG without loss and without pillow, other formats by pillow."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np

from hangar.errors import InvalidInputError, MissingPackageError
from hangar.imaging.write import encode_png

__all__ = ["ENCODED_FORMATS", "QUALITY_FORMATS", "encode_image"]

ENCODED_FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF")
QUALITY_FORMATS: Final = ("JPEG", "WEBP")
"""Formats with an option ``quality``."""
_JPEG_QUALITY: Final = 95
_PNG_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def encode_image(value: Any, format: str, quality: int | None) -> bytes:  # noqa: A002
    """The bytes of an image file.

    Parameters
    ----------
    value
        An image of pillow, or an array: uint8 or uint16 of shape (height, width) or (height, width, 2 to 4), or bool of
        shape (height, width).
    format
        One of :data:`ENCODED_FORMATS`.
    quality
        1 to 100; None: 95 for JPEG, lossless for WebP.

    Raises
    ------
    InvalidInputError
        The format cannot hold the value.
    MissingPackageError
        Pillow is not installed, and the format needs it.
    """
    if not isinstance(value, np.ndarray):
        if format == "PNG" and value.mode not in _PNG_MODES:
            raise InvalidInputError(f"PNG does not hold a picture of mode {value.mode}: convert it to RGB")
        return _save(value, format, quality)
    _check_pixels(value)
    if format == "PNG":
        return encode_png(value)
    if value.dtype != np.uint8 and not (format == "TIFF" and value.ndim == 2):
        raise InvalidInputError(f"{format} does not hold arrays of {value.dtype} and shape {value.shape}")
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            f"encoding arrays as {format} needs pillow ({error}): run `pip install hangar[images]`"
        ) from None
    return _save(Image.fromarray(np.ascontiguousarray(value)), format, quality)


def _save(picture: Any, format: str, quality: int | None) -> bytes:  # noqa: A002
    file = io.BytesIO()
    options: dict[str, Any] = {}
    if format == "JPEG":
        options = {"quality": quality or _JPEG_QUALITY}
    elif format == "WEBP":
        options = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    try:
        picture.save(file, format, **options)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"the image cannot be written as {format}: {error}") from error
    return file.getvalue()


def _check_pixels(array: np.ndarray[Any, Any]) -> None:
    """Raise unless ``array`` can be an image."""
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and not (array.dtype == np.bool_ and array.ndim == 2):
        raise InvalidInputError(f"an image is an array of uint8 or uint16 (or a mask of bool), not {array.dtype}")
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise InvalidInputError(
            f"an image has the shape (height, width), or (height, width, 2 to 4 channels), not {array.shape}"
        )
    if max(array.shape[:2]) >= 2**31:
        raise InvalidInputError(f"an image of shape {array.shape} is too large")
