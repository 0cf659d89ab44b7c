"""Removes commits and tree nodes that nothing reaches any more, after history was rewritten."""

from __future__ import annotations

from hangar.db import WriteTransaction
from hangar.db.tables import COMMITS, GRAPH, NODES
from hangar.digest import Digest
from hangar.history.roots import live_roots
from hangar.lock import WriterLock
from hangar.objects.graph import ancestors
from hangar.objects.store import NodeStore
from hangar.objects.walk import walk
from hangar.publishing import OutdatedError, publish
from hangar.stores import Stores

__all__ = ["sweep_records"]


def sweep_records(stores: Stores, lock: WriterLock) -> None:
    """Delete the rows of unreachable commits and tree nodes.

    Raises
    ------
    CorruptionError
        A commit or node that is needed cannot be read. Nothing was deleted.
    """
    publish(stores.db, lock, _Sweep(stores))


class _Sweep:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._commits: set[Digest] = set()
        self._nodes: set[Digest] = set()

    def prepare(self) -> None:
        """Find what is reachable."""
        stores, roots = self._stores, live_roots(self._stores)
        nodes = NodeStore(stores.db)
        self._commits, self._nodes = set(), set()
        for digest, commit in ancestors(stores.db, roots.commits):
            self._commits.add(digest)
            for entry in commit.columns:
                self._mark(nodes, entry.root)
        if roots.staged is not None:
            for column in roots.staged.columns.values():
                self._mark(nodes, column.record.root)

    def _mark(self, nodes: NodeStore, root: Digest | None) -> None:
        if root is not None and root not in self._nodes:
            for _ in walk(nodes, root, self._nodes):
                pass

    def record(self, transaction: WriteTransaction) -> None:
        refs = self._stores.refs
        named = {digest for _, digest in refs.items("", transaction) if digest is not None}
        if not named | set(refs.moved(transaction)) <= self._commits:
            raise OutdatedError("a ref moved meanwhile")
        for table, kept in ((COMMITS, self._commits), (GRAPH, self._commits), (NODES, self._nodes)):
            for key in [key for key, _ in transaction.scan(table) if key not in kept]:
                transaction.delete(table, key)

    def committed(self) -> None:
        """Readers may have nodes in memory, which are as good as before."""

    def rollback(self) -> None:
        """Nothing is in memory."""
