"""Plan of an import of a whole dataset: the columns, the items, and the function that reads an item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from hangar.bulk_importer.udf import UDF_Return
from hangar.errors import ColumnExistsError, InvalidInputError

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["IMAGE_SUFFIXES", "DatasetPlan", "PlannedColumn", "column_name", "count_suffixes"]

IMAGE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
)


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """A column that an import will write to.

    Attributes
    ----------
    name
        Name of the column.
    kind
        ``'image'`` (files, decoded when read), ``'ndarray'``, ``'str'`` or ``'bytes'``.
    dtype, shape, variable
        Of an ndarray column: element type, shape or largest shape, and whether shapes vary.
    nested
        Whether samples hold subsamples.
    mode
        Of an image column: the mode that images are converted to when they are read.
    attributes
        Attributes of the column, such as its class names.
    """

    name: str
    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    variable: bool = False
    nested: bool = False
    mode: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        what = {
            "image": f"image files, kept as they are{f', read as {self.mode}' if self.mode else ''}",
            "ndarray": f"{self.dtype} arrays of {'shapes up to' if self.variable else 'shape'} {self.shape}",
            "str": "text",
            "bytes": "bytes",
        }[self.kind]
        if self.kind == "ndarray" and not self.shape:
            what = f"{self.dtype} numbers"
        classes = self.attributes.get("classes")
        if classes:
            what += (
                f", {len(classes):,} classes: {', '.join(map(str, classes[:5]))}{' ...' if len(classes) > 5 else ''}"
            )
        return f"{what}{', nested' if self.nested else ''}"

    def add(self, checkout: WriterCheckout) -> Any:
        """Add the column to a checkout."""
        if self.kind == "image":
            return checkout.add_image_column(self.name, mode=self.mode, contains_subsamples=self.nested)
        if self.kind == "str":
            return checkout.add_str_column(self.name, contains_subsamples=self.nested)
        if self.kind == "bytes":
            return checkout.add_bytes_column(self.name, contains_subsamples=self.nested)
        return checkout.add_ndarray_column(
            self.name, self.shape, self.dtype, variable_shape=self.variable, contains_subsamples=self.nested
        )


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What a folder holds, and how it would be imported.

    Attributes
    ----------
    layout
        Name of the layout, such as ``'COCO annotations'``.
    path
        The folder or file.
    columns
        The columns, which are created if they do not exist.
    items
        The items, each an argument of ``load``.
    load
        Generator function that yields the values of one item.
    notes
        What was found, and what is left out, a sentence each.
    """

    layout: str
    path: str
    columns: tuple[PlannedColumn, ...]
    items: Sequence[Any]
    load: Callable[[Any], Iterable[UDF_Return]]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The plan as text."""
        width = max(len(column.name) for column in self.columns)
        return [
            f"{self.path}: {self.layout}",
            *(f"  {note}" for note in self.notes),
            "Columns:",
            *(f"  {column.name:{width}}  {column}" for column in self.columns),
        ]

    def with_note(self, note: str) -> DatasetPlan:
        """The plan with one more note."""
        return replace(self, notes=(*self.notes, note))

    def prepare(self, checkout: WriterCheckout) -> list[str]:
        """Add the columns that do not exist, and set their attributes; returns the names of those added.

        Raises
        ------
        ColumnExistsError
            (a ``LookupError``) a column of this name holds something else. Nothing was added.
        """
        made: list[str] = []
        try:
            for planned in self.columns:
                exists = planned.name in checkout.columns
                trial = replace(planned, name=_free_name(checkout)) if exists else planned
                column = trial.add(checkout)
                if exists:
                    same = column.schema.digest == checkout.columns[planned.name].schema.digest
                    checkout.columns.delete(trial.name)
                    if not same:
                        raise ColumnExistsError(
                            f"column {planned.name!r} exists and holds something else than {planned}: rename it, or "
                            "import into other names with a prefix"
                        )
                else:
                    made.append(planned.name)
                self._set_attributes(checkout, planned)
        except BaseException:
            for name in made:
                checkout.columns.delete(name)
            raise
        return made

    def _set_attributes(self, checkout: WriterCheckout, planned: PlannedColumn) -> None:
        attributes: Any = checkout.columns[planned.name].attributes
        for key, value in planned.attributes.items():
            if attributes.get(key, value) != value:
                raise ColumnExistsError(
                    f"column {planned.name!r} has another attribute {key!r}, so its numbers mean something else: import "
                    "into other names with a prefix"
                )
            if key not in attributes:
                attributes[key] = value


def _free_name(checkout: WriterCheckout) -> str:
    number = 0
    while (name := f"import.{number}") in checkout.columns:
        number += 1
    return name


def column_name(text: str, taken: Iterable[str] = ()) -> str:
    """A valid column name like ``text``, different from ``taken``."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in text)[:60].strip(".") or "column"
    name, number = plain, 2
    names = set(taken)
    while name in names:
        name, number = f"{plain}_{number}", number + 1
    return name


def count_suffixes(paths: Iterable[str]) -> str:
    """The suffixes of files with their numbers, the most frequent first, such as ``'10 jpg, 2 png'``."""
    counts = Counter(PurePosixPath(path).suffix.lower().removeprefix(".") or "without suffix" for path in paths)
    return ", ".join(f"{number:,} {suffix}" for suffix, number in counts.most_common(5))


def require_known(plan: DatasetPlan | None, path: str, found: str) -> DatasetPlan:
    """The plan, or the error that the layout is not known."""
    if plan is None:
        raise InvalidInputError(
            f"{path} has no layout that is known as a dataset ({found}): import one kind of file into one column with "
            "`hangar import COLUMN PATH`, or write a function for `hangar.bulk_importer.import_items`"
        )
    return plan
