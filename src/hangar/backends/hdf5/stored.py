"""Samples as they are stored, to be sent and to be kept: the head of a frame describes its chunks.

What comes from elsewhere is described by a head as untrusted as its chunks. So every size is checked before memory is
allocated, only codecs are accepted whose decoders are made for hostile input, and the padding of a chunk has to be zeros:
nothing is kept that no digest covers.
"""

from __future__ import annotations

import os
import struct
from typing import Final

import numpy as np

from hangar import _fs
from hangar.backends.base import Options
from hangar.backends.file import BlobFile
from hangar.backends.hdf5.chunks import Policy, content_of
from hangar.backends.hdf5.codecs import BLOSC, NONE, Bytes, decode, is_labelled
from hangar.backends.hdf5.frames import ROWS, Frame, encode_head
from hangar.backends.hdf5.options import encoding_of
from hangar.backends.hdf5.reading import frame_at
from hangar.backends.location import LENGTH_MASK, OFFSET, STORED, Location
from hangar.backends.stored import StoredForm
from hangar.digest import Header
from hangar.errors import CorruptionError

__all__ = ["FrameForm", "form_at", "keeps", "parse_form", "read_pieces_of"]

MAX_HEAD_BYTES: Final = 2**16
"""A sample with a longer head has thousands of chunks, and is sent decoded."""
MAX_PIECE_BYTES: Final = 2**22
"""A sample with larger chunks is sent decoded."""
MAX_STORED_BYTES: Final = 2**20
MAX_LEVEL: Final = 9
BITS: Final = 2
"""The shuffle with the highest number."""


class FrameForm(StoredForm):
    """A frame of one sample."""

    __slots__ = ("frame",)

    def __init__(self, head: bytes, frame: Frame) -> None:
        self.description, self.frame = head, frame
        self.sizes, self.piece_bytes = tuple(frame.stored), frame.content.piece_bytes

    def span(self, number: int) -> tuple[int, int]:
        """Where a chunk begins and ends in the sample."""
        return self.frame.content.span(number)

    def decode(self, number: int, stored: Bytes, memory: Bytes) -> Bytes:
        """Verify and decode a chunk; see :meth:`StoredForm.decode`."""
        encoding, content = self.frame.encoding, self.frame.content
        out = memory[: content.piece_bytes]
        if len(stored) != self.sizes[number]:
            raise CorruptionError("a stored chunk does not have the size that its head says")
        self.frame.check(stored, number)
        if not is_labelled(stored, encoding.codec, len(out)):
            raise CorruptionError("a chunk has another codec than its head says")
        decode(stored, encoding.codec, encoding.shuffle, content.item_bytes, out)
        start, stop = content.span(number)
        if stop - start < len(out) and out[stop - start :].any():
            raise CorruptionError("the padding of a chunk has other bytes than zeros")
        return out[: stop - start]


def form_at(file: BlobFile, place: Location, nbytes: int) -> FrameForm | None:
    """The form of the sample of ``nbytes`` at a location; None if it has to be sent decoded.

    Raises
    ------
    CorruptionError
        The location is not that of a chunk.
    """
    mapped = file.need(place[OFFSET] + (place[STORED] & LENGTH_MASK))
    frame = frame_at(file, mapped, place[OFFSET], place[STORED])
    head = bytes(mapped.map[frame.start : frame.starts[0]])
    return FrameForm(head, frame) if _is_sent(frame, len(head)) and frame.content.nbytes == nbytes else None


def read_pieces_of(file: BlobFile, form: StoredForm, first: int, last: int) -> bytes:
    """The stored bytes of the chunks from ``first`` to ``last``, exclusive, verified.

    Raises
    ------
    CorruptionError
        They are damaged.
    """
    assert isinstance(form, FrameForm)
    frame = form.frame
    nbytes = sum(form.sizes[first:last])
    try:
        data = os.pread(file.descriptor, nbytes, frame.starts[first])
    except OSError as error:
        _fs.raise_for(error, "read", file.path)
    if len(data) != nbytes:
        raise CorruptionError(f"blob file {file.path} was truncated")
    view, at = np.frombuffer(data, np.uint8), 0
    for number in range(first, last):
        frame.check(view[at : at + form.sizes[number]], number)
        at += form.sizes[number]
    return data


def parse_form(head: bytes, header: Header, nbytes: int) -> FrameForm:
    """The form that a received head describes, of a sample of ``nbytes``.

    Raises
    ------
    CorruptionError
        It is not the head of such a sample, or has sizes or a codec that are not accepted.
    UnsupportedVersionError
        A newer Hangar wrote it.
    """
    try:
        frame = Frame.find(head, 0, 2**63)
    except struct.error:
        raise CorruptionError("the head of a received sample is cut off") from None
    content = frame.content
    if (
        encode_head(content, frame.encoding, frame.stored, frame.checks) != head
        or not _is_sent(frame, len(head))
        or (content.header, content.nbytes) != (header.encode(), nbytes)
    ):
        raise CorruptionError("the head of a received sample is not that of such a sample")
    return FrameForm(head, frame)


def keeps(form: StoredForm, header: Header, options: Options | None, policy: Policy) -> bool:
    """Whether a writer with these options (None: any) and sizes of chunks would store the sample in this form."""
    if not isinstance(form, FrameForm):
        return False
    content, encoding = form.frame.content, form.frame.encoding
    same = options is None or encoding.same(encoding_of(options))
    return same and content == content_of(header, content.nbytes, policy)


def _is_sent(frame: Frame, head_bytes: int) -> bool:
    content, encoding = frame.content, frame.encoding
    return (
        content.role == ROWS
        and content.rows == 1
        and (encoding.codec == NONE or encoding.codec in BLOSC)
        and encoding.level <= MAX_LEVEL
        and encoding.shuffle <= (0 if encoding.codec == NONE else BITS)
        and head_bytes <= MAX_HEAD_BYTES
        and content.piece_bytes <= MAX_PIECE_BYTES
        and min(frame.stored) > 0
        and max(frame.stored) <= MAX_STORED_BYTES
    )
