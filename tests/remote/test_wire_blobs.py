"""Frames of blobs are encoded and decoded as protobuf does it, also damaged ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from hangar.remote.peer import BlobFrame
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire_blobs import parse_frame, parse_upload
from hangar.remote.wire_frames import blobs_in, blobs_out

SIZES = (0, 1, 100, 2**14, 70_000, 2**20)


def frame_of(size: int, blobs: int = 1) -> BlobFrame:
    data = np.random.default_rng(size).integers(0, 255, size * blobs, np.uint8)
    lengths = np.full(blobs, size, "<u8").tobytes()
    return BlobFrame((b"\x03\0\0",), b"", lengths, data.data, 0, 7, np.arange(blobs, dtype="<u4").tobytes())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compress", [False, True])
def test_a_frame_is_the_message_of_protobuf(size: int, compress: bool) -> None:
    frame = frame_of(size, 1 if size > 2**19 else 3)
    made = blobs_out(frame, compress)
    message = made.SerializeToString()
    assert made.ByteSize() == len(message)
    decoded = pb.BlobFrame.FromString(message)
    assert decoded.decoded == len(frame.data)
    assert decoded.group == 7
    for received in (message, decoded.SerializeToString()):
        back = blobs_in(parse_frame(received), len(frame))
        assert bytes(back.data) == bytes(frame.data)
        assert (back.headers, back.lengths, back.places) == (frame.headers, frame.lengths, frame.places)
    upload = blobs_out(frame, compress, upload=True).SerializeToString()
    assert pb.SendBlobsRequest.FromString(upload) == pb.SendBlobsRequest(frame=decoded)
    assert bytes(blobs_in(parse_upload(upload).frame).data) == bytes(frame.data)


def outcome(parse: Any, message: bytes) -> Any:
    try:
        return parse(message)
    except (DecodeError, UnicodeDecodeError):
        return DecodeError


def same_frame(message: bytes) -> Any:
    fields, data = parse_frame(message)
    whole = pb.BlobFrame()
    whole.CopyFrom(fields)
    whole.data = bytes(data)
    return whole


def same_upload(message: bytes) -> Any:
    push, (fields, data) = parse_upload(message)
    whole = pb.BlobFrame()
    whole.CopyFrom(fields)
    whole.data = bytes(data)
    return push, whole


def plain_upload(message: bytes) -> Any:
    decoded = pb.SendBlobsRequest.FromString(message)
    return decoded.push, decoded.frame


def test_damaged_and_unusual_messages_are_read_as_protobuf_reads_them() -> None:
    message = blobs_out(frame_of(20_000), compress=False).SerializeToString()
    other = pb.BlobFrame(data=b"other", group=9, headers=[b"x"] * 100).SerializeToString()
    head = len(message) - 20_000
    cases = [
        message + other,
        other + message,
        message + message,
        message + b"\x22",
        message + b"\x22\xff",
        message + b"\x0b",
    ]
    cases += [message + b"\xf8\x07\x05", message + b"\x20\x05", b"\x20\x05" + message, message + b"\x00\x00"]
    cases += [message[:end] for end in (*range(head + 2), len(message) - 1)]
    cases += [message[:at] + bytes([byte]) + message[at + 1 :] for at in range(head) for byte in (0, 0x7F, 0x80, 0xFF)]
    for case in cases:
        assert outcome(same_frame, case) == outcome(pb.BlobFrame.FromString, case)
    push = pb.SendBlobsRequest(push=b"p" * 16).SerializeToString()
    upload = blobs_out(frame_of(20_000), compress=False, upload=True).SerializeToString()
    for case in (
        push,
        upload,
        push + upload,
        upload + push,
        upload + upload,
        upload[:-1],
        b"\x12" + upload,
        upload + b"\x00",
    ):
        assert outcome(same_upload, case) == outcome(plain_upload, case)
