"""Slices of a data set: which part of a large array an item is.

A chunked array is opened lazily, and of it only the chunks that the part touches are read. The part may be the same for
all items, one for each item, or come from a function of the sample's key and shape that is called at each read (random
crops). Columns that share one such function get the same part of an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar.columns.chunked.array import ChunkedArray
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError
from hangar.schema import ColumnSchema
from hangar.threads import cores, parallel_map

__all__ = ["Slicing", "cut", "fetch_parts", "slicing_of", "whole"]

Index: TypeAlias = Any
"""An index expression of numpy: ints, slices and ``...``, alone or in a tuple."""
Given: TypeAlias = "Index | Sequence[Index] | npt.NDArray[np.integer[Any]] | Callable[[Any, tuple[int, ...]], Index]"
SLICED_KINDS: Final = ("chunked", "sparse")
"""Kinds of columns that are sliced if no column is named."""
_THREADED_BYTES: Final = 2**20
"""Parts of a batch are read on threads from this size on."""


class Slicing:
    """The part of each item: one index for all, one for each, or a function.

    Parameters
    ----------
    given
        What the user gave.
    count
        Number of items.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        There are more or fewer indices than items, or something is no index.
    """

    def __init__(self, given: Given, count: int) -> None:
        self._same: Index = None
        self._each: Sequence[Index] | npt.NDArray[Any] | None = None
        self.function: Callable[[Any, tuple[int, ...]], Index] | None = None
        if callable(given):
            self.function = given
        elif isinstance(given, np.ndarray):
            if given.ndim != 3 or given.shape[2] != 2 or given.dtype.kind not in "iu":
                raise InvalidTypeError(
                    "an array of slices has integers of shape (items, axes, 2): start and stop along each axis"
                )
            self._each = given
        elif _is_index(given):
            self._same = given
        else:
            self._each = list(given)
            wrong = next((one for one in self._each if not _is_index(one)), None)
            if wrong is not None:
                raise InvalidTypeError(f"slices are index expressions such as np.s_[0:2, :], not {wrong!r}")
        if self._each is not None and len(self._each) != count:
            raise InvalidInputError(f"{len(self._each):,} slices for {count:,} items: give one for each item")

    def of(self, numbers: Any, keys: Callable[[], Sequence[Any]], shapes: Sequence[tuple[int, ...]]) -> list[Index]:
        """The index of each of some items, given their numbers, keys and shapes."""
        if self.function is not None:
            function = self.function
            return [function(key, shape) for key, shape in zip(keys(), shapes, strict=True)]
        if self._each is None:
            return [self._same] * len(numbers)
        if isinstance(self._each, np.ndarray):
            bounds = self._each[numbers.start : numbers.stop] if isinstance(numbers, range) else self._each[numbers]
            return [tuple(slice(start, stop) for start, stop in one) for one in bounds.tolist()]
        return [self._each[int(number)] for number in numbers]

    def take(self, numbers: Any) -> Slicing:
        """The slices of some of the items."""
        if self._each is None:
            return self
        made = Slicing.__new__(Slicing)
        made._same, made.function = None, None
        each = self._each
        if isinstance(each, np.ndarray):
            made._each = each[numbers.start : numbers.stop] if isinstance(numbers, range) else each[numbers]
        else:
            made._each = [each[int(number)] for number in numbers]
        return made


def _is_index(given: object) -> bool:
    parts = given if isinstance(given, tuple) else (given,)
    return all(
        one is Ellipsis or isinstance(one, slice) or (isinstance(one, (int, np.integer)) and not isinstance(one, bool))
        for one in parts
    )


def slicing_of(
    given: Given | Mapping[str, Given] | None, schemas: Mapping[str, ColumnSchema], count: int
) -> dict[str, Slicing]:
    """The slices of each column, by name, from the argument ``slices`` of a data set.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        A column is named that the data set does not have, or that has no slices; there is nothing to slice; or as for
        :class:`Slicing`.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for name in given:
            if name not in schemas:
                raise InvalidInputError(
                    f"slices name a column {name!r}, and the data set has: {', '.join(map(str, schemas))}"
                )
            if schemas[name].dtype is None:
                raise InvalidInputError(f"column {name!r} holds {schemas[name].kind_name}, which has no slices")
        return {name: Slicing(one, count) for name, one in given.items()}
    names = [name for name, schema in schemas.items() if schema.kind_name in SLICED_KINDS]
    if not names:
        raise InvalidInputError(
            "slices are for chunked and sparse columns; for columns of arrays name them: slices={name: ...}"
        )
    return dict.fromkeys(names, Slicing(given, count))


# ---------------------------------------------------------------------- reading


def cut(values: Sequence[Any], indices: Sequence[Index]) -> Any:
    """The part of each value, stacked if all parts are arrays of one shape, else a list.

    Raises
    ------
    PositionNotFoundError
        (an ``IndexError``) a value has no such part.
    CorruptionError
        The stored bytes are damaged.
    """
    pairs = list(zip(values, indices, strict=True))
    fetch_parts(values, indices)
    first = _part(pairs[0]) if pairs else None
    nbytes = getattr(first, "nbytes", 0) * len(pairs)
    chunked = bool(pairs) and isinstance(values[0], ChunkedArray)
    if chunked and nbytes >= _THREADED_BYTES and cores() > 1:
        parts = [first, *parallel_map(_part, pairs[1:], "hangar-slices")]
    else:
        parts = [first, *map(_part, pairs[1:])] if pairs else []
    if all(isinstance(part, np.ndarray) for part in parts) and len({part.shape for part in parts}) == 1:
        return np.stack(parts)
    return parts


def fetch_parts(values: Sequence[Any], indices: Sequence[Index]) -> int:
    """Have the chunks of all parts of chunked arrays fetched that are not here, with one request; returns their bytes."""
    if len(values) and isinstance(values[0], ChunkedArray):
        # What is no index of its array is told where it is read.
        with suppress(IndexError, TypeError, ValueError):
            return values[0]._fetch(list(zip(values, indices, strict=True)))
    return 0


def _part(pair: tuple[Any, Index]) -> Any:
    value, index = pair
    try:
        part = value[index]
    except (IndexError, TypeError, ValueError) as error:
        raise PositionNotFoundError(f"an item of shape {value.shape} has no part {index!r}: {error}") from None
    return np.array(part) if isinstance(part, (np.ndarray, np.generic)) else part


def whole(values: Any) -> Any:
    """Values with chunked arrays read as a whole."""
    if isinstance(values, list) and any(isinstance(value, ChunkedArray) for value in values):
        return [value[...] if isinstance(value, ChunkedArray) else value for value in values]
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return [dict(_items(one)) for one in values]
    return values


def _items(sample: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Subsamples of a sample, chunked arrays as a whole."""
    return ((key, value[...] if isinstance(value, ChunkedArray) else value) for key, value in sample.items())
