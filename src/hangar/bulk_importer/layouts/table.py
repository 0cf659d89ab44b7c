"""A table beside a folder of images: a CSV, TSV or JSON-lines file of which one field names the images.

The field is found by its values: it names a file by its path, its base name, or these without suffix. Every other field
becomes a column: whole numbers int64, numbers float64, few different texts class numbers with the attribute
``classes``, other texts a str column. An empty value is no sample.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
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
from hangar.bulk_importer.layouts.plan import IMAGE_SUFFIXES, DatasetPlan, PlannedColumn, column_name
from hangar.bulk_importer.udf import UDF_Return
from hangar.errors import InvalidInputError, ResourceLimitError
from hangar.external.naming import Source
from hangar.external.safe_io import open_input
from hangar.wording import plural

__all__ = ["find_table", "planned_field"]

SUFFIXES: Final = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": ""}
MOST_BYTES: Final = 2**30
MOST_CLASSES: Final = 1000
SEEN_SHARE: Final = 0.5
"""A field names the images if at least this share of its values do."""

_PLAIN_NUMBER: Final = re.compile(r"\s*[+-]?(0|[1-9][0-9]*|(?=\.))(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*")
"""What is stored as a number. Codes such as 01234 or 1_000 stay texts."""

_REST: Final = "\0"
"""The name of cells that are beyond those of the first line."""

Row = dict[str, Any]


def find_table(path: str, sources: Sequence[Source], *, arrays: bool, prefix: str) -> DatasetPlan | None:
    """The plan for a table beside images; None if there is none.

    Raises
    ------
    InvalidInputError
        Two rows name one image, or the table is invalid.
    """
    images = images_of(sources)
    tables = [one for one in sources if PurePosixPath(one.relative).suffix.lower() in SUFFIXES]
    if not images or not tables:
        return None
    names = _names(images)
    for table in tables:
        rows = _read(table.path)
        field = _image_field(rows, names)
        if field is not None:
            return _plan(path, table, rows, field, images, names, arrays, prefix)
    return None


def _plan(
    path: str,
    table: Source,
    rows: list[Row],
    field: str,
    images: Sequence[Source],
    names: dict[str, Source | None],
    arrays: bool,
    prefix: str,
) -> DatasetPlan:
    found: dict[str, Row] = {}
    unknown = 0
    for row in rows:
        source = names.get(_plain(row.get(field)))
        if source is None:
            unknown += 1
        elif source.relative in found:
            raise InvalidInputError(f"{table.path} names the image {source.relative} in more than one row")
        else:
            found[source.relative] = row
    used = [image for image in images if image.relative in found]
    keys, wrong = picture_keys(used)
    fields = [name for name in dict.fromkeys(key for row in rows for key in row) if name != field]
    taken = [f"{prefix}images"]
    planned: list[tuple[str, PlannedColumn]] = []
    for name in fields:
        column = planned_field(prefix + name, [row.get(name) for row in found.values()], taken)
        if column is not None:
            planned.append((name, column))
            taken.append(column.name)
    values = {name: _converter(column) for name, column in planned}
    items = [
        (
            keys[image.relative],
            image.path,
            [
                (column.name, values[name](found[image.relative][name]))
                for name, column in planned
                if not _empty(found[image.relative].get(name))
            ],
        )
        for image in used
    ]
    notes = [picture_note(used), f"{table.relative}: {plural(len(rows), 'row')}, the field {field!r} names the images"]
    if unknown:
        notes.append(f"{plural(unknown, 'row')} name no image of the folder, and are left out")
    if len(used) < len(images):
        notes.append(f"{plural(len(images) - len(used), 'image')} without a row are left out")
    columns = (image_column(f"{prefix}images", used, arrays=arrays), *(column for _, column in planned))
    load = checked(partial(read_row, prefix, arrays), wrong, notes)
    return DatasetPlan("a table beside images", path, columns, items, load, tuple(notes))


def read_row(prefix: str, arrays: bool, item: tuple[str, str, list[tuple[str, Any]]]) -> Iterator[UDF_Return]:
    """The values of one image and its row."""
    key, path, values = item
    value: Any = image_value(path, arrays=arrays)
    yield UDF_Return(f"{prefix}images", key, value)
    for name, one in values:
        yield UDF_Return(name, key, one)


def planned_field(name: str, values: Sequence[Any], taken: Sequence[str]) -> PlannedColumn | None:
    """The column for a field of a table, by its values; None if all of them are empty."""
    present = [value for value in values if not _empty(value)]
    if not present:
        return None
    name = column_name(name, taken)
    if all(_whole(value) is not None for value in present):
        return PlannedColumn(name, "ndarray", "int64")
    if all(_number(value) is not None for value in present):
        return PlannedColumn(name, "ndarray", "float64")
    texts = sorted({_text(value) for value in present})
    if len(texts) <= min(MOST_CLASSES, max(2, len(present) // 2)):
        return PlannedColumn(name, "ndarray", "int64", attributes={"classes": texts})
    return PlannedColumn(name, "str")


def _converter(column: PlannedColumn) -> Any:
    classes = column.attributes.get("classes")
    if classes:
        number = {text: i for i, text in enumerate(classes)}
        return lambda value: np.int64(number[_text(value)])
    if column.kind == "str":
        return _text
    return (
        (lambda value: np.int64(_whole(value) or 0))
        if column.dtype == "int64"
        else (lambda value: np.float64(_number(value)))
    )


def _empty(value: Any) -> bool:
    return value is None or value == ""


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or (isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value)):
        return None
    try:
        number = int(value) if isinstance(value, (int, str)) and len(str(value)) <= 20 else None
    except ValueError:
        return None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if isinstance(value, float):
        return number
    digits = str(value).strip()
    exact = not digits.lstrip("+-").isdigit() or int(digits) == number
    return number if exact and math.isfinite(number) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _plain(value: Any) -> str:
    return str(value).replace("\\", "/").removeprefix("./") if value is not None else ""


def _names(images: Sequence[Source]) -> dict[str, Source | None]:
    """The image of each name that may stand for it; None for a name that several have."""
    names: dict[str, Source | None] = {}
    for image in images:
        path = PurePosixPath(image.relative)
        for name in {image.relative, path.name, str(path.with_suffix("")), path.stem}:
            names[name] = image if name not in names else None
    for image in images:
        names[image.relative] = image
    return names


def _image_field(rows: Sequence[Row], names: dict[str, Source | None]) -> str | None:
    """The field whose values name images, the one that names most."""
    best, most = None, (0, 0)
    for field in dict.fromkeys(key for row in rows for key in row):
        values = [value for row in rows if names.get(value := _plain(row.get(field))) is not None]
        # A running number may equal the names of files without suffix, so names with one count for more.
        score = len(values), sum(PurePosixPath(value).suffix.lower() in IMAGE_SUFFIXES for value in values)
        if score > most and len(values) >= SEEN_SHARE * len(rows):
            best, most = field, score
    return best


def _read(path: str) -> list[Row]:
    with open_input(path) as file:
        if file.seek(0, 2) > MOST_BYTES:
            raise ResourceLimitError(f"{path} is larger than an import of a table beside images reads at once")
        file.seek(0)
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{path} is not UTF-8: {error}") from None
    separator = SUFFIXES[PurePosixPath(path).suffix.lower()]
    try:
        return _separated(text, separator) if separator else _lines(text)
    except (csv.Error, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} cannot be read as a table: {error}") from None


def _separated(text: str, separator: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restkey=_REST, strict=True)
    names = [name for name in reader.fieldnames or () if name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"several columns are named {twice[0]!r}")
    rows = []
    for row in reader:
        if any(row.pop(_REST, ())):
            raise ValueError(f"line {reader.line_num} has more cells than the first line has names")
        rows.append({key: value for key, value in row.items() if key})
    return rows


def _lines(text: str) -> list[Row]:
    rows = [json.loads(line, parse_float=_float) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no JSON object")
    return rows


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number
