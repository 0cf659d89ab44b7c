"""Datasets of torch and Hugging Face as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hangar.bulk_importer.layouts.plan import DatasetPlan, PlannedColumn
from hangar.bulk_importer.recipe import recipe_digest
from hangar.bulk_importer.report import ImportReport
from hangar.bulk_importer.running import Import, worker_count
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.interop.tables import Piece, write_pieces
from hangar.progress import Progress

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["from_huggingface", "from_torch"]

ROWS: Final = 1024


def from_huggingface(
    checkout: WriterCheckout, dataset: Any, *, prefix: str = "", overwrite: bool = False
) -> dict[str, int]:
    """Write a ``Dataset`` or ``DatasetDict`` of Hugging Face to columns, one for each feature.

    Images stay the files that they are, class labels keep their names (the attribute ``classes``). A sample is named by
    the number of its row, in a ``DatasetDict`` by ``SPLIT/NUMBER``. Other features are treated as by
    :func:`hangar.interop.from_arrow`, which also lists the parameters and errors.
    """
    parts: dict[str, Any] = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    if not parts or not all(hasattr(one, "with_format") and hasattr(one, "features") for one in parts.values()):
        raise InvalidTypeError(f"dataset is a Dataset or DatasetDict of Hugging Face, not {type(dataset).__name__}")
    schema = next(iter(parts.values())).features.arrow_schema

    def pieces() -> Iterator[Piece]:
        for split, part in parts.items():
            for start in range(0, len(part), ROWS):
                rows = range(start, min(start + ROWS, len(part)))
                table = part.with_format("arrow")[rows.start : rows.stop]
                for batch in table.combine_chunks().to_batches():
                    yield batch, [f"{split}/{number}" for number in rows] if split else rows

    return write_pieces(checkout, schema, pieces, prefix=prefix, overwrite=overwrite)


def from_torch(
    checkout: WriterCheckout,
    dataset: Any,
    names: str | Sequence[str] | None = None,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    on_error: str = "collect",
    progress: Progress = None,
) -> ImportReport:
    """Write a map-style dataset of torch (anything with ``len`` and ``dataset[i]``) to columns.

    The dataset runs in worker processes, as in a ``DataLoader``. Item ``i`` becomes the sample ``i``. The same call
    continues after a crash.

    Parameters
    ----------
    checkout
        A write checkout. Columns that do not exist are added as the first item says: arrays and tensors of its shape
        and dtype, numbers, text, bytes, and pictures of pillow as an image column. Add a column before where shapes
        vary.
    dataset
        The dataset. To be resumed, and to run in processes, it must pickle.
    names
        The column of each part of an item; one name if an item is one value. None: the keys of the items, which are
        dicts.
    workers, overwrite, on_error, progress
        As for :func:`hangar.bulk_importer.import_items`.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        (a ``ValueError``, a ``TypeError``) the dataset is not map-style, is empty, or its items do not fit the names.
    """
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise InvalidTypeError(f"a map-style dataset has len() and [index]; {type(dataset).__name__} has not")
    if not len(dataset):
        raise InvalidInputError("the dataset is empty")
    getting = Getting(dataset, (names,) if isinstance(names, str) else None if names is None else tuple(names))
    first = {name: value for name, _, value in getting(0)}
    missing = [_planned(name, value) for name, value in first.items() if name not in checkout.columns]
    DatasetPlan("a dataset of torch", "", tuple(missing), (), lambda _: ()).prepare(checkout)
    columns = [checkout.columns[name] for name in first]
    items = range(len(dataset))
    schemas = [(checkout.session.staging.columns[name].id, checkout.columns[name].schema.digest) for name in first]
    if on_error not in ("collect", "stop"):
        raise InvalidInputError(f"on_error must be 'collect' or 'stop', not {on_error!r}")
    return Import(
        checkout,
        columns,
        getting,
        items,
        workers=worker_count(workers, len(items)),
        overwrite=overwrite,
        stop=on_error == "stop",
        recipe=recipe_digest(getting, schemas, [len(items)], [overwrite]),
    ).run(progress)


class Getting:
    """Reads an item of a dataset as triples of column, key and value."""

    def __init__(self, dataset: Any, names: tuple[str, ...] | None) -> None:
        self.dataset = dataset
        self.names = names

    def __call__(self, index: int) -> Iterator[tuple[Any, Any, Any]]:
        """The values of one item."""
        item = self.dataset[index]
        if self.names is None:
            if not isinstance(item, Mapping):
                raise InvalidTypeError(f"an item is a {type(item).__name__}, not a dict: name the columns of its parts")
            parts = list(item.items())
        elif len(self.names) == 1:
            one = item[0] if isinstance(item, (tuple, list)) and len(item) == 1 else item
            parts = [(self.names[0], one)]
        else:
            if not isinstance(item, (tuple, list)) or len(item) != len(self.names):
                raise InvalidInputError(f"an item does not have {len(self.names)} parts, for {', '.join(self.names)}")
            parts = list(zip(self.names, item, strict=True))
        for name, value in parts:
            yield name, index, _plain(value)


def _plain(value: Any) -> Any:
    """A Python number as one of numpy, anything else as it is."""
    return np.asarray(value) if isinstance(value, (bool, int, float)) else value


def _planned(name: str, value: Any) -> PlannedColumn:
    """The column for values like this one."""
    if isinstance(value, (str, bytes)):
        return PlannedColumn(name, type(value).__name__)
    if type(value).__module__.partition(".")[0] == "PIL":
        return PlannedColumn(name, "image")
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biufc" or array.dtype.isbuiltin == 2:
            return PlannedColumn(name, "ndarray", array.dtype.name, array.shape)
    raise InvalidInputError(
        f"no column holds values like that of {name!r}, a {type(value).__name__}: convert them first"
    )
