"""Arrays as pictures: uint8, (height, width, 3), for a screen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["as_picture", "waveform"]

Array = np.ndarray[Any, Any]

SMALLEST: Final = 2
"""Smallest extent of an array that is shown as a picture; anything thinner is a table of numbers."""


def as_picture(array: Array) -> Array | None:
    """``array`` as a picture, or None if it is no image.

    Images are arrays of (height, width), (height, width, 1 to 4), or with the channels first. Values other than uint8 are
    scaled from their smallest to their largest. Alpha is drawn on white. Of a volume the middle slice is taken.
    """
    if array.dtype.kind not in "biuf" or array.size == 0:
        return None
    while array.ndim > 3 or (array.ndim == 3 and array.shape[2] > 4 and array.shape[0] > 4):
        array = array[array.shape[0] // 2]
    if array.ndim == 3 and array.shape[2] > 4:
        array = np.moveaxis(array, 0, 2)
    if array.ndim < 2 or min(array.shape[:2]) < SMALLEST:
        return None
    pixels = _eight_bits(array)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2]
    if channels in (2, 4):
        alpha = pixels[:, :, -1:].astype(np.uint16)
        colours = pixels[:, :, :-1].astype(np.uint16)
        pixels = ((colours * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


def _eight_bits(array: Array) -> Array:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        white: Array = array.astype(np.uint8) * np.uint8(255)
        return white
    values = array.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(array.shape, np.uint8)
    low, high = values[finite].min(), values[finite].max()
    scaled = np.where(finite, (values - low) / ((high - low) or 1.0), 0.0)
    levels: Array = (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)
    return levels


def waveform(array: Array, width: int = 640, height: int = 120) -> Array:
    """A picture of audio, (frames, channels) or (frames,): for each column of pixels the range of its samples."""
    frames = array.reshape(len(array), -1)
    picture = np.full((height * frames.shape[1], width, 3), 255, np.uint8)
    if not len(frames):
        return picture
    values = frames.astype(np.float64)
    top = float(np.abs(values).max()) or 1.0
    edges = np.linspace(0, len(frames), width + 1).astype(int)
    for column in range(width):
        part = values[edges[column] : max(edges[column] + 1, edges[column + 1])]
        for channel in range(frames.shape[1]):
            low, high = part[:, channel].min() / top, part[:, channel].max() / top
            begin = int((1 - high) / 2 * (height - 1))
            end = int((1 - low) / 2 * (height - 1))
            picture[channel * height + begin : channel * height + end + 1, column] = (31, 119, 180)
    return picture
