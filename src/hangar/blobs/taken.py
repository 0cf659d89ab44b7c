"""What a writer without the writer lock took for stored, and did not store again.

Only the holder of the writer lock removes blobs, so a writer with the lock need not care. A writer without it looks
again before it publishes if blobs were removed since it looked.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests, Sought
from hangar.blobs.store import BlobStore
from hangar.db import ReadTransaction
from hangar.db.epoch import gc_epoch
from hangar.errors import InvalidStateError
from hangar.publishing import OutdatedError
from hangar.wording import plural

__all__ = ["TakenForStored"]

_CHECKED_BLOBS: Final = 2**18


class TakenForStored:
    """Blobs that a writer found stored, and the gc epoch in which it looked."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._digests = DigestSet()
        with store.db.read() as transaction:
            self._epoch = gc_epoch(transaction)

    def add(self, digests: Digests) -> None:
        """Remember blobs that are not stored again."""
        self._digests.add(np.ascontiguousarray(digests))

    def look_again(self) -> bool:
        """Make sure that all of them are still stored, if any blobs were removed since; return whether some were.

        Raises
        ------
        InvalidStateError
            One of them was removed.
        """
        with self._store.db.read() as transaction:
            epoch = gc_epoch(transaction)
        if epoch == self._epoch:
            return False
        self._store.refresh()
        digests = self._digests.digests()
        gone = 0
        for start in range(0, len(digests), _CHECKED_BLOBS):
            sought = Sought.of(digests[start : start + _CHECKED_BLOBS])
            gone += int((~self._store.locator.locate_published(sought).stored).sum())
        if gone:
            raise InvalidStateError(
                f"{plural(gone, 'blob')} that this writer found stored were removed by garbage collection since: write them again"
            )
        self._epoch = epoch
        return True

    def check(self, transaction: ReadTransaction) -> None:
        """Raise OutdatedError if blobs were removed since the last look; part of the transaction that publishes."""
        if gc_epoch(transaction) != self._epoch:
            raise OutdatedError("blobs were removed again and again while others were stored: try again")
