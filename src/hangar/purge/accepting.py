"""Accepts tombstones that came from another repository: only then do they have an effect here.

A received tombstone is a claim of somebody else. Until a person accepts it, the data stays, can be read, stored and
fetched. Accepting is a purge without a plan: the tombstones take effect in one transaction, then the bytes are removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hangar.blobs.tombstones import FOREIGN, IN_EFFECT, Tombstone, put_tombstones, scan_tombstones
from hangar.db import ReadTransaction, WriteTransaction
from hangar.digest import digest_array
from hangar.errors import NotFoundError
from hangar.lock import WriterLock, under_lock
from hangar.pending_purge import add_pending_purge
from hangar.progress import Progress
from hangar.publishing import publish_rows
from hangar.purge.removal import remove_bytes
from hangar.stores import Stores

__all__ = ["Accepted", "accept"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was accepted.

    Attributes
    ----------
    digests
        The blobs (hex) that count as purged from now on.
    erased
        Number of those whose bytes were here.
    unfinished
        Reasons why bytes are still on disk; ``hangar purge --continue`` removes them later.
    """

    digests: tuple[str, ...]
    erased: int
    unfinished: tuple[str, ...] = ()


def accept(stores: Stores, digest: str = "", *, progress: Progress = None) -> Accepted:
    """Make tombstones of other repositories take effect here, and erase the bytes.

    Parameters
    ----------
    digest
        The blob, in hex, or the beginning of it; empty: all.

    Raises
    ------
    NotFoundError
        There is no such tombstone that is not in effect.
    LockedError
        A writer holds the writer lock.
    """
    with stores.db.read() as transaction:
        if not _foreign(transaction, digest):
            what = f"of a blob {digest}" if digest else "of another repository"
            raise NotFoundError(f"there is no tombstone {what} to accept: `hangar purge --list` shows them")

    def accept_locked(lock: WriterLock) -> Accepted:
        taken: dict[bytes, Tombstone] = {}

        def write(transaction: WriteTransaction) -> None:
            taken.clear()
            taken.update(_foreign(transaction, digest))
            put_tombstones(
                transaction, {name: msgspec.structs.replace(one, state=IN_EFFECT) for name, one in taken.items()}
            )
            add_pending_purge(transaction, taken, records=False)

        publish_rows(stores.db, lock, write)
        here = int(stores.blobs.known(digest_array(list(taken))).sum())
        left = remove_bytes(stores, lock, progress)
        return Accepted(tuple(name.hex() for name in sorted(taken)), here, left)

    return under_lock(stores.db, accept_locked)


def _foreign(transaction: ReadTransaction, digest: str) -> dict[bytes, Tombstone]:
    return {
        bytes(name): one
        for name, one in scan_tombstones(transaction)
        if one.state == FOREIGN and name.hex().startswith(digest)
    }
