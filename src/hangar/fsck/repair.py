"""Repair of what can be repaired from what is in the repository itself.

Nothing that may be the only copy of something is deleted: what is replaced is moved or written to ``.hangar/lost-found``.
Each step is published on its own, so a repair that was interrupted is finished by the next one. The steps go from causes
to consequences: small files, rows of the database, the writer lock, refs, records, files of blobs, blobs, staging area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hangar.errors import LockedError
from hangar.fsck.check import check
from hangar.fsck.files import mend_config, mend_small_files
from hangar.fsck.report import FsckReport, Repair
from hangar.lock import WriterLock, force_release, holder, lock_problem, under_lock
from hangar.progress import Progress
from hangar.stores import Stores

__all__ = ["repair"]


def repair(
    directory: Path, opened: Callable[[], Stores], *, data: bool = False, progress: Progress = None
) -> FsckReport:
    """Repair what can be repaired, and check the repository.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    opened
        Opens the stores, or returns the open ones.
    data
        Read every blob.
    progress
        See :mod:`hangar.progress`.

    Returns
    -------
    FsckReport
        What was repaired, and the problems that are left.

    Raises
    ------
    LockedError
        A writer holds the lock, or its lock file is lost and another process has the repository open.
    AccessError
        This user may not write to the repository.
    """
    repaired = list(mend_small_files(directory))
    stores = opened()
    found = check(stores, data=data, progress=progress)
    if found.problems and all(problem.kind != "page" for problem in found.problems):
        repaired += mend_lock(stores)
        repaired += under_lock(stores.db, lambda lock: list(_mend(stores, lock, found)))
        found = check(stores, data=data, progress=progress)
    return replace(found, repaired=tuple(repaired))


def mend_lock(stores: Stores) -> Iterator[Repair]:
    """Make a new lock file where the current one is lost or damaged, if no other process has the repository open."""
    stores.db.require_writable()
    problem = lock_problem(stores.db)
    if problem is None:
        held = holder(stores.db)
        if held is not None:
            raise LockedError(
                f"the repository cannot be repaired while {held} writes to it: close its write checkout first"
            )
        return
    if not stores.db.alone():
        raise LockedError(
            "the lock file is lost or damaged, and another process has the repository open, which may be a writer: close it and "
            "try again"
        )
    force_release(stores.db)
    yield Repair("lock", "made a new lock file, with a new epoch")


def _mend(stores: Stores, lock: WriterLock, found: FsckReport) -> Iterator[Repair]:
    yield from mend_config(stores)
