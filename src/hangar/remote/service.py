"""The server's half of synchronization: the :class:`~hangar.remote.peer.Peer` of a repository in this process.

A transport calls it from many threads, and any number of clients may be served while local readers and writers work.
What it keeps between calls are the pushes in progress. Reading takes no lock and keeps nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import compress
from typing import Final

from hangar.blobs.tombstones import IN_EFFECT, scan_tombstones
from hangar.blobs.unfinished import PUSH
from hangar.digest import DIGEST_BYTES, Digest, digest_array
from hangar.errors import (
    InvalidInputError,
    InvalidStateError,
    PurgedError,
    ResourceLimitError,
    RevisionNotFoundError,
    UnsupportedVersionError,
)
from hangar.objects.graph import ancestors, generation, reached
from hangar.remote.blob_states import blob_states
from hangar.remote.blobs_out import READ_BYTES, blob_frames, blob_sizes
from hangar.remote.crowd import Crowd
from hangar.remote.identity import repository_id
from hangar.remote.peer import (
    ID_BYTES,
    PROTOCOL_VERSION,
    BlobFrame,
    BlobNames,
    Hello,
    HistoryRequest,
    Limits,
    Missing,
    Objects,
    ObjectsRequest,
    PushStart,
    PushStarted,
    RefInfo,
    RefPage,
    RefResult,
    RefUpdate,
    TombstonePage,
    Welcome,
)
from hangar.remote.policy import Policy, check_forward, check_person, check_updates, find_operation
from hangar.remote.push_room import PushRoom
from hangar.remote.push_session import PushSession
from hangar.remote.sending import below_names, frames, join_digests, split_digests
from hangar.remote.source import ObjectSource
from hangar.remote.states import BlobStates
from hangar.remote.unasked import Unasked
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["Service"]

_FEW_READERS: Final = 1
"""More calls that read blobs at the same time read less at a time, so that they need less memory."""
_REFS_A_PAGE: Final = 1_000
_SILENT_SECONDS: Final = 60.0
_REFUSED: Final = (InvalidInputError, UnsupportedVersionError, PurgedError)
"""Errors after which nothing of a push is kept."""


def _nothing_protected(branch: str) -> bool:
    return False


class Service:
    """Serves a repository.

    Parameters
    ----------
    stores
        Of the repository. The caller closes them, after this.
    read_only
        Refuse every push.
    protected
        Whether a branch may neither be deleted nor lose commits, by its name.
    limits
        What one message holds.
    push_seconds
        A push in which nothing happens for so long is closed. What it received stays for a later attempt.
    push_hours
        Hours without anything new after which what an unfinished push received is deleted.
    push_bytes
        Most bytes that unfinished pushes take on the disk, all together. Old ones are deleted to stay below.
    pushes
        Pushes at the same time.
    object_bytes
        Bytes of the objects of one push.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        read_only: bool = False,
        protected: Policy = _nothing_protected,
        limits: Limits | None = None,
        push_seconds: float = 3_600.0,
        push_hours: int = 72,
        push_bytes: int = 2**40,
        pushes: int = 256,
        object_bytes: int = 2**36,
    ) -> None:
        self._stores = stores
        self._read_only = read_only
        self._protected = protected
        self._limits = limits or Limits()
        self._push_seconds = push_seconds
        self._push_hours = push_hours
        self._room = PushRoom(stores, push_bytes)
        self._most_pushes = pushes
        self._object_bytes = object_bytes
        self._pushes: dict[bytes, PushSession] = {}
        self._lock = threading.Lock()
        self._readers = Crowd()
        self._unasked = Unasked()
        self._source = ObjectSource(stores.db)

    def close(self) -> None:
        """End all pushes in progress. They can be continued later."""
        with self._lock:
            sessions, self._pushes = list(self._pushes.values()), {}
        for session in sessions:
            session.close(keep=True)

    # ------------------------------------------------------------------ reading

    def hello(self, hello: Hello) -> Welcome:
        """See :class:`~hangar.remote.peer.Reader`, as for all methods."""
        if PROTOCOL_VERSION not in hello.versions:
            known = ", ".join(map(str, hello.versions[:8])) or "none"
            newer = max(hello.versions, default=0) > PROTOCOL_VERSION
            raise UnsupportedVersionError(
                f"this server speaks version {PROTOCOL_VERSION} of the protocol, the client {known}: install a newer Hangar "
                f"{'on the server' if newer else 'here'}"
            )
        return Welcome(PROTOCOL_VERSION, (), repository_id(self._stores.directory), self._limits, self._read_only)

    def refs(self, prefixes: tuple[str, ...] = ("heads/", "tags/")) -> Iterator[RefPage]:
        """Refs, some at a time, from one snapshot."""
        refs = self._stores.refs
        with self._stores.db.read() as transaction:
            head = refs.head(transaction).write_branch
            found = [
                RefInfo(
                    name,
                    digest,
                    0 if digest is None else generation(transaction, digest),
                    refs.annotation(name, transaction),
                )
                for prefix in dict.fromkeys(prefixes)
                for name, digest in refs.items(prefix, transaction)
                if prefix in ("heads/", "tags/")
            ]
        for start in range(0, max(1, len(found)), _REFS_A_PAGE):
            yield RefPage(tuple(found[start : start + _REFS_A_PAGE]), head)

    def history(self, request: HistoryRequest) -> Iterator[Objects]:
        """Commits."""
        wants = self._digests(request.wants)
        haves = self._known_commits(self._digests(request.haves))
        absent = set(wants) - set(self._known_commits(wants))
        if absent:
            raise RevisionNotFoundError(
                f"the remote does not have commit {min(absent).hex()[:12]} (any more): fetch again"
            )
        commits = ancestors(self._stores.db, wants, haves)
        yield from frames((("commit", [(digest, commit.encode())]) for digest, commit in commits), self._limits)

    def objects(self, request: ObjectsRequest) -> Iterator[Objects]:
        """Objects."""
        if sum(map(len, request.wants)) > self._limits.names:
            raise InvalidInputError(f"a request names at most {self._limits.names:,} objects")
        for names in request.wants:
            if names.kind not in ("commit", "schema", "attributes", "node", "array"):
                raise InvalidInputError(f"objects of the class {names.kind[:40]!r} are not known here")
            self._digests(names.digests)
        bases = self._known_commits(self._digests(request.bases))
        yield from frames(below_names(self._source, request.wants, bases, below=request.below), self._limits)

    def blob_sizes(self, names: BlobNames) -> bytes:
        """Sizes of blobs."""
        return blob_sizes(self._stores.blobs, digest_array(self._digests(names.digests))).astype("<u8").tobytes()

    def check_blobs(self, names: BlobNames, *, read: bool) -> Iterator[BlobStates]:
        """Which blobs are here."""
        yield from blob_states(self._stores, digest_array(self._digests(names.digests)), read=read)

    def reachable(self, commits: bytes) -> bytes:
        """Which commits the refs reach, remote-tracking ones included."""
        asked = self._digests(commits)
        refs = self._stores.refs
        with self._stores.db.read() as transaction:
            heads = [digest for _, digest in refs.items("", transaction) if digest is not None]
        found = reached(self._stores.db, heads, self._known_commits(asked))
        return bytes(digest in found for digest in asked)

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        """Blobs."""
        self._digests(names.digests)
        with self._readers.joined() as count:
            size = READ_BYTES if count <= _FEW_READERS else self._limits.frame_bytes
            yield from blob_frames(self._stores.blobs, names, self._limits, size)

    def tombstones(self) -> Iterator[TombstonePage]:
        """Tombstones in effect."""
        with self._stores.db.read() as transaction:
            found = [item for item in scan_tombstones(transaction) if item[1].state == IN_EFFECT]
        for start in range(0, len(found), _REFS_A_PAGE):
            yield TombstonePage(tuple((bytes(digest), one) for digest, one in found[start : start + _REFS_A_PAGE]))

    def _digests(self, joined: bytes) -> list[bytes]:
        if len(joined) % DIGEST_BYTES or len(joined) > self._limits.names * DIGEST_BYTES:
            raise InvalidInputError(
                f"{plural(len(joined), 'byte')} of digests: they have {DIGEST_BYTES} each, and a message at most {self._limits.names:,}"
            )
        return split_digests(joined)

    def _known_commits(self, digests: list[bytes]) -> list[Digest]:
        return [Digest(digest) for digest in compress(digests, self._source.stored("commit", digests))]

    # ------------------------------------------------------------------ pushing

    def begin_push(self, start: PushStart) -> PushStarted:
        """Begin or continue a push."""
        if len(start.push) != ID_BYTES:
            raise InvalidInputError(f"the id of a push has {ID_BYTES} bytes")
        candidates = self._known_commits(self._digests(start.candidates))
        with self._stores.db.read() as transaction:
            left = check_updates(
                self._stores, transaction, start.updates, read_only=self._read_only, protected=self._protected
            )
            standing = [self._stores.refs.get(update.name, transaction) for update in start.updates]
        new = [update for update in left if update.new is not None]
        here = set(self._known_commits([update.new for update in new if update.new is not None]))
        check_forward(self._source, [update for update in new if update.new in here], self._protected)
        known = join_digests(dict.fromkeys([*candidates, *(digest for digest in standing if digest is not None)]))
        session = self._open(start.push)
        with self._dropping(start.push):
            session.begin(left, self._standing(start))
            return PushStarted(known, session.missing())

    def _standing(self, start: PushStart) -> list[Digest]:
        """The commits of which a push brings the blobs that are only promised here."""
        if not start.complete:
            return []
        return self._known_commits([update.new for update in start.updates if update.new is not None])

    def send_objects(self, push: bytes, frames: Iterable[Objects]) -> Missing:
        """Take objects."""
        session = self._session(push)
        with self._dropping(push):
            for frame in self._room.checked(frames, lambda frame: sum(map(len, frame.items))):
                session.add_objects(frame)
            return session.missing()

    def missing(self, push: bytes) -> Missing:
        """What a push lacks."""
        session = self._session(push)
        with self._dropping(push):
            return session.missing()

    def send_blobs(self, push: bytes, frames: Iterable[BlobFrame]) -> int:
        """Take blobs."""
        session = self._session(push)
        with self._dropping(push):
            checked = self._room.checked(frames, lambda frame: len(frame.data))
            return session.add_blobs(checked)

    def send_tombstones(self, push: bytes, pages: Iterable[TombstonePage]) -> int:
        """Take tombstones."""
        session = self._session(push)
        with self._dropping(push):
            return sum(map(session.add_tombstones, pages))

    def finish_push(self, push: bytes, updates: tuple[RefUpdate, ...], who: tuple[str, str]) -> tuple[RefResult, ...]:
        """Publish a push."""
        check_person(who)
        with self._stores.db.read() as transaction:
            done = bool(updates) and all(find_operation(transaction, update) for update in updates)
        if done:
            self.abort_push(push)
            return tuple(RefResult(update.name, True) for update in updates)
        session = self._session(push)
        with self._dropping(push):
            results = session.finish(updates, who, read_only=self._read_only, protected=self._protected)
        self.abort_push(push)
        return results

    def abort_push(self, push: bytes) -> None:
        """Give up a push."""
        with self._lock:
            session = self._pushes.pop(push, None)
        if session is not None:
            session.close()

    @contextlib.contextmanager
    def _dropping(self, push: bytes) -> Iterator[None]:
        """Drop a push that was refused."""
        try:
            yield
        except _REFUSED:
            self.abort_push(push)
            raise

    def _session(self, push: bytes) -> PushSession:
        with self._lock:
            found = self._pushes.get(push)
        if found is None:
            raise InvalidStateError("there is no such push (any more): begin it again")
        return found

    def _open(self, push: bytes) -> PushSession:
        """The session of a push, a new one if there is none. Sessions in which nothing happened for long are closed."""
        closed: list[PushSession] = []
        try:
            with self._lock:
                found = self._pushes.get(push)
                if found is not None:
                    return found
                oldest = time.monotonic() - self._push_seconds
                silent = time.monotonic() - _SILENT_SECONDS
                idle = [
                    key
                    for key, session in self._pushes.items()
                    if session.used < (silent if session.unasked.taken else oldest)
                ]
                closed += map(self._pushes.pop, idle)
                if len(self._pushes) >= self._most_pushes:
                    # Rather than refuse a client, close the one that was silent longest, if that was some time.
                    key, session = min(self._pushes.items(), key=lambda item: item[1].used)
                    if session.used >= silent:
                        raise ResourceLimitError(
                            f"the remote has {plural(self._most_pushes, 'push')} in progress: try again later"
                        )
                    closed.append(self._pushes.pop(key))
                found = self._pushes[push] = PushSession(
                    self._stores,
                    f"{PUSH}{push.hex()}",
                    self._limits,
                    self._object_bytes,
                    self._push_hours,
                    self._unasked,
                )
                return found
        finally:
            for session in closed:
                session.close(keep=True)
            self._room.clean()
