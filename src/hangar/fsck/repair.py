"""Repairs damage from data that is in the repository itself, or in another one.

Nothing that may be the only copy of something is deleted: replaced content goes to ``.hangar/lost-found``. Each step is
published on its own, so the next repair completes one that was interrupted. The steps go from causes to consequences: small files, rows of the database, the writer lock, refs, records, files of blobs, blobs, staging area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hangar.columns.tablefile import CacheFiles
from hangar.errors import LockedError
from hangar.fsck.check import check
from hangar.fsck.context import RepairContext
from hangar.fsck.lostfound import LostFound
from hangar.fsck.repair_blobs import repair_blobs, repair_runs
from hangar.fsck.repair_files import repair_files
from hangar.fsck.repair_records import repair_graph, repair_records
from hangar.fsck.repair_refs import repair_refs
from hangar.fsck.repair_rows import repair_meta, repair_rows
from hangar.fsck.repair_staging import repair_staging
from hangar.fsck.report import FsckReport, Problem, Repair
from hangar.fsck.small_files import repair_config, repair_small_files
from hangar.fsck.source import RepairSource
from hangar.lock import force_release, holder, lock_problem, under_lock
from hangar.objects.store import NodeStore
from hangar.progress import Progress
from hangar.stores import Stores

__all__ = ["repair"]

_ROUNDS = 3
_OF_SOURCES = ("commit", "schema", "attributes", "node", "array", "blob")
"""Kinds of problems that another repository may help with."""
_SOURCE_ROUNDS = 64
"""With another repository each round restores one more level of trees, or one more commit."""


def repair(
    directory: Path,
    opened: Callable[[], Stores],
    *,
    data: bool = False,
    source: RepairSource | None = None,
    progress: Progress = None,
) -> FsckReport:
    """Check the repository, repair what can be repaired, and check it again.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    opened
        Opens the stores, or returns the open ones.
    data
        Read every blob.
    source
        Another repository, for what cannot be repaired from what is here.
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
    repaired = list(repair_small_files(directory))
    stores = opened()
    found = check(stores, data=data, progress=progress)
    if found.problems and all(problem.kind != "page" for problem in found.problems):
        lost = LostFound(directory)
        stores.db.require_writable()
        repaired += repair_meta(stores.db, lost)
        repaired += repair_lock(stores)
        # Problems below a restored node are only found in the next round.
        for _ in range(_ROUNDS if source is None else _SOURCE_ROUNDS):
            done = under_lock(
                stores.db,
                lambda lock: list(_run_steps(RepairContext(stores, lock, found, lost, source))),  # noqa: B023
            )
            repaired += done
            stores.nodes = NodeStore(stores.db)
            stores.blobs.refresh()
            found = check(stores, data=data and source is None, progress=progress)
            if source is not None and data and (found.sound or not done):
                # The blobs are read once more at the end, not after each level of the trees.
                found = check(stores, data=True, progress=progress)
            if found.sound or not done:
                break
    for name in CacheFiles(directory).damaged():
        kept = LostFound(directory).move(directory / "cache" / name)
        repaired.append(
            Repair("cache", f"moved the damaged cache file {name} away; it is made again when needed", kept)
        )
    notes = tuple(note for note in found.notes if note.kind != "cache")
    if source is not None:
        found = replace(found, problems=tuple(_not_there_either(one, source.name) for one in found.problems))
    return replace(found, notes=notes, repaired=tuple(repaired))


def _not_there_either(problem: Problem, name: str) -> Problem:
    """A problem that is left, with a remedy that says that the other repository does not have it either."""
    if problem.kind not in _OF_SOURCES or not problem.digest:
        return problem
    said = f"{name} does not have it either, or it is damaged there"
    return replace(problem, remedy=f"{said}; {problem.remedy}" if problem.remedy else said)


def repair_lock(stores: Stores) -> Iterator[Repair]:
    """Make a new lock file where the current one is lost or damaged, if no other process has the repository open."""
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


def _run_steps(context: RepairContext) -> Iterator[Repair]:
    for step in (
        repair_rows,
        repair_refs,
        repair_records,
        repair_graph,
        repair_files,
        repair_runs,
        repair_blobs,
        repair_staging,
    ):
        yield from step(context)
    yield from repair_config(context.stores)
