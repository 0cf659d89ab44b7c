"""Removal of the bytes of purged samples from every file below ``.hangar``. Each step can be repeated."""

from __future__ import annotations

from collections.abc import Sequence

from hangar.blobs.catalog import claim_ids
from hangar.blobs.digests import DigestSet
from hangar.blobs.orphans import drop_push, remove_orphan_runs, remove_orphans
from hangar.blobs.repack import erase_blobs
from hangar.blobs.unfinished import unfinished_pushes
from hangar.columns.tablefile import CacheFiles
from hangar.db import WriteTransaction
from hangar.db.compaction import compact_open
from hangar.digest import digest_array
from hangar.gc.expire import Expiry
from hangar.gc.mark import Marked
from hangar.gc.sweep import Sweep
from hangar.history.leases import live_leases
from hangar.lock import WriterLock
from hangar.pending_purge import clear_pending_purge, read_pending_purge
from hangar.progress import Progress, report
from hangar.publishing import publish, publish_rows
from hangar.rollback import end_keeping, kept_files
from hangar.stores import Stores

__all__ = ["remove_bytes"]


def remove_bytes(stores: Stores, lock: WriterLock, progress: Progress = None) -> tuple[str, ...]:
    """Remove the bytes that the record of the pending purge lists, and delete the record when they are gone.

    Returns
    -------
    tuple
        Reasons why bytes are still on disk, one text each; empty if they are gone.
    """
    with stores.db.read() as transaction:
        pending, kept = read_pending_purge(transaction), kept_files(transaction)
    if pending is None:
        return ()
    if kept:
        publish_rows(stores.db, lock, _give_up_kept)
    left = _erase(stores, lock, pending.digests, progress) if pending.digests else []
    CacheFiles(stores.directory).clear()
    if pending.records:
        left += _remove_records(stores, lock, progress)
    if not left:
        publish_rows(stores.db, lock, clear_pending_purge)
    return tuple(left)


def _remove_records(stores: Stores, lock: WriterLock, progress: Progress) -> list[str]:
    """Delete commits and nodes that nothing reaches any more, and write the database anew without its free pages."""
    with report(progress, None, "nodes", "marking") as reporter:
        marked = Marked(stores, (), reporter)
    publish(stores.db, lock, Sweep(stores, marked, Expiry()))
    with stores.db.read() as transaction:
        left = [f"the database: {lease.holder} holds a lease on it" for lease in live_leases(stores.db, transaction)]
    if not compact_open(stores.directory):
        left.append("the database: it is open in another process")
    return left


def _erase(stores: Stores, lock: WriterLock, digests: Sequence[bytes], progress: Progress) -> list[str]:
    removal = erase_blobs(stores.blobs, lock, DigestSet(digest_array(digests)), progress=progress)
    for push in unfinished_pushes(stores.directory):
        drop_push(stores.db, stores.directory, push)
    remove_orphans(stores.db, stores.directory)
    remove_orphan_runs(stores.db, stores.directory)
    left = [f"blob file {name}: {why}" for name, why in removal.kept.items()]
    return left + [
        f"blob {digest.hex()[:16]}, in a file with a purged one, cannot be moved: {why}"
        for digest, why in removal.damaged.items()
    ]


def _give_up_kept(transaction: WriteTransaction) -> None:
    # Their ids are not reused: a newer copy of the database may name them.
    claim_ids(transaction, end_keeping(transaction))
