"""Content digests: domain-separated digests of records and blobs, blob headers, and the checksum for reads.

A digest is keyed BLAKE3-256. A record is hashed as its exact bytes, with a key for its class; a blob as its logical
bytes (C order, little-endian), with a key derived from its header, so that one call hashes one sample. Equal content
has the same digest on every machine, and content of one class or header never has the digest of another. The checksum
(XXH3) detects accidental damage of local bytes on read; it is not part of a digest. ``schema/`` defines the logical
bytes of values.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NewType, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from hangar import limits
from hangar.errors import InvalidInputError
from hangar.gathering import checksum_rows
from hangar.hashing import finish, hash_list, hash_rows

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "BYTES",
    "DIGEST_BYTES",
    "NDARRAY",
    "SPARSE",
    "STR",
    "Digest",
    "Header",
    "RecordClass",
    "blob_digest",
    "blob_digests",
    "blob_digests_of_list",
    "checksum",
    "checksums",
    "digest_array",
    "digest_list",
    "record_digest",
    "record_digests",
]

Digest = NewType("Digest", bytes)
"""32 bytes."""
DIGEST_BYTES: Final = 32

RecordClass = Literal["node", "array", "commit", "schema", "attributes", "tree", "column", "key"]
"""Classes of records with digests; ``tree``, ``column``, ``key`` are for tree digests, column ids and long row keys."""

NDARRAY: Final = 1
STR: Final = 2
BYTES: Final = 3
SPARSE: Final = 5
"""Kinds of blobs."""

_RECORD_CONTEXT: Final = "hangar 0 record class"
_BLOB_CONTEXT: Final = "hangar 0 blob header"
_RECORD_KEYS: Final[dict[str, bytes]] = {
    name: blake3(name.encode(), derive_key_context=_RECORD_CONTEXT).digest() for name in get_args(RecordClass)
}


def record_digest(record_class: RecordClass, data: Buffer) -> Digest:
    """Digest of the exact bytes of a record.

    Parameters
    ----------
    record_class
        Equal bytes of two classes have different digests.
    data
        The encoded record.
    """
    digest: Digest = finish(blake3(data, key=_RECORD_KEYS[record_class]))
    return digest


def record_digests(record_class: RecordClass, records: Sequence[bytes]) -> list[Digest]:
    """Digests of many records of one class."""
    return hash_list(_RECORD_KEYS[record_class], records)


class Header(msgspec.Struct, frozen=True, dict=True):
    """Header of a blob: the type of its content, covered by its digest.

    Parameters
    ----------
    kind
        :data:`NDARRAY`, :data:`STR`, :data:`BYTES` or :data:`SPARSE`.
    dtype
        Code of the element type (``schema/dtypes.py``); 0 for str and bytes.
    shape
        Shape of the array; ``()`` for str and bytes.

    Raises
    ------
    InvalidInputError
        The header is not valid.
    """

    kind: int
    dtype: int
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.kind in (NDARRAY, SPARSE):
            if not 0 < self.dtype < 256:
                raise InvalidInputError(
                    f"a blob header has the element type {self.dtype!r}; it must be a code from 1 to 255"
                )
            if self.kind == NDARRAY:
                _check_shape(self.shape)
            elif not 1 <= len(self.shape) <= limits.MAX_RANK or any(not 0 <= n < 2**63 for n in self.shape):
                raise InvalidInputError(f"a sparse array cannot have the shape {self.shape}")
        elif self.kind not in (STR, BYTES):
            raise InvalidInputError(
                f"a blob header has the kind {self.kind!r}, which this version of Hangar does not support"
            )
        elif self.dtype != 0 or self.shape != ():
            raise InvalidInputError("the blob header of a str or bytes value has no element type and no shape")

    def encode(self) -> bytes:
        """Encode the header: kind, dtype, rank (a byte each) and every extent (8 bytes, little-endian)."""
        return struct.pack(f"<BBB{len(self.shape)}Q", self.kind, self.dtype, len(self.shape), *self.shape)

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """The header that ``data`` encodes.

        Raises
        ------
        InvalidInputError
            ``data`` is not an encoded header.
        """
        if len(data) < 3 or len(data) != 3 + 8 * data[2]:
            raise InvalidInputError(f"{len(data)} bytes are not a blob header: the length does not match the rank")
        kind, dtype, rank, *shape = struct.unpack(f"<BBB{data[2]}Q", data)
        if rank > limits.MAX_RANK:
            raise InvalidInputError(f"a blob header has {rank} dimensions; the limit is {limits.MAX_RANK}")
        return cls(kind, dtype, tuple(shape))

    @cached_property
    def key(self) -> bytes:
        """BLAKE3 key for blobs of this header: 32 bytes."""
        return blake3(self.encode(), derive_key_context=_BLOB_CONTEXT).digest()

    @cached_property
    def id(self) -> int:
        """Id of the header in locations: XXH3 of its encoding. Seeds blob checksums, so a wrong header fails them."""
        return xxh3_64_intdigest(self.encode())


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > limits.MAX_RANK:
        raise InvalidInputError(f"an array has {len(shape)} dimensions; the limit is {limits.MAX_RANK}")
    elements = 1
    for extent in shape:
        if extent < 0:
            raise InvalidInputError(f"an array has an extent of {extent}")
        # An extent of zero does not lift the limit for the others: numpy refuses such shapes too.
        elements *= extent or 1
        if elements > limits.MAX_ARRAY_BYTES:
            raise InvalidInputError(
                f"an array of shape {shape} is larger than the limit of {limits.MAX_ARRAY_BYTES} bytes"
            )


def blob_digest(header: Header, buffer: Buffer) -> Digest:
    """Digest of one blob: ``buffer`` holds its logical bytes."""
    digest: Digest = finish(blake3(buffer, key=header.key))
    return digest


def blob_digests(header: Header, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Digests of many blobs of one header.

    Parameters
    ----------
    header
        The header of every row.
    rows
        Logical bytes, uint8, shape (n, bytes of one blob), C order.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 32).
    """
    return hash_rows(header.key, rows)


def blob_digests_of_list(headers: Sequence[Header], buffers: Sequence[Buffer]) -> list[Digest]:
    """Digests of many blobs of any sizes: ``headers`` has the header of each, ``buffers`` their logical bytes."""
    if headers and all(header is headers[0] for header in headers):
        return hash_list(headers[0].key, buffers)
    return [blob_digest(header, buffer) for header, buffer in zip(headers, buffers, strict=True)]


def checksum(buffer: Buffer, seed: int) -> int:
    """Checksum of a blob's logical bytes; ``seed`` is the id of its header."""
    return xxh3_64_intdigest(buffer, seed)


def checksums(rows: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint64]:
    """Checksums of many blobs of one header: uint64, shape (n,). ``rows`` as in :func:`blob_digests`."""
    return checksum_rows(rows, seed)


def digest_array(digests: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """Digests as an array: uint8, shape (n, 32)."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), DIGEST_BYTES)


def digest_list(digests: npt.NDArray[np.uint8]) -> list[Digest]:
    """Rows of an array (n, 32) as digests."""
    rows: list[Digest] = np.ascontiguousarray(digests).view(f"V{DIGEST_BYTES}")[:, 0].tolist()
    return rows
