"""Where trees find their nodes: a bounded cache, the nodes made and not yet written, and the database.

A node's digest is checked when it is loaded from the database, so whoever holds a :class:`Node` holds what its digest
names. New nodes are pending, in memory, until a write transaction stores them together with what names them. One store
serves any number of threads that read; one of them at most may write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hangar import limits
from hangar.db.tables import NODES
from hangar.digest import DIGEST_BYTES, Digest, digest_list, record_digests
from hangar.errors import CorruptionError, HangarError
from hangar.objects.node import Node, decode_node, encode_node

if TYPE_CHECKING:
    from hangar.db import Database, ReadTransaction, WriteTransaction

__all__ = ["NodeStore"]

_LEVEL_OFFSET = 2
"""Of the level in an encoded node, whose first three parts take a byte each."""


class NodeStore:
    """The nodes of one repository.

    Parameters
    ----------
    db
        Database of the repository.
    cache_bytes
        Memory that decoded nodes may take, about.

    Attributes
    ----------
    recent
        Nodes that were used lately. Whoever saves a call of :meth:`load` by looking here first must not change it.
    pending
        Nodes made and not yet written, in the order they were made.
    pending_bytes
        Their length in all.
    loads
        Nodes fetched from the database so far.
    """

    __slots__ = ("_db", "_generation_bytes", "_older", "_recent_bytes", "loads", "pending", "pending_bytes", "recent")

    def __init__(self, db: Database, cache_bytes: int = limits.NODE_CACHE_BYTES) -> None:
        self._db = db
        # Two generations: when the one at hand is full it becomes the old one, and what is not asked for meanwhile is dropped.
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
            It is missing, is not what its digest says, or is no node.
        UnsupportedVersionError
            A newer Hangar wrote it.
        """
        node = self.recent.get(digest)
        return self._fetch((digest,))[digest] if node is None else node

    def load_many(self, digests: Sequence[bytes]) -> list[Node]:
        """The nodes of these digests, in their order; one look into the database for all that are not in memory."""
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
        with self._db.read() as transaction:
            stored = transaction.get_many(NODES, digests)
        self.loads += len(digests)
        datas = [data for data in stored if data is not None]
        if len(datas) < len(digests):
            digest = digests[stored.index(None)]
            raise CorruptionError(f"tree node {digest.hex()} is missing: run `hangar fsck`")
        actual = record_digests("node", datas)
        if actual != digests:
            digest = next(wanted for wanted, found in zip(digests, actual, strict=True) if wanted != found)
            raise CorruptionError(
                f"tree node {digest.hex()} is damaged, its bytes have another digest: run `hangar fsck`"
            )
        try:
            return list(map(decode_node, datas))
        except HangarError:
            return [_decode_named(digest, data) for digest, data in zip(digests, datas, strict=True)]

    def _keep(self, digest: bytes, node: Node) -> None:
        if self._recent_bytes > self._generation_bytes:
            self._older, self.recent, self._recent_bytes = self.recent, {}, 0
        self.recent[digest] = node
        # An object and its place in a list for each key, the keys' own bytes, and the views computed on the way.
        keys = node.keys
        self._recent_bytes += 512 + len(node.refs) + len(keys) * (64 + len(keys[0]))

    def snapshot(self) -> NodeStore:
        """A store to read from that keeps what is pending now, whatever becomes of it here; itself where nothing is."""
        if not self.pending:
            return self
        kept = NodeStore(self._db, 2 * self._generation_bytes)
        kept.pending = dict(self.pending)
        return kept

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

    def drop(self, digest: Digest) -> None:
        """Forget a pending node that no tree came to need."""
        self.pending_bytes -= len(self.pending.pop(digest, b""))
        self._evict((digest,))

    def flush(self, transaction: WriteTransaction, roots: Iterable[Digest] | None = None) -> int:
        """Store pending nodes; they stay pending until :meth:`written`, for the transaction may have to be repeated.

        Parameters
        ----------
        transaction
            The one that also stores what names the nodes.
        roots
            Store the nodes below these alone; None stores all.

        Returns
        -------
        int
            Nodes stored: those that the database did not hold.
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
            inner = self.load_many([digest for digest in found if pending[digest][_LEVEL_OFFSET]])
            refs = np.frombuffer(b"".join([node.refs for node in inner]), np.uint8)
            found = set(filter(pending.__contains__, digest_list(refs.reshape(-1, DIGEST_BYTES)))) - below
        return below

    def written(self) -> None:
        """What :meth:`flush` stored is durable: nothing is pending any more. Nodes below no root of the flush are forgotten."""
        self.pending = {}
        self.pending_bytes = 0

    def discard(self) -> None:
        """Forget every pending node; a tree that names one cannot be read any more."""
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
