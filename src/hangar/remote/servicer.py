"""The methods of the gRPC service: they decode a request, ask the repository's ``Peer``, and encode the answer.

Each function takes the message, or an iterator of them, and the :class:`hangar.remote.guard.Call` it belongs to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from operator import methodcaller
from typing import Any, Final

import grpc
import numpy as np

from hangar.digest import DIGEST_BYTES
from hangar.errors import InvalidInputError
from hangar.remote import peer, wire
from hangar.remote.ahead import Ahead
from hangar.remote.crowd import Crowd
from hangar.remote.guard import Call
from hangar.remote.options import METHODS, SERVICE
from hangar.remote.peer import Peer
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire_blobs import Encoded, Upload, parse_upload
from hangar.remote.wire_frames import blobs_in, blobs_out, objects_in, objects_out

__all__ = ["Servicer", "health_handler"]

MAX_PREFIX: Final = 300
STILL_SECONDS: Final = 5.0
"""A client that waits for an answer hears after so long that the server is still reading."""
READ_AHEAD: Final = 2
"""Frames that are read from disk and encoded while one before them is sent."""
FEW_DOWNLOADS: Final = 4
"""More downloads than these do not read ahead: they keep the processor busy without it, and the frames need memory.

Nor does one that is not compressed, as on the same machine: to hand over a frame between threads costs more than to read it.
"""
_HEALTH_NAMES: Final = (b"", b"\x0a\x00", b"\x0a" + bytes([len(SERVICE)]) + SERVICE.encode())
"""Requests for the health of the server, and of the service."""
_SERVING: Final = b"\x08\x01"
_NOT_SERVING: Final = b"\x08\x02"


class Servicer:
    """The methods of the service, by their names in the protocol.

    Parameters
    ----------
    service
        Answers for the repository.
    """

    def __init__(self, service: Peer) -> None:
        self._service = service
        self._downloads = Crowd()

    def handlers(self) -> Any:
        """The handlers for a gRPC server."""
        made = {}
        for name, method in METHODS.items():
            make: Any = {
                (False, False): grpc.unary_unary_rpc_method_handler,
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, False): grpc.stream_unary_rpc_method_handler,
            }[method.request_streaming, method.response_streaming]
            made[name] = make(
                getattr(self, name),
                request_deserializer=parse_upload if name == "SendBlobs" else method.request.FromString,
                response_serializer=methodcaller("SerializeToString"),
            )
        return grpc.method_handlers_generic_handler(SERVICE, made)

    # ------------------------------------------------------------------ reading

    def Hello(self, request: pb.HelloRequest, call: Call) -> pb.HelloReply:  # noqa: N802
        welcome = self._service.hello(wire.hello_in(request))
        limits = dataclasses.replace(wire.GRPC_LIMITS, blob_bytes=welcome.limits.blob_bytes)
        welcome = dataclasses.replace(
            welcome,
            limits=limits,
            capabilities=(*welcome.capabilities, "zstd"),
            read_only=welcome.read_only or not call.caller.may_write,
        )
        return wire.welcome_out(welcome)

    def ListRefs(self, request: pb.ListRefsRequest, call: Call) -> Iterator[pb.RefPage]:  # noqa: N802
        wire.check_count(request.prefixes, wire.MAX_LIST, "prefixes")
        prefixes = tuple(wire.check_text(prefix, MAX_PREFIX, "a prefix") for prefix in request.prefixes)
        for page in self._service.refs(prefixes):
            yield wire.refs_out(page)

    def GetHistory(self, request: pb.HistoryRequest, call: Call) -> Iterator[pb.Objects]:  # noqa: N802
        wants, haves = wire.check_digests(request.wants, "wants"), wire.check_digests(request.haves, "haves")
        for frame in self._service.history(peer.HistoryRequest(wants, haves)):
            yield from objects_out(frame, request.compress)

    def GetObjects(self, request: pb.ObjectsRequest, call: Call) -> Iterator[pb.Objects]:  # noqa: N802
        wants, bases = wire.names_in(request.wants), wire.check_digests(request.bases, "bases")
        for frame in self._service.objects(peer.ObjectsRequest(wants, bases, request.below)):
            yield from objects_out(frame, request.compress)

    def GetBlobSizes(self, request: pb.BlobNames, call: Call) -> pb.BlobSizes:  # noqa: N802
        names = peer.BlobNames(wire.check_digests(request.digests, "blobs"), request.group)
        return pb.BlobSizes(sizes=self._service.blob_sizes(names))

    def CheckBlobs(self, request: pb.CheckBlobsRequest, call: Call) -> Iterator[pb.BlobStates]:  # noqa: N802
        names = peer.BlobNames(wire.check_digests(request.digests, "blobs"))
        with Ahead(lambda: self._service.check_blobs(names, read=request.read), READ_AHEAD) as pages:
            while True:
                try:
                    page = pages.take(STILL_SECONDS)
                except StopIteration:
                    return
                except TimeoutError:
                    yield pb.BlobStates()  # a large blob is read
                else:
                    yield pb.BlobStates(states=page.states, sizes=page.sizes)

    def GetReachable(self, request: pb.ReachableRequest, call: Call) -> pb.ReachableReply:  # noqa: N802
        return pb.ReachableReply(reached=self._service.reachable(wire.check_digests(request.commits, "commits")))

    def GetBlobs(self, request: pb.BlobsRequest, call: Call) -> Iterator[Encoded]:  # noqa: N802
        with self._downloads.joined() as count:
            if count > FEW_DOWNLOADS or not request.compress:
                yield from self._blobs(request)
                return
            found = self._blobs(request)
            # A short answer needs no thread that reads ahead.
            for _ in range(2):
                message = next(found, None)
                if message is None:
                    return
                yield message
                del message
            with Ahead(lambda: found, READ_AHEAD) as messages:
                yield from messages

    def _blobs(self, request: pb.BlobsRequest) -> Iterator[Encoded]:
        digests = wire.check_digests(request.digests, "blobs")
        first = DIGEST_BYTES if request.start else 0
        if request.start:
            names = peer.BlobNames(digests[:first], 0, request.start, request.stored)
            frames = _rest(self._service.blobs(names), request.start)
            yield from map(partial(blobs_out, compress=request.compress), frames)
        if len(digests) > first:
            frames = self._service.blobs(peer.BlobNames(digests[first:], stored=request.stored))
            # A loop would keep each frame until the next one is read.
            yield from map(partial(blobs_out, compress=request.compress), map(_shifted, frames) if first else frames)

    def ListTombstones(self, request: pb.ListTombstonesRequest, call: Call) -> Iterator[pb.TombstonePage]:  # noqa: N802
        for page in self._service.tombstones():
            yield wire.tombstones_out(page)

    # ------------------------------------------------------------------ pushing

    def BeginPush(self, request: pb.BeginPushRequest, call: Call) -> pb.BeginPushReply:  # noqa: N802
        call.require_write()
        return wire.started_out(self._service.begin_push(wire.begin_in(request)))

    def SendObjects(self, requests: Iterator[pb.SendObjectsRequest], call: Call) -> pb.Missing:  # noqa: N802
        push = _push_of(requests, call)
        frames = objects_in(request.objects for request in requests)
        return wire.missing_out(self._service.send_objects(push, frames))

    def GetMissing(self, request: pb.PushName, call: Call) -> pb.Missing:  # noqa: N802
        call.require_write()
        return wire.missing_out(self._service.missing(wire.check_id(request.push, "a push")))

    def SendBlobs(self, requests: Iterator[Upload], call: Call) -> pb.Received:  # noqa: N802
        push = _push_of(requests, call)
        frames = (blobs_in(request.frame) for request in requests)
        return pb.Received(count=self._service.send_blobs(push, frames))

    def SendTombstones(self, requests: Iterator[pb.SendTombstonesRequest], call: Call) -> pb.Received:  # noqa: N802
        push = _push_of(requests, call)
        pages = (wire.tombstones_in(request.page) for request in requests)
        return pb.Received(count=self._service.send_tombstones(push, pages))

    def FinishPush(self, request: pb.FinishPushRequest, call: Call) -> pb.FinishPushReply:  # noqa: N802
        call.require_write()
        push, updates = wire.check_id(request.push, "a push"), wire.updates_in(request.updates)
        name = wire.check_text(request.name, wire.MAX_PERSON, "a name")
        email = wire.check_text(request.email, wire.MAX_PERSON, "an email address")
        results = self._service.finish_push(push, updates, (name, email))
        call.note = ", ".join(map(_moved, updates))
        return pb.FinishPushReply(results=[pb.RefResult(name=one.name, repeated=one.repeated) for one in results])

    def AbortPush(self, request: pb.PushName, call: Call) -> pb.Received:  # noqa: N802
        call.require_write()
        self._service.abort_push(wire.check_id(request.push, "a push"))
        return pb.Received()


def _push_of(requests: Iterator[Any], call: Call) -> bytes:
    """Id of the push that a stream belongs to, from its first message."""
    call.require_write()
    first = next(requests, None)
    if first is None:
        raise InvalidInputError("the stream has no message")
    return wire.check_id(first.push, "a push")


def _moved(update: peer.RefUpdate) -> str:
    """What a push did to a ref, for the log."""
    old, new = ("none" if one is None else one.hex()[:12] for one in (update.old, update.new))
    return f"{update.name} {old}..{new}{' (forced)' if update.force else ''}"


def _rest(frames: Iterator[peer.BlobFrame], start: int) -> Iterator[peer.BlobFrame]:
    """The frames of one blob from the byte ``start`` on."""
    for frame in frames:
        if frame.form or frame.start >= start:
            yield frame
            continue
        end = frame.start + len(frame.data)
        if end <= start:
            continue
        cut = max(0, start - frame.start)
        yield dataclasses.replace(frame, data=frame.data[cut:], start=frame.start + cut)


def _shifted(frame: peer.BlobFrame) -> peer.BlobFrame:
    """A frame whose places count from the second blob of the request."""
    places = np.frombuffer(frame.places, "<u4") + np.uint32(1)
    return dataclasses.replace(frame, places=places.astype("<u4").tobytes())


def health_handler(serving: Any) -> Any:
    """Handler of ``grpc.health.v1.Health``, whose two small messages are written out here.

    Parameters
    ----------
    serving
        A function: whether the server accepts calls.
    """

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request not in _HEALTH_NAMES:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no such service here: ask for {SERVICE}, or for none")
        return _SERVING if serving() else _NOT_SERVING

    return grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
    )
