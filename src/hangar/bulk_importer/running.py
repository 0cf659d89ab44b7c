"""Run an import: items become values in worker processes, and this process writes them and records the progress.

Values and progress are published in one transaction, so a crash at any moment leaves exactly the items staged that the
progress names. Items are stored in their order, whatever the order in which workers finish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from hangar.bulk_importer.encode import Failure, Target, Values
from hangar.bulk_importer.pool import Result, Work, run_here, run_in_processes
from hangar.bulk_importer.report import FailedItem, ImportReport
from hangar.bulk_importer.storing import Storing
from hangar.digest import Digest
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.progress import Progress, Reporter, report
from hangar.staging.imports import IMPORT_VERSION, ImportRow
from hangar.threads import cores

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["Import", "targets_of", "worker_count"]

PUBLISHED_BYTES: Final = 256 * 2**20
PUBLISHED_SECONDS: Final = 2.0
"""What was imported is made durable at this size, or after this time."""
MOST_IN_FULL: Final = 100
"""So many failures keep their traceback and the whole message."""
FEW_ITEMS: Final = 16
"""Fewer items are imported in this process by default: starting others takes longer."""


def worker_count(workers: int | None, items: int) -> int:
    """Number of worker processes; 0 for this process alone.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        ``workers`` is no number of processes.
    """
    if workers is None:
        return 0 if items < FEW_ITEMS or cores() < 2 else min(cores(), items)
    if type(workers) is not int:
        raise InvalidTypeError(f"the number of worker processes is an int, not {type(workers).__name__}")
    if not 0 <= workers <= 512:
        raise InvalidInputError(f"the number of worker processes must be from 0 to 512, not {workers}")
    return min(workers, items)


def targets_of(columns: Sequence[Any]) -> list[Target]:
    """What worker processes need to know of writer columns.

    Raises
    ------
    InvalidInputError
        A column holds chunked arrays, which are written chunk by chunk.
    """
    for column in columns:
        if column.column_type == "chunked":
            raise InvalidInputError(
                f"column {column.column!r} holds chunked arrays, which a bulk import cannot write: assign them one by one"
            )
    return [Target(column.column, column.schema.data, column.contains_subsamples) for column in columns]


class Import:
    """One import into a write checkout.

    Parameters
    ----------
    checkout
        The write checkout.
    columns
        Its columns that are written to.
    function
        Called in a worker with each item; gives the triples of column name, key and value.
    items
        The items.
    workers
        Number of worker processes, 0 for this process.
    overwrite
        Whether existing samples with different content are replaced.
    stop
        Whether the first failure ends the import, with the error of the item. What is stored then stays staged, unless
        the whole import is in a ``with`` block.
    recipe
        Digest that the progress is recorded under; None to record none.
    """

    def __init__(
        self,
        checkout: WriterCheckout,
        columns: Sequence[Any],
        function: Callable[[Any], Values],
        items: Sequence[Any],
        *,
        workers: int,
        overwrite: bool,
        stop: bool,
        recipe: Digest | None = None,
    ) -> None:
        self._checkout = checkout
        self._session = checkout.session
        self._targets = targets_of(columns)
        names = self._session.staging.columns
        self._ids = [names[target.name].id for target in self._targets]
        self._function = function
        self._items = items
        self._workers = workers
        self._stop = stop
        self._recipe = recipe
        self._storing = Storing(columns, self._targets, overwrite)
        self._failures: dict[int, Failure] = {}
        self._open_failures: set[int] = set()
        self._done = 0
        self._imported = 0

    def run(self, progress: Progress = None) -> ImportReport:
        """Import the items; returns the report.

        Parameters
        ----------
        progress
            Progress display, see :mod:`hangar.progress`. It counts items.
        """
        begun = time.monotonic()
        total = len(self._items)
        row = None if self._recipe is None else self._session.staging.import_progress(self._recipe)
        if row is not None:
            self._done, self._open_failures = row.done, set(row.failed)
        retried = sorted(self._open_failures)
        resumed = self._done - len(retried)
        indices = list(chain(retried, range(self._done, total))) if retried else range(self._done, total)
        work = Work(self._items, indices)
        with report(progress, total, "items", "importing") as reporter:
            reporter.advance(resumed)
            if work.total:
                with closing(self._results(work)) as results:
                    while self._import_some(results, reporter):
                        self._raise_failure()
                self._raise_failure()
        failed = tuple(
            FailedItem(index, self._items[index], one.kind, one.message, one.traceback)
            for index, one in sorted(self._failures.items())
        )
        return ImportReport(
            total,
            self._imported,
            resumed,
            failed,
            dict(self._storing.entries),
            self._storing.nbytes,
            time.monotonic() - begun,
        )

    def _results(self, work: Work) -> Generator[Result | None, None, None]:
        if self._workers:
            return run_in_processes(self._function, self._targets, work, min(self._workers, work.total))
        return run_here(self._function, self._targets, work)

    def _import_some(self, results: Generator[Result | None, None, None], reporter: Reporter) -> bool:
        """Import and publish some items. Returns whether there are more."""
        begun, before = time.monotonic(), self._storing.nbytes
        with self._checkout:
            for result in results:
                if result is not None and not self._storing.add(result):
                    continue
                self._store(reporter)
                waited = time.monotonic() - begun >= PUBLISHED_SECONDS
                if waited or self._storing.nbytes - before >= PUBLISHED_BYTES or (self._stop and self._failures):
                    return True
            self._store(reporter)
        return False

    def _store(self, reporter: Reporter) -> None:
        """Store what was received, and note the progress, which is published with it."""
        storing = self._storing
        before = storing.nbytes
        storing.store()
        if not storing.items:
            return
        failed = {failure.item: failure for failure in storing.failures}
        self._failures.update(
            (item, failure if len(self._failures) < MOST_IN_FULL else _short(failure))
            for item, failure in failed.items()
        )
        self._imported += len(storing.items) - len(failed)
        self._open_failures.difference_update(storing.items)
        self._open_failures.update(failed)
        self._done = max(self._done, 1 + max(storing.items))
        if self._recipe is not None:
            row = ImportRow(IMPORT_VERSION, self._ids, len(self._items), self._done, sorted(self._open_failures))
            with self._session.writing():
                self._session.staging.set_import_progress(self._recipe, row)
        reporter.advance(len(storing.items), storing.nbytes - before)

    def _raise_failure(self) -> None:
        """Raise the error of the first item that failed, if failures end the import."""
        if not (self._stop and self._failures):
            return
        index, failure = min(self._failures.items())
        error = failure.error or InvalidInputError(f"item {index} failed: {failure.message}")
        raise error from (_RemoteTraceback(failure.traceback) if failure.traceback else None)


def _short(failure: Failure) -> Failure:
    """A failure without what takes much memory, where there are very many."""
    return failure._replace(message=failure.message[:200], traceback="", error=None)


class _RemoteTraceback(Exception):  # noqa: N818  it only shows a text
    """The traceback in the worker process, shown as the cause of the error."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
