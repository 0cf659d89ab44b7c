"""Parts of a sample that has HDF5 chunks of its own: those chunks, each of which has a checksum of its stored bytes."""

from __future__ import annotations

from hangar.backends.file import BlobFile
from hangar.backends.hdf5.codecs import Bytes
from hangar.backends.hdf5.frames import Frame
from hangar.backends.hdf5.reading import decode_piece, frame_at
from hangar.backends.location import FILE_BITS, FILE_ROW, LENGTH_MASK, OFFSET, ROW_SHIFT, STORED, Location
from hangar.backends.parts import Parts

__all__ = ["FrameParts", "parts_of"]


class FrameParts(Parts):
    """The chunks of a frame, without padding."""

    __slots__ = ("_end", "_frame")

    def __init__(self, file_id: int, frame: Frame) -> None:
        self.file_id, self._frame = file_id, frame
        self._end = frame.start + frame.length
        self.small = frame.content.pieces > 1

    def read(self, file: BlobFile, start: int, stop: int, out: Bytes) -> None:
        """Decode the chunks that hold some bytes; see :meth:`Parts.read`."""
        mapped, frame = file.need(self._end), self._frame
        size = frame.content.piece_bytes
        for number in range(start // size, -(-stop // size)):
            decode_piece(file, frame, mapped, number, out[number * size : (number + 1) * size])

    def verified(self, data: Bytes) -> None:
        """Nothing to do: the frame has the checksums."""


def parts_of(file: BlobFile, place: Location, nbytes: int) -> FrameParts | None:
    """The parts of the sample of ``nbytes`` at a location; None if it shares a chunk with others, or chunks are padded."""
    offset, stored, file_row = place[OFFSET], place[STORED], place[FILE_ROW]
    if file_row >> ROW_SHIFT:
        return None
    frame = frame_at(file, file.need(offset + (stored & LENGTH_MASK)), offset, stored)
    content = frame.content
    if content.nbytes != nbytes or content.pieces * content.piece_bytes != nbytes:
        return None
    return FrameParts(file_row & FILE_BITS, frame)
