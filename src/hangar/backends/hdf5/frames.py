"""A frame: one chunk, or the chunks of one large array, with a head that says what they are.

Heads are Hangar's own and lie between the chunks, where HDF5 does not look. They make a file readable by location alone and walkable
from its beginning: the size that a chunk decodes to, how it is encoded and what its bytes mean are all there, under a checksum, and each
stored chunk has one too, so that a damaged one is found before it is decoded. ``docs/format.rst`` has the bytes.
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
"""What a frame holds: samples of one header, samples of many shapes, the shapes of the ragged frame before it, HDF5's metadata."""
MAX_PIECE_BYTES: Final = 2**26
"""*Format.* A chunk is never larger than this when it is decoded."""
_MAGIC: Final = b"HGCK"
_VERSION: Final = 0
_HEAD: Final = struct.Struct("<4sBBBBBBBBIIIQQQ")
_PIECE: Final = struct.Struct("<IQ")
_CHECK: Final = struct.Struct("<Q")


class Content(NamedTuple):
    """What a frame holds, whatever its codec made of it.

    Attributes
    ----------
    role
        :data:`ROWS`, :data:`RAGGED`, :data:`SHAPES` or :data:`LISTING`.
    header
        Encoded header of the samples; of a ragged frame that of its elements as one array.
    item_bytes
        Size of an element.
    rows
        Number of samples.
    axis
        Along which axis the array is cut into pieces, where there is more than one.
    pieces
        Number of chunks.
    piece_bytes
        Size of each.
    slab_bytes
        Every so many bytes of the array a new piece begins, and the one before is filled up with zeros.
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
        """Pieces of each slab, the last of which may be filled up."""
        return -(-self.slab_bytes // self.piece_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes of the samples."""
        return self.pieces // self.pieces_per_slab * self.slab_bytes

    def span(self, number: int) -> tuple[int, int]:
        """Where the bytes of a piece lie among those of the samples."""
        slab, within = divmod(number, self.pieces_per_slab)
        start = slab * self.slab_bytes + within * self.piece_bytes
        return start, min(start + self.piece_bytes, (slab + 1) * self.slab_bytes)


def encode_head(content: Content, encoding: Encoding, stored: Sequence[int], checks: Sequence[int]) -> bytes:
    """The head of a frame whose pieces have the given stored sizes and checksums."""
    table = b"".join(map(_PIECE.pack, stored, checks))
    total = _HEAD.size + len(content.header) + len(table) + _CHECK.size + sum(stored)
    kinds = content.role, encoding.codec, encoding.level, encoding.shuffle, content.item_bytes, content.axis
    sizes = content.rows, content.pieces, 0, content.piece_bytes, content.slab_bytes, total
    head = _HEAD.pack(_MAGIC, _VERSION, *kinds, len(content.header), *sizes) + content.header + table
    return head + _CHECK.pack(xxh3_64_intdigest(head))


class Frame(NamedTuple):
    """A frame as it was found in a file.

    Attributes
    ----------
    content, encoding
        What is in it, and how.
    start, length
        First byte in the file, and bytes in all.
    starts, stored, checks
        First byte in the file, size and checksum of each piece.
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
        """The frame that begins at ``start`` and ends at ``limit`` or before; only its head is looked at.

        Raises
        ------
        CorruptionError
            There is none, or it is damaged.
        UnsupportedVersionError
            A newer Hangar wrote it.
        """
        if start + _HEAD.size > limit:
            raise CorruptionError("a location names a chunk behind the end of its file")
        magic, version, role, *rest = _HEAD.unpack_from(view, start)
        if magic != _MAGIC:
            raise CorruptionError("a location names a place where no chunk begins")
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
        stored, checks = zip(*_PIECE.iter_unpack(data[table_at - start :]), strict=True) if pieces else ((), ())
        starts = (first,) if pieces == 1 else tuple(accumulate(stored[:-1], initial=first))
        header = bytes(data[_HEAD.size : _HEAD.size + header_bytes])
        content = Content(role, header, item_bytes, rows, axis, pieces, piece_bytes, slab_bytes)
        _check(content, first + sum(stored) == start + length)
        return cls(content, Encoding(codec, level, shuffle), start, length, starts, stored, checks)

    def span(self, number: int) -> tuple[int, int]:
        """First byte in the file, and size, of the stored bytes of a piece."""
        return self.starts[number], self.stored[number]

    def check(self, stored: Bytes, number: int) -> Bytes:
        """The stored bytes of a piece, when they have its checksum.

        Raises
        ------
        CorruptionError
            They are damaged.
        """
        if xxh3_64_intdigest(stored.data) != self.checks[number]:
            raise CorruptionError("a stored chunk is damaged")
        return stored


def _check(content: Content, sizes_agree: bool) -> None:
    """Refuse what no writer makes, so that nobody divides by zero or allocates on its word."""
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
