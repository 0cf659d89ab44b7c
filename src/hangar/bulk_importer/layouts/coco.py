"""COCO annotations: a JSON file that lists images, annotations and categories, beside the images.

Images go to a flat column. Annotations go to nested columns: the sample is the image, the subsample the id of the
annotation. Boxes are ``x, y, width, height`` in pixels as in the file. Category numbers are those of the file, and the
attribute ``categories`` of their column maps them to names. Segmentations are stored as the JSON text of the file.

The file is untrusted. It is decoded into typed records, so fields of other types are refused; file names only select
among the images that are in the folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec
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
from hangar.errors import InvalidInputError, ResourceLimitError
from hangar.external.naming import Source
from hangar.external.safe_io import open_input
from hangar.wording import plural

__all__ = ["find_coco"]

MOST_BYTES: Final = 2 * 2**30
"""Largest file of annotations. That of COCO 2017 has 450 MB."""
PEEK_BYTES: Final = 1 << 16
MOST_NUMBER: Final = 2**63 - 1


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Category(msgspec.Struct):
    id: int
    name: str
    supercategory: str | None = None


class _Annotation(msgspec.Struct):
    image_id: int
    id: int | None = None
    category_id: int | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: int | None = None
    caption: str | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


Values = tuple[int, int | None, tuple[float, ...] | None, float | None, int | None, str | None, str | None]
"""Id, category, box, area, iscrowd, caption and segmentation of one annotation."""
FIELDS: Final = ("category", "boxes", "area", "iscrowd", "captions", "segmentation")


def find_coco(path: str, sources: Sequence[Source], *, arrays: bool, prefix: str) -> DatasetPlan | None:
    """The plan for a folder with files of COCO annotations; None if it has none.

    Raises
    ------
    InvalidInputError
        A file of annotations is invalid.
    """
    files = [one for one in sources if one.relative.lower().endswith(".json") and _looks_like_coco(one.path)]
    images = images_of(sources)
    if not files or not images:
        return None
    collected = _Collected(_Finder(images))
    for file in files:
        collected.add(file)
    found, categories = collected.annotations, collected.categories
    if not found:
        raise InvalidInputError(f"none of the images that {files[0].path} names is in {path}")
    used = [image for image in images if image.relative in found]
    keys, wrong = picture_keys(used)
    notes = [picture_note(used)]
    notes.append(f"{plural(sum(map(len, found.values())), 'annotation')} in {', '.join(one.relative for one in files)}")
    if collected.missing:
        notes.append(f"{plural(collected.missing, 'image')} named there are not in the folder")
    if collected.lost:
        notes.append(f"{plural(collected.lost, 'annotation')} belong to none of these images, and are left out")
    fields = [i for i in range(len(FIELDS)) if any(one[1 + i] is not None for some in found.values() for one in some)]
    columns = [image_column(f"{prefix}images", used, arrays=arrays)]
    columns += [_column(prefix, FIELDS[i], categories) for i in fields]
    items = [(keys[one.relative], one.path, found[one.relative]) for one in used]
    load = checked(partial(read_annotated, prefix, arrays), wrong, notes)
    return DatasetPlan("COCO annotations", path, tuple(columns), items, load, tuple(notes))


def _column(prefix: str, field: str, categories: dict[int, _Category]) -> PlannedColumn:
    name = prefix + field
    if field == "category":
        named = {str(number): one.name for number, one in sorted(categories.items())}
        above = {str(n): one.supercategory for n, one in sorted(categories.items()) if one.supercategory}
        attributes = {"categories": named, **({"supercategories": above} if above else {})}
        return PlannedColumn(name, "ndarray", "int64", nested=True, attributes=attributes)
    if field == "boxes":
        return PlannedColumn(name, "ndarray", "float32", (4,), nested=True, attributes={"format": "xywh"})
    if field == "area":
        return PlannedColumn(name, "ndarray", "float32", nested=True)
    if field == "iscrowd":
        return PlannedColumn(name, "ndarray", "uint8", nested=True)
    return PlannedColumn(name, "str", nested=True)


def read_annotated(prefix: str, arrays: bool, item: tuple[str, str, list[Values]]) -> Iterator[UDF_Return]:
    """The values of one image and its annotations."""
    key, path, annotations = item
    value: Any = image_value(path, arrays=arrays)
    yield UDF_Return(f"{prefix}images", key, value)
    for number, category, box, area, crowd, caption, segmentation in annotations:
        at = key, number
        if category is not None:
            yield UDF_Return(f"{prefix}category", at, np.int64(category))
        if box is not None:
            yield UDF_Return(f"{prefix}boxes", at, np.array(box, np.float32))
        if area is not None:
            yield UDF_Return(f"{prefix}area", at, np.float32(area))
        if crowd is not None:
            yield UDF_Return(f"{prefix}iscrowd", at, np.uint8(crowd))
        if caption is not None:
            yield UDF_Return(f"{prefix}captions", at, caption)
        if segmentation is not None:
            yield UDF_Return(f"{prefix}segmentation", at, segmentation)


def _values(annotation: _Annotation, number: int, path: str) -> Values:
    """The values of an annotation, checked."""
    identity = number if annotation.id is None else annotation.id
    where = f"annotation {identity} in {path}"
    if not 0 <= identity <= MOST_NUMBER:
        raise InvalidInputError(f"{where}: its id is not from 0 to 2**63 - 1")
    if annotation.category_id is not None and not -MOST_NUMBER <= annotation.category_id <= MOST_NUMBER:
        raise InvalidInputError(f"{where}: its category is not a number of 64 bits")
    box = None if not annotation.bbox else tuple(annotation.bbox)
    if box is not None and (len(box) != 4 or not _single(box)):
        raise InvalidInputError(f"{where}: its box is not four finite numbers")
    if annotation.area is not None and not _single((annotation.area,)):
        raise InvalidInputError(f"{where}: its area is not a finite number")
    if annotation.iscrowd is not None and not 0 <= annotation.iscrowd <= 255:
        raise InvalidInputError(f"{where}: iscrowd is not 0 or 1")
    try:
        segmentation: str | None = bytes(annotation.segmentation).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{where}: its segmentation is not UTF-8") from None
    if segmentation in ("null", "[]"):
        segmentation = None
    return (
        identity,
        annotation.category_id,
        box,
        annotation.area,
        annotation.iscrowd,
        annotation.caption,
        segmentation,
    )


def _single(numbers: tuple[float, ...]) -> bool:
    """Whether all numbers are finite as float32."""
    return all(abs(number) < 3.4e38 for number in numbers)


def _looks_like_coco(path: str) -> bool:
    """Whether a JSON file names images and annotations; only its beginning and its end are read."""
    with open_input(path) as file:
        head = file.read(PEEK_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - PEEK_BYTES))
        text = head + file.read(PEEK_BYTES)
        if not head.lstrip().startswith(b"{"):
            return False
        if b'"images"' in text and b'"annotations"' in text:
            return True
        if size > MOST_BYTES or (b'"file_name"' not in text and b'"image_id"' not in text):
            return False
        file.seek(0)
        whole = file.read()
    return b'"images"' in whole and b'"annotations"' in whole


def _read(path: str) -> _File:
    with open_input(path) as file:
        size = file.seek(0, 2)
        if size > MOST_BYTES:
            raise ResourceLimitError(f"{path} has {size:,} bytes, more than an import of annotations reads at once")
        file.seek(0)
        data = file.read()
    try:
        return msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is no file of COCO annotations: {error}") from None
    except MemoryError as error:
        raise ResourceLimitError(f"there is not enough memory to read {path}") from error


class _Collected:
    """What several files of annotations say.

    Attributes
    ----------
    annotations
        Values of the annotations of each image, by its relative path.
    categories
        The categories, by number.
    missing, lost
        Number of images that are not in the folder, and of annotations without an image.
    """

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder
        self.annotations: dict[str, list[Values]] = {}
        self.categories: dict[int, _Category] = {}
        self.missing = self.lost = 0

    def add(self, file: Source) -> None:
        """Read one file."""
        content = _read(file.path)
        for category in content.categories:
            known = self.categories.setdefault(category.id, category)
            if known.name != category.name:
                raise InvalidInputError(
                    f"category {category.id} is {known.name!r} in one file of annotations and {category.name!r} in {file.path}"
                )
        here: dict[int, str] = {}
        for image in content.images:
            source = self._finder.find(image.file_name, file)
            if source is None:
                self.missing += 1
            else:
                here[image.id] = source.relative
                self.annotations.setdefault(source.relative, [])
        for number, annotation in enumerate(content.annotations):
            relative = here.get(annotation.image_id)
            if relative is None:
                self.lost += 1
            else:
                self.annotations[relative].append(_values(annotation, number, file.path))


class _Finder:
    """Finds the image that a file of annotations names: by its path beside the file or in the folder, or by a unique base name."""

    def __init__(self, images: Sequence[Source]) -> None:
        self._by_path = {image.relative: image for image in images}
        names = Counter(PurePosixPath(image.relative).name for image in images)
        self._by_name = {name: image for image in images if names[name := PurePosixPath(image.relative).name] == 1}

    def find(self, name: str, file: Source) -> Source | None:
        """The image named ``name``, or None."""
        plain = name.removeprefix("./")
        stem = PurePosixPath(file.relative).stem
        # instances_train2017.json lists the images of the folder train2017.
        split = stem.rsplit("_", 1)[-1]
        for candidate in (plain, file.folder + plain, f"{split}/{plain}", f"images/{split}/{plain}", f"images/{plain}"):
            found = self._by_path.get(candidate)
            if found is not None:
                return found
        found = self._by_name.get(PurePosixPath(plain).name)
        # train/1.jpg is not val/1.jpg, but /data/coco/val/1.jpg is, and so is 1.jpg.
        same = found is not None and f"/{plain}".endswith(f"/{found.relative}")
        return found if "/" not in plain or same else None
