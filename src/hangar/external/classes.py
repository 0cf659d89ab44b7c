"""Class names: a column of integers stores numbers, and its attribute ``classes`` lists the names in their order.

``classes[number]`` is the name of a number. An import appends names that the list does not have, so that the numbers of
stored labels never change their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from hangar.errors import InvalidInputError

__all__ = ["CLASSES", "NUMBER", "ClassNames", "class_names", "holds_classes", "look_like_numbers"]

CLASSES: Final = "classes"
"""The column attribute with the class names."""
NUMBER: Final = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
"""A cell of a table that is a number."""


def look_like_numbers(names: Iterable[str]) -> bool:
    """Whether one of the names of classes is written as a number, so that a table of names is taken for numbers."""
    return any(re.match(NUMBER, name) for name in names)


def holds_classes(kind: str, dtype: Any, shape: Sequence[int] | None) -> bool:
    """Whether a column of this schema can hold class numbers: single integers."""
    return kind == "ndarray" and shape is not None and tuple(shape) == () and np.dtype(dtype).kind in "iu"


def class_names(column: Any) -> list[str] | None:
    """The class names of a column; None if it has none."""
    if column.column_type != "ndarray" or not holds_classes("ndarray", column.dtype, column.shape):
        return None
    names = getattr(column, "attributes", {}).get(CLASSES)
    if isinstance(names, list) and names and all(type(name) is str for name in names):
        return names
    return None


class ClassNames:
    """The class names of a writer column. New names are appended to its attribute."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def numbers(self, positions: np.ndarray[Any, Any], names: Sequence[str], path: str) -> np.ndarray[Any, Any]:
        """The numbers of samples whose classes are ``names[position]``.

        Raises
        ------
        InvalidInputError
            The dtype of the column cannot hold so many classes.
        """
        known = class_names(self._column) or []
        at = {name: number for number, name in enumerate(known)}
        fresh = [name for name in names if name not in at]
        dtype = np.dtype(self._column.dtype)
        if len(known) + len(fresh) - 1 > np.iinfo(dtype).max:
            raise InvalidInputError(
                f"{path} has {len(names):,} classes, and column {self._column.column!r} holds {dtype.name}: create it with "
                "a larger dtype"
            )
        if fresh:
            self._column.attributes[CLASSES] = [*known, *fresh]
            at |= {name: len(known) + i for i, name in enumerate(fresh)}
        table = np.array([at[name] for name in names], dtype)
        found: np.ndarray[Any, Any] = table[positions]
        return found
