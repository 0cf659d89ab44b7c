"""Removal of the bytes of purged samples from every file below ``.hangar``. Each step can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hangar.blobs.catalog import claim_ids
from hangar.blobs.digests import DigestSet
from hangar.blobs.orphans import remove_orphan_runs, remove_orphans
from hangar.blobs.repack import erase_blobs
from hangar.columns.tablefile import CacheFiles
from hangar.db import WriteTransaction
from hangar.db.compaction import compact
from hangar.digest import digest_array
from hangar.erasure import blobs_are_gone, clear_intent, read_intent
from hangar.lock import WriterLock, under_lock
from hangar.progress import Progress
from hangar.publishing import publish_rows
from hangar.purge.sweep import sweep_records
from hangar.rollback import end_keeping, kept_files
from hangar.stores import Stores

__all__ = ["remove_bytes", "rewrite_database"]


def remove_bytes(stores: Stores, lock: WriterLock, progress: Progress = None) -> tuple[str, ...]:
    """Do what the recorded intent says, up to the rewriting of the database (:func:`rewrite_database`).

    Returns
    -------
    tuple
        Why bytes are left; empty if they are gone.
    """
    with stores.db.read() as transaction:
        intent, kept = read_intent(transaction), kept_files(transaction)
    if intent is None:
        return ()
    if kept:
        publish_rows(stores.db, lock, _give_up_kept)
    left = _erase(stores, lock, intent.digests, progress) if intent.digests else []
    if intent.records:
        sweep_records(stores, lock)
    CacheFiles(stores.directory).clear()
    if not left:
        publish_rows(stores.db, lock, blobs_are_gone)
    return tuple(left)


def rewrite_database(directory: Path, open_stores: Callable[[], Stores]) -> tuple[str, ...]:
    """Rewrite the database without its free pages, if rows were removed that no file may keep. It must be closed here.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    open_stores
        Opens the repository again.

    Returns
    -------
    tuple
        Why bytes are left; empty if they are gone.
    """
    if not compact(directory):
        return ("the database is open in another process, or once more in this one: close it there",)
    stores = open_stores()
    under_lock(stores.db, lambda lock: publish_rows(stores.db, lock, clear_intent))
    return ()


def _erase(stores: Stores, lock: WriterLock, digests: Sequence[bytes], progress: Progress) -> list[str]:
    removal = erase_blobs(stores.blobs, lock, DigestSet(digest_array(digests)), progress=progress)
    remove_orphans(stores.db, stores.directory)
    remove_orphan_runs(stores.db, stores.directory)
    left = [f"blob file {name}: {why}" for name, why in removal.kept.items()]
    return left + [
        f"blob {digest.hex()[:16]}, in a file with a purged one, cannot be moved: {why}"
        for digest, why in removal.damaged.items()
    ]


def _give_up_kept(transaction: WriteTransaction) -> None:
    # Their ids are not given again: a newer copy of the database may name them.
    claim_ids(transaction, end_keeping(transaction))
