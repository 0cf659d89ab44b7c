"""Promises: which blobs without a location a remote has.

History may name blobs that are not on this disk. Such a blob is *promised* if a row of ``promisors`` says so, else it is
lost. The key of a row is a digest and the number of a remote. Most rows name a leaf of a tree, and promise every blob
that the leaf names: one row for each leaf received. Others name a single blob: those whose data was evicted, and those
that stay reachable when their leaf is removed. Rows are looked at only when a blob has no location, and in a repository
without rows nothing is looked at.

A row says what a remote had when it was asked. A remote that is found not to have a blob gets a row that says so, which
counts more than the promise of a leaf. The row is replaced when the remote has the blob again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests, Mask
from hangar.blobs.tombstones import IN_EFFECT, find_tombstones
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.epoch import gc_epoch
from hangar.db.tables import COMPLETE, META, NODES, PROMISORS, TOMBSTONES
from hangar.digest import DIGEST_BYTES, Digest, digest_array, digest_list
from hangar.errors import CorruptionError
from hangar.objects.children import children_of_node
from hangar.objects.store import NodeStore
from hangar.refs.remotes import remote_names

__all__ = [
    "PromiseKind",
    "Promises",
    "deny_blobs",
    "forget_complete",
    "forget_promises",
    "is_complete",
    "mark_complete",
    "promise_blobs",
    "promise_leaves",
    "remove_promises",
    "scan_promises",
]

PromiseKind = Literal["leaf", "blob", "denied"]
"""What a row says: the remote has every blob of a leaf; it has a blob; it does not have a blob that it had promised."""

_REMOTE_BYTES: Final = 4
_VALUES: Final[dict[PromiseKind, bytes]] = {"leaf": b"", "blob": b"\x01", "denied": b"\x02"}
_KINDS: Final = {value: kind for kind, value in _VALUES.items()}
_CHANGES: Final = b"promise changes"
"""Key in ``meta`` of the number of changes of the table, by which a process sees that what it has loaded is old."""
_LEAVES_AT_ONCE: Final = 1_024
_NONE: Final = np.empty((0, DIGEST_BYTES), np.uint8)
_NO_BLOBS: Final = DigestSet()

Prefixes = npt.NDArray[np.uint64]
"""First eight bytes of digests as numbers, sorted. Digests are uniform, so that they stand for the digest here."""


# ---------------------------------------------------------------------------------------------------- rows


def promise_leaves(transaction: WriteTransaction, remote: int, leaves: Iterable[bytes]) -> None:
    """Record that a remote has every blob that these leaves name.

    Parameters
    ----------
    remote
        Number of the remote.
    leaves
        Digests of leaves, stored now or by this transaction.
    """
    _put(transaction, remote, leaves, "leaf")


def promise_blobs(transaction: WriteTransaction, remote: int, blobs: Iterable[bytes]) -> None:
    """Record that a remote has these blobs."""
    _put(transaction, remote, blobs, "blob")


def deny_blobs(transaction: WriteTransaction, remote: int, blobs: Iterable[bytes]) -> None:
    """Record that a remote does not have these blobs, which it had promised."""
    _put(transaction, remote, blobs, "denied")


def _put(transaction: WriteTransaction, remote: int, digests: Iterable[bytes], kind: PromiseKind) -> None:
    suffix = remote.to_bytes(_REMOTE_BYTES, "big")
    rows = [(key, _VALUES[kind]) for key in sorted({digest + suffix for digest in digests})]
    if rows:
        transaction.put_many(PROMISORS, rows)
        _count_change(transaction)


def _changes(transaction: ReadTransaction) -> int:
    return int.from_bytes(transaction.get(META, _CHANGES) or b"", "little")


def _count_change(transaction: WriteTransaction) -> None:
    transaction.put(META, _CHANGES, (_changes(transaction) + 1).to_bytes(8, "little"))


def scan_promises(transaction: ReadTransaction) -> Iterator[tuple[bytes, int, PromiseKind]]:
    """Digest, number of the remote, and kind, of every row."""
    for key, value in transaction.scan(PROMISORS):
        kind = _KINDS.get(value)
        if len(key) != DIGEST_BYTES + _REMOTE_BYTES or kind is None:
            raise CorruptionError(f"table 'promisors' has a malformed row (key {key.hex()}): run `hangar fsck`")
        yield key[:DIGEST_BYTES], int.from_bytes(key[DIGEST_BYTES:], "big"), kind


def remove_promises(transaction: WriteTransaction, remote: int) -> int:
    """Delete all promises of a remote; returns the number of rows."""
    doomed = [(digest, number) for digest, number, _ in scan_promises(transaction) if number == remote]
    forget_promises(transaction, doomed)
    return len(doomed)


def forget_promises(transaction: WriteTransaction, rows: Iterable[tuple[bytes, int]]) -> None:
    """Delete promises, by digest and number of the remote."""
    doomed = list(rows)
    for digest, number in doomed:
        transaction.delete(PROMISORS, digest + number.to_bytes(_REMOTE_BYTES, "big"))
    if doomed:
        _count_change(transaction)


# ---------------------------------------------------------------------------------------------------- complete


def is_complete(transaction: ReadTransaction, root: bytes) -> bool:
    """Whether a tree was found to have all its blobs here. False means: not known."""
    return transaction.get(COMPLETE, root) is not None


def mark_complete(db: Database, root: bytes, epoch: int) -> None:
    """Record that all blobs of a tree are here, unless blobs were removed since the gc epoch was read."""

    def write(transaction: WriteTransaction) -> None:
        if gc_epoch(transaction) == epoch:
            transaction.put(COMPLETE, root, b"")

    db.update(write)


def forget_complete(transaction: WriteTransaction) -> None:
    """Forget which trees are complete, because blobs are removed."""
    if transaction.count(COMPLETE):
        transaction.delete_prefix(COMPLETE, b"")


# ---------------------------------------------------------------------------------------------------- asking


class Promises:
    """Which absent blobs are promised, and by whom.

    Parameters
    ----------
    known
        Mask of the blobs that are stored here; their promises need not be remembered.
    """

    def __init__(self, db: Database, known: Callable[[Digests], Mask]) -> None:
        self._db = db
        self._known = known
        self._state: tuple[int, int, tuple[int, ...]] | None = None
        self._sets: dict[int, Prefixes] = {}
        self._denied: dict[int, DigestSet] = {}

    def possible(self) -> bool:
        """Whether anything can be promised. Where nothing was ever received, this is all that is asked."""
        with self._db.read() as transaction:
            if transaction.count(PROMISORS):
                return True
            transaction.check_count(PROMISORS)  # lost rows must not look like none
            return False

    def promised(self, digests: Digests) -> Mask:
        """Mask of the blobs that some remote promises: bool, shape (n,)."""
        found = np.zeros(len(digests), np.bool_)
        for mask in self.by_remote(digests).values():
            found |= mask
        return found

    def by_remote(self, digests: Digests) -> dict[int, Mask]:
        """For each remote that promises anything, by its number, the mask of the blobs that it promises.

        Parameters
        ----------
        digests
            uint8, shape (n, 32): blobs without a location.
        """
        if not len(digests):
            return {}
        prefixes = _prefixes(digests)
        found = _among(self._load(), prefixes)
        left = np.flatnonzero(~_union(found, len(digests)))
        if len(left) and not _union(self.denied(digests[left]), len(left)).all():
            # Blobs that were here when the rows were loaded may have been removed.
            self._state = None
            found = _among(self._load(), prefixes)
        return found

    def denied(self, digests: Digests) -> dict[int, Mask]:
        """For each remote that had promised some of these blobs and was found not to have them, the mask of those."""
        self._load()
        found = {number: gone.holds(digests) for number, gone in self._denied.items()} if len(digests) else {}
        return {number: mask for number, mask in found.items() if mask.any()}

    def denied_by(self, number: int) -> DigestSet:
        """The blobs that one remote had promised and was found not to have."""
        self._load()
        return self._denied.get(number, _NO_BLOBS)

    def absent_at(self, number: int) -> Digests:
        """The blobs that one remote promises and that are not here: uint8, shape (n, 32)."""
        with self._db.read() as transaction:
            rows = _Rows.of(row for row in scan_promises(transaction) if row[1] == number)
        return np.unique(np.concatenate([_NONE, *self._promised_in(rows, number)]), axis=0)

    def remotes(self) -> list[int]:
        """Numbers of the remotes that promise anything, those with the most blobs first."""
        sets = self._load()
        return sorted(sets, key=lambda number: -len(sets[number]))

    def names(self) -> dict[int, str]:
        """Names of all remotes by their number."""
        with self._db.read() as transaction:
            return remote_names(transaction)

    def _load(self) -> dict[int, Prefixes]:
        with self._db.read() as transaction:
            state = _changes(transaction), transaction.count(TOMBSTONES), tuple(sorted(remote_names(transaction)))
            if state == self._state:
                return self._sets
            rows = _Rows.of(scan_promises(transaction))
        sets = {}
        for number in rows.leaves.keys() | rows.blobs.keys():
            parts = [np.empty(0, np.uint64), *map(_prefixes, self._promised_in(rows, number))]
            sets[number] = np.unique(np.concatenate(parts))
        self._denied = rows.denied
        self._sets = sets
        self._state = state
        return sets

    def _promised_in(self, rows: _Rows, number: int) -> Iterator[Digests]:
        """The blobs that the rows of a remote promise, that are wanted, and that are not here."""
        names = digest_array(rows.blobs.get(number, []))
        yield self._wanted(names[~self._known(names)])
        denied = rows.denied.get(number, _NO_BLOBS)
        for blobs in self._blobs_of(rows.leaves.get(number, [])):
            yield blobs[~denied.holds(blobs)] if len(denied) else blobs

    def _blobs_of(self, leaves: list[Digest]) -> Iterator[Digests]:
        """The blobs that leaves name and that are not here. A leaf that was removed promises nothing."""
        store = NodeStore(self._db, cache_bytes=0)
        for start in range(0, len(leaves), _LEAVES_AT_ONCE):
            part = leaves[start : start + _LEAVES_AT_ONCE]
            with self._db.read() as transaction:
                stored = transaction.get_many(NODES, part)
            names = [digest for digest, row in zip(part, stored, strict=True) if row is not None]
            blobs = [children_of_node(node).blobs for node in store.load_many(names)]
            if blobs:
                digests = np.concatenate(blobs)
                yield self._wanted(digests[~self._known(digests)])

    def _wanted(self, digests: Digests) -> Digests:
        """Those of some blobs that were not purged here: what is not to be stored is not promised either."""
        with self._db.read() as transaction:
            if not transaction.count(TOMBSTONES):
                return digests
            found = find_tombstones(transaction, digest_list(digests))
        gone = {digest for digest, tombstone in found.items() if tombstone.state == IN_EFFECT}
        return digests[[digest not in gone for digest in digest_list(digests)]] if gone else digests


class _Rows(NamedTuple):
    """Rows of the table by the number of the remote: leaves, single blobs, and those that the remote does not have."""

    leaves: dict[int, list[Digest]]
    blobs: dict[int, list[bytes]]
    denied: dict[int, DigestSet]

    @classmethod
    def of(cls, rows: Iterable[tuple[bytes, int, PromiseKind]]) -> _Rows:
        leaves: dict[int, list[Digest]] = {}
        blobs: dict[int, list[bytes]] = {}
        denied: dict[int, list[bytes]] = {}
        for digest, number, kind in rows:
            if kind == "leaf":
                leaves.setdefault(number, []).append(Digest(digest))
            else:
                (blobs if kind == "blob" else denied).setdefault(number, []).append(digest)
        return cls(leaves, blobs, {number: DigestSet(digest_array(names)) for number, names in denied.items()})


def _prefixes(digests: Digests) -> Prefixes:
    return np.ascontiguousarray(digests).view(">u8")[:, 0].astype(np.uint64)


def _among(sets: dict[int, Prefixes], prefixes: Prefixes) -> dict[int, Mask]:
    found: dict[int, Mask] = {}
    for number, known in sets.items():
        if len(known):
            mask: Mask = known.take(known.searchsorted(prefixes), mode="clip") == prefixes
            found[number] = mask
    return found


def _union(found: dict[int, Mask], count: int) -> Mask:
    union = np.zeros(count, np.bool_)
    for mask in found.values():
        union |= mask
    return union
