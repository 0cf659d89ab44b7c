"""A repository on a server, over gRPC: the ``Peer`` that fetches and pushes use.

A stream of answers that was cut goes on where it ended, over a new connection: what has arrived is not sent again. The
calls of a push that are safe to repeat are repeated, with the same ids. Streams of a push are not: ``transfer`` asks the
server what it still lacks. Nothing that comes is trusted beyond the bounds of the messages; receivers verify digests.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final

import grpc
import numpy as np
import xxhash

from hangar.digest import DIGEST_BYTES
from hangar.errors import CorruptionError, OutcomeUnknownError, UnreachableError
from hangar.remote import peer, wire
from hangar.remote.calls import Connection, Target, is_busy, is_cut
from hangar.remote.options import Timeouts
from hangar.remote.states import BlobStates
from hangar.remote.status import make_error
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire_blobs import parse_frame
from hangar.remote.wire_frames import blobs_in, blobs_out, objects_in, objects_out

__all__ = ["GrpcPeer"]

ZSTD_CAPABILITY: Final = "zstd"
_STEP: Final = DIGEST_BYTES * wire.GRPC_LIMITS.names


class _Attempts:
    """When a failed call is made again: as long as something moves, and for some seconds after that."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._end: float | None = None
        self._pause = 0.05

    def moved(self) -> None:
        """Something has arrived."""
        self._end, self._pause = None, 0.05

    def failed(self, error: grpc.RpcError) -> None:
        """Wait before the next attempt, or raise the error."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._connection.timeouts.again
        if not is_cut(error) or now + self._pause > self._end:
            raise self._connection.error(error) from None
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, 1.0)


class GrpcPeer:
    """The repository of a server.

    Parameters
    ----------
    target
        The server.
    compress
        Whether frames are compressed where that makes them smaller.
    timeouts
        Deadlines.
    """

    def __init__(self, target: Target, *, compress: bool = True, timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008
        self._connection = Connection(target, timeouts)
        self._compress = compress
        self._upload_compress = False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> GrpcPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _again(self, name: str, request: Any) -> Any:
        """A call that may be made again."""
        attempts = _Attempts(self._connection)
        while True:
            try:
                return self._connection.unary(name, request)
            except grpc.RpcError as error:
                attempts.failed(error)

    def _first(self, name: str, request: Any) -> Any:
        """The first call: a server that cannot be reached is not tried again, one that is busy is."""
        seconds = self._connection.timeouts.connect
        attempts = _Attempts(self._connection)
        while True:
            try:
                return self._connection.unary(name, request, seconds)
            except grpc.RpcError as error:
                if not is_busy(error):
                    raise self._connection.error(error, seconds) from None
                attempts.failed(error)

    # ------------------------------------------------------------------ reading

    def hello(self, hello: peer.Hello) -> peer.Welcome:
        welcome = wire.welcome_in(self._first("Hello", wire.hello_out(hello)))
        self._upload_compress = self._compress and ZSTD_CAPABILITY in welcome.capabilities
        return welcome

    def refs(self, prefixes: tuple[str, ...] = ("heads/", "tags/")) -> Iterator[peer.RefPage]:
        attempts = _Attempts(self._connection)
        last = ""
        while True:
            try:
                for message in self._connection.stream("ListRefs", pb.ListRefsRequest(prefixes=prefixes)):
                    page = wire.refs_in(message)
                    # After a cut the pages begin anew, and what came before the cut is left out.
                    fresh = tuple(ref for ref in page.refs if ref.name > last)
                    last = fresh[-1].name if fresh else last
                    attempts.moved()
                    yield dataclasses.replace(page, refs=fresh)
            except grpc.RpcError as error:
                attempts.failed(error)
            else:
                return

    def history(self, request: peer.HistoryRequest) -> Iterator[peer.Objects]:
        message = pb.HistoryRequest(wants=request.wants, haves=request.haves, compress=self._compress)
        return self._objects("GetHistory", message)

    def objects(self, request: peer.ObjectsRequest) -> Iterator[peer.Objects]:
        for wants in _messages(request.wants):
            message = pb.ObjectsRequest(
                wants=wire.names_out(wants), bases=request.bases, below=request.below, compress=self._compress
            )
            yield from self._objects("GetObjects", message)

    def _objects(self, name: str, request: Any) -> Iterator[peer.Objects]:
        attempts = _Attempts(self._connection)
        came: set[bytes] = set()
        while True:
            try:
                for frame in objects_in(self._connection.stream(name, request)):
                    digests = _digests_of(frame)
                    items = tuple(item for item, digest in zip(frame.items, digests, strict=True) if digest not in came)
                    came.update(digests)
                    attempts.moved()
                    if items:
                        yield dataclasses.replace(frame, items=items)
            except grpc.RpcError as error:
                attempts.failed(error)
            else:
                return

    def blob_sizes(self, names: peer.BlobNames) -> bytes:
        parts = (names.digests[at : at + _STEP] for at in range(0, len(names.digests), _STEP))
        sizes = b"".join(self._again("GetBlobSizes", pb.BlobNames(digests=part)).sizes for part in parts)
        if len(sizes) != 8 * len(names):
            raise CorruptionError(f"{self._connection.target.name} sent {len(sizes) // 8} sizes for {len(names)} blobs")
        return sizes

    def blobs(self, names: peer.BlobNames) -> Iterator[peer.BlobFrame]:
        attempts = _Attempts(self._connection)
        left = _Wanted(names)
        while left.count:
            digests, start = left.request()
            request = pb.BlobsRequest(digests=digests, start=start, compress=self._compress, stored=names.stored)
            try:
                for message in self._connection.stream("GetBlobs", request, parse_frame, nbytes=names.nbytes):
                    frame = left.took(blobs_in(message, len(digests) // DIGEST_BYTES))
                    attempts.moved()
                    yield frame
            except grpc.RpcError as error:
                attempts.failed(error)
            else:
                left.answered()

    def check_blobs(self, names: peer.BlobNames, *, read: bool) -> Iterator[BlobStates]:
        for at in range(0, len(names.digests), _STEP):
            yield from self._states(names.digests[at : at + _STEP], read)

    def _states(self, digests: bytes, read: bool) -> Iterator[BlobStates]:
        attempts = _Attempts(self._connection)
        while digests:
            try:
                request = pb.CheckBlobsRequest(digests=digests, read=read)
                for message in self._connection.stream("CheckBlobs", request):
                    page = wire.states_in(message, len(digests) // DIGEST_BYTES)
                    digests = digests[DIGEST_BYTES * len(page.states) :]
                    attempts.moved()
                    yield page
            except grpc.RpcError as error:
                attempts.failed(error)
            else:
                if digests:
                    raise CorruptionError(f"{self._connection.target.name} left out the states of some blobs")

    def reachable(self, commits: bytes) -> bytes:
        parts = (commits[at : at + _STEP] for at in range(0, len(commits), _STEP))
        found = b"".join(self._again("GetReachable", pb.ReachableRequest(commits=part)).reached for part in parts)
        if len(found) != len(commits) // DIGEST_BYTES:
            raise CorruptionError(
                f"{self._connection.target.name} answered for other commits than those it was asked for"
            )
        return found

    def tombstones(self) -> Iterator[peer.TombstonePage]:
        attempts = _Attempts(self._connection)
        while True:
            try:
                for message in self._connection.stream("ListTombstones", pb.ListTombstonesRequest()):
                    page = wire.tombstones_in(message)
                    attempts.moved()
                    yield page
            except grpc.RpcError as error:
                attempts.failed(error)
            else:
                return

    # ------------------------------------------------------------------ pushing

    def begin_push(self, start: peer.PushStart) -> peer.PushStarted:
        return wire.started_in(self._again("BeginPush", wire.begin_out(start)))

    def send_objects(self, push: bytes, frames: Iterator[peer.Objects]) -> peer.Missing:
        messages = (
            pb.SendObjectsRequest(objects=message)
            for frame in frames
            for message in objects_out(frame, self._upload_compress)
        )
        return wire.missing_in(self._send("SendObjects", push, messages, pb.SendObjectsRequest))

    def missing(self, push: bytes) -> peer.Missing:
        return wire.missing_in(self._again("GetMissing", pb.PushName(push=push)))

    def send_blobs(self, push: bytes, frames: Iterator[peer.BlobFrame]) -> int:
        messages = (blobs_out(frame, self._upload_compress, upload=True) for frame in frames)
        return int(self._send("SendBlobs", push, messages, pb.SendBlobsRequest).count)

    def send_tombstones(self, push: bytes, pages: Iterator[peer.TombstonePage]) -> int:
        messages = (pb.SendTombstonesRequest(page=wire.tombstones_out(page)) for page in pages)
        return int(self._send("SendTombstones", push, messages, pb.SendTombstonesRequest).count)

    def _send(self, name: str, push: bytes, messages: Iterator[Any], first: Callable[..., Any]) -> Any:
        def all_messages() -> Iterator[Any]:
            yield first(push=push)
            yield from messages

        try:
            return self._connection.send(name, all_messages())
        except grpc.RpcError as error:
            found = self._connection.error(error)
            if is_cut(error) and not isinstance(found, UnreachableError):
                found = make_error(UnreachableError, str(found), _code(error))  # it is busy: the push may go on later
            raise found from None

    def finish_push(
        self, push: bytes, updates: tuple[peer.RefUpdate, ...], who: tuple[str, str]
    ) -> tuple[peer.RefResult, ...]:
        request = pb.FinishPushRequest(push=push, updates=wire.updates_out(updates), name=who[0], email=who[1])
        attempts = _Attempts(self._connection)
        while True:
            try:
                answer = self._connection.unary("FinishPush", request)
            except grpc.RpcError as error:
                try:
                    attempts.failed(error)
                except Exception as known:
                    if is_cut(error) or _no_answer(error):
                        raise make_error(OutcomeUnknownError, _unknown(str(known)), _code(error)) from None
                    raise
            else:
                wire.check_count(answer.results, wire.MAX_PAGE, "results")
                return tuple(peer.RefResult(one.name, one.repeated) for one in answer.results)

    def abort_push(self, push: bytes) -> None:
        self._again("AbortPush", pb.PushName(push=push))


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    call: Any = error
    code: grpc.StatusCode = call.code()
    return code


def _no_answer(error: grpc.RpcError) -> bool:
    return _code(error) in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def _unknown(reason: str) -> str:
    return f"the connection was lost before the answer came ({reason}): the push may be done. Push again to find out"


def _digests_of(frame: peer.Objects) -> list[bytes]:
    """Names of the objects of a frame, to leave out those that come again after a cut."""
    return [xxhash.xxh3_128_digest(item) for item in frame.items]


def _messages(wants: Sequence[peer.Names]) -> Iterator[tuple[peer.Names, ...]]:
    """Names divided into as many as one message holds."""
    parts = [
        peer.Names(one.kind, one.digests[at : at + _STEP]) for one in wants for at in range(0, len(one.digests), _STEP)
    ]
    if sum(map(len, parts)) <= wire.GRPC_LIMITS.names and len(parts) <= wire.MAX_LIST:
        yield tuple(parts)
    else:
        yield from ((part,) for part in parts)


class _Wanted:
    """Which blobs of a question have not come yet."""

    def __init__(self, names: peer.BlobNames) -> None:
        self._group = names.group
        self._digests = np.frombuffer(names.digests, np.uint8).reshape(-1, DIGEST_BYTES)
        self._here = np.zeros(len(self._digests), np.bool_)
        self._places = np.arange(len(self._digests), dtype=np.uint32)
        self._part = 0, names.start

    @property
    def count(self) -> int:
        """Number of blobs that have not come."""
        return len(self._here) - int(np.count_nonzero(self._here))

    def request(self) -> tuple[bytes, int]:
        """Digests to ask for, as many as one message holds, and the byte from which on the first of them is wanted."""
        first, start = self._part
        places = np.flatnonzero(~self._here).astype(np.uint32)
        if start:
            places = np.concatenate([np.array([first], np.uint32), places[places != first]])
        self._places = places[: wire.GRPC_LIMITS.names]
        return self._digests[self._places].tobytes(), start

    def answered(self) -> None:
        """The answer to a request has ended: what has not come of it, the server does not have."""
        self._here[self._places] = True
        self._part = 0, 0

    def took(self, frame: peer.BlobFrame) -> peer.BlobFrame:
        """Note the blobs of a frame, and give it the places of the question."""
        places = self._places[np.frombuffer(frame.places, "<u4")]
        if len(frame) == 1 and (frame.start or frame.nbytes < int.from_bytes(frame.lengths, "little")):
            end = frame.start + frame.nbytes
            self._part = int(places[0]), end
            if end < int.from_bytes(frame.lengths, "little"):
                return self._named(frame, places)
        self._part = 0, 0
        self._here[places] = True
        return self._named(frame, places)

    def _named(self, frame: peer.BlobFrame, places: Any) -> peer.BlobFrame:
        return dataclasses.replace(frame, group=self._group, places=places.astype("<u4").tobytes())
