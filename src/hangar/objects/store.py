"""Node store: loads tree nodes through a bounded cache, and buffers new nodes until they are written.

The digest of a node is verified when it is loaded from the database, so every :class:`Node` matches its digest. New
nodes are pending, in memory, until a write transaction stores them together with the records that refer to them. Any
number of threads may read from one store; at most one of them may write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from hangar import limits
from hangar.db.epoch import raise_if_collected
from hangar.db.tables import NODES
from hangar.digest import DIGEST_BYTES, Digest, digest_list, record_digest, record_digests
from hangar.errors import CorruptionError, HangarError
from hangar.objects.arrays import ArrayRecord, decode_array, encode_array
from hangar.objects.children import is_array, names_records
from hangar.objects.node import Node, decode_node, encode_node

if TYPE_CHECKING:
    from hangar.db import Database, ReadTransaction, WriteTransaction

__all__ = ["NodeStore"]


_NAMES: Final = {"node": "tree node", "array": "array record"}


class NodeStore:
    """The nodes of one repository.

    Parameters
    ----------
    db
        Database of the repository.
    cache_bytes
        Approximate bound on the memory of decoded nodes.

    Attributes
    ----------
    recent
        Cache of recently used nodes. Callers may look here first to save a call of :meth:`load`, but must not change
        it.
    pending
        New nodes and array records that are not written yet, in the order they were made.
    pending_bytes
        Total length of the pending nodes.
    loads
        Number of nodes fetched from the database so far.
    """

    __slots__ = (
        "_db",
        "_generation_bytes",
        "_older",
        "_recent_bytes",
        "loads",
        "pending",
        "pending_bytes",
        "recent",
    )

    def __init__(self, db: Database, cache_bytes: int = limits.NODE_CACHE_BYTES) -> None:
        self._db = db
        # Two-generation cache (an approximation of LRU): when the recent generation is full it becomes the older one,
        # and nodes of the previous older generation that were not used since are dropped.
        self.recent: dict[bytes, Node] = {}
        self._older: dict[bytes, Node] = {}
        self._recent_bytes = 0
        self._generation_bytes = cache_bytes // 2
        self.pending: dict[Digest, bytes] = {}
        self.pending_bytes = 0
        self.loads = 0

    # ------------------------------------------------------------------ reading

    def load(self, digest: bytes) -> Node:
        """The node of this digest.

        Raises
        ------
        CorruptionError
            It is missing, does not match its digest, or is not a node.
        UnsupportedVersionError
            A newer Hangar wrote it.
        """
        node = self.recent.get(digest)
        return self._fetch((digest,))[digest] if node is None else node

    def load_many(self, digests: Sequence[bytes]) -> list[Node]:
        """The nodes of these digests, in their order; all that are not cached are read in one transaction."""
        nodes = list(map(self.recent.get, digests))
        if all(nodes):
            return nodes  # type: ignore[return-value]
        found = self._fetch([digest for digest, node in zip(digests, nodes, strict=True) if node is None])
        return [found[digest] if node is None else node for digest, node in zip(digests, nodes, strict=True)]

    def _fetch(self, digests: Iterable[bytes]) -> dict[bytes, Node]:
        found: dict[bytes, Node] = {}
        absent: list[bytes] = []
        for digest in dict.fromkeys(digests):
            node = self._older.get(digest)
            if node is None:
                data = self.pending.get(digest)  # type: ignore[call-overload]
                if data is None:
                    absent.append(digest)
                    continue
                node = decode_node(data)
            found[digest] = node
        if absent:
            found.update(zip(absent, self._read(absent), strict=True))
        for digest, node in found.items():
            self._keep(digest, node)
        return found

    def _read(self, digests: list[bytes]) -> list[Node]:
        datas = self._stored(digests)
        try:
            return list(map(decode_node, datas))
        except HangarError:
            return [_decode_named(digest, data) for digest, data in zip(digests, datas, strict=True)]

    def encoded(self, digests: Sequence[bytes]) -> list[bytes]:
        """The encoded nodes of these digests, for a pass over a whole tree; they do not enter the cache.

        Raises
        ------
        CorruptionError
            One is missing or does not match its digest.
        """
        pending: dict[Any, bytes] = self.pending
        if pending.keys().isdisjoint(digests):
            return self._stored(digests)
        stored = self._stored([digest for digest in digests if digest not in pending])
        stored.reverse()
        return [pending[digest] if digest in pending else stored.pop() for digest in digests]

    def load_arrays(self, digests: Sequence[bytes]) -> list[ArrayRecord]:
        """The array records of these digests, in their order.

        Raises
        ------
        CorruptionError
            One is missing, does not match its digest, or is not an array record.
        UnsupportedVersionError
            A newer Hangar wrote it.
        """
        pending: dict[Any, bytes] = self.pending
        absent = [digest for digest in dict.fromkeys(digests) if digest not in pending]
        stored = dict(zip(absent, self._stored(absent, "array"), strict=True)) if absent else {}
        return [decode_array(stored[digest] if digest in stored else pending[digest]) for digest in digests]

    def _stored(self, digests: Sequence[bytes], record_class: Literal["node", "array"] = "node") -> list[bytes]:
        with self._db.read() as transaction:
            stored = transaction.get_many(NODES, digests)
            if None in stored:
                raise_if_collected(self._db, transaction, f"{_NAMES[record_class]} {digests[stored.index(None)].hex()}")
        self.loads += len(digests)
        datas = [data for data in stored if data is not None]
        if len(datas) < len(digests):
            digest = digests[stored.index(None)]
            raise CorruptionError(f"{_NAMES[record_class]} {digest.hex()} is missing: run `hangar fsck`")
        actual = record_digests(record_class, datas)
        if actual != list(digests):
            digest = next(wanted for wanted, found in zip(digests, actual, strict=True) if wanted != found)
            raise CorruptionError(
                f"{_NAMES[record_class]} {digest.hex()} is damaged, its bytes do not match its digest: run `hangar fsck`"
            )
        return datas

    def _keep(self, digest: bytes, node: Node) -> None:
        if self._recent_bytes > self._generation_bytes:
            self._older, self.recent, self._recent_bytes = self.recent, {}, 0
        self.recent[digest] = node
        # Estimate: an object and a list slot for each key, the bytes of the keys, and derived values that are cached.
        keys = node.keys
        self._recent_bytes += 512 + len(node.refs) + len(keys) * (64 + len(keys[0]))

    def forget(self) -> None:
        """Forget all cached nodes: some may not be stored any more."""
        self.recent, self._older, self._recent_bytes = {}, {}, 0

    def snapshot(self) -> NodeStore:
        """A store for reading that keeps the nodes pending now, even if they are dropped here; itself without any."""
        if not self.pending:
            return self
        kept = NodeStore(self._db, 2 * self._generation_bytes)
        kept.pending = dict(self.pending)
        return kept

    def scratch(self) -> NodeStore:
        """A store that has the nodes pending now, and whose new nodes are dropped with it."""
        made = NodeStore(self._db, 2 * self._generation_bytes)
        made.pending = dict(self.pending)
        return made

    # ------------------------------------------------------------------ writing

    def add(self, node: Node) -> Digest:
        """Make ``node`` pending and return its digest."""
        return self.add_many((node,))[0]

    def add_many(self, nodes: Sequence[Node]) -> list[Digest]:
        """Make ``nodes`` pending and return their digests."""
        datas = list(map(encode_node, nodes))
        digests = record_digests("node", datas)
        for digest, data, node in zip(digests, datas, nodes, strict=True):
            if digest not in self.pending:
                self.pending[digest] = data
                self.pending_bytes += len(data)
                self._keep(digest, node)
        return digests

    def add_array(self, record: ArrayRecord) -> Digest:
        """Make an array record pending and return its digest."""
        data = encode_array(record)
        digest = record_digest("array", data)
        if digest not in self.pending:
            self.pending[digest] = data
            self.pending_bytes += len(data)
        return digest

    def adopt(self, other: NodeStore, roots: Iterable[Digest]) -> None:
        """Make pending here what is pending in another store below some nodes or array records."""
        if other is self:
            return
        for digest in other._pending_below(roots):
            if digest not in self.pending:
                self.pending[digest] = other.pending[digest]
                self.pending_bytes += len(other.pending[digest])

    def drop(self, digest: Digest) -> None:
        """Forget a pending node that no tree uses."""
        self.pending_bytes -= len(self.pending.pop(digest, b""))
        self._evict((digest,))

    def flush(self, transaction: WriteTransaction, roots: Iterable[Digest] | None = None) -> int:
        """Store pending nodes. They stay pending until :meth:`written`, as the transaction may have to be repeated.

        Parameters
        ----------
        transaction
            The transaction that also stores the records that refer to the nodes.
        roots
            Store only the nodes and array records below these roots, which are nodes or array records; None stores all.

        Returns
        -------
        int
            Number of nodes stored, without those that the database has already.
        """
        wanted = sorted(self.pending if roots is None else self._pending_below(roots))
        known = _present(transaction, wanted)
        fresh: list[tuple[bytes, bytes]] = [
            (digest, self.pending[digest]) for digest, there in zip(wanted, known, strict=True) if not there
        ]
        transaction.put_many(NODES, fresh)
        return len(fresh)

    def _pending_below(self, roots: Iterable[Digest]) -> set[Digest]:
        pending = self.pending
        below: set[Digest] = set()
        found = pending.keys() & set(roots)
        while found:
            below |= found
            found = set(filter(pending.__contains__, self._records_below(found))) - below
        return below

    def _records_below(self, digests: Iterable[Digest]) -> Iterable[Digest]:
        """The nodes and array records that pending ones name."""
        pending = self.pending
        naming = [digest for digest in digests if names_records(pending[digest])]
        roots = [decode_array(pending[digest]).root for digest in naming if is_array(pending[digest])]
        nodes = self.load_many([digest for digest in naming if not is_array(pending[digest])])
        refs = np.frombuffer(b"".join([node.refs for node in nodes]), np.uint8)
        return chain(digest_list(refs.reshape(-1, DIGEST_BYTES)), [Digest(root) for root in roots if root is not None])

    def written(self) -> None:
        """The transaction of :meth:`flush` is durable: forget all pending nodes, also those not below its roots."""
        self.pending = {}
        self.pending_bytes = 0

    def discard(self) -> None:
        """Forget every pending node; trees that refer to one cannot be read any more."""
        self._evict(self.pending)
        self.written()

    def _evict(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self.recent.pop(digest, None)
            self._older.pop(digest, None)


def _present(transaction: ReadTransaction, digests: Sequence[bytes]) -> list[bool]:
    return [data is not None for data in transaction.get_many(NODES, digests)]


def _decode_named(digest: bytes, data: bytes) -> Node:
    try:
        return decode_node(data)
    except HangarError as error:
        raise type(error)(f"{error} (node {digest.hex()})") from None
