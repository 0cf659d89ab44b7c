"""Location update: records the locations of new blobs in one transaction, as rows of the database or as a run file.

A few locations become rows of the table ``locations``. Many become a run, which is written and synced before the
transaction. When the table has many rows, they are moved into the run and deleted. Too many registered runs are merged
into a new one. The transaction registers the run. It is refused if the rows or runs that the new run was made from have
changed since.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hangar import _fs, limits
from hangar.backends.location import Locations
from hangar.blobs.catalog import (
    RunRow,
    claim_ids,
    free_ids,
    put_headers,
    put_run,
    remove_run,
    run_path,
    scan_runs,
)
from hangar.blobs.index import Index, sort_digests
from hangar.blobs.locator import Locator
from hangar.blobs.merging import TABLE_ROWS, runs_to_merge
from hangar.blobs.run import Run, write_run
from hangar.db import Database, WriteTransaction
from hangar.db.tables import LOCATIONS
from hangar.digest import Header, digest_array, digest_list
from hangar.errors import CorruptionError, HangarError, StorageError
from hangar.publishing import OutdatedError

__all__ = ["LocationUpdate", "index_of_rows"]

TableRows = list[tuple[bytes, bytes]]
"""Rows of the table ``locations``: digest and location."""


class _NewRun(msgspec.Struct, frozen=True):
    """A run that is written and not yet registered, with the runs and rows that it replaces."""

    run_id: int
    count: int
    merges: frozenset[int]
    table_rows: TableRows


class LocationUpdate(msgspec.Struct, frozen=True):
    """Locations of new blobs, durable and ready to be recorded.

    Attributes
    ----------
    headers
        Headers by id, as far as they may not be recorded yet.
    """

    headers: dict[int, Header]
    _directory: Path
    _rows: TableRows
    _run: _NewRun | None

    @classmethod
    def prepare(
        cls,
        db: Database,
        directory: Path,
        locator: Locator,
        fresh: Index,
        headers: dict[int, Header],
        *,
        as_run: bool = False,
        merge_newest: int = 0,
    ) -> LocationUpdate:
        """Prepare ``fresh``, the locations of new blobs: write a run if they are many.

        Parameters
        ----------
        as_run
            Write a run even for few locations: a newer run overrides the locations of the same blobs in older runs.
        merge_newest
            Merge at least so many of the newest runs into one, together with the table, even if ``fresh`` is empty.

        Raises
        ------
        DiskFullError, StorageError
            Nothing was written.
        """
        many = bool(merge_newest) or fresh.count >= (1 if as_run else limits.RUN_BLOBS)
        with db.read() as transaction:
            present = transaction.count(LOCATIONS)
            crowded = bool(fresh.count) and present + fresh.count >= TABLE_ROWS
            table_rows = list(transaction.scan(LOCATIONS)) if present and (many or crowded) else []
        if many or table_rows:
            table = [index_of_rows(table_rows)] if table_rows else []
            run = _write_run(db, directory, locator, [fresh, *table], table_rows, merge_newest)
            return cls(headers, directory, [], run)
        rows: TableRows = []
        if fresh.count:
            rows.extend(zip(digest_list(fresh.digests()), fresh.locations().to_rows(), strict=True))
        return cls(headers, directory, rows, None)

    def record(self, transaction: WriteTransaction) -> None:
        """Record the locations. May run again in another transaction, if the first did not commit.

        Raises
        ------
        OutdatedError
            The rows or runs it was made from have changed since. Prepare a new update.
        """
        if self.headers:
            put_headers(transaction, self.headers)
        if self._rows:
            transaction.put_many(LOCATIONS, self._rows)
        run = self._run
        if run is None:
            return
        if not _fs.exists(run_path(self._directory, run.run_id)):
            raise OutdatedError("the run was removed as an orphan before it was registered: try again")
        if not run.merges.issubset(run_id for run_id, _ in scan_runs(transaction)):
            raise OutdatedError("runs of this repository changed again and again while they were merged: try again")
        keys = [key for key, _ in run.table_rows]
        if transaction.get_many(LOCATIONS, keys) != [row for _, row in run.table_rows]:
            raise OutdatedError("blobs of this repository were moved again and again while they were merged: try again")
        for key in keys:
            transaction.delete(LOCATIONS, key)
        for run_id in run.merges:
            remove_run(transaction, run_id)
        claim_ids(transaction, run.run_id)
        put_run(transaction, run.run_id, RunRow(run.count))

    @property
    def adds_run(self) -> bool:
        """Whether the update changes the list of runs."""
        return self._run is not None

    def discard(self) -> None:
        """Remove the run that was written. Call it only if no transaction can have recorded the run."""
        if self._run is not None:
            with contextlib.suppress(HangarError):
                _fs.remove_file(run_path(self._directory, self._run.run_id))


def index_of_rows(rows: TableRows) -> Index:
    """The index of rows of the table, which are sorted by digest."""
    _, sought, _ = sort_digests(digest_array([key for key, _ in rows]))
    return Index.build(sought, Locations.from_rows([row for _, row in rows]))


def _write_run(
    db: Database, directory: Path, locator: Locator, fresh: Sequence[Index], table_rows: TableRows, merge_newest: int
) -> _NewRun:
    old = _runs_to_merge(locator, sum(index.count for index in fresh), merge_newest)
    indexes = [*fresh, *(run.index for run in old)]
    for run_id in free_ids(db, directory):
        try:
            count = write_run(run_path(directory, run_id), run_id, indexes)
        except StorageError as error:
            if error.errno != errno.EEXIST:
                raise
            continue
        return _NewRun(run_id, count, frozenset(run.run_id for run in old), table_rows)
    raise AssertionError("ids do not end")


def _runs_to_merge(locator: Locator, fresh: int, merge_newest: int) -> Sequence[Run]:
    """Registered runs to merge into a new one, newest first. A damaged run and all older ones are left as they are."""
    locator.refresh()
    runs = locator.runs()
    old = runs[: max(merge_newest, runs_to_merge([run.count for run in runs], fresh))]
    for sound, run in enumerate(old):
        try:
            run.verify()
        except CorruptionError:
            return old[:sound]
    return old
