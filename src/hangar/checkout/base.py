"""Base class of both kinds of checkout: columns by name, values of several columns, the commit.

``checkout[...]`` gives columns and values; ``_requests`` parses the index. A missing column or sample is a
``KeyError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic

from hangar.checkout.session import ReaderSession, WriterSession
from hangar.columns.block import BatchBlock, OpenBlock
from hangar.columns.collection import C, Columns
from hangar.columns.present import columns_html, columns_lines
from hangar.digest import Digest
from hangar.errors import InvalidTypeError, SampleNotFoundError
from hangar.flags import check_flag
from hangar.history import LogContents, named_commit, show_log
from hangar.wording import plural

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

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.columns)

    def keys(self) -> list[str]:
        """Names of the columns, sorted."""
        return self.columns.keys()

    def values(self) -> list[C]:
        """The columns, sorted by name."""
        return self.columns.values()

    def items(self) -> list[tuple[str, C]]:
        """Pairs of name and column."""
        return self.columns.items()

    # ------------------------------------------------------------------ values across columns

    def __getitem__(self, index: Any) -> Any:
        """A column (``co['name']``), a value (``co['name', key]``), or a list of them (``co[('a', 1), ('b', 1)]``).

        Of a nested column ``co['name', sample]`` is a view of the sample, ``co['name', sample, subsample]`` a value,
        and ``co['name', sample, ...]`` a dict of all.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) there is no such column or sample.
        """
        self.session.check()
        many, requests = _requests(index)
        return self._many(requests) if many else self._one(requests[0])

    def get(self, keys: Any, default: Any = None, except_missing: bool = False) -> Any:
        """Same as ``co[keys]``, with ``default`` for each missing sample or column.

        Parameters
        ----------
        keys
            Index, as in ``co[keys]``.
        default
            Value for a missing sample or column.
        except_missing
            Raise for a missing sample or column, as ``co[keys]`` does.
        """
        self.session.check()
        must = check_flag(except_missing, "except_missing")
        many, requests = _requests(keys)
        try:
            return self._many(requests) if many else self._one(requests[0])
        except KeyError:
            if must:
                raise
        values = [self._one_or(request, default) for request in requests]
        return values if many else values[0]

    def _one_or(self, request: str | tuple[Any, ...], default: Any) -> Any:
        try:
            return self._one(request)
        except KeyError:
            return default

    def _many(self, requests: Sequence[str | tuple[Any, ...]]) -> list[Any]:
        """Values of several requests, in order. The requests of one column are read as one batch."""
        values: list[Any] = [None] * len(requests)
        groups: dict[tuple[str, int], list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault((request[0], len(request)), []).append(i)
        for (name, parts), places in groups.items():
            column: Any = self._columns[name]
            if len(places) > 1 and parts == (3 if column.contains_subsamples else 2):
                keys = [requests[i][1:] if parts == 3 else requests[i][1] for i in places]
                found = column[keys]
            else:
                found = [self._one(requests[i]) for i in places]
            for i, value in zip(places, found, strict=True):
                values[i] = value
        return values

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

    # ------------------------------------------------------------------ history

    @property
    def commit_hash(self) -> str:
        """Digest in hex of the commit that the checkout shows or is based on; ``''`` before the first."""
        raise NotImplementedError

    def log(
        self,
        branch: str | None = None,
        commit: str | None = None,
        *,
        return_contents: bool = False,
        show_time: bool = False,
        show_user: bool = False,
    ) -> LogContents | None:
        """Print the history of this commit as a graph, or return it.

        Parameters
        ----------
        branch, commit
            Start at a branch or a revision instead.
        return_contents
            Return a dict (``head``, ``ancestors``, ``specs``, ``order``, ``branch_heads``) instead of printing.
        show_time, show_user
            Print them too.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch or commit.
        """
        self.session.check()
        db, refs = self.session.stores.db, self.session.stores.refs
        start = Digest(bytes.fromhex(self.commit_hash)) if self.commit_hash else None
        if branch or commit:
            start = named_commit(db, refs, branch, commit)
        return show_log(db, refs, start, return_contents=return_contents, show_time=show_time, show_user=show_user)

    # ------------------------------------------------------------------ at a prompt

    def _title(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        self.session.check()
        return f"<{self._title()}: {plural(len(self), 'column')}>"

    def __str__(self) -> str:
        self.session.check()
        return columns_lines(self._title(), self.columns.items(), len(self))

    def _repr_html_(self) -> str:
        self.session.check()
        return columns_html(self._title(), self.columns.items(), len(self))

    # ------------------------------------------------------------------ with

    def _open_batch(self) -> OpenBlock:
        return self.session.batch()

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()


def _requests(index: Any) -> tuple[bool, Sequence[str | tuple[Any, ...]]]:
    """Parse an index: whether the result is a list, and the requests, each a column name or (column, key ...)."""
    if isinstance(index, str):
        return False, [index]
    if isinstance(index, tuple) and index and isinstance(index[0], str):
        return False, [index if len(index) > 1 else index[0]]
    if (
        isinstance(index, (tuple, list))
        and index != ()
        and all(isinstance(i, (tuple, list)) and len(i) > 1 for i in index)
    ):
        return True, [tuple(i) for i in index]
    raise InvalidTypeError(
        f"{index!r} names nothing in a checkout: use co['column'], co['column', key] or co[('column', key), ...]"
    )
