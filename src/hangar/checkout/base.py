"""What both kinds of checkout offer: columns by name, values across columns, the commit they show.

Access goes through ``checkout[...]``; what the brackets may hold is in ``_resolve``. A missing column or sample is a ``KeyError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic

from hangar.checkout.session import ReaderSession, WriterSession
from hangar.columns.base import BatchBlock
from hangar.columns.collection import C, Columns
from hangar.errors import InvalidTypeError, SampleNotFoundError

__all__ = ["CheckoutBase"]


class CheckoutBase(BatchBlock, Generic[C]):
    """Read access to the columns of one commit or of the staging area."""

    session: ReaderSession | WriterSession
    _columns: Columns[C]

    @property
    def columns(self) -> Columns[C]:
        """The columns, a mapping by name."""
        self.session.check()
        return self._columns

    @property
    def arraysets(self) -> Columns[C]:
        """Older name of :attr:`columns`."""
        return self.columns

    # ------------------------------------------------------------------ as a mapping of columns

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def keys(self) -> list[str]:
        """Names of the columns, sorted."""
        return self.columns.keys()

    def values(self) -> list[C]:
        """The columns, in the order of their names."""
        return self.columns.values()

    def items(self) -> list[tuple[str, C]]:
        """Pairs of name and column."""
        return self.columns.items()

    # ------------------------------------------------------------------ values across columns

    def __getitem__(self, index: Any) -> Any:
        """A column (``co['name']``), a value (``co['name', key]``), or a list of them (``co[('a', 1), ('b', 1)]``).

        Of a nested column ``co['name', sample]`` is a view of the sample, ``co['name', sample, subsample]`` a value, and
        ``co['name', sample, ...]`` a dict of all.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) there is no such column or sample.
        """
        self.session.check()
        many, requests = _requests(index)
        values = [self._one(request) for request in requests]
        return values if many else values[0]

    def get(self, keys: Any, default: Any = None, except_missing: bool = False) -> Any:
        """As ``co[keys]``, with ``default`` for each sample that is missing (a missing column too).

        Parameters
        ----------
        keys
            What would stand in the brackets.
        default
            Value of what is missing.
        except_missing
            Raise for what is missing, as the brackets do.
        """
        self.session.check()
        many, requests = _requests(keys)
        values = []
        for request in requests:
            try:
                values.append(self._one(request))
            except KeyError:
                if except_missing:
                    raise
                values.append(default)
        return values if many else values[0]

    def _one(self, request: str | tuple[Any, ...]) -> Any:
        if isinstance(request, str):
            return self._columns[request]
        column: Any = self._columns[request[0]]
        key = request[1] if len(request) == 2 else tuple(request[1:])
        if isinstance(key, (list, slice)):
            raise InvalidTypeError("a batch of one column is read by column[[...]] or column.read(...)")
        if len(request) > 2 and not column.contains_subsamples:
            raise SampleNotFoundError(f"column {request[0]!r} is flat: its samples have no subsamples")
        return column[key]

    # ------------------------------------------------------------------ with

    def _open_batch(self) -> AbstractContextManager[None]:
        self.session.check()
        return self.session.batch()

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()


def _requests(index: Any) -> tuple[bool, Sequence[str | tuple[Any, ...]]]:
    """Whether a list is wanted, and the requests: a column's name, or (column, key ...)."""
    if isinstance(index, str):
        return False, [index]
    if isinstance(index, tuple) and index and isinstance(index[0], str):
        return False, [index if len(index) > 1 else index[0]]
    if isinstance(index, (tuple, list)) and index and all(isinstance(i, (tuple, list)) and len(i) > 1 for i in index):
        return True, [tuple(i) for i in index]
    raise InvalidTypeError(
        f"{index!r} names nothing in a checkout: use co['column'], co['column', key] or co[('column', key), ...]"
    )
