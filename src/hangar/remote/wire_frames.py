"""Conversion of frames between ``peer`` and ``protos/``: sizes checked, data compressed where the receiver wants it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

import numpy as np

from hangar.errors import InvalidInputError
from hangar.remote import peer
from hangar.remote.codec import NONE, STORED, compressed, decoded
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire import GRPC_LIMITS, MAX_WORD, check_count, check_text
from hangar.remote.wire_blobs import Encoded, ReceivedFrame, encoded_frame

__all__ = ["blobs_in", "blobs_out", "objects_in", "objects_out"]

MAX_OBJECT_BYTES: Final = 2**24
"""Bytes of one object: a commit with the largest number of columns."""
MAX_HEADER_BYTES: Final = 300
MAX_FORM_BYTES: Final = 2**16
T = TypeVar("T", bound="bytes | memoryview")
FRAME: Final = GRPC_LIMITS.frame_bytes


def _codec(data: T, compress: bool) -> tuple[T | bytes, int]:
    return compressed(data) if compress else (data, NONE)


def objects_out(frame: peer.Objects, compress: bool) -> Iterator[pb.Objects]:
    """The messages of a frame: one, or the parts of an object that is too large for one."""
    if len(frame.items) == 1 and len(frame.items[0]) > FRAME:
        yield from _parts(frame.kind, frame.items[0], compress)
        return
    items: list[bytes] = []
    held = 0
    for item in frame.items:
        if items and (held + len(item) > FRAME or len(items) == GRPC_LIMITS.frame_items):
            yield _objects(frame.kind, items, compress)
            items, held = [], 0
        if len(item) > FRAME:
            yield from _parts(frame.kind, item, compress)
        else:
            items.append(item)
            held += len(item)
    if items:
        yield _objects(frame.kind, items, compress)


def _objects(kind: str, items: Sequence[bytes], compress: bool) -> pb.Objects:
    joined = b"".join(items)
    data, codec = _codec(joined, compress)
    lengths = np.fromiter(map(len, items), "<u4", len(items)).tobytes()
    return pb.Objects(kind=kind, lengths=lengths, data=data, codec=_enum(codec), decoded=len(joined))


def _parts(kind: str, item: bytes, compress: bool) -> Iterator[pb.Objects]:
    lengths = len(item).to_bytes(4, "little")
    for start in range(0, len(item), FRAME):
        part = item[start : start + FRAME]
        data, codec = _codec(part, compress)
        yield pb.Objects(kind=kind, lengths=lengths, data=data, codec=_enum(codec), decoded=len(part), start=start)


def objects_in(messages: Iterable[pb.Objects]) -> Iterator[peer.Objects]:
    """The frames of messages; the parts of a large object are put together."""
    parts: list[bytes] = []
    held = wanted = 0
    for message in messages:
        kind = check_text(message.kind, MAX_WORD, "a kind")
        lengths = _numbers(message.lengths, 4, "objects")
        data = decoded(message.data, message.codec, message.decoded, FRAME)
        total = int(lengths.sum(dtype=np.uint64))
        if parts and (len(lengths) != 1 or total != wanted or message.start != held):
            raise InvalidInputError("the parts of an object do not follow each other")
        if not parts and message.start:
            raise InvalidInputError("the first part of an object is missing")
        if len(data) == total and not parts:
            yield peer.Objects(kind, _split(data, lengths.tolist()))
            continue
        if len(lengths) != 1 or total > MAX_OBJECT_BYTES or not data or held + len(data) > total:
            raise InvalidInputError("the lengths of objects are not those of their data")
        parts.append(data)
        held, wanted = held + len(data), total
        if held == wanted:
            yield peer.Objects(kind, (b"".join(parts),))
            parts, held, wanted = [], 0, 0
    if parts:
        raise InvalidInputError("the last part of an object is missing")


def _split(data: bytes, lengths: list[int]) -> tuple[bytes, ...]:
    items, at = [], 0
    for length in lengths:
        items.append(data[at : at + length])
        at += length
    return tuple(items)


def blobs_out(frame: peer.BlobFrame, compress: bool, *, upload: bool = False) -> Encoded:
    """The message of a frame; with ``upload`` the ``SendBlobsRequest`` of it."""
    data, codec = (frame.data, STORED) if frame.form else _codec(frame.data, compress)
    fields = pb.BlobFrame(
        headers=frame.headers,
        header_of=frame.header_of,
        lengths=frame.lengths,
        codec=_enum(codec),
        decoded=frame.nbytes,
        start=frame.start,
        group=frame.group,
        places=frame.places,
        form=frame.form,
    )
    return encoded_frame(fields, data, upload=upload)


def blobs_in(received: ReceivedFrame, asked: int = 0) -> peer.BlobFrame:
    """The frame of a message; ``asked`` is the number of blobs of the request, for an answer."""
    message = received.fields
    lengths = _numbers(message.lengths, 8, "blobs")
    count = len(lengths)
    headers = tuple(message.headers)
    check_count(headers, count, "headers")
    if not count or not headers or max(map(len, headers)) > MAX_HEADER_BYTES:
        raise InvalidInputError("a frame of blobs has no blobs, no headers, or a header that is too long")
    places = message.places
    most_places = asked or GRPC_LIMITS.names  # of an upload they are a hint
    for text, most, what in ((message.header_of, len(headers), "headers"), (places, most_places, "places")):
        if text and (len(text) != 4 * count or int(np.frombuffer(text, "<u4").max()) >= most):
            raise InvalidInputError(f"the {what} of a frame of blobs are not those of its blobs")
    if asked and not places:
        raise InvalidInputError("a frame of blobs does not say which blobs it has")
    if message.codec == STORED:
        data: bytes | memoryview = _stored(received)
        form, nbytes = message.form, message.decoded
    else:
        data = decoded(received.data, message.codec, message.decoded, FRAME)
        form, nbytes = b"", len(data)
    if int(lengths.max()) > 2**40:
        raise InvalidInputError("a blob is longer than the limit, 2^40 bytes")
    total = int(lengths.sum(dtype=np.uint64))
    part = count == 1 and 0 < nbytes <= total - message.start
    if not part and (form or message.start or nbytes != total):
        raise InvalidInputError("the lengths of blobs are not those of their data")
    place = (message.start, message.group, places)
    return peer.BlobFrame(headers, message.header_of, message.lengths, data, *place, form, nbytes if form else 0)


def _stored(received: ReceivedFrame) -> bytes | memoryview:
    """The data of a frame that is a part of a blob as it is stored. What it decodes to is checked by whoever decodes it."""
    message = received.fields
    if not 0 < len(message.form) <= MAX_FORM_BYTES:
        raise InvalidInputError("a frame of a stored blob has no form, or one that is too long")
    if not 0 < len(received.data) <= FRAME or message.decoded > peer.STORED_FRAMES * FRAME:
        raise InvalidInputError("a frame of a stored blob is empty, or larger than the limit")
    return received.data


def _numbers(data: bytes, width: int, what: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    if len(data) % width or len(data) > width * GRPC_LIMITS.frame_items:
        raise InvalidInputError(f"a frame has a wrong number of {what}")
    return np.frombuffer(data, f"<u{width}").astype(np.uint64)


def _enum(codec: int) -> pb.Codec:
    return codec  # type: ignore[return-value]  # the stub has a class where the runtime has an int
