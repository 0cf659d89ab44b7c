"""Record of a purge that is not finished: a row of ``meta`` that lists the bytes still to remove.

The transaction that makes a purge take effect (tombstones, rewritten history) also writes this row. The row is deleted
when the bytes are gone from every file. Until then, after a crash too, ``hangar purge --continue`` removes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import META
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, UnsupportedVersionError

__all__ = ["PendingPurge", "add_pending_purge", "clear_pending_purge", "is_purge_pending", "read_pending_purge"]

_KEY: Final = b"purge"
_VERSION: Final = 0


class PendingPurge(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Work that a purge still has to do.

    Attributes
    ----------
    digests
        Blobs whose bytes may still be in files, sorted.
    records
        Whether rows and tree nodes that were removed may still be in the database.
    """

    version: int
    digests: list[Digest]
    records: bool


_decode: Final = msgspec.msgpack.Decoder(PendingPurge).decode


def read_pending_purge(transaction: ReadTransaction) -> PendingPurge | None:
    """The purge that is not finished; None if there is none.

    Raises
    ------
    CorruptionError
        The row is damaged.
    UnsupportedVersionError
        A newer Hangar wrote it.
    """
    data = transaction.get(META, _KEY)
    if data is None:
        return None
    try:
        pending = _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"the record of an unfinished purge cannot be read: {error}") from None
    if pending.version != _VERSION:
        raise UnsupportedVersionError(f"an unfinished purge of version {pending.version} needs a newer Hangar")
    if any(len(digest) != DIGEST_BYTES for digest in pending.digests):
        raise CorruptionError("the record of an unfinished purge is malformed: one of its digests has a wrong length")
    return pending


def add_pending_purge(transaction: WriteTransaction, digests: Iterable[bytes], *, records: bool) -> None:
    """Record bytes that are still to be removed, in addition to those already recorded.

    Parameters
    ----------
    digests
        Digests of purged blobs.
    records
        Whether rows and tree nodes are to be removed from the database too.
    """
    before = read_pending_purge(transaction)
    every = sorted({*digests, *(() if before is None else before.digests)})
    pending = PendingPurge(_VERSION, list(map(Digest, every)), records or (before is not None and before.records))
    transaction.put(META, _KEY, msgspec.msgpack.encode(pending))


def is_purge_pending(db: Database) -> bool:
    """Whether a purge is not finished, so that bytes of purged samples may still be on disk."""
    with db.read() as transaction:
        return read_pending_purge(transaction) is not None


def clear_pending_purge(transaction: WriteTransaction) -> None:
    """Delete the record: every byte was removed."""
    transaction.delete(META, _KEY)
