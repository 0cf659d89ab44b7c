"""The image files of a dataset: their keys, and the column that they go to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hangar.bulk_importer.layouts.plan import IMAGE_SUFFIXES, PlannedColumn, count_suffixes
from hangar.bulk_importer.udf import UDF_Return
from hangar.errors import InvalidInputError
from hangar.external import load
from hangar.external.naming import Source, key_text
from hangar.external.safe_io import open_input
from hangar.imaging.info import read_info
from hangar.imaging.stored import Refusal
from hangar.wording import plural

__all__ = ["Picture", "checked", "image_column", "image_value", "images_of", "picture_keys", "picture_note"]

Picture = tuple[str, str]
"""Sample key and path of an image."""
Load = Callable[[Any], Iterable[UDF_Return]]


def images_of(sources: Iterable[Source]) -> list[Source]:
    """The image files among some files, by their suffix."""
    return [one for one in sources if PurePosixPath(one.relative).suffix.lower() in IMAGE_SUFFIXES]


def picture_keys(images: Sequence[Source]) -> tuple[dict[str, str], dict[str, str]]:
    """The key of each image, by its relative path: the path without suffix; and what is wrong with some, by their path.

    An image has the key ``''`` if its path cannot be a key, or if an image before it has the same key.
    """
    keys: dict[str, str] = {}
    wrong: dict[str, str] = {}
    owners: dict[str, str] = {}
    for image in images:
        try:
            key = key_text(image.folder + PurePosixPath(image.relative).stem, image.path)
        except InvalidInputError as error:
            keys[image.relative], wrong[image.path] = "", str(error)
            continue
        owner = owners.setdefault(key, image.path)
        if owner != image.path:
            wrong[image.path] = f"{owner} and {image.path} would both be the sample {key!r}: rename one"
        keys[image.relative] = key if owner == image.path else ""
    return keys, wrong


def checked(load: Load, wrong: Mapping[str, str], notes: list[str]) -> Load:
    """The function ``load``, which fails for the images that have no key of their own; a note says how many these are.

    The second part of an item is the path of its image.
    """
    if not wrong:
        return load
    notes.append(
        f"not imported, as an image before has the same key or the key is invalid: {plural(len(wrong), 'image')}"
    )
    return partial(_load_checked, load, dict(wrong))


def _load_checked(load: Load, wrong: Mapping[str, str], item: Any) -> Iterator[UDF_Return]:
    fault = wrong.get(item[1])
    if fault is not None:
        raise InvalidInputError(fault)
    yield from load(item)


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
