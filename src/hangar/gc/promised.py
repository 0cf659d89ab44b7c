"""Promises in garbage collection: those of removed leaves go, and what they promised and is still reachable stays promised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.blobs.promises import forget_promises, promise_blobs, scan_promises
from hangar.db import WriteTransaction
from hangar.db.tables import NODES, PROMISORS
from hangar.digest import Digest, digest_array, digest_list
from hangar.gc.mark import Marked
from hangar.objects.children import children_of

__all__ = ["PromiseSweep"]

_LEAVES_AT_ONCE: Final = 1_024

Row = tuple[bytes, int]
"""Digest of a leaf or blob, and number of the remote."""


class PromiseSweep:
    """Which promises a collection removes and makes.

    A commit may name a blob in a leaf that was made here, while only the leaf that was received promises it. When that
    one becomes unreachable, the blob gets a promise of its own.
    """

    def __init__(self, marked: Marked) -> None:
        self._marked = marked

    def record(self, transaction: WriteTransaction) -> None:
        """Make the changes; call it before the nodes are deleted."""
        if not transaction.count(PROMISORS):
            return
        dying: list[Row] = []
        living: list[Row] = []
        blobs: list[Row] = []
        denied: list[Row] = []
        for digest, number, kind in scan_promises(transaction):
            if kind != "leaf":
                (blobs if kind == "blob" else denied).append((digest, number))
            elif self._marked.nodes.is_marked(digest):
                living.append((digest, number))
            else:
                dying.append((digest, number))
        kept = self._still_needed(transaction, dying, living) if dying else {}
        forget_promises(transaction, [*dying, *self._unreachable([*blobs, *denied])])
        known_absent = set(denied)
        for number, found in kept.items():
            names = digest_list(found.digests())
            promise_blobs(transaction, number, [name for name in names if (name, number) not in known_absent])

    def _unreachable(self, rows: list[Row]) -> list[Row]:
        """Promises of single blobs that nothing names any more, and that are not stored."""
        if not rows:
            return []
        needed = self._marked.absent.holds(digest_array([digest for digest, _ in rows])).tolist()
        return [row for row, stays in zip(rows, needed, strict=True) if not stays and row[0] not in self._marked.blobs]

    def _still_needed(self, transaction: WriteTransaction, dying: list[Row], living: list[Row]) -> dict[int, DigestSet]:
        """For each remote the absent blobs that history names and that only dying leaves promise."""
        needed: dict[int, DigestSet] = {}
        for number, digests in _blobs_of(transaction, dying):
            needed.setdefault(number, DigestSet()).add(digests[self._marked.absent.holds(digests)])
        if not any(map(len, needed.values())):
            return {}
        promised = DigestSet()
        for _, digests in _blobs_of(transaction, living):
            promised.add(digests)
        return {
            number: DigestSet(found.digests()[~promised.holds(found.digests())]) for number, found in needed.items()
        }


def _blobs_of(transaction: WriteTransaction, rows: list[Row]) -> Iterator[tuple[int, Digests]]:
    """Number of the remote and blobs of each leaf."""
    for start in range(0, len(rows), _LEAVES_AT_ONCE):
        part = rows[start : start + _LEAVES_AT_ONCE]
        datas = transaction.get_many(NODES, [Digest(digest) for digest, _ in part])
        for (_, number), data in zip(part, datas, strict=True):
            if data is not None:
                yield number, children_of(data).blobs
