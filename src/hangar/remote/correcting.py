"""Keeps promises true: records what a remote was found to have, and not to have, when it was asked."""

from __future__ import annotations

import msgspec

from hangar.blobs.index import Digests
from hangar.blobs.promises import deny_blobs, promise_blobs
from hangar.blobs.tombstones import FOREIGN, Tombstone, find_tombstones, put_tombstones
from hangar.db import WriteTransaction
from hangar.digest import digest_list
from hangar.remote.peer import Reader
from hangar.stores import Stores

__all__ = ["correct", "learn_purged"]


def correct(
    stores: Stores,
    number: int,
    *,
    absent: Digests | None = None,
    present: Digests | None = None,
    reader: Reader | None = None,
) -> int:
    """Record what a remote has, and what it does not have although it had promised it; returns how many these are.

    Parameters
    ----------
    number
        Number of the remote.
    absent, present
        What it was found not to have, and to have: uint8, shape (n, 32).
    reader
        The remote: it is asked whether it has purged what it does not have any more.
    """
    promises = stores.blobs.promises
    broken: list[bytes] = []
    if absent is not None and len(absent) and promises.possible():
        mask = promises.by_remote(absent).get(number)
        broken = [] if mask is None else list(digest_list(absent[mask]))
    regained: list[bytes] = []
    if present is not None and len(present) and len(denied := promises.denied_by(number)):
        regained = list(digest_list(present[denied.holds(present)]))
    if broken or regained:

        def write(transaction: WriteTransaction) -> None:
            deny_blobs(transaction, number, broken)
            promise_blobs(transaction, number, regained)

        stores.db.update(write)
    if broken and reader is not None:
        names = set(broken)
        learn_purged(
            stores, [(digest, one) for page in reader.tombstones() for digest, one in page.items if digest in names]
        )
    return len(broken)


def learn_purged(stores: Stores, found: list[tuple[bytes, Tombstone]]) -> int:
    """Record tombstones of a remote, without effect, unless one is known for the blob; returns how many are new."""
    if not found:
        return 0

    def write(transaction: WriteTransaction) -> int:
        known = find_tombstones(transaction, [digest for digest, _ in found], foreign=True)
        fresh = {digest: msgspec.structs.replace(one, state=FOREIGN) for digest, one in found if digest not in known}
        put_tombstones(transaction, fresh)
        return len(fresh)

    return stores.db.update(write)
