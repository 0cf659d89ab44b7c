"""Checks the database rows, refs, locks, blob files and runs, and with ``data`` every blob."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hangar.backends.preference import check_stored_preferences
from hangar.blobs.catalog import RUN_DIRECTORY
from hangar.blobs.promises import scan_promises
from hangar.blobs.tombstones import scan_tombstones
from hangar.blobs.verify import Damage, missing_backends, surplus, verify_blobs, verify_files
from hangar.blobs.verify_records import verify_locations
from hangar.columns.tablefile import CacheFiles
from hangar.db import ReadTransaction
from hangar.db.tables import TABLES, Table
from hangar.fsck.findings import DATABASE, Findings
from hangar.fsck.report import Problem
from hangar.fsck.small_files import CONFIG, REPAIRABLE, config_problem
from hangar.lock import lock_problem
from hangar.progress import Progress, Reporter
from hangar.refs import BRANCHES
from hangar.refs.remotes import list_remotes
from hangar.rollback import find_rollback, kept_files
from hangar.staging.conflicts import check_conflicts
from hangar.stores import Stores

__all__ = ["StorageCheck"]

_RECORDS: Final[dict[str, Callable[[ReadTransaction], object]]] = {
    "tombstone": lambda transaction: list(scan_tombstones(transaction)),
    "conflict": check_conflicts,
    "preference": check_stored_preferences,
    "promise": lambda transaction: list(scan_promises(transaction)),
    "remote": list_remotes,
}
"""Records of which each is decoded, beside refs, reflog, staging area and catalog, which have checks of their own."""


class StorageCheck:
    """Check of everything but history.

    Attributes
    ----------
    damaged_runs
        Runs that are damaged.
    """

    def __init__(self, stores: Stores, findings: Findings) -> None:
        self._stores = stores
        self._findings = findings
        self.damaged_runs: list[str] = []

    def tables(self, reporter: Reporter) -> None:
        """Read every row of every table, which also checks their checksums and counts."""
        for table in TABLES:
            if table.checked:
                self._findings.attempt("table", lambda table=table: self._table(table, reporter))  # type: ignore[misc]
        for kind, read in _RECORDS.items():
            self._findings.attempt(kind, lambda read=read: self._records(read))  # type: ignore[misc]
        problem = config_problem(self._stores)
        if problem is not None:
            self._findings.add("config", problem, file=CONFIG, remedy=REPAIRABLE)

    def _records(self, read: Callable[[ReadTransaction], object]) -> None:
        with self._stores.db.read() as transaction:
            read(transaction)

    def _table(self, table: Table, reporter: Reporter) -> None:
        with self._stores.db.read() as transaction:
            for _ in transaction.scan(table):
                reporter.advance()

    def head(self) -> None:
        """Check that the branches named by HEAD exist."""
        refs = self._stores.refs
        head = self._findings.attempt("ref", refs.head)
        if head is None:
            return
        for branch in dict.fromkeys((head.write_branch, head.last_written)):
            if self._findings.attempt("ref", lambda branch=branch: refs.exists(BRANCHES + branch)) is False:  # type: ignore[misc]
                self._findings.add("ref", f"HEAD names the branch {branch!r}, which does not exist")

    def lock(self) -> None:
        """Check the lock file of the writer lock."""
        problem = self._findings.attempt("lock", lambda: lock_problem(self._stores.db))
        if problem is not None:
            self._findings.add("lock", problem, file="")

    def files(self, reporter: Reporter) -> None:
        """Check the recorded files and all locations."""
        blobs = self._stores.blobs
        for damage in self._findings.attempt("file", lambda: list(verify_files(blobs))) or []:
            reporter.advance()
            self._damage("file", damage)
            if damage.file.startswith(RUN_DIRECTORY):
                self.damaged_runs.append(damage.file)
        for tag, why in (self._findings.attempt("table", lambda: missing_backends(blobs)) or {}).items():
            self._findings.unchecked[f"data of backend {tag!r}: {why}"] = None
        for detail in self._findings.attempt("location", lambda: list(verify_locations(blobs))) or []:
            self._findings.add("location", detail)

    def data(self, progress: Progress) -> None:
        """Read every blob and compare it with its digest."""
        self._findings.attempt("table", lambda: self._data(progress))

    def _data(self, progress: Progress) -> None:
        for damage in verify_blobs(self._stores.blobs, progress):
            if damage.unchecked:
                self._findings.unchecked[damage.detail] = None
            else:
                self._damage("blob", damage)

    def _damage(self, kind: str, damage: Damage) -> None:
        self._findings.add(kind, damage.detail, "" if damage.digest is None else damage.digest.hex(), damage.file)

    def notes(self) -> Iterator[Problem]:
        """Observations that are not problems."""
        yield from self._findings.attempt("table", lambda: list(self._rollback())) or []
        for found in self._findings.attempt("file", lambda: list(surplus(self._stores.blobs))) or []:
            yield Problem("surplus", "", found.file, found.detail)
        for name in CacheFiles(self._stores.directory).damaged():
            yield Problem(
                "cache", "", f"cache/{name}", "this cache file is damaged; it is not used, and made again when needed"
            )

    def _rollback(self) -> Iterator[Problem]:
        """That the database is older than its files, or once was."""
        with self._stores.db.read() as transaction:
            found, kept = find_rollback(self._stores.directory, transaction), kept_files(transaction)
        if found is not None:
            detail = f"{found}. If that was not meant, put the newer data.mdb back; it finds all its bytes"
            yield Problem("rollback", "", DATABASE, detail)
        if kept:
            detail = (
                "writing went on in a database that was older than its files: no file up to the id "
                f"{kept:08x} is changed or removed, so that the newer data.mdb can still be put back"
            )
            yield Problem("kept", "", DATABASE, detail)
