"""Push: what the peer lacks of some commits, and then the moves of its refs in one step."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from blake3 import blake3

from hangar.blobs.tombstones import IN_EFFECT, scan_tombstones
from hangar.db import WriteTransaction
from hangar.db.tables import META
from hangar.digest import Digest
from hangar.errors import (
    AccessError,
    HangarError,
    InvalidStateError,
    LockedError,
    NotLocalError,
    OutcomeUnknownError,
    UnreachableError,
)
from hangar.history.leases import Lease
from hangar.objects.graph import ancestors
from hangar.progress import Progress, Reporter, report
from hangar.remote.blobs_out import blob_frames
from hangar.remote.haves import commits_here, haves
from hangar.remote.peer import (
    ID_BYTES,
    BlobFrame,
    Limits,
    Missing,
    Objects,
    Peer,
    PushStart,
    PushStarted,
    RefResult,
    RefUpdate,
    TombstonePage,
    ended_by,
)
from hangar.remote.sending import below_names, content_of, frames, join_digests, split_digests
from hangar.remote.source import ObjectSource
from hangar.remote.transfer_types import Pushed
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["push"]

_ATTEMPTS: Final = 4
_TOMBSTONES: Final = 1_000
_KEY: Final = b"push key"
"""Key of the row of ``meta``."""
_KEY_BYTES: Final = 32
_PATIENCE_SECONDS: Final = 60.0
"""How long a push is begun again after interruptions, while the server takes nothing of it."""
_PAUSE_SECONDS: Final = 0.5


def push(
    stores: Stores,
    peer: Peer,
    updates: Sequence[RefUpdate],
    *,
    who: tuple[str, str],
    complete: bool = False,
    limits: Limits | None = None,
    progress: Progress = None,
) -> Pushed:
    """Push commits with everything that they name that the peer lacks, and move its refs in one step.

    Parameters
    ----------
    updates
        The moves, each with the commit that the ref must have now.
    who
        Name and email, for the reflog of the peer.
    complete
        Also send what the peer does not have of these commits because another repository has promised it to the peer; it
        must have the commits.
    limits
        What one message to the peer holds, by its :class:`~hangar.remote.peer.Welcome`.
    progress
        Counts blobs, with the total as far as the peer has told it.

    Raises
    ------
    StaleRefError
        A ref is not where it was, or would lose commits.
    AccessError
        The peer does not permit it.
    NotLocalError
        The peer lacks blobs that are not here either.
    OutcomeUnknownError
        The connection was lost at the very end. Pushing again is safe.
    """
    heads = [Digest(update.new) for update in updates if update.new is not None]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(AccessError):  # a repository that is read-only here cannot be collected either
            stack.enter_context(Lease(stores.db, heads))
        reporter = stack.enter_context(report(progress, None, "values", "pushing"))
        return _Push(stores, peer, tuple(updates), heads, limits or Limits(), reporter).run(who, complete)


class _Push:
    def __init__(
        self,
        stores: Stores,
        peer: Peer,
        updates: tuple[RefUpdate, ...],
        heads: list[Digest],
        limits: Limits,
        reporter: Reporter,
    ) -> None:
        self._stores = stores
        self._peer = peer
        self._updates = updates
        self._heads = heads
        self._limits = limits
        self._reporter = reporter
        self._source = ObjectSource(stores.db)
        self._id = _push_id(stores, updates)
        # Whether the server, asking for a node, lacks all below it.
        self._below = False
        self._promised = 0
        self._sent: list[bytes] = []
        # What the server lacked when the push was begun last, and until when an interrupted push is begun again.
        self._before: Missing | None = None
        self._patience = self._until = 0.0
        self._calls = self._objects = self._object_nbytes = self._blobs = self._blob_nbytes = 0

    def run(self, who: tuple[str, str], complete: bool) -> Pushed:
        while True:
            try:
                return self._run(who, complete)
            except UnreachableError:
                # What was sent is kept by the server for a while: the same push goes on with it.
                if time.monotonic() > self._until:
                    raise
                time.sleep(_PAUSE_SECONDS)
                self._reporter.total = self._blobs

    def _begin(self, complete: bool) -> PushStarted:
        self._calls += 1
        self._until = 0.0  # a server that cannot be reached at all is not asked again
        candidates = join_digests(haves(self._stores))
        started = self._peer.begin_push(PushStart(self._id, self._updates, candidates, complete))
        if started.missing != self._before:
            self._before, self._patience = started.missing, time.monotonic() + _PATIENCE_SECONDS
        self._until = self._patience
        return started

    def _run(self, who: tuple[str, str], complete: bool) -> Pushed:
        try:
            started = self._begin(complete)
            known = commits_here(self._stores, split_digests(started.known))
            self._below = bool(known)
            missing = self._send_new(started.missing, known)
            results = self._finish(missing, known, who)
        except (UnreachableError, NotLocalError, LockedError):
            raise  # what was sent is kept for a while
        except Exception:  # nor is it given up by an interrupt
            with contextlib.suppress(HangarError):
                self._peer.abort_push(self._id)
            raise
        moved = tuple(result.name for result in results)
        return Pushed(
            moved,
            self._objects,
            self._object_nbytes,
            self._blobs,
            self._blob_nbytes,
            self._calls,
            self._promised,
            b"".join(self._sent),
        )

    # ------------------------------------------------------------------ objects

    def _send_new(self, missing: Missing, known: Sequence[Digest]) -> Missing:
        """Send the new commits with all that they name, if the server knows what they build on."""
        asked = {digest for one in missing.objects if one.kind == "commit" for digest in split_digests(one.digests)}
        if not known or not asked.intersection(self._heads):
            return missing
        new = list(ancestors(self._stores.db, self._heads, known))
        if not all(commit.parents for _, commit in new):
            # Not related to what is there, which may have much of its trees nevertheless: level by level.
            self._below = False
            return missing
        commits: list[tuple[bytes, bytes]] = [(digest, commit.encode()) for digest, commit in new]
        content = content_of(self._source, [digest for digest, _ in reversed(new)])
        # All commits first: what comes after them is named by what came before.
        return self._send_objects(chain(frames([("commit", commits)], self._limits), frames(content, self._limits)))

    def _send_missing(self, missing: Missing, known: Sequence[Digest]) -> Missing:
        """Send all objects that the server asks for, until it asks for none."""
        while missing.objects:
            before = missing.objects
            below = self._below and all(one.kind != "commit" for one in before)
            found = below_names(self._source, before, known, below=below)
            missing = self._send_objects(frames(found, self._limits))
            if missing.objects == before:
                name = before[0]
                raise InvalidStateError(f"the remote asks for {name.kind} {name.digests[:32].hex()}, which is not here")
        return missing

    def _send_objects(self, found: Iterator[Objects]) -> Missing:
        self._calls += 1
        return self._peer.send_objects(self._id, map(self._note_objects, found))

    def _note_objects(self, frame: Objects) -> Objects:
        self._objects += len(frame.items)
        self._object_nbytes += sum(map(len, frame.items))
        return frame

    # ------------------------------------------------------------------ blobs

    def _send_blobs(self, missing: Missing) -> Missing:
        """Send the blobs that the server asks for."""
        found = chain.from_iterable(blob_frames(self._stores.blobs, names, self._limits) for names in missing.blobs)
        wanted = sum(map(len, missing.blobs))
        self._reporter.total = (self._reporter.total or 0) + wanted
        before = self._blobs
        self._calls += 1
        self._peer.send_blobs(self._id, map(self._note_blobs, found))
        if self._blobs - before < wanted:
            raise NotLocalError(
                f"{plural(wanted - self._blobs + before, 'value')} that the remote lacks {'is' if wanted == 1 else 'are'} not on this disk "
                "either: fetch them with `hangar fetch-data REMOTE REV` from the remote that has them, and push again"
            )
        self._sent += [names.digests for names in missing.blobs]
        if not missing.more:
            return Missing()  # the server looks again when the push is finished
        self._calls += 1
        return self._peer.missing(self._id)

    def _note_blobs(self, frame: BlobFrame) -> BlobFrame:
        count = ended_by(frame)
        self._blobs += count
        self._blob_nbytes += frame.nbytes
        self._reporter.advance(count, frame.nbytes)
        return frame

    # ------------------------------------------------------------------ the end

    def _finish(self, missing: Missing, known: Sequence[Digest], who: tuple[str, str]) -> tuple[RefResult, ...]:
        self._send_tombstones()
        for attempt in range(_ATTEMPTS):
            self._promised = max(self._promised, missing.promised)
            while missing:
                missing = self._send_missing(missing, known) if missing.objects else self._send_blobs(missing)
                self._promised = max(self._promised, missing.promised)
            try:
                self._calls += 1
                return self._peer.finish_push(self._id, self._updates, who)
            except OutcomeUnknownError:
                if attempt == _ATTEMPTS - 1:
                    raise
            except InvalidStateError:
                if attempt == _ATTEMPTS - 1:
                    raise
                # The server has less than it had: level by level, what it names.
                self._below = False
                self._calls += 1
                missing = self._peer.missing(self._id)
        raise AssertionError("the loop returns or raises")

    def _send_tombstones(self) -> None:
        with self._stores.db.read() as transaction:
            found = [(bytes(key), one) for key, one in scan_tombstones(transaction) if one.state == IN_EFFECT]
        if found:
            pages = (
                TombstonePage(tuple(found[start : start + _TOMBSTONES])) for start in range(0, len(found), _TOMBSTONES)
            )
            self._calls += 1
            self._peer.send_tombstones(self._id, pages)


def _push_id(stores: Stores, updates: Sequence[RefUpdate]) -> bytes:
    """The same for the same push from the same repository, so that an interrupted one is continued; nobody else can guess it."""
    place = os.fsencode(stores.directory.resolve())
    moves = [(update.name, update.new) for update in updates]
    return blake3(place + b"\0" + repr(moves).encode(), key=push_key(stores)).digest()[:ID_BYTES]


def push_key(stores: Stores) -> bytes:
    """The secret of a repository by which servers know its pushes again."""
    with stores.db.read() as transaction:
        found = transaction.get(META, _KEY)

    def make(transaction: WriteTransaction) -> bytes:
        known = transaction.get(META, _KEY)
        if known is None or len(known) != _KEY_BYTES:
            known = os.urandom(_KEY_BYTES)
            transaction.put(META, _KEY, known)
        return known

    if found is not None and len(found) == _KEY_BYTES:
        return found
    try:
        return stores.db.update(make)
    except AccessError:
        return os.urandom(_KEY_BYTES)  # a repository that is read-only here: an interrupted push begins anew
