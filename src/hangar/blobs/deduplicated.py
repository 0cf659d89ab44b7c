"""Blobs that a writer without the writer lock did not store, because they were stored already.

Only the holder of the writer lock removes blobs, so a writer with the lock need not check. A writer without it checks
before it publishes that these blobs are still stored, if any blob was removed in the meantime.
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

__all__ = ["DeduplicatedBlobs"]

_CHECKED_BLOBS: Final = 2**18


class DeduplicatedBlobs:
    """Blobs that a writer found stored, and the gc epoch at that time.

    Parameters
    ----------
    store
        The blob store that the writer writes to.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._digests = DigestSet()
        with store.db.read() as transaction:
            self._epoch = gc_epoch(transaction)

    def add(self, digests: Digests) -> None:
        """Add blobs that were found stored: uint8, shape (n, 32)."""
        self._digests.add(np.ascontiguousarray(digests))

    def recheck(self) -> bool:
        """Check that all of them are still stored, if any blob was removed since the last check; return whether one was.

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
        """Raise OutdatedError if blobs were removed since the last check; part of the transaction that publishes."""
        if gc_epoch(transaction) != self._epoch:
            raise OutdatedError("blobs were removed again and again while others were stored: try again")
