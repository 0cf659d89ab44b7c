"""Publishes what was received and verified: objects, blobs and the moves of refs, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hangar.blobs import BlobWriter
from hangar.blobs.ownership import OwnFiles
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.epoch import gc_epoch
from hangar.db.tables import COMMITS
from hangar.digest import DIGEST_BYTES, RecordClass, record_digests
from hangar.errors import InvalidStateError, StorageError
from hangar.objects.graph import record_generation
from hangar.publishing import publish
from hangar.remote.quarantine import Quarantine
from hangar.remote.sending import join_digests, split_digests
from hangar.remote.source import TABLES, ObjectSource
from hangar.remote.verify import NewHistory
from hangar.stores import Stores

__all__ = ["CollectedError", "Publication", "publish_received"]

_AT_ONCE: Final = 2_048


class CollectedError(InvalidStateError):
    """Garbage collection ran since it was looked what is missing: look again."""


class Publication:
    """A change of the repository by what was received.

    Parameters
    ----------
    history
        Verified history, whose objects are in the quarantine of ``source``; None: no new objects.
    writer
        Has received blobs; None: none were received.
    epoch
        The gc epoch at which it was looked what is missing; None if nothing depends on that.
    check
        Called first in the transaction; refuses the change by an error.
    move
        Called last: moves refs and records what belongs to it.
    """

    def __init__(
        self,
        source: ObjectSource,
        history: NewHistory | None,
        writer: BlobWriter | None,
        *,
        epoch: int | None,
        check: Callable[[ReadTransaction], object] | None,
        move: Callable[[WriteTransaction], object],
    ) -> None:
        self._source = source
        self._history = history
        self._writer = writer
        self._epoch = epoch
        self._check = check
        self._move = move
        self._recorded = False

    def prepare(self) -> None:
        """Make the blobs durable."""
        if self._writer is not None:
            self._writer.prepare()

    def record(self, transaction: WriteTransaction) -> None:
        """Write all rows."""
        if self._check is not None:
            self._check(transaction)
        if self._epoch is not None and gc_epoch(transaction) != self._epoch:
            raise CollectedError("data was removed by garbage collection meanwhile: ask again what is missing")
        self._recorded = True
        if self._writer is not None:
            self._writer.record(transaction)
        if self._history is not None:
            self._store(transaction, self._history)
        self._move(transaction)

    def _store(self, transaction: WriteTransaction, history: NewHistory) -> None:
        quarantine = self._source.quarantine
        assert quarantine is not None
        for kind, joined in history.records.items():
            for rows in _rows(quarantine, kind, joined):
                transaction.put_many(TABLES[kind], rows)
        for rows in _rows(quarantine, "commit", join_digests(history.commits)):
            transaction.put_many(COMMITS, rows)
        for digest, parents in history.commits.items():
            record_generation(transaction, digest, parents)

    def committed(self) -> None:
        """The change is durable."""
        if self._writer is not None:
            self._writer.committed()

    def rollback(self) -> None:
        """Drop the blobs if the transaction may have had them."""
        if self._writer is not None and self._recorded:
            self._writer.rollback()


def publish_received(stores: Stores, change: Publication) -> None:
    """Publish it, without the writer lock."""
    publish(stores.db, OwnFiles(), change)


def _rows(quarantine: Quarantine, kind: RecordClass, joined: bytes | bytearray) -> Iterator[list[tuple[bytes, bytes]]]:
    """Objects in the order in which they are named, some at a time, each with its digest."""
    step = _AT_ONCE * DIGEST_BYTES
    for start in range(0, len(joined), step):
        part = list(dict.fromkeys(split_digests(bytes(joined[start : start + step]))))
        datas = [data for data in quarantine.get_many(kind, part) if data is not None]
        if record_digests(kind, datas) != part:
            raise StorageError(f"{quarantine.path} was changed while it was used: transfer the data again")
        yield list(zip(part, datas, strict=True))
