"""Sweep phase: one transaction that deletes all unreachable records, and the reflog entries that expire.

The transaction checks that the roots are still those that were marked. If a branch is created at an unreachable commit
at the same time, the commit is either marked, or already gone when the branch is created.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hangar.blobs.catalog import claim_ids
from hangar.blobs.digests import Marks
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.epoch import raise_gc_epoch
from hangar.db.tables import ATTRIBUTES, COMMITS, COMPLETE, GRAPH, NODES, SCHEMAS, Table
from hangar.digest import DIGEST_BYTES, digest_list
from hangar.gc.expire import Expiry
from hangar.gc.mark import Marked
from hangar.gc.promised import PromiseSweep
from hangar.gc.report import Amount
from hangar.history.leases import dead_leases, remove_leases
from hangar.publishing import OutdatedError
from hangar.refs import reflog
from hangar.rollback import end_keeping
from hangar.stores import Stores

__all__ = ["Sweep", "amounts"]

_AT_ONCE: Final = 1_024


class Sweep:
    """A change for :func:`hangar.publishing.publish`.

    Attributes
    ----------
    expired
        Number of reflog entries that were deleted.
    """

    def __init__(self, stores: Stores, marked: Marked, expiry: Expiry) -> None:
        self._stores = stores
        self._marked = marked
        self._expiry = expiry
        self.expired = 0

    def prepare(self) -> None:
        """Mark again if the roots have changed."""
        self._marked.renew()

    def record(self, transaction: WriteTransaction) -> None:
        """Delete the records."""
        marked = self._marked
        if not marked.check(transaction):
            raise OutdatedError("branches were changed again and again during garbage collection: run it again")
        self.expired = reflog.delete(transaction, self._expiry.keys)
        if self._expiry.everything:
            claim_ids(transaction, end_keeping(transaction))
        remove_leases(transaction, dead_leases(self._stores.db, transaction))
        PromiseSweep(marked).record(transaction)
        for table, marks in _tables(marked):
            for digest in digest_list(marks.unmarked()):
                transaction.delete(table, digest)
        for digest in digest_list(marked.commits.unmarked()):
            transaction.delete(GRAPH, digest)
        for key in list(transaction.keys(COMPLETE)):
            if len(key) == DIGEST_BYTES and not marked.nodes.is_marked(key):
                transaction.delete(COMPLETE, key)
        raise_gc_epoch(transaction)

    def committed(self) -> None:
        """Clear the node cache, which may contain deleted nodes."""
        self._stores.nodes.forget()

    def rollback(self) -> None:
        """Nothing to do: nothing was prepared."""


def _tables(marked: Marked) -> list[tuple[Table, Marks]]:
    return [
        (COMMITS, marked.commits),
        (NODES, marked.nodes),
        (SCHEMAS, marked.schemas),
        (ATTRIBUTES, marked.attributes),
    ]


def amounts(stores: Stores, marked: Marked) -> dict[str, Amount]:
    """Kept and unreachable records by table."""
    found = {}
    for table, marks in _tables(marked):
        nbytes = 0
        names = digest_list(marks.unmarked())
        for start in range(0, len(names), _AT_ONCE):
            with stores.db.read() as transaction:
                nbytes += sum(_sizes(transaction, table, list(names[start : start + _AT_ONCE])))
        found[table.name] = Amount(marks.marked, len(names), nbytes)
    return found


def _sizes(transaction: ReadTransaction, table: Table, names: list[bytes]) -> Iterator[int]:
    for key, row in zip(names, transaction.get_many(table, names), strict=True):
        yield 0 if row is None else len(key) + len(row)
