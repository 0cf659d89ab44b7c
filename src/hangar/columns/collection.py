"""The columns of a checkout, a mapping from name to column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from hangar.columns.base import ColumnBase
from hangar.columns.block import BatchBlock, OpenBlock
from hangar.columns.present import columns_html, columns_lines, first_keys
from hangar.errors import ColumnNotFoundError

__all__ = ["Columns", "ColumnsOwner"]


C = TypeVar("C", bound=ColumnBase)
C_co = TypeVar("C_co", bound=ColumnBase, covariant=True)


class ColumnsOwner(Protocol[C_co]):
    """Interface of the checkout behind the mapping."""

    writable: bool

    def names(self) -> list[str]:
        """Names of the columns, sorted."""

    def column(self, name: str) -> C_co | None:
        """The column of a name; None if there is none."""

    def check_removal(self) -> None:
        """Raise AccessError if no column can be removed now."""

    def remove(self, name: str) -> None:
        """Remove a column from the staging area."""

    def batch(self) -> OpenBlock:
        """One batch of writes."""

    def check(self) -> None:
        """Raise if the checkout cannot be used any more."""

    def reduce(self) -> tuple[Any, ...]:
        """Result of ``__reduce__`` for the mapping (pickling)."""


class Columns(BatchBlock, Generic[C]):
    """Columns of a checkout by name, sorted by name."""

    def __init__(self, owner: ColumnsOwner[C]) -> None:
        self._owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        self._owner.check()
        return self._owner.reduce()

    def __getitem__(self, name: str) -> C:
        """The column ``name``; ColumnNotFoundError (a ``KeyError``) if there is none."""
        self._owner.check()
        given: object = name  # An unhashable name is no column name either.
        column = self._owner.column(given) if isinstance(given, str) else None
        if column is None:
            names = ", ".join(self._owner.names()) or "none"
            raise ColumnNotFoundError(f"there is no column {name!r} here; there are: {names}")
        return column

    def get(self, name: str) -> C:
        """Same as ``columns[name]``."""
        return self[name]

    def __contains__(self, name: object) -> bool:
        self._owner.check()
        return name in self._owner.names()

    def __len__(self) -> int:
        self._owner.check()
        return len(self._owner.names())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.keys())

    def keys(self) -> list[str]:
        """Names of the columns, sorted."""
        self._owner.check()
        return self._owner.names()

    def values(self) -> list[C]:
        """The columns, in the order of their names."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, C]]:
        """Pairs of name and column."""
        return [(name, self[name]) for name in self.keys()]

    @property
    def iswriteable(self) -> bool:
        """Whether columns can be added, removed and written to."""
        self._owner.check()
        return self._owner.writable

    @property
    def contains_remote_references(self) -> dict[str, bool]:
        """For each column, whether some of its data is promised by a remote and not on this disk."""
        return {name: column.contains_remote_references for name, column in self.items()}

    @property
    def remote_sample_keys(self) -> dict[str, tuple[int | str, ...]]:
        """For each column, the keys of samples whose data is promised and not on this disk."""
        return {name: column.remote_reference_keys for name, column in self.items()}

    def delete(self, name: str) -> str:
        """Delete the column ``name`` with all its samples; returns the name. A column that was never committed cannot be brought back.

        Raises
        ------
        AccessError
            (a ``PermissionError``) of a reader, or inside a ``with`` block.
        ColumnNotFoundError
            There is no such column.
        """
        self._owner.check()
        self._owner.check_removal()
        if name not in self:
            raise ColumnNotFoundError(f"there is no column {name!r} to delete")
        self._owner.remove(name)
        return name

    def __delitem__(self, name: str) -> None:
        self.delete(name)

    def _open_batch(self) -> OpenBlock:
        return self._owner.batch()

    def __repr__(self) -> str:
        self._owner.check()
        return f"<Columns of a {'writer' if self._owner.writable else 'reader'}: {first_keys(self)}>"

    def __str__(self) -> str:
        return columns_lines(repr(self).partition(":")[0].strip("<"), self._each(), len(self))

    def _repr_html_(self) -> str:
        return columns_html("Columns", self._each(), len(self))

    def _each(self) -> Iterator[tuple[str, C]]:
        """Like :meth:`items`; opens each column only when it is reached."""
        return ((name, self[name]) for name in self.keys())

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()
