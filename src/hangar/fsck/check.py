"""Integrity check of a repository: everything that history, refs and the staging area refer to exists and is intact.

The pages of the database are checked first, because LMDB would trust damaged pages. The structure is checked from all
live roots (see ``history.roots``) downwards; shared parts are checked once. Every checksummed row of the database is
read, the size of every blob file and run is checked, and with ``data=True`` every blob is read and hashed. Nothing is
changed or locked. Apparent damage is checked again if another process published a change meanwhile. Problems are
reported by digest and file, with the commits, columns and samples that they affect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hangar.errors import CorruptionError, ResourceLimitError
from hangar.fsck.affected import AffectedData
from hangar.fsck.findings import Findings
from hangar.fsck.history import HistoryCheck
from hangar.fsck.report import FsckReport, Problem, Rescue, sorted_problems
from hangar.fsck.small_files import small_file_problems
from hangar.fsck.storage import StorageCheck
from hangar.history.roots import live_roots
from hangar.pending_purge import is_purge_pending
from hangar.progress import Progress, report
from hangar.rollback import publish_count
from hangar.stores import Stores

__all__ = ["check"]

_ATTEMPTS: Final = 3


def check(stores: Stores, *, data: bool = False, progress: Progress = None) -> FsckReport:
    """Check a whole repository.

    Parameters
    ----------
    stores
        Stores of the repository.
    data
        Read every blob and compare it with its digest.
    progress
        See :mod:`hangar.progress`.

    Raises
    ------
    ResourceLimitError
        There are not enough descriptors or memory to check.
    AccessError
        Files may not be read by this user.
    """
    try:
        return _check_again(stores, data, progress)
    except MemoryError as error:
        raise ResourceLimitError(
            f"there is not enough memory to check the repository; nothing is damaged: {error}"
        ) from None


def _check_again(stores: Stores, data: bool, progress: Progress) -> FsckReport:
    """Check again if there are problems and data was removed or moved meanwhile, because they may be none."""
    found: FsckReport | None = None
    last: FsckReport | None = None
    for _ in range(_ATTEMPTS):
        before, last = _published(stores), found
        found = _check(stores, data, progress)
        if not found.problems or _published(stores) == before:
            return found
        stores.blobs.refresh()
    assert found is not None
    # The repository is never at rest. What is damaged was found more than once.
    known = set() if last is None else {(one.kind, one.digest, one.file) for one in last.problems}
    lasting = tuple(one for one in found.problems if (one.kind, one.digest, one.file) in known)
    return replace(found, problems=lasting, rescues=found.rescues if lasting else ())


def _published(stores: Stores) -> int | None:
    """How many changes were published; None if that cannot be read."""
    try:
        with stores.db.read() as transaction:
            return publish_count(transaction)
    except CorruptionError:
        return None


def _check(stores: Stores, data: bool, progress: Progress) -> FsckReport:
    stores.db.require_in_place()
    findings = Findings()
    for problem in stores.db.page_problems():
        findings.add("page", f"{problem}; nothing else was checked", remedy="restore the database from a copy")
    if findings.problems:
        return FsckReport(tuple(findings.problems), 0, 0, 0, 0, data)
    for found in small_file_problems(stores.directory):
        findings.problems[found] = None
    storage = StorageCheck(stores, findings)
    with report(progress, None, "records", "checking") as reporter:
        storage.tables(reporter)
        storage.lock()
        storage.files(reporter)
        storage.head()
        roots = live_roots(stores, findings.add)
        runs = storage.damaged_runs
        history = HistoryCheck(stores, findings, reporter, runs[0] if len(runs) == 1 else "")
        for commit in roots.commits:
            history.history(commit)
        if roots.staged is not None:
            history.staging(roots.staged)
    if data:
        storage.data(progress)
    purged = [Problem("purged", digest.hex(), "", str(history.purged[digest])) for digest in sorted(history.purged)]
    notes = (*storage.notes(), *purged, *_unfinished_purge(stores))
    problems = list(findings.problems)
    rescues: tuple[Rescue, ...] = ()
    if problems:
        affected = AffectedData(stores, problems, roots, history.commits)
        problems, rescues = affected.named(problems), tuple(affected.rescues())
    return FsckReport(
        sorted_problems(problems),
        len(history.commits),
        len(history.columns),
        history.nodes,
        history.blobs,
        data,
        notes,
        tuple(findings.unchecked),
        rescues=rescues,
        promised=len(history.promised),
    )


def _unfinished_purge(stores: Stores) -> tuple[Problem, ...]:
    try:
        if not is_purge_pending(stores.db):
            return ()
    except CorruptionError:
        return ()  # the check of the tables has found it
    detail = "a purge is not finished, and bytes of it may still be in files: run `hangar purge --continue`"
    return (Problem("purge", "", "", detail),)
