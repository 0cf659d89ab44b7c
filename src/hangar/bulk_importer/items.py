"""Import of items that can be resumed: a function turns each item into values, in many processes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hangar.bulk_importer.recipe import recipe_digest
from hangar.bulk_importer.report import ImportReport
from hangar.bulk_importer.running import Import, worker_count
from hangar.bulk_importer.udf import UDF_Return, as_triple
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.flags import check_flag
from hangar.progress import Progress

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["import_items"]


def import_items(
    checkout: WriterCheckout,
    columns: str | Sequence[str],
    items: Mapping[Any, Any] | Iterable[Any],
    load: Callable[[Any], Any],
    *,
    workers: int | None = None,
    overwrite: bool = False,
    on_error: str = "collect",
    resume: bool = True,
    progress: Progress = None,
) -> ImportReport:
    """Import many items with a function that runs in many processes. The same call continues after a crash.

    Values are staged, and durable every few seconds together with the progress. If the process ends early, the same
    call (equal function, items and columns) goes on after the last durable item, until the staging area is committed or
    reset. Commit when it returns. Inside a ``with`` block of the checkout the whole import is one batch.

    Parameters
    ----------
    checkout
        A write checkout.
    columns
        Name of the column, or names of the columns, that values go to. They must exist.
    items
        A mapping from sample key to the argument of ``load``, or pairs of the two. If ``load`` is a generator function:
        any sequence, each element an argument.
    load
        Called with one argument, in a worker process; returns the value. With several columns it returns a mapping from
        column name to value; columns that are left out get no sample. In a nested column the value of a sample is a
        mapping from subsample keys to values, or the key is a pair. A generator function yields
        ``UDF_Return(column, key, data)`` any number of times instead.
    workers
        Number of worker processes; 0 runs ``load`` in this process. Default: one for each processor.
    overwrite
        Whether existing samples with different content are replaced. Otherwise such an item fails.
    on_error
        ``'collect'``: items that fail are listed in the report, and the others are imported. ``'stop'``: the first
        failure ends the import with its error; what was imported before stays staged.
    resume
        Whether to skip items that an earlier call of the same import staged. Items that failed are tried again.
    progress
        Progress display: None (a bar on a terminal), True, False, or a function ``(done, total, unit)``.

    Returns
    -------
    ImportReport
        Counts, and the items that failed.

    Raises
    ------
    ColumnNotFoundError
        (a ``KeyError``) there is no such column.
    InvalidStateError
        (a ``RuntimeError``) the function or an item cannot be sent to a worker process.
    InvalidInputError, InvalidTypeError
        (a ``ValueError``, a ``TypeError``) an argument is unsuitable.
    AccessError, DiskFullError, StorageError
        An operation of the operating system failed. What was imported before stays staged.
    """
    names = [columns] if isinstance(columns, str) else list(columns)
    targets = [checkout.columns[name] for name in names]
    _check(names, load, on_error)
    overwrite, resume = check_flag(overwrite, "overwrite"), check_flag(resume, "resume")
    yields = inspect.isgeneratorfunction(load)
    function = Yielding(load) if yields else Returning(load, targets)
    listed = _listed(items, pairs=not yields)
    schemas = [(checkout.session.staging.columns[name].id, checkout.columns[name].schema.digest) for name in names]
    recipe = recipe_digest(load, schemas, listed, [names, overwrite])
    if not resume:
        with checkout.session.writing():
            checkout.session.staging.set_import_progress(recipe, None)
    how: Any = {"workers": worker_count(workers, len(listed)), "overwrite": overwrite, "stop": on_error == "stop"}
    return Import(checkout, targets, function, listed, recipe=recipe, **how).run(progress)


def _check(names: Sequence[str], load: object, on_error: object) -> None:
    if not names or len(set(names)) != len(names):
        raise InvalidInputError("name at least one column, and each once")
    if not callable(load):
        raise InvalidTypeError(f"load must be a function, not {type(load).__name__}")
    if on_error not in ("collect", "stop"):
        raise InvalidInputError(f"on_error must be 'collect' or 'stop', not {on_error!r}")


def _listed(items: Any, *, pairs: bool) -> Sequence[Any]:
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise InvalidTypeError(f"items are a mapping or a sequence, not {type(items).__name__}")
    if isinstance(items, Mapping):
        return list(items.items())
    listed: Sequence[Any] = items if isinstance(items, (list, tuple, range)) else list(items)
    if pairs:
        for item in listed:
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise InvalidTypeError(f"items are pairs of key and argument of the function, not {item!r:.80}")
    return listed


class Yielding:
    """A generator function that yields ``UDF_Return``, as a function of one item."""

    def __init__(self, function: Callable[[Any], Iterable[UDF_Return]]) -> None:
        self._function = function

    def __call__(self, item: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Triples of column, key and value."""
        return map(as_triple, self._function(item))


class Returning:
    """A function that returns the value of an argument, as a function of an item: a pair of key and argument."""

    def __init__(self, function: Callable[[Any], Any], columns: Sequence[Any]) -> None:
        self._function = function
        self._names = [column.column for column in columns]
        self._nested = {column.column for column in columns if column.contains_subsamples}

    def __call__(self, item: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Triples of column, key and value."""
        key, argument = item
        found = self._function(argument)
        if len(self._names) == 1:
            yield from self._values(self._names[0], key, found)
            return
        if not isinstance(found, Mapping):
            raise InvalidTypeError(
                f"the function must return a mapping from column name to value, not {type(found).__name__}"
            )
        for name, value in found.items():
            yield from self._values(name, key, value)

    def _values(self, name: Any, key: Any, value: Any) -> Iterator[tuple[Any, Any, Any]]:
        if name not in self._nested or isinstance(key, tuple):
            yield name, key, value
            return
        if not isinstance(value, Mapping):
            raise InvalidTypeError(
                f"column {name!r} is nested: a sample is a mapping from subsample keys to values, not {type(value).__name__}"
            )
        for subsample, one in value.items():
            yield name, (key, subsample), one
