"""Mark phase: marks every record and blob that the live roots reach.

Each reachable node is read and verified once, however many commits share it. A damaged node stops the collection. The
digests of the repository are held in sorted arrays, 33 bytes each, and the walk loads a few thousand nodes at a time.
Data that is stored after the mark began is not in the arrays, so it never counts as unreachable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, Literal

import msgspec
import numpy as np
from xxhash import xxh3_64

from hangar.blobs.digests import DigestSet, Marks
from hangar.blobs.index import Digests, Mask
from hangar.blobs.recorded import scan_recorded
from hangar.blobs.run import merged_pieces
from hangar.blobs.space import require_sound
from hangar.db import ReadTransaction
from hangar.db.tables import (
    ATTRIBUTES,
    COMMITS,
    CONFLICTS,
    LEASES,
    META,
    NODES,
    PENDING,
    REFLOG,
    REFS,
    SCHEMAS,
    STAGING,
    Table,
)
from hangar.digest import DIGEST_BYTES, Digest, digest_array, digest_list
from hangar.errors import CorruptionError
from hangar.history.roots import LiveRoots, live_roots
from hangar.objects.children import children_of_array, children_of_node, is_array
from hangar.objects.commit import ColumnEntry
from hangar.objects.graph import ancestors
from hangar.objects.records import read_record
from hangar.objects.store import NodeStore
from hangar.progress import Reporter
from hangar.staging import StagedColumns
from hangar.stores import Stores

__all__ = ["Marked"]

_NODES_AT_ONCE: Final = 2_048
_ROOT_TABLES: Final = (REFS, REFLOG, STAGING, CONFLICTS, PENDING, LEASES)
"""Tables that roots are read from."""
_NAMING_TABLES: Final = (CONFLICTS, PENDING, META)
"""Tables in whose rows every value of the length of a digest is kept, so that no format of a row is needed here."""


class Marked:
    """Marks of the reachable records and blobs.

    Parameters
    ----------
    without
        Keys of reflog entries to ignore, because they are about to expire.
    reporter
        Receives the number of nodes that were read.

    Attributes
    ----------
    absent
        Reachable blobs that have no location: promised, purged or lost.

    Raises
    ------
    CorruptionError
        A root, commit, node or other record cannot be read, or the locations of blobs are not all known.
    """

    def __init__(self, stores: Stores, without: Collection[bytes], reporter: Reporter) -> None:
        self._stores = stores
        self._without = without
        self._reporter = reporter
        self._nodes_of = NodeStore(stores.db, cache_bytes=0)
        with stores.db.read() as transaction:
            self.nodes = Marks(_keys(transaction, NODES))
            self.commits = Marks(_keys(transaction, COMMITS))
            self.schemas = Marks(_keys(transaction, SCHEMAS))
            self.attributes = Marks(_keys(transaction, ATTRIBUTES))
        reporter.total = len(self.nodes)
        recorded = scan_recorded(stores.blobs)
        require_sound(recorded)
        self.blobs = Marks(_join([piece.digests() for piece in merged_pieces(recorded.indexes)]))
        self.absent = DigestSet()
        self._seen_commits: set[Digest] = set()
        self._roots_of: bytes | None = None
        self.renew()

    def renew(self) -> None:
        """Mark the data that the current roots reach, if the roots changed since the last call."""
        while True:
            with self._stores.db.read() as transaction:
                state = _state_of_roots(transaction)
                named = _named(transaction)
            if state == self._roots_of:
                return
            self._mark(live_roots(self._stores, without=self._without), named)
            self._roots_of = state

    def check(self, transaction: ReadTransaction) -> bool:
        """Whether the roots in a transaction are those that were marked."""
        return _state_of_roots(transaction) == self._roots_of

    def dead_blobs(self, digests: Digests) -> Mask:
        """Mask of the blobs that nothing reaches."""
        return self.blobs.is_unmarked(digests)

    # ------------------------------------------------------------------ marking

    def _mark(self, roots: LiveRoots, named: set[bytes]) -> None:
        heads = [*roots.commits, *(Digest(digest) for digest in named if digest in self.commits)]
        self._mark_commits(heads)
        if roots.staged is not None:
            self._mark_staged(roots.staged)
        for digest in named:
            self._mark_any(digest)

    def _mark_commits(self, heads: Iterable[Digest]) -> None:
        fresh = [digest for digest in heads if digest not in self._seen_commits]
        trees: list[Digest] = []
        for digest, commit in ancestors(self._stores.db, fresh):
            if digest in self._seen_commits:
                continue
            self._seen_commits.add(digest)
            self.commits.mark(digest_array([digest]))
            self._mark_record("attributes", self.attributes, commit.attributes)
            trees += self._mark_entries(commit.columns)
            if len(trees) >= _NODES_AT_ONCE:
                self._mark_trees(self._nodes_of, trees)
                trees = []
        self._mark_trees(self._nodes_of, trees)

    def _mark_entries(self, entries: Iterable[ColumnEntry]) -> list[Digest]:
        """Mark the records of columns; return the roots of their trees."""
        trees = []
        for entry in entries:
            self._mark_record("schema", self.schemas, entry.schema)
            self._mark_record("attributes", self.attributes, entry.attributes)
            if entry.root is not None:
                trees.append(entry.root)
        return trees

    def _mark_record(self, kind: Literal["schema", "attributes"], marks: Marks, digest: Digest | None) -> None:
        if digest is None:
            return
        fresh, found = marks.mark(digest_array([digest]))
        if len(fresh) or not found[0]:
            with self._stores.db.read() as transaction:
                read_record(transaction, kind, digest)

    def _mark_staged(self, staged: StagedColumns) -> None:
        self._mark_record("attributes", self.attributes, staged.attributes)
        columns = list(staged.columns.values())
        # The rows apply to the stored trees, so those stay; what the next commit will have is in the merged ones.
        self._mark_trees(self._nodes_of, self._mark_entries(column.record for column in columns))
        self._mark_trees(staged.nodes, self._mark_entries(column.entry() for column in columns))

    def _mark_any(self, digest: bytes) -> None:
        """Mark a digest of any kind."""
        if digest in self.nodes:
            with self._stores.db.read() as transaction:
                row = transaction.get(NODES, digest)
            if row is not None and is_array(row):
                self._mark_trees(self._nodes_of, self._mark_arrays(self._nodes_of, digest_array([digest])))
            else:
                self._mark_trees(self._nodes_of, [Digest(digest)])
        array = digest_array([digest])
        for marks in (self.schemas, self.attributes, self.blobs):
            marks.mark(array)

    def _mark_trees(self, store: NodeStore, roots: Iterable[Digest]) -> None:
        """Mark trees and the blobs that they name."""
        waiting: list[Digests] = []
        pending: set[bytes] = set()  # nodes that are not stored yet
        first = list(roots)
        if first:
            waiting.append(digest_array(first))
        while waiting:
            digests = waiting.pop()
            if len(digests) > _NODES_AT_ONCE:
                waiting.append(digests[:-_NODES_AT_ONCE])
                digests = digests[-_NODES_AT_ONCE:]
            fresh, stored = self.nodes.mark(digests)
            names = list(digest_list(fresh))
            if not stored.all():
                others = set(digest_list(digests[~stored])) - pending
                pending |= others
                names += others
            if names:
                waiting += self._mark_nodes(store, names)

    def _mark_nodes(self, store: NodeStore, names: list[Digest]) -> list[Digests]:
        """Read nodes, and mark the blobs and array records of leaves; return the nodes below: children and chunk maps."""
        nodes = store.load_many(names)
        self._reporter.advance(len(nodes))
        found = list(map(children_of_node, nodes))
        named = _join([one.blobs for one in found])
        _, known = self.blobs.mark(named)
        self.absent.add(named[~known])
        arrays = self._mark_arrays(store, _join([one.arrays for one in found]))
        below = _join([*(one.nodes for one in found), digest_array(arrays)])
        return [below] if len(below) else []

    def _mark_arrays(self, store: NodeStore, digests: Digests) -> list[Digest]:
        """Mark array records; return the roots of the chunk maps of those that were not marked before."""
        if not len(digests):
            return []
        fresh, stored = self.nodes.mark(digests)
        # Those that are not stored are pending in ``store``; loading fails if they are lost.
        names = dict.fromkeys([*digest_list(fresh), *digest_list(digests[~stored])])
        self._reporter.advance(len(fresh))
        roots = [children_of_array(record).nodes for record in store.load_arrays(list(names))]
        return list(digest_list(_join(roots)))


def _join(parts: list[Digests]) -> Digests:
    return np.concatenate(parts) if parts else np.empty((0, DIGEST_BYTES), np.uint8)


def _keys(transaction: ReadTransaction, table: Table) -> Digests:
    keys = b"".join(transaction.keys(table))
    if len(keys) != DIGEST_BYTES * transaction.count(table):
        raise CorruptionError(f"table '{table.name}' has a key that is no digest: run `hangar fsck`")
    return np.frombuffer(keys, np.uint8).reshape(-1, DIGEST_BYTES)


# ------------------------------------------------------------------ roots


def _state_of_roots(transaction: ReadTransaction) -> bytes:
    """Checksum of all rows that roots are read from. It also makes sure that none is lost."""
    hasher = xxh3_64()
    for table in _ROOT_TABLES:
        for key, row in transaction.scan(table):
            hasher.update(len(key).to_bytes(4, "little") + len(row).to_bytes(4, "little"))
            hasher.update(key)
            hasher.update(row)
        hasher.update(table.name.encode())
    for digest in sorted(_named(transaction)):
        hasher.update(digest)
    return hasher.digest()


def _named(transaction: ReadTransaction) -> set[bytes]:
    """Everything in the rows of some tables that has the length of a digest."""
    found: set[bytes] = set()
    for table in _NAMING_TABLES:
        for _, row in transaction.scan(table):
            try:
                _gather(msgspec.msgpack.decode(row), found)
            except (msgspec.DecodeError, ValueError, RecursionError):
                continue  # a number or a text; a record that names others is encoded
    return found


def _gather(value: Any, found: set[bytes]) -> None:
    if isinstance(value, bytes):
        if len(value) == DIGEST_BYTES:
            found.add(value)
    elif isinstance(value, dict):
        for item in value.items():
            _gather(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _gather(item, found)
