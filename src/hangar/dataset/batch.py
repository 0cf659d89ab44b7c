"""Items and batches of a data set. An item is a value, a tuple or a dict: one sample of each column, transformed.

A batch is read when it is first used: as arrays, with one gather for each column, or as items, which are rows of those
arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy.typing as npt

from hangar.dataset.selection import ItemNumbers, Selection
from hangar.errors import InvalidInputError, InvalidTypeError

__all__ = ["Batch", "ItemForm", "NamedItem", "Transform"]

Transform = Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]] | None
"""A callable that takes an item, or a mapping from names of columns to callables that take a value of the column."""


class NamedItem(dict[str, Any]):
    """An item as a dict of column names. A class of its own, to tell it from a sample of a nested column."""


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

    def transform_columns(self, columns: Sequence[Any]) -> tuple[Any, ...]:
        """The columns of a batch, with the column transforms applied to each value."""
        return tuple(
            values if function is None else list(map(function, values))
            for function, values in zip(self.column_transforms, columns, strict=True)
        )

    def assemble(self, columns: Sequence[Any]) -> Any:
        """A batch from one value for each column: a value, tuple or dict, as an item is."""
        if self.as_dict:
            return NamedItem(zip(self.names, columns, strict=True))
        return columns[0] if len(columns) == 1 else tuple(columns)

    def items(self, columns: Sequence[Any]) -> list[Any]:
        """The items of a batch, from its columns: arrays or lists of n values each. Rows of arrays are views of them."""
        values = self.transform_columns(columns)
        if self.as_dict:
            items: list[Any] = [NamedItem(zip(self.names, row, strict=True)) for row in zip(*values, strict=True)]
        else:
            items = list(values[0]) if len(values) == 1 else list(zip(*values, strict=True))
        return items if self.item_transform is None else list(map(self.item_transform, items))


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

    @property
    def items(self) -> list[Any]:
        """The items, read once."""
        if self._items is None:
            self._items = self.form.items(self.gather())
        return self._items

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
