"""Items and batches of a data set. An item is a value, a tuple or a dict: one sample of each column, transformed.

A batch is read when it is first used: as arrays, with one gather for each column, or as items, which are rows of those
arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy.typing as npt

from hangar.dataset.selection import ItemNumbers, Selection
from hangar.dataset.slices import whole
from hangar.errors import InvalidInputError, InvalidTypeError

__all__ = ["Batch", "ItemForm", "NamedItem", "Transform", "collate_items"]

Transform = Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]] | None
"""A callable that takes an item, or a mapping from names of columns to callables that take a value of the column."""


DescribeItem = Callable[[int], str]
"""Describes the item at an index of a batch, for messages."""


class NamedItem(dict[str, Any]):
    """An item as a dict of names, of columns or of what a transform made. A sample of a nested column is another class."""


def collate_items(items: list[Any], collate_values: Callable[[list[Any]], Any]) -> Any:
    """A batch of items in the form of an item, with ``collate_values`` called on the values of each name or place.

    Raises
    ------
    InvalidInputError
        The items differ in their names, or in their number of values.
    """
    first = items[0] if items else None
    if isinstance(first, NamedItem):
        for item in items:
            if not isinstance(item, Mapping) or item.keys() != first.keys():
                names = ", ".join(map(str, item)) if isinstance(item, Mapping) else type(item).__name__
                raise InvalidInputError(
                    f"items of one batch differ: one has {', '.join(map(str, first))}, another {names}: "
                    "let the transform make equal names, or give a collate_fn"
                )
        return {name: collate_values([item[name] for item in items]) for name in first}
    if isinstance(first, tuple):
        if any(not isinstance(item, tuple) or len(item) != len(first) for item in items):
            raise InvalidInputError(
                f"items of one batch differ: one is a tuple of {len(first)}, another is not: "
                "let the transform make equal tuples, or give a collate_fn"
            )
        columns = [collate_values(list(column)) for column in zip(*items, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    return collate_values(items)


def _apply(function: Callable[[Any], Any], values: Iterable[Any], what: str, describe: DescribeItem) -> list[Any]:
    """``function`` of each value. An error that it raises gets a note that names the item, from Python 3.11 on."""
    made: list[Any] = []
    try:
        made.extend(map(function, values))
    except Exception as error:
        if sys.version_info >= (3, 11):
            error.add_note(f"{what} failed for {describe(len(made))}")
        raise
    return made


class ItemForm:
    """Whether items are values, tuples or dicts, and which transforms are applied to them.

    Parameters
    ----------
    names
        Names of the columns.
    as_dict
        Whether an item is a dict ``{name: value}``. Else it is the value of the only column, or a tuple.
    transform
        See :data:`Transform`. It is called for each item.

    Raises
    ------
    InvalidInputError
        (a ``ValueError``) ``as_dict`` with two columns of one name, or ``transform`` names a column that is not in the data set.
    InvalidTypeError
        (a ``TypeError``) ``transform`` is neither a callable nor a mapping of callables.
    """

    def __init__(self, names: Sequence[str], as_dict: bool = False, transform: Transform = None) -> None:
        self.names = tuple(names)
        self.as_dict = as_dict
        column_transforms = transform if isinstance(transform, Mapping) else {}
        if as_dict and len(set(names)) < len(names):
            raise InvalidInputError(f"as_dict=True needs columns of different names, not {', '.join(map(repr, names))}")
        unknown = [name for name in column_transforms if name not in names]
        if unknown:
            raise InvalidInputError(
                f"transform names a column {unknown[0]!r}, and the data set has: {', '.join(names)}"
            )
        for one in column_transforms.values() if isinstance(transform, Mapping) else [transform]:
            if one is not None and not callable(one):
                raise InvalidTypeError(f"transform is a callable or a dict of column names and callables, not {one!r}")
        self.item_transform: Callable[[Any], Any] | None = None if isinstance(transform, Mapping) else transform
        self.column_transforms: list[Callable[[Any], Any] | None] = [column_transforms.get(name) for name in names]

    def transform_columns(self, columns: Sequence[Any], describe: DescribeItem) -> tuple[Any, ...]:
        """The columns of a batch, with the column transforms applied to each value.

        Transforms get chunked arrays as they are, and read what they need; without a transform they are read as a whole.
        """
        lazy = self.item_transform is not None
        return tuple(
            (values if lazy else whole(values))
            if function is None
            else _apply(function, values, f"the transform of column {name!r}", describe)
            for name, function, values in zip(self.names, self.column_transforms, columns, strict=True)
        )

    def assemble(self, columns: Sequence[Any]) -> Any:
        """A batch from one value for each column: a value, tuple or dict, as an item is."""
        if self.as_dict:
            return NamedItem(zip(self.names, columns, strict=True))
        return columns[0] if len(columns) == 1 else tuple(columns)

    def items(self, columns: Sequence[Any], describe: DescribeItem) -> list[Any]:
        """The items of a batch, from its columns: arrays or lists of n values each. Rows of arrays are views of them."""
        values = self.transform_columns(columns, describe)
        if self.as_dict:
            items: list[Any] = [NamedItem(zip(self.names, row, strict=True)) for row in zip(*values, strict=True)]
        else:
            items = list(values[0]) if len(values) == 1 else list(zip(*values, strict=True))
        return items if self.item_transform is None else _apply(self._transform_item, items, "the transform", describe)

    def _transform_item(self, item: Any) -> Any:
        assert self.item_transform is not None
        made = self.item_transform(item)
        # A dict made of a dict of subsamples may have other keys in each sample. Every other dict names values.
        return NamedItem(made) if isinstance(made, Mapping) and type(item) is not dict else made


class Batch(Sequence[Any]):
    """A batch of items: a sequence, that is read when it is first used.

    ``hangar.dataset.collate`` reads it as arrays. For other functions it is a sequence of items.
    """

    def __init__(self, selection: Selection, form: ItemForm, numbers: ItemNumbers) -> None:
        self.selection = selection
        self.form = form
        self.numbers = numbers
        self._items: list[Any] | None = None

    def gather(self, out: Sequence[npt.NDArray[Any] | None] | None = None) -> tuple[Any, ...]:
        """Read the columns of the batch, without transforms; see :meth:`Selection.gather`. Reads again at each call."""
        return self.selection.gather(self.numbers, out)

    def columns(self, out: Sequence[npt.NDArray[Any] | None] | None = None) -> tuple[Any, ...]:
        """As :meth:`gather`, with the transforms of columns applied."""
        return self.form.transform_columns(self.gather(out), self._describe)

    @property
    def items(self) -> list[Any]:
        """The items, read once."""
        if self._items is None:
            self._items = self.form.items(self.gather(), self._describe)
        return self._items

    def _describe(self, index: int) -> str:
        number = int(self.numbers[index])
        return f"item {number:,}, key {self.selection.keys(range(number, number + 1))[0]!r}"

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.items[index]

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} items of {', '.join(self.form.names)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.items,)
