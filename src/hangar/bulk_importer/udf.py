"""Bulk import with a generator function, all or nothing, on a branch of a repository."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hangar.bulk_importer.running import Import, worker_count
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.flags import check_flag
from hangar.threads import cores
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.repository import Repository

__all__ = ["UDF_Return", "as_triple", "run_bulk_import"]


@dataclass(frozen=True, slots=True, eq=False)
class UDF_Return:  # noqa: N801  the name that users know
    """One value for a column.

    Attributes
    ----------
    column
        Name of the column.
    key
        Sample key; in a nested column the pair ``(sample, subsample)``.
    data
        The value.
    """

    column: str
    key: int | str | tuple[int | str, int | str]
    data: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UDF_Return):
            return NotImplemented
        if (self.column, self.key) != (other.column, other.key):
            return False
        if isinstance(self.data, np.ndarray) or isinstance(other.data, np.ndarray):
            mine, its = np.asarray(self.data), np.asarray(other.data)
            return mine.dtype == its.dtype and np.array_equal(mine, its)
        return bool(self.data == other.data)

    __hash__ = None  # type: ignore[assignment]  # data may be an array


def as_triple(result: object) -> tuple[Any, Any, Any]:
    """Column, key and value of what a generator function yielded; InvalidTypeError if it is no :class:`UDF_Return`."""
    if not isinstance(result, UDF_Return):
        raise InvalidTypeError(f"the function must yield UDF_Return(column, key, data), not {type(result).__name__}")
    return result.column, result.key, result.data


class _Calling:
    """A generator function of keyword arguments, as a function of one item: the dict of them."""

    def __init__(self, function: Callable[..., Iterable[UDF_Return]]) -> None:
        self._function = function

    def __call__(self, item: Mapping[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
        return map(as_triple, self._function(**item))


def run_bulk_import(
    repo: Repository,
    branch_name: str,
    column_names: Sequence[str],
    udf: Callable[..., Iterable[UDF_Return]],
    udf_kwargs: Sequence[Mapping[str, Any]],
    *,
    ncpus: int = 0,
    autocommit: bool = True,
) -> None:
    """Import with a generator function in many processes, all or nothing.

    An error of any kind leaves the branch and its staging area as they were. The writer lock is released in every case,
    and no worker process is left.

    Parameters
    ----------
    repo
        The repository. No writer may be open.
    branch_name
        The branch to write to.
    column_names
        The columns that values go to. They must exist.
    udf
        A generator function that yields :class:`UDF_Return`. It runs in worker processes.
    udf_kwargs
        The keyword arguments of each call. Where calls give the same key, the last in this order counts.
    ncpus
        Number of worker processes; 0: one for each processor.
    autocommit
        Whether to commit. Otherwise the values stay staged.

    Raises
    ------
    InvalidTypeError
        (a ``TypeError``) ``udf`` is no generator function, the dicts do not fit its signature, or it yielded something
        other than :class:`UDF_Return`.
    InvalidInputError
        (a ``ValueError``) it yielded an unknown column, a bad key, or a value that does not fit the column.
    InvalidStateError
        (a ``RuntimeError``) the function or its arguments cannot be pickled.
    RevisionNotFoundError
        (a ``ValueError``) there is no such branch.
    ColumnNotFoundError
        (a ``KeyError``) there is no such column.
    NothingToDoError
        (a ``RuntimeError``) nothing was changed, so there is nothing to commit.
    Exception
        Whatever ``udf`` raised, if it can be sent between processes.
    """
    calls = _check_calls(udf, udf_kwargs)
    autocommit = check_flag(autocommit, "autocommit")
    workers = worker_count(ncpus or cores(), len(calls))
    names = [column_names] if isinstance(column_names, str) else list(dict.fromkeys(column_names))
    checkout = repo.checkout(write=True, branch=branch_name)
    try:
        columns = [checkout.columns[name] for name in names]
        if not columns:
            raise InvalidInputError("name at least one column")
        with checkout:
            work = Import(checkout, columns, _Calling(udf), calls, workers=workers, overwrite=True, stop=True)
            report = work.run(False)
            if autocommit:
                checkout.commit(
                    f"Bulk import of {plural(sum(report.samples.values()), 'sample')} into {', '.join(names)}"
                )
    finally:
        checkout.close()


def _check_calls(udf: Any, udf_kwargs: Any) -> list[Mapping[str, Any]]:
    if not inspect.isgeneratorfunction(udf):
        raise InvalidTypeError(f"udf must be a generator function, not {type(udf).__name__}")
    if isinstance(udf_kwargs, (str, bytes, Mapping)) or not isinstance(udf_kwargs, Iterable):
        raise InvalidTypeError(f"udf_kwargs is a sequence of dicts, not {type(udf_kwargs).__name__}")
    calls: list[Mapping[str, Any]] = list(udf_kwargs)
    signature = inspect.signature(udf)
    for number, call in enumerate(calls):
        if not isinstance(call, dict):
            raise InvalidTypeError(f"udf_kwargs[{number}] is a {type(call).__name__}, not a dict")
        try:
            signature.bind(**call)
        except TypeError as error:
            raise InvalidTypeError(f"udf_kwargs[{number}] does not fit the signature of udf: {error}") from None
    return calls
