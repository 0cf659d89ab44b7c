"""Check that a value read from a file fits a column, and build the command that creates a fitting column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np

from hangar.external.classes import class_names
from hangar.schema.media import MEDIA_KINDS
from hangar.schema.sparse import is_scipy_sparse

__all__ = ["Column", "ColumnRequirements", "Value", "create_command", "is_added", "stored_values", "value_bytes"]

Value: TypeAlias = "np.ndarray[Any, Any] | str | bytes"


class Column(Protocol):
    """The part of the column interface that imports and exports use."""

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
    @property
    def contains_subsamples(self) -> bool: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return "ndarray"
    return "sparse" if is_scipy_sparse(value) else type(value).__name__


def stored_values(column: Any, keys: list[Any]) -> list[Any]:
    """The values of a column as files hold them: of images, audio and video the files, of others what they read as."""
    found: list[Any] = column.encoded(keys) if column.column_type in MEDIA_KINDS else column[keys]
    return found


def value_bytes(value: Any) -> int:
    """Approximate size of a value in memory, in bytes."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return 3 * value.nnz * value.dtype.itemsize if is_scipy_sparse(value) else len(value)


def is_added(dtype: np.dtype[Any]) -> bool:
    """Whether another package registered the type with numpy (bfloat16, float8).

    ``.npy`` files store it as raw bytes (``V2``).
    """
    return dtype.isbuiltin == 2


@dataclass(frozen=True, slots=True)
class ColumnRequirements:
    """Snapshot of the schema of a column.

    Each access to a writer's column checks the writer lock, this record does not.
    """

    column: str
    kind: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    variable: bool
    nested: bool
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, column: Column) -> ColumnRequirements:
        """The snapshot of ``column``."""
        kind = column.column_type
        array = kind in ("ndarray", "sparse")
        return cls(
            column=column.column,
            kind=kind,
            dtype=np.dtype(column.dtype).newbyteorder("=") if array else None,
            shape=tuple(column.shape) if array else (),
            variable=column.schema_type == "variable_shape",
            nested=column.contains_subsamples,
            classes=tuple(class_names(column) or ()),
        )

    @property
    def nbytes(self) -> int:
        """Size of a value in bytes. The largest size if shapes vary; 0 for text and bytes."""
        return 0 if self.dtype is None or self.kind == "sparse" else prod(self.shape) * self.dtype.itemsize

    @property
    def holds(self) -> str:
        """The allowed shapes as a clause for error messages."""
        wanted = "shapes up to" if self.variable else "shape"
        return f"column {self.column!r} holds {wanted} {_times(self.shape)}"

    def typed(self, value: Any) -> Any:
        """View raw bytes (``V2``) from a file as the type of the column, see :func:`is_added`.

        Other values are returned unchanged.
        """
        if self.dtype is None or not is_added(self.dtype) or not isinstance(value, np.ndarray):
            return value
        return value.view(self.dtype) if value.dtype == np.dtype(f"V{self.dtype.itemsize}") else value

    def mismatch(self, value: Any) -> str | None:
        """The reason why ``value`` does not fit, as a predicate for an error message; None if it fits."""
        kind = _kind(value)
        if kind != self.kind and not (kind == "bytes" and self.kind in MEDIA_KINDS):
            return f"holds {kind}, and column {self.column!r} holds {self.kind}"
        if isinstance(value, (str, bytes)):
            return None
        if value.dtype.newbyteorder("=") != self.dtype:
            return f"has dtype {value.dtype}, and column {self.column!r} holds {self.dtype}"
        if _shape_fits(value.shape, self.shape, self.variable):
            return None
        text = f"has shape {_times(value.shape)}, and {self.holds}"
        if value.shape[1:] == self.shape:
            text += " (each row a sample? Write them from Python: `column.write(range(len(array)), array)`)"
        return text


def _shape_fits(shape: Sequence[int], wanted: Sequence[int], variable: bool) -> bool:
    if variable:
        return len(shape) == len(wanted) and all(one <= most for one, most in zip(shape, wanted, strict=True))
    return tuple(shape) == tuple(wanted)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(extent) for extent in shape) or "()"


def create_command(
    name: str, kind: str, dtype: str = "", shape: Sequence[int] = (), *, variable: bool = False, sparse: bool = False
) -> str:
    """The command that creates a column for values of ``kind`` (arrays of ``dtype`` and ``shape``)."""
    if kind in ("ndarray", "sparse"):
        words = ["hangar column create", name, dtype.upper(), *map(str, shape)]
        return " ".join([*words, *["--variable-shape"] * variable, *["--sparse"] * (sparse or kind == "sparse")])
    return f"hangar column create {name} {kind.upper()}"
