"""Array records: shape and chunk map of one chunked array.

The value of a sample of a chunked column is the digest of such a record. Its *chunk map* is an ordinary tree: the key is
the index of a chunk in each dimension (u32, big-endian), the cell the digest of the chunk's blob, or the chunk itself if
it takes at most 32 bytes. A chunk has always the full chunk shape, padded with the fill value beyond the edges of the
array, and a chunk that has only fill values is absent. So equal arrays have equal records, however they were written.
The chunk shape, dtype and fill value are in the schema of the column (``schema/chunked``).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from hangar import limits
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.node import Root

__all__ = ["ARRAY_VERSION", "ArrayRecord", "decode_array", "encode_array"]

ARRAY_VERSION: Final = 0

_Extent = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_EXTENT)]


class ArrayRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The record of one chunked array.

    Attributes
    ----------
    shape
        Shape of the array, which has at least one dimension.
    chunks
        Number of chunks that are present.
    root
        Root of the chunk map, None if no chunk is present.
    """

    version: Annotated[int, msgspec.Meta(ge=0)]
    shape: Annotated[tuple[_Extent, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_RANK)]
    chunks: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    root: bytes | None

    @classmethod
    def of(cls, shape: tuple[int, ...], tree: Root | None) -> ArrayRecord:
        """The record of an array with this shape and chunk map."""
        return cls(ARRAY_VERSION, shape, 0 if tree is None else tree.entries, None if tree is None else tree.digest)

    @property
    def tree(self) -> Root | None:
        """The chunk map."""
        return None if self.root is None else Root(Digest(self.root), self.chunks, self.chunks)


encode_array: Final = msgspec.msgpack.Encoder().encode
"""The bytes of an array record."""
_decode: Final = msgspec.msgpack.Decoder(ArrayRecord).decode


def decode_array(data: bytes) -> ArrayRecord:
    """The array record that ``data`` encodes.

    Raises
    ------
    UnsupportedVersionError
        A newer Hangar wrote it.
    CorruptionError
        It is not a canonical array record, or exceeds a limit.
    """
    try:
        record = _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _check_version(data)
        raise CorruptionError(f"an array record cannot be read: {error}") from None
    if record.version:
        _check_version(data)
    if record.root is not None and len(record.root) != DIGEST_BYTES:
        raise CorruptionError(f"an array record names a root of {len(record.root)} bytes")
    if (record.root is None) != (record.chunks == 0):
        raise CorruptionError(f"an array record contradicts itself: it counts {record.chunks} chunks")
    if encode_array(record) != data:
        raise CorruptionError("an array record is not in canonical form")
    return record


def _check_version(data: bytes) -> None:
    """Raise UnsupportedVersionError if ``data`` looks like an array record of a newer version."""
    try:
        parts = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return
    if isinstance(parts, list) and parts and type(parts[0]) is int and parts[0] > ARRAY_VERSION:
        raise UnsupportedVersionError(f"an array record of version {parts[0]} needs a newer Hangar: install it")
