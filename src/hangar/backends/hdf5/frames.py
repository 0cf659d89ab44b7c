"""Frame: one chunk, or the chunks of one large array, after a head that describes them.

Heads are Hangar's own format, in the space between chunks, which HDF5 ignores. With them a chunk can be read by its
location alone, and a file can be scanned from its beginning. A head has the decoded size, the encoding and the header
of the samples, and a checksum of itself. It also has a checksum of each stored chunk, so that damage is found before
decoding. ``docs/format.rst`` defines the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from hangar.backends.hdf5.codecs import Bytes, Encoding
from hangar.errors import CorruptionError, UnsupportedVersionError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LISTING", "MAX_PIECE_BYTES", "RAGGED", "ROWS", "SHAPES", "Content", "Frame", "encode_head"]

ROWS, RAGGED, SHAPES, LISTING = range(4)
"""Role of a frame: samples of one header, samples of many shapes, the shapes of the ragged frame before it, HDF5 metadata."""
MAX_PIECE_BYTES: Final = 2**26
"""*Format.* Maximum size of a decoded chunk."""
_MAGIC: Final = b"HGCK"
_VERSION: Final = 0
_HEAD: Final = struct.Struct("<4sBBBBBBBBIIIQQQ")
_PIECE: Final = struct.Struct("<IQ")
_CHECK: Final = struct.Struct("<Q")


class Content(NamedTuple):
    """Content of a frame, independent of its encoding.

    Attributes
    ----------
    role
        :data:`ROWS`, :data:`RAGGED`, :data:`SHAPES` or :data:`LISTING`.
    header
        Encoded header of the samples; for a ragged frame, the header of all its elements as one array.
    item_bytes
        Size of an element.
    rows
        Number of samples.
    axis
        Axis along which the array is cut, if there is more than one piece.
    pieces
        Number of chunks.
    piece_bytes
        Decoded size of each chunk.
    slab_bytes
        A new piece begins every so many bytes of the array; the piece before is padded with zeros.
    """

    role: int
    header: bytes
    item_bytes: int
    rows: int
    axis: int
    pieces: int
    piece_bytes: int
    slab_bytes: int

    @property
    def pieces_per_slab(self) -> int:
        """Number of pieces in a slab; the last one may be padded."""
        return -(-self.slab_bytes // self.piece_bytes)

    @property
    def nbytes(self) -> int:
        """Size of the samples, without padding."""
        return self.pieces // self.pieces_per_slab * self.slab_bytes

    def span(self, number: int) -> tuple[int, int]:
        """Range of a piece in the bytes of the samples."""
        slab, within = divmod(number, self.pieces_per_slab)
        start = slab * self.slab_bytes + within * self.piece_bytes
        return start, min(start + self.piece_bytes, (slab + 1) * self.slab_bytes)


def encode_head(content: Content, encoding: Encoding, stored: Sequence[int], checks: Sequence[int]) -> bytes:
    """Encode the head of a frame, given the stored sizes and checksums of its pieces."""
    table = b"".join(map(_PIECE.pack, stored, checks))
    total = _HEAD.size + len(content.header) + len(table) + _CHECK.size + sum(stored)
    kinds = content.role, encoding.codec, encoding.level, encoding.shuffle, content.item_bytes, content.axis
    sizes = content.rows, content.pieces, 0, content.piece_bytes, content.slab_bytes, total
    head = _HEAD.pack(_MAGIC, _VERSION, *kinds, len(content.header), *sizes) + content.header + table
    return head + _CHECK.pack(xxh3_64_intdigest(head))


class Frame(NamedTuple):
    """A frame in a file.

    Attributes
    ----------
    content, encoding
        Its content and encoding.
    start, length
        Offset in the file, and total size.
    starts, stored, checks
        Offset in the file, stored size and checksum of each piece.
    """

    content: Content
    encoding: Encoding
    start: int
    length: int
    starts: Sequence[int]
    stored: Sequence[int]
    checks: Sequence[int]

    @classmethod
    def find(cls, view: Buffer, start: int, limit: int) -> Frame:
        """Parse the head of the frame that begins at ``start`` and ends at ``limit`` or before.

        Raises
        ------
        CorruptionError
            No frame begins there, or its head is damaged.
        UnsupportedVersionError
            A newer Hangar wrote it.
        """
        if start + _HEAD.size > limit:
            raise CorruptionError("a location points to a chunk beyond the end of its file")
        magic, version, role, *rest = _HEAD.unpack_from(view, start)
        if magic != _MAGIC:
            raise CorruptionError("a location points to bytes that are not the beginning of a chunk")
        if version != _VERSION or role > LISTING:
            raise UnsupportedVersionError(f"a chunk has version {version}.{role}, which needs a newer Hangar")
        codec, level, shuffle, item_bytes, axis, header_bytes, rows, pieces, _, piece_bytes, slab_bytes, length = rest
        table_at = start + _HEAD.size + header_bytes
        check_at = table_at + pieces * _PIECE.size
        first = check_at + _CHECK.size
        if start + length > limit or first > start + length:
            raise CorruptionError("a chunk reaches beyond the end of its file")
        data: Any = memoryview(view)[start:check_at]
        if _CHECK.unpack_from(view, check_at)[0] != xxh3_64_intdigest(data):
            raise CorruptionError("the head of a chunk is damaged")
        stored: tuple[int, ...]
        checks: tuple[int, ...]
        if pieces == 1:
            size, check = _PIECE.unpack_from(view, table_at)
            stored, checks, starts = (size,), (check,), (first,)
        else:
            stored, checks = zip(*_PIECE.iter_unpack(data[table_at - start :]), strict=True) if pieces else ((), ())
            starts = tuple(accumulate(stored[:-1], initial=first))
        header = bytes(data[_HEAD.size : _HEAD.size + header_bytes])
        content = Content(role, header, item_bytes, rows, axis, pieces, piece_bytes, slab_bytes)
        _check(content, first + sum(stored) == start + length)
        return cls(content, Encoding(codec, level, shuffle), start, length, starts, stored, checks)

    def span(self, number: int) -> tuple[int, int]:
        """Offset in the file and stored size of a piece."""
        return self.starts[number], self.stored[number]

    def check(self, stored: Bytes, number: int) -> Bytes:
        """Verify the checksum of the stored bytes of a piece, and return them.

        Raises
        ------
        CorruptionError
            They are damaged.
        """
        if xxh3_64_intdigest(stored.data) != self.checks[number]:
            raise CorruptionError("a stored chunk is damaged")
        return stored


def _check(content: Content, sizes_agree: bool) -> None:
    """Refuse impossible values, so that nobody divides by zero or allocates too much memory because of them."""
    item, piece, slab = content.item_bytes, content.piece_bytes, content.slab_bytes
    if (
        not sizes_agree
        or not content.pieces
        or not 0 < item <= piece <= min(slab, MAX_PIECE_BYTES)
        or piece % item
        or slab % item
        or content.pieces % content.pieces_per_slab
        or (content.pieces > 1 and content.rows != 1)
        or (content.pieces == 1 and piece != slab)
    ):
        raise CorruptionError("the head of a chunk contradicts itself")
