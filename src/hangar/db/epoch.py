"""The gc epoch: how often records or blobs were removed, by garbage collection or erasure.

What was found in an older epoch may be gone. The holder of the writer lock need not care, because only it removes data.
A reader uses it to tell removed data from damage, and a writer without the lock to look again before it publishes.
"""

from __future__ import annotations

from hangar.db.environment import Database
from hangar.db.tables import META
from hangar.db.transaction import ReadTransaction, WriteTransaction
from hangar.errors import RevisionNotFoundError

__all__ = ["gc_epoch", "raise_gc_epoch", "raise_if_collected"]

_GC_EPOCH = b"gc epoch"


def gc_epoch(transaction: ReadTransaction) -> int:
    """The present epoch."""
    data = transaction.get(META, _GC_EPOCH)
    return 0 if data is None else int.from_bytes(data, "little")


def raise_if_collected(db: Database, transaction: ReadTransaction, what: str) -> None:
    """Raise RevisionNotFoundError for a missing record or blob if data was removed since the repository was opened."""
    opened = getattr(db, "opened_epoch", None)
    if opened is None or gc_epoch(transaction) == opened:
        return
    raise RevisionNotFoundError(
        f"{what} is not in this repository any more: garbage collection removed it after this was opened, because no branch, tag or "
        "reflog entry names its commit. Open another commit; if it is on a branch, run `hangar fsck --data`"
    )


def raise_gc_epoch(transaction: WriteTransaction) -> None:
    """Begin a new epoch; part of a transaction that removes data."""
    transaction.put(META, _GC_EPOCH, (gc_epoch(transaction) + 1).to_bytes(8, "little"))
