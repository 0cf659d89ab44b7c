"""The garbage collection of a repository, as one operation.

The order is: mark everything reachable; delete the other records in one transaction (which checks that the roots are
still those that were marked); remove the blobs that nothing reaches, and rewrite files that are mostly free; remove small
files; compact the database. The writer lock is held, so nothing is committed meanwhile. Readers go on.
"""

from __future__ import annotations

from hangar.blobs.catalog import scan_blob_files
from hangar.blobs.ownership import NO_EPOCH
from hangar.blobs.repack import remove_blobs
from hangar.blobs.space import SpaceUsage, measure_space
from hangar.db import ReadTransaction
from hangar.describe import directory_bytes
from hangar.gc.expire import Expiry, choose_expired
from hangar.gc.mark import Marked
from hangar.gc.policy import files_to_rewrite
from hangar.gc.report import Amount, GcReport
from hangar.gc.sweep import Sweep, amounts
from hangar.gc.trim import compact_database, trim_caches, trim_leases, trim_locks
from hangar.history.leases import dead_leases, live_leases
from hangar.lock import WriterLock, under_lock
from hangar.progress import Progress, report
from hangar.publishing import OutdatedError, publish
from hangar.stores import Stores

__all__ = ["collect"]


def collect(
    stores: Stores, *, dry_run: bool = False, expire_reflog: object = None, progress: Progress = None
) -> GcReport:
    """Remove unreachable data, and free its disk space.

    Parameters
    ----------
    dry_run
        Change nothing, and report what would be removed. The writer lock is not needed.
    expire_reflog
        Which reflog entries to forget first; see :func:`hangar.gc.expire.choose_expired`.
    progress
        See :mod:`hangar.progress`.

    Raises
    ------
    CorruptionError
        Something reachable cannot be read. Nothing was removed.
    LockedError
        A writer holds the writer lock.
    DiskFullError, StorageError
        Nothing was lost. The next call continues.
    """
    expiry = choose_expired(stores, expire_reflog)
    if dry_run:
        return _Collection(stores, expiry, progress).estimate()

    def run(lock: WriterLock) -> GcReport:
        # Again, because another collection may have freed the keys of expired entries for new ones.
        return _Collection(stores, choose_expired(stores, expire_reflog), progress).run(lock)

    return under_lock(stores.db, run)


class _Collection:
    def __init__(self, stores: Stores, expiry: Expiry, progress: Progress) -> None:
        self._stores = stores
        self._expiry = expiry
        self._progress = progress
        self._size = directory_bytes(stores.directory)
        with report(progress, None, "nodes", "marking") as reporter:
            self._marked = Marked(stores, expiry.keys, reporter)
        self._kept: dict[str, str] = {}
        self._spared = self._spare()

    def _spare(self) -> set[int]:
        """Files of processes that are writing without the writer lock."""
        with self._stores.db.read() as transaction:
            leases = live_leases(self._stores.db, transaction)
            files = scan_blob_files(transaction)
        spared: set[int] = set()
        for lease in leases:
            self._kept["data of " + lease.holder] = "it holds a lease"
            spared.update(file_id for file_id, row in files if row.owner == NO_EPOCH and file_id >= lease.first_file)
        return spared

    # ------------------------------------------------------------------ dry run

    def estimate(self) -> GcReport:
        """Report of what :meth:`run` would do."""
        stores, marked = self._stores, self._marked
        found = measure_space(stores.blobs, marked.dead_blobs, self._spared)
        chosen = self._choose(found)
        going = [use for use in found.files.values() if not use.fixed and (use.file_id in chosen or not use.live)]
        records = amounts(stores, marked)
        freed = sum(use.free for use in going) + sum(amount.removed_nbytes for amount in records.values())
        kept = {use.name: use.fixed for use in found.files.values() if use.fixed and use.free}
        return GcReport(
            dry_run=True,
            commits=records["commits"],
            nodes=records["nodes"],
            schemas=records["schemas"],
            attributes=records["attributes"],
            blobs=Amount(found.live, found.dead, round(found.dead_nbytes)),
            reflog_entries=len(self._expiry.keys),
            files=len(going),
            files_nbytes=sum(use.size for use in going),
            rewritten=sum(use.live for use in going),
            size_before=self._size,
            size_after=max(0, self._size - freed),
            kept=self._kept | kept,
        )

    def _choose(self, found: SpaceUsage) -> set[int]:
        return files_to_rewrite(found, thorough=bool(self._expiry.keys) or self._expiry.everything)

    # ------------------------------------------------------------------ collection

    def run(self, lock: WriterLock) -> GcReport:
        """Collect."""
        stores, marked = self._stores, self._marked
        records = amounts(stores, marked)
        expired = 0
        if self._is_anything_to_sweep(records):
            sweep = Sweep(stores, marked, self._expiry)
            publish(stores.db, lock, sweep)
            expired = sweep.expired
        seen: list[SpaceUsage] = []

        def choose(found: SpaceUsage) -> set[int]:
            seen.append(found)
            return self._choose(found)

        removal = remove_blobs(
            stores.blobs,
            lock,
            marked.dead_blobs,
            choose,
            spared=self._spared,
            guard=_Guard(marked),
            progress=self._progress,
        )
        others = removal.runs + self._trim(lock, seen[0])
        compacted, refused = compact_database(stores)
        if refused:
            self._kept["free pages of the database"] = refused
        return GcReport(
            dry_run=False,
            commits=records["commits"],
            nodes=records["nodes"],
            schemas=records["schemas"],
            attributes=records["attributes"],
            blobs=Amount(seen[0].live, removal.blobs, round(seen[0].dead_nbytes)),
            reflog_entries=expired,
            files=removal.files,
            files_nbytes=removal.nbytes,
            rewritten=removal.moved,
            rewritten_nbytes=removal.moved_nbytes,
            other_files=others,
            compacted=compacted,
            size_before=self._size,
            size_after=directory_bytes(stores.directory),
            kept=self._kept | removal.kept,
            damaged={digest.hex(): reason for digest, reason in removal.damaged.items()},
        )

    def _is_anything_to_sweep(self, records: dict[str, Amount]) -> bool:
        with self._stores.db.read() as transaction:
            left = bool(dead_leases(self._stores.db, transaction))
        expires = bool(self._expiry.keys) or self._expiry.everything
        return left or expires or any(amount.removed for amount in records.values())

    def _trim(self, lock: WriterLock, found: SpaceUsage) -> int:
        with self._stores.db.read() as transaction:
            left = {file_id for file_id, _ in scan_blob_files(transaction)}
        count = trim_caches(self._stores, self._marked, found.files.keys() - left)
        count += trim_leases(self._stores)
        return count + (trim_locks(self._stores, lock) if self._expiry.everything else 0)


class _Guard:
    """Updates the marks if roots change before blobs are dropped."""

    def __init__(self, marked: Marked) -> None:
        self._marked = marked

    def renew(self) -> None:
        """Mark the data that new roots reach."""
        self._marked.renew()

    def check(self, transaction: ReadTransaction) -> None:
        """Raise OutdatedError if there are new roots again."""
        if not self._marked.check(transaction):
            raise OutdatedError("branches were changed again and again during garbage collection: run it again")
