"""Conversion between the messages of ``peer`` and those of ``protos/``, with the bounds of every field.

A field out of its bounds is an ``InvalidInputError``. Frames are converted by ``wire_frames``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hangar.blobs.tombstones import Tombstone
from hangar.digest import DIGEST_BYTES
from hangar.errors import InvalidInputError
from hangar.limits import MAX_MESSAGE_BYTES
from hangar.refs import Annotation
from hangar.remote import peer
from hangar.remote.states import BlobState, BlobStates
from hangar.remote.v1 import remote_pb2 as pb

__all__ = [
    "GRPC_LIMITS",
    "MAX_WIRE_BYTES",
    "begin_in",
    "begin_out",
    "check_digests",
    "check_id",
    "check_text",
    "hello_in",
    "hello_out",
    "missing_in",
    "missing_out",
    "names_in",
    "names_out",
    "refs_in",
    "refs_out",
    "started_in",
    "started_out",
    "states_in",
    "tombstones_in",
    "tombstones_out",
    "updates_in",
    "updates_out",
    "welcome_in",
    "welcome_out",
]

GRPC_LIMITS: Final = peer.Limits(frame_bytes=2**20, frame_items=2**15, names=2**14)
MAX_WIRE_BYTES: Final = 3 * 2**20
"""Bytes of one message with everything in it."""
MAX_NAME: Final = 300
MAX_WORD: Final = 64
MAX_SOFTWARE: Final = 200
MAX_PERSON: Final = 1_100
MAX_PAGE: Final = 1_000
MAX_LIST: Final = 64
MAX_TOMBSTONE_BYTES: Final = 2**16
MAX_TIME_ZONE: Final = 1_440

_tombstones: Final = msgspec.msgpack.Decoder(Tombstone)


# ---------------------------------------------------------------------------------------------------- bounds


def check_text(text: str, most: int, what: str) -> str:
    """Return ``text`` if it has at most ``most`` bytes in UTF-8."""
    if len(text) > most or len(text.encode()) > most:
        raise InvalidInputError(f"{what} is longer than {most} bytes")
    return text


def check_count(items: Sequence[object], most: int, what: str) -> None:
    """Raise unless there are at most ``most`` items."""
    if len(items) > most:
        raise InvalidInputError(f"{len(items)} {what} in a message: at most {most} are allowed")


def check_digests(digests: bytes, what: str, most: int = GRPC_LIMITS.names) -> bytes:
    """Return joined digests if they are whole and not too many."""
    if len(digests) % DIGEST_BYTES:
        raise InvalidInputError(f"{what}: {len(digests)} bytes are not a whole number of digests")
    if len(digests) > most * DIGEST_BYTES:
        raise InvalidInputError(f"{what}: {len(digests) // DIGEST_BYTES} digests, at most {most} are allowed")
    return digests


def check_id(value: bytes, what: str) -> bytes:
    """Return ``value`` if it has the length of an id."""
    if len(value) != peer.ID_BYTES:
        raise InvalidInputError(f"the id of {what} has {len(value)} bytes instead of {peer.ID_BYTES}")
    return value


def _digest(value: bytes, what: str) -> bytes | None:
    """One digest; None for an empty field."""
    if len(value) not in (0, DIGEST_BYTES):
        raise InvalidInputError(f"{what}: a digest has {len(value)} bytes instead of {DIGEST_BYTES}")
    return value or None


def _words(words: Iterable[str], what: str) -> tuple[str, ...]:
    found = tuple(words)
    check_count(found, MAX_LIST, what)
    return tuple(check_text(word, MAX_NAME, what) for word in found)


# ---------------------------------------------------------------------------------------------------- hello


def hello_out(hello: peer.Hello) -> pb.HelloRequest:
    """Encode a greeting."""
    return pb.HelloRequest(versions=hello.versions, capabilities=hello.capabilities, software=hello.software)


def hello_in(message: pb.HelloRequest) -> peer.Hello:
    """Decode and check a greeting."""
    check_count(message.versions, MAX_LIST, "versions")
    return peer.Hello(
        tuple(message.versions),
        _words(message.capabilities, "capabilities"),
        check_text(message.software, MAX_SOFTWARE, "software"),
    )


def welcome_out(welcome: peer.Welcome) -> pb.HelloReply:
    """Encode the answer to a greeting."""
    limits = welcome.limits
    return pb.HelloReply(
        version=welcome.version,
        capabilities=welcome.capabilities,
        repository=welcome.repository,
        limits=pb.Limits(
            frame_bytes=limits.frame_bytes,
            frame_items=limits.frame_items,
            names=limits.names,
            blob_bytes=limits.blob_bytes,
        ),
        read_only=welcome.read_only,
        software=welcome.software,
    )


def welcome_in(message: pb.HelloReply) -> peer.Welcome:
    """The answer of a server; its limits are never taken as larger than ours."""
    ours, theirs = GRPC_LIMITS, message.limits
    limits = peer.Limits(
        frame_bytes=min(ours.frame_bytes, theirs.frame_bytes),
        frame_items=min(ours.frame_items, theirs.frame_items),
        names=min(ours.names, theirs.names),
        blob_bytes=min(ours.blob_bytes, theirs.blob_bytes),
    )
    if min(limits.frame_bytes, limits.blob_bytes) < 2**10 or min(limits.frame_items, limits.names) < 1:
        raise InvalidInputError("the server announces limits that are too small to work with")
    if message.repository:
        check_id(message.repository, "the repository")
    return peer.Welcome(
        message.version,
        _words(message.capabilities, "capabilities"),
        message.repository,
        limits,
        message.read_only,
        check_text(message.software, MAX_SOFTWARE, "software"),
    )


# ---------------------------------------------------------------------------------------------------- refs


def _annotation_out(annotation: Annotation | None) -> pb.Annotation | None:
    if annotation is None:
        return None
    return pb.Annotation(
        message=annotation.message,
        name=annotation.name,
        email=annotation.email,
        time_ns=annotation.time_ns,
        tz=annotation.tz,
    )


def _annotation_in(message: pb.Annotation) -> Annotation:
    if abs(message.tz) > MAX_TIME_ZONE:
        raise InvalidInputError(f"the time zone {message.tz} of an annotation is not one")
    return Annotation(
        check_text(message.message, MAX_MESSAGE_BYTES, "the message of a tag"),
        check_text(message.name, MAX_PERSON, "a name"),
        check_text(message.email, MAX_PERSON, "an email address"),
        message.time_ns,
        message.tz,
    )


def refs_out(page: peer.RefPage) -> pb.RefPage:
    """Encode a page of refs."""
    refs = [
        pb.Ref(
            name=ref.name,
            digest=ref.digest or b"",
            generation=ref.generation,
            annotation=_annotation_out(ref.annotation),
        )
        for ref in page.refs
    ]
    return pb.RefPage(refs=refs, head=page.head)


def refs_in(message: pb.RefPage) -> peer.RefPage:
    """Decode and check a page of refs."""
    check_count(message.refs, MAX_PAGE, "refs")
    refs = tuple(
        peer.RefInfo(
            check_text(ref.name, MAX_NAME, "the name of a ref"),
            _digest(ref.digest, "a ref"),
            ref.generation,
            _annotation_in(ref.annotation) if ref.HasField("annotation") else None,
        )
        for ref in message.refs
    )
    return peer.RefPage(refs, check_text(message.head, MAX_NAME, "the name of a branch"))


def updates_out(updates: Iterable[peer.RefUpdate]) -> list[pb.RefUpdate]:
    """Encode moves of refs."""
    return [
        pb.RefUpdate(
            name=one.name,
            old=one.old or b"",
            new=one.new or b"",
            operation=one.operation,
            force=one.force,
            annotation=_annotation_out(one.annotation),
        )
        for one in updates
    ]


def updates_in(messages: Sequence[pb.RefUpdate]) -> tuple[peer.RefUpdate, ...]:
    """Decode and check moves of refs."""
    check_count(messages, MAX_PAGE, "moves of refs")
    return tuple(
        peer.RefUpdate(
            check_text(one.name, MAX_NAME, "the name of a ref"),
            _digest(one.old, "a ref"),
            _digest(one.new, "a ref"),
            check_id(one.operation, "an operation"),
            one.force,
            _annotation_in(one.annotation) if one.HasField("annotation") else None,
        )
        for one in messages
    )


# ---------------------------------------------------------------------------------------------------- names of objects and blobs


def names_out(names: Iterable[peer.Names]) -> list[pb.Names]:
    """Encode names of objects."""
    return [pb.Names(kind=one.kind, digests=one.digests) for one in names]


def names_in(messages: Sequence[pb.Names]) -> tuple[peer.Names, ...]:
    """Decode and check names of objects."""
    check_count(messages, MAX_LIST, "lists of objects")
    found = tuple(
        peer.Names(check_text(one.kind, MAX_WORD, "a kind"), check_digests(one.digests, "objects")) for one in messages
    )
    if sum(map(len, found)) > GRPC_LIMITS.names:
        raise InvalidInputError(f"more than {GRPC_LIMITS.names} objects in a message")
    return found


def missing_out(missing: peer.Missing) -> pb.Missing:
    """Encode what a push lacks."""
    blobs = [
        pb.BlobNames(digests=one.digests, group=one.group, start=one.start, stored=one.stored) for one in missing.blobs
    ]
    return pb.Missing(objects=names_out(missing.objects), blobs=blobs, more=missing.more, promised=missing.promised)


def missing_in(message: pb.Missing) -> peer.Missing:
    """Decode and check what a push lacks."""
    check_count(message.blobs, MAX_PAGE, "lists of blobs")
    blobs = tuple(
        peer.BlobNames(check_digests(one.digests, "blobs"), one.group, one.start, one.stored) for one in message.blobs
    )
    return peer.Missing(names_in(message.objects), blobs, message.more, message.promised)


# ---------------------------------------------------------------------------------------------------- pushes


def begin_out(start: peer.PushStart) -> pb.BeginPushRequest:
    """Encode the begin of a push."""
    return pb.BeginPushRequest(
        push=start.push, updates=updates_out(start.updates), candidates=start.candidates, complete=start.complete
    )


def begin_in(message: pb.BeginPushRequest) -> peer.PushStart:
    """Decode and check the begin of a push."""
    return peer.PushStart(
        check_id(message.push, "a push"),
        updates_in(message.updates),
        check_digests(message.candidates, "candidates"),
        message.complete,
    )


def started_out(started: peer.PushStarted) -> pb.BeginPushReply:
    """Encode the answer to the begin of a push."""
    return pb.BeginPushReply(known=started.known, missing=missing_out(started.missing))


def started_in(message: pb.BeginPushReply) -> peer.PushStarted:
    """Decode and check the answer to the begin of a push."""
    known = check_digests(message.known, "known commits", GRPC_LIMITS.names + MAX_PAGE)
    return peer.PushStarted(known, missing_in(message.missing))


def tombstones_out(page: peer.TombstonePage) -> pb.TombstonePage:
    """Encode a page of tombstones."""
    return pb.TombstonePage(
        tombstones=[pb.Tombstone(digest=digest, record=msgspec.msgpack.encode(one)) for digest, one in page.items]
    )


def tombstones_in(message: pb.TombstonePage) -> peer.TombstonePage:
    """Decode and check a page of tombstones."""
    check_count(message.tombstones, MAX_PAGE, "tombstones")
    return peer.TombstonePage(tuple((_blob_of(one), _tombstone(one.record)) for one in message.tombstones))


def _blob_of(message: pb.Tombstone) -> bytes:
    digest = _digest(message.digest, "a tombstone")
    if digest is None:
        raise InvalidInputError("a tombstone names no blob")
    return digest


def _tombstone(record: bytes) -> Tombstone:
    if len(record) > MAX_TOMBSTONE_BYTES:
        raise InvalidInputError(f"a tombstone is longer than {MAX_TOMBSTONE_BYTES} bytes")
    try:
        return _tombstones.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInputError("a tombstone cannot be decoded") from None


def states_in(message: pb.BlobStates, most: int) -> BlobStates:
    """States of at most ``most`` blobs."""
    count = len(message.states)
    if count > most or len(message.sizes) != 8 * count or max(message.states, default=0) > max(BlobState):
        raise InvalidInputError("the states of blobs are not those of the blobs that were asked for")
    return BlobStates(message.states, message.sizes)
