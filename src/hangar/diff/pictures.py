"""Which arrays are images, and their thumbnails as PNG: of a value, and of what changed between two values.

An array (height, width) is gray, (height, width, 1 to 4) gray, gray with alpha, RGB or RGBA, and (depth, height, width)
a volume, of which one slice is shown, by default the middle one. 8-bit values and masks are shown as they are. Others are scaled from the
smallest to the largest finite value of both sides, which get the same scale. NaNs are magenta. A difference shows
unchanged pixels faint and changed ones in a colour that grows with the change.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar.imaging.write import encode_png

__all__ = ["PictureKind", "difference_png", "picture_kind", "pictures_png"]

LEAST: Final = 5
"""Smallest height and width of an image; smaller arrays are tables, boxes, vectors."""
SIDE: Final = 256
"""Largest height and width of a thumbnail, in pixels."""
_STRIP: Final = 2**20
"""Number of pixels that are converted together."""
_NAN: Final = (214, 0, 200)
_CHANGED: Final = (205, 20, 40)
_UNNOTICED: Final = 4
_MARGIN: Final = 4
"""Pixels of a thumbnail: extent of changes that get a frame, and the distance of the frame."""

PictureKind: TypeAlias = Literal["gray", "colour", "volume"]
Array: TypeAlias = "np.ndarray[Any, Any]"
Pixels: TypeAlias = "npt.NDArray[np.uint8]"


def picture_kind(dtype: str | None, shape: tuple[int, ...] | None) -> PictureKind | None:
    """The kind of image that arrays of this dtype and shape are; None if they are none."""
    if dtype is None or shape is None or dtype.startswith("complex") or 0 in shape:
        return None
    if len(shape) == 2 and min(shape) >= LEAST:
        return "gray"
    if len(shape) != 3:
        return None
    if shape[2] <= 4:
        return "colour" if min(shape[:2]) >= LEAST else None
    return "volume" if min(shape[1:]) >= LEAST else None


def pictures_png(
    before: Array | None, after: Array | None, where: int | None = None
) -> tuple[bytes | None, bytes | None]:
    """Thumbnails of two arrays, None for one that is None. Both have one scale.

    Parameters
    ----------
    where
        The slice of volumes that is shown; None: the middle one.
    """
    planes = [None if one is None else _plane(one, where) for one in (before, after)]
    small = [None if one is None else _reduced(_step(one.shape), np.mean, _values, one) for one in planes]
    if all(one is None or one.dtype in (np.bool_, np.uint8) for one in planes):
        scale = 0.0, 255.0
    else:
        scale = _range([one for one in small if one is not None])
    first, second = (None if one is None else encode_png(_pixels(one, *scale), filters=False) for one in small)
    return first, second


def difference_png(before: Array, after: Array, where: int | None = None) -> bytes:
    """Thumbnail of the changes between two arrays of one shape; ``where`` as in :func:`pictures_png`."""
    a, b = _plane(before, where), _plane(after, where)
    step = _step(a.shape)
    # The strongest change of a block: one changed pixel of a large image stays visible.
    change = _reduced(step, np.max, _change, a, b)
    finite = change[np.isfinite(change)]
    with np.errstate(all="ignore"):
        # The square root keeps small changes visible beside large ones.
        strength = np.where(change > 0, 0.3 + 0.7 * np.sqrt(change / (finite.max(initial=0) or 1.0)), 0.0).clip(0, 1)
    gray = _reduced(step, np.mean, _values, b)
    low, high = _range([gray])
    if gray.ndim == 3:
        gray = gray[:, :, : 1 if gray.shape[2] < 3 else 3].mean(axis=2)
    faint = 205 + 45 * _scaled(gray, low, high) / 255
    colours = [faint + strength * (top - faint) for top in _CHANGED]
    pixels = np.stack(colours, axis=2).clip(0, 255).astype(np.uint8)
    _frame(pixels, strength > 0)
    return encode_png(pixels, filters=False)


def _frame(pixels: Pixels, changed: npt.NDArray[np.bool_]) -> None:
    """Draw a frame around the changes of a large picture if they are too few to be noticed."""
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    if not rows.size or max(np.ptp(rows), np.ptp(columns)) > _UNNOTICED or min(changed.shape) < 8 * _UNNOTICED:
        return
    top, left = max(0, rows[0] - _MARGIN), max(0, columns[0] - _MARGIN)
    bottom, right = (
        min(size - 1, last + _MARGIN) for size, last in zip(changed.shape, (rows[-1], columns[-1]), strict=True)
    )
    for line in (
        np.s_[top, left : right + 1],
        np.s_[bottom, left : right + 1],
        np.s_[top : bottom + 1, left],
        np.s_[top : bottom + 1, right],
    ):
        pixels[line] = _CHANGED


def _plane(array: Array, where: int | None) -> Array:
    """The part of an image that is shown: itself, or a slice of a volume."""
    if picture_kind(array.dtype.name, array.shape) == "volume":
        array = array[len(array) // 2 if where is None else where]
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _step(shape: tuple[int, ...]) -> int:
    """Pixels of an image, in each direction, for one of its thumbnail."""
    return max(1, math.ceil(max(shape[:2]) / SIDE))


def _values(plane: Array) -> Array:
    return plane.astype(np.float64) * (255.0 if plane.dtype == np.bool_ else 1.0)


def _change(before: Array, after: Array) -> Array:
    """Absolute change of each pixel, the largest of its channels; infinite where one side is NaN, 0 where both are."""
    a, b = _values(before), _values(after)
    with np.errstate(all="ignore"):
        change = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
    found: Array = change.max(axis=2) if change.ndim == 3 else change
    return found


def _reduced(step: int, reduce: Any, convert: Any, *planes: Array) -> Array:
    """``convert(*planes)`` with blocks of ``step`` x ``step`` pixels reduced to one; large images in strips of rows."""
    height, width = planes[0].shape[:2]
    rows = step * max(1, _STRIP // (width * step))
    strips = [_blocks(convert(*(one[at : at + rows] for one in planes)), step, reduce) for at in range(0, height, rows)]
    return np.concatenate(strips)


def _blocks(plane: Array, step: int, reduce: Any) -> Array:
    if step == 1:
        return plane
    height, width = (-(-n // step) for n in plane.shape[:2])
    rest = [(0, 0)] * (plane.ndim - 2)
    edges = [(0, height * step - plane.shape[0]), (0, width * step - plane.shape[1]), *rest]
    padded = np.pad(plane, edges, mode="edge")
    with np.errstate(all="ignore"):
        found: Array = reduce(padded.reshape(height, step, width, step, *plane.shape[2:]), axis=(1, 3))
    return found


def _range(planes: list[Array]) -> tuple[float, float]:
    """Smallest and largest finite value of all planes."""
    finite = [values for one in planes if (values := one[np.isfinite(one)]).size]
    return (min(float(one.min()) for one in finite), max(float(one.max()) for one in finite)) if finite else (0.0, 1.0)


def _scaled(values: Array, low: float, high: float) -> Array:
    """Values scaled from ``low`` to ``high`` into 0 to 255; a NaN becomes 0."""
    with np.errstate(all="ignore"):
        # Halved, so that the distance of the largest and smallest float64 is finite.
        share = (values / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    scaled: Array = 255 * np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return scaled


def _pixels(values: Array, low: float, high: float) -> Pixels:
    """Gray, RGB or RGBA pixels."""
    pixels: Pixels = np.rint(_scaled(values, low, high)).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = np.concatenate([pixels[:, :, :1].repeat(3, axis=2), pixels[:, :, 1:]], axis=2)
    missing = np.isnan(values)
    if missing.any():
        if pixels.ndim == 2:
            pixels = pixels[:, :, None].repeat(3, axis=2)
        where = missing if missing.ndim == 2 else missing.any(axis=2)
        pixels[where, :3] = _NAN
        pixels[where, 3:] = 255
    return pixels
