"""The record of a purge that is not finished: a row of ``meta``, so that a crash forgets nothing.

The transaction that makes a purge take effect (tombstones, rewritten history) also writes this row. The row is deleted
when the bytes are gone from every file. Until then ``hangar purge --continue`` goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import META
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, UnsupportedVersionError

__all__ = ["Intent", "add_intent", "clear_intent", "is_unfinished", "read_intent"]

_KEY: Final = b"purge"
_VERSION: Final = 0


class Intent(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is left to do.

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


_decode: Final = msgspec.msgpack.Decoder(Intent).decode


def read_intent(transaction: ReadTransaction) -> Intent | None:
    """The purge that is not finished; None if there is none."""
    data = transaction.get(META, _KEY)
    if data is None:
        return None
    try:
        intent = _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"the record of an unfinished purge cannot be read: {error}") from None
    if intent.version != _VERSION:
        raise UnsupportedVersionError(f"an unfinished purge of version {intent.version} needs a newer Hangar")
    if any(len(digest) != DIGEST_BYTES for digest in intent.digests):
        raise CorruptionError("the record of an unfinished purge is malformed: one of its digests has a wrong length")
    return intent


def add_intent(transaction: WriteTransaction, digests: Iterable[bytes], *, records: bool) -> None:
    """Record that something is left to do, besides what is recorded already."""
    before = read_intent(transaction)
    every = sorted({*digests, *(() if before is None else before.digests)})
    intent = Intent(_VERSION, list(map(Digest, every)), records or (before is not None and before.records))
    transaction.put(META, _KEY, msgspec.msgpack.encode(intent))


def is_unfinished(db: Database) -> bool:
    """Whether bytes of purged samples may still be on disk, because a purge did not finish."""
    with db.read() as transaction:
        return read_intent(transaction) is not None


def clear_intent(transaction: WriteTransaction) -> None:
    """Record that everything is done."""
    transaction.delete(META, _KEY)
