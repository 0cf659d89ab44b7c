"""Frames of blobs as bytes on the wire, without the copies that protobuf makes of a large field.

A message that protobuf encodes or decodes has its data copied twice. Here the data of a frame is joined with the other
fields once, as the last field, and is taken from a received message as a view of it. The bytes are those of the message
``BlobFrame`` of the protocol: whatever this module does not expect is left to protobuf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hangar.remote.v1 import remote_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Encoded", "ReceivedFrame", "Upload", "encoded_frame", "parse_frame", "parse_upload"]

_BYTES: Final = 2
"""Wire type of a field that begins with its length."""
_DATA: Final = pb.BlobFrame.DESCRIPTOR.fields_by_name["data"].number
_FRAME: Final = pb.SendBlobsRequest.DESCRIPTOR.fields_by_name["frame"].number
_MANY_FIELDS: Final = 64
"""A message with more fields is decoded by protobuf, which is faster at that."""
_SMALL_BYTES: Final = 16 * 1024
"""A shorter message is decoded by protobuf: two copies of it cost less than a look at its fields."""


class Encoded:
    """A message that is encoded already; has the methods of one that are needed to send it."""

    __slots__ = ("_message",)

    def __init__(self, message: bytes) -> None:
        self._message = message

    def SerializeToString(self) -> bytes:  # noqa: N802
        """The bytes of the message."""
        return self._message

    def ByteSize(self) -> int:  # noqa: N802
        """Their number."""
        return len(self._message)


class ReceivedFrame(NamedTuple):
    """A received ``BlobFrame`` without its data, and the data, which may be a view of the received message."""

    fields: pb.BlobFrame
    data: bytes | memoryview


class Upload(NamedTuple):
    """A received ``SendBlobsRequest``."""

    push: bytes
    frame: ReceivedFrame


def encoded_frame(fields: pb.BlobFrame, data: bytes | memoryview, *, upload: bool = False) -> Encoded:
    """The message of a frame.

    Parameters
    ----------
    fields
        All fields but the data.
    upload
        Make the ``SendBlobsRequest`` of the frame.
    """
    parts: list[Any] = [fields.SerializeToString()]
    if len(data):
        parts += [_head(_DATA, len(data)), data]
    if upload:
        parts.insert(0, _head(_FRAME, sum(map(len, parts))))
    return Encoded(b"".join(parts))


def parse_frame(message: bytes) -> ReceivedFrame:
    """The frame of a message ``BlobFrame``. Raises what protobuf raises."""
    return _parse_frame(memoryview(message))


def parse_upload(message: bytes) -> Upload:
    """The content of a message ``SendBlobsRequest``. Raises what protobuf raises."""
    if len(message) >= _SMALL_BYTES:
        view = memoryview(message)
        try:
            number, wire_type, begin, end = next(_fields(view))
        except (IndexError, StopIteration):
            number = wire_type = begin = end = 0
        if (number, wire_type, end) == (_FRAME, _BYTES, len(view)):
            return Upload(b"", _parse_frame(view[begin:]))
    decoded = pb.SendBlobsRequest.FromString(message)
    return Upload(decoded.push, ReceivedFrame(decoded.frame, decoded.frame.data))


def _parse_frame(view: memoryview) -> ReceivedFrame:
    found = _find_data(view) if len(view) >= _SMALL_BYTES else None
    if found is None:
        decoded = pb.BlobFrame.FromString(bytes(view))
        return ReceivedFrame(decoded, decoded.data)
    start, begin, end = found
    fields = pb.BlobFrame.FromString(b"".join((view[:start], view[end:])))
    # Receivers keep data for a while. Who sends messages that are mostly something else does not make them keep that.
    return ReceivedFrame(fields, view[begin:end] if 2 * (end - begin) > len(view) else bytes(view[begin:end]))


def _find_data(view: memoryview) -> tuple[int, int, int] | None:
    """Where the field of the data starts, where its content begins, and where both end; None if protobuf must look."""
    found: list[tuple[int, int, int]] = []
    start = 0
    try:
        for count, (number, wire_type, begin, end) in enumerate(_fields(view)):
            if count == _MANY_FIELDS:
                return None
            if number == _DATA:
                if wire_type != _BYTES:
                    return None
                found.append((start, begin, end))
            start = end
    except IndexError:
        return None
    return found[0] if len(found) == 1 and start == len(view) else None


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, begin of the content and end of each field; ends at one of another wire type, or one that is cut off.

    Raises
    ------
    IndexError
        A number is cut off, or too long.
    """
    at = 0
    while at < len(view):
        tag, begin = _number(view, at)
        wire_type = tag & 7
        if wire_type == 0:
            _, end = _number(view, begin)
        elif wire_type == _BYTES:
            size, begin = _number(view, begin)
            end = begin + size
        else:
            return
        if end > len(view):
            return
        yield tag >> 3, wire_type, begin, end
        at = end


def _number(view: memoryview, at: int) -> tuple[int, int]:
    """A variable-length number, and where it ends."""
    value = 0
    for place in range(10):
        byte = view[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise IndexError


def _head(number: int, size: int) -> bytes:
    """Tag and length of a field."""
    made = bytearray([number << 3 | _BYTES])
    while size >= 0x80:
        made.append(size & 0x7F | 0x80)
        size >>= 7
    made.append(size)
    return bytes(made)
