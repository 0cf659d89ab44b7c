"""The image files of a dataset: their keys, and the column that they go to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hangar.bulk_importer.layouts.plan import IMAGE_SUFFIXES, PlannedColumn, count_suffixes
from hangar.errors import InvalidInputError
from hangar.external import load
from hangar.external.naming import Source, key_text
from hangar.external.safe_io import open_input
from hangar.imaging.info import read_info
from hangar.imaging.stored import Refusal

__all__ = ["Picture", "image_column", "image_value", "images_of", "picture_keys", "picture_note"]

Picture = tuple[str, str]
"""Sample key and path of an image."""


def images_of(sources: Iterable[Source]) -> list[Source]:
    """The image files among some files, by their suffix."""
    return [one for one in sources if PurePosixPath(one.relative).suffix.lower() in IMAGE_SUFFIXES]


def picture_keys(images: Sequence[Source]) -> dict[str, str]:
    """The key of each image, by its relative path: the path without suffix.

    Raises
    ------
    InvalidInputError
        A path cannot be a key, or two files have one key.
    """
    keys: dict[str, str] = {}
    owners: dict[str, str] = {}
    for image in images:
        key = key_text(image.folder + PurePosixPath(image.relative).stem, image.path)
        if key in owners:
            raise InvalidInputError(f"{owners[key]} and {image.path} would both be the sample {key!r}: rename one")
        keys[image.relative], owners[key] = key, image.path
    return keys


def image_column(name: str, images: Sequence[Source], *, arrays: bool) -> PlannedColumn:
    """The column for some images: of image files, or of RGB arrays of their size.

    Raises
    ------
    InvalidInputError
        ``arrays``, and no image can be read.
    """
    if not arrays:
        return PlannedColumn(name, "image", mode="RGB")
    sizes = {size for image in images if (size := _size(image.path)) is not None}
    if not sizes:
        raise InvalidInputError("none of the images can be read")
    largest = (max(height for height, _ in sizes), max(width for _, width in sizes), 3)
    return PlannedColumn(name, "ndarray", "uint8", largest, variable=len(sizes) > 1)


def _size(path: str) -> tuple[int, int] | None:
    try:
        with open_input(path) as file:
            info = read_info(file.read())
    except (Refusal, OSError, ValueError):
        return None
    return info.height, info.width


def image_value(path: str, *, arrays: bool) -> Any:
    """The value of an image file: its path, which an image column reads, or its pixels in RGB."""
    if not arrays:
        return Path(path)
    value: Any = load(path, plugin="images", mode="RGB")[0]
    return np.asarray(value)


def picture_note(images: Sequence[Source]) -> str:
    """What there is, for people."""
    return f"{len(images):,} images: {count_suffixes(one.relative for one in images)}"
