"""Fetch of history: commits and all that they name, blobs excluded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from hangar.blobs.promises import promise_leaves
from hangar.db import WriteTransaction
from hangar.db.epoch import gc_epoch
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, HangarError, InvalidInputError, LockedError
from hangar.progress import Progress, Reporter, report
from hangar.remote.haves import commits_here, haves
from hangar.remote.objects_in import ObjectsIn
from hangar.remote.peer import HistoryRequest, Limits, Names, Objects, ObjectsRequest, Reader
from hangar.remote.publication import Publication, publish_received
from hangar.remote.quarantine import Quarantine, quarantine_path
from hangar.remote.sending import join_digests
from hangar.remote.source import ObjectSource
from hangar.remote.transfer_types import FetchedHistory
from hangar.remote.verify import new_commits, verify_history
from hangar.stores import Stores

__all__ = ["fetch_history"]

Record = Callable[[WriteTransaction], object]


def fetch_history(
    stores: Stores,
    reader: Reader,
    heads: Iterable[Digest],
    *,
    remote_id: int,
    record: Record,
    limits: Limits | None = None,
    progress: Progress = None,
) -> FetchedHistory:
    """Fetch commits and everything that they name except for blobs, verify it, and publish it.

    An interrupted fetch is continued by the next one of the same remote.

    Parameters
    ----------
    heads
        Commits of the peer; those that are here already cost nothing.
    remote_id
        Number of the remote, for the table of promisors: it has the blobs of the leaves that it sent.
    record
        Moves the refs, in the transaction that publishes. Called also if there is nothing new.
    limits
        What one message to the peer holds, by its :class:`~hangar.remote.peer.Welcome`.
    progress
        See :mod:`hangar.progress`; counts objects.

    Raises
    ------
    CorruptionError
        What the peer sent is not valid, or not complete. Nothing of it was stored.
    RevisionNotFoundError
        The peer does not have one of the commits (any more).
    """
    wanted = list(dict.fromkeys(heads))
    if len(commits_here(stores, wanted)) == len(wanted):
        # Refs look themselves whether garbage collection removed their commit since.
        publish_received(stores, Publication(ObjectSource(stores.db), None, None, epoch=None, check=None, move=record))
        return FetchedHistory((), 0, 0, 0)
    quarantine = _open_quarantine(stores, remote_id)
    keep = True
    try:
        with report(progress, None, "objects", "fetching history") as reporter:
            fetch = _Fetch(stores, reader, quarantine, wanted, limits or Limits(), reporter)
            found = fetch.run(remote_id, record)
        keep = False
        return found
    except (InvalidInputError, CorruptionError) as error:
        keep = False
        if isinstance(error, InvalidInputError):
            raise CorruptionError(f"what the remote sent is not valid, and was not stored: {error}") from error
        raise
    finally:
        quarantine.close(remove=not keep)


def _open_quarantine(stores: Stores, remote_id: int) -> Quarantine:
    """The quarantine of a remote, with what an interrupted fetch left; a new one if another process uses that."""
    try:
        return Quarantine(quarantine_path(stores.directory, f"fetch-{remote_id}"))
    except LockedError:
        return Quarantine(quarantine_path(stores.directory, f"fetch-{remote_id}-{os.urandom(8).hex()}"))


class _Fetch:
    def __init__(
        self,
        stores: Stores,
        reader: Reader,
        quarantine: Quarantine,
        heads: list[Digest],
        limits: Limits,
        reporter: Reporter,
    ) -> None:
        self._stores = stores
        self._reader = reader
        self._heads = heads
        self._limits = limits
        self._reporter = reporter
        self._source = ObjectSource(stores.db, quarantine)
        self._objects = ObjectsIn(self._source, quarantine)
        self._haves = haves(stores)
        self._calls = self._count = self._nbytes = 0
        self._resumed = quarantine.count > 0

    def run(self, remote_id: int, record: Record) -> FetchedHistory:
        while True:
            epoch = self._epoch()
            try:
                return self._attempt(epoch, remote_id, record)
            except HangarError:
                if self._epoch() == epoch:
                    raise
            # Garbage collection ran: something that was here is not here any more. Look again, and ask for it.
            self._haves = haves(self._stores)
            self._objects.rescan()
            self._resumed = True

    def _epoch(self) -> int:
        with self._stores.db.read() as transaction:
            return gc_epoch(transaction)

    def _attempt(self, epoch: int, remote_id: int, record: Record) -> FetchedHistory:
        self._receive()
        history = verify_history(self._source, self._heads)

        def move(transaction: WriteTransaction) -> None:
            for leaves in history.leaves.values():
                promise_leaves(transaction, remote_id, leaves.digests())
            record(transaction)

        publish_received(self._stores, Publication(self._source, history, None, epoch=epoch, check=None, move=move))
        return FetchedHistory(tuple(reversed(history.commits)), self._count, self._nbytes, self._calls)

    def _receive(self) -> None:
        """Ask until nothing is missing."""
        array = np.frombuffer(join_digests(self._heads), np.uint8).reshape(-1, DIGEST_BYTES)
        self._objects.want("commit", array)
        self._receive_commits()
        below = True
        if not self._resumed:
            commits = list(new_commits(self._source, self._heads))
            # Commits without parents are not related to what is here, which may have much of their trees nevertheless.
            related = not self._haves or all(self._source.commit(digest).parents for digest in commits)
            below = related
            if related:
                for start in range(0, len(commits), self._limits.names):
                    part = join_digests(commits[start : start + self._limits.names])
                    self._ask(ObjectsRequest((Names("commit", part),), b"", True))
        while True:
            names, _ = self._objects.missing(self._limits.names)
            if not names:
                return
            if any(one.kind == "commit" for one in names):
                raise InvalidInputError("the remote does not have the parents of a commit")
            self._ask(ObjectsRequest(tuple(names), join_digests(self._haves), below))
            if self._objects.missing(self._limits.names)[0] == names:
                raise InvalidInputError(
                    f"the remote does not have {names[0].kind} {names[0].digests[:32].hex()}, which it names"
                )

    def _receive_commits(self) -> None:
        """Ask for commits until none is missing."""
        before = b""
        while wants := self._missing_commits():
            if wants == before:
                raise InvalidInputError(
                    f"the remote does not have commit {wants[:6].hex()}, on which its history builds, and neither is it here: "
                    "fetch that first"
                )
            before = wants
            self._take(self._reader.history(HistoryRequest(wants, join_digests(self._haves))))

    def _missing_commits(self) -> bytes:
        names, _ = self._objects.missing(self._limits.names)
        return b"".join(one.digests for one in names if one.kind == "commit")

    def _ask(self, request: ObjectsRequest) -> None:
        self._take(self._reader.objects(request))

    def _take(self, frames: Iterator[Objects]) -> None:
        self._calls += 1
        for frame in frames:
            self._objects.add(frame)
            nbytes = sum(map(len, frame.items))
            self._count += len(frame.items)
            self._nbytes += nbytes
            self._reporter.advance(len(frame.items), nbytes)
