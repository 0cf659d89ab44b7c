"""Whether a value that came from a file fits a column, and which column would fit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

__all__ = ["Column", "Value", "create_command", "mismatch"]

Value: TypeAlias = "np.ndarray[Any, Any] | str | bytes"


class Column(Protocol):
    """What importers and exporters need of a column."""

    @property
    def column(self) -> str: ...
    @property
    def column_type(self) -> str: ...
    @property
    def schema_type(self) -> str: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def shape(self) -> Any: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


def _kind(value: object) -> str:
    return "ndarray" if isinstance(value, np.ndarray) else type(value).__name__


def mismatch(value: object, column: Column) -> str | None:
    """Why ``value`` does not fit ``column``, as the rest of a sentence about it; None when it does."""
    kind, name = _kind(value), column.column
    if kind != column.column_type:
        return f"holds {kind}, and column {name!r} holds {column.column_type}"
    if not isinstance(value, np.ndarray):
        return None
    dtype = np.dtype(column.dtype)
    if value.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        return f"has dtype {value.dtype}, and column {name!r} holds {dtype}"
    if _shape_fits(value.shape, tuple(column.shape), column.schema_type == "variable_shape"):
        return None
    wanted = "shapes up to" if column.schema_type == "variable_shape" else "shape"
    text = f"has shape {_times(value.shape)}, and column {name!r} holds {wanted} {_times(column.shape)}"
    if value.shape[1:] == tuple(column.shape):
        text += " (each row a sample? Write them from Python: `column.write(range(len(array)), array)`)"
    return text


def _shape_fits(shape: Sequence[int], wanted: Sequence[int], variable: bool) -> bool:
    if variable:
        return len(shape) == len(wanted) and all(one <= most for one, most in zip(shape, wanted, strict=True))
    return tuple(shape) == tuple(wanted)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(extent) for extent in shape) or "()"


def create_command(name: str, value: object) -> str:
    """The command that makes a column for values like ``value``."""
    if isinstance(value, np.ndarray):
        return " ".join(("hangar column create", name, value.dtype.name.upper(), *map(str, value.shape)))
    return f"hangar column create {name} {_kind(value).upper()}"
