"""Image-classification folders: a folder for each class, in a folder for each split or without splits.

``CLASS/file.jpg`` as torchvision's ImageFolder reads it, ``train/CLASS/file.jpg`` and ``val/CLASS/file.jpg`` as
ImageNet is laid out, or images without classes. A sample is named by its path, so the samples of a split share the
beginning ``train/``. The class names are the attribute ``classes`` of the labels, sorted, and shared by all splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np

from hangar.bulk_importer.layouts.pictures import (
    checked,
    image_column,
    image_value,
    images_of,
    picture_keys,
    picture_note,
)
from hangar.bulk_importer.layouts.plan import DatasetPlan, PlannedColumn
from hangar.bulk_importer.udf import UDF_Return
from hangar.external.naming import Source
from hangar.wording import plural

__all__ = ["SPLITS", "find_classes", "split_of"]

SPLITS: Final = frozenset(("train", "training", "val", "valid", "validation", "dev", "test", "testing"))
"""Names of folders that are splits, in any case."""


def split_of(name: str) -> bool:
    """Whether the name of a folder is that of a split."""
    return name.lower() in SPLITS or name.lower().rstrip("0123456789_-") in SPLITS


def find_classes(path: str, sources: Sequence[Source], *, arrays: bool, prefix: str) -> DatasetPlan | None:
    """The plan for a folder of images; None if it has none."""
    images = images_of(sources)
    if not images:
        return None
    keys, wrong = picture_keys(images)
    folders = {image.relative: PurePosixPath(image.relative).parts[:-1] for image in images}
    firsts = {parts[0] for parts in folders.values() if parts}
    splits = bool(firsts) and all(parts and split_of(parts[0]) for parts in folders.values())
    names = {relative: "/".join(parts[splits:]) for relative, parts in folders.items()}
    classes = sorted(set(names.values()))
    labelled = "" not in classes and (len(classes) > 1 or splits)
    notes = [picture_note(images)]
    if splits:
        counts = Counter(parts[0] for parts in folders.values())
        notes.append("splits: " + ", ".join(f"{name} ({number:,})" for name, number in sorted(counts.items())))
    others = len(sources) - len(images)
    if others:
        notes.append(f"{plural(others, 'other file')} left out")
    columns = [image_column(f"{prefix}images", images, arrays=arrays)]
    if labelled:
        columns.append(PlannedColumn(f"{prefix}labels", "ndarray", "int64", attributes={"classes": classes}))
    if splits:
        columns.append(PlannedColumn(f"{prefix}split", "str"))
    number = {name: i for i, name in enumerate(classes)}
    items = [
        (
            keys[image.relative],
            image.path,
            number[names[image.relative]] if labelled else None,
            folders[image.relative][0] if splits else None,
        )
        for image in images
    ]
    layout = "an image-classification folder" if labelled else "a folder of images"
    load = checked(partial(read_image, prefix, arrays), wrong, notes)
    return DatasetPlan(layout, path, tuple(columns), items, load, tuple(notes))


def read_image(prefix: str, arrays: bool, item: tuple[str, str, int | None, str | None]) -> Iterator[UDF_Return]:
    """The values of one image."""
    key, path, label, split = item
    value: Any = image_value(path, arrays=arrays)
    yield UDF_Return(f"{prefix}images", key, value)
    if label is not None:
        yield UDF_Return(f"{prefix}labels", key, np.int64(label))
    if split is not None:
        yield UDF_Return(f"{prefix}split", key, split)
