"""Location of a blob: a record of five little-endian 64-bit words. Batches of locations are one array.

The record is the same in the database and in a run file. A batch is a matrix of words, so looking up, sorting and
passing on thousands of locations takes a few array operations. The words are::

    offset | checksum | codec << 56 + stored length | header | row << 32 + file

``offset`` counts bytes in the blob file, ``row`` counts blobs in a chunk. The checksum is the xxh3-64 of the *logical*
bytes, seeded with the id of their header (``header``), which is the xxh3-64 of the header's encoding (see
``hangar.digest``).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from hangar.errors import CorruptionError

__all__ = [
    "CHECK",
    "FILE_BITS",
    "FILE_MASK",
    "FILE_ROW",
    "HEADER",
    "LENGTH_MASK",
    "LOCATION",
    "LOCATION_WORDS",
    "OFFSET",
    "ROW_SHIFT",
    "STORED",
    "Location",
    "Locations",
    "Words",
]

Words = npt.NDArray[np.uint64]
"""Records of unsigned 64-bit words, shape (n, words of a record), or one column of them."""

LOCATION: Final = struct.Struct("<QQQQQ")
LOCATION_WORDS: Final = LOCATION.size // 8
LENGTH_MASK: Final = (1 << 56) - 1

OFFSET, CHECK, STORED, HEADER, FILE_ROW = range(LOCATION_WORDS)
"""Columns of ``Locations.words``."""
_CODEC_SHIFT = np.uint64(56)
_LENGTH_MASK = np.uint64(LENGTH_MASK)
ROW_SHIFT: Final = 32
_ROW_SHIFT = np.uint64(ROW_SHIFT)
FILE_BITS: Final = 0xFFFF_FFFF
FILE_MASK: Final = np.uint64(FILE_BITS)
"""Bits of the last word that hold the file id."""


Location: TypeAlias = "tuple[int, int, int, int, int]"
"""One location: its five words."""


class Locations(msgspec.Struct, frozen=True):
    """Locations of n blobs.

    Attributes
    ----------
    words
        uint64, shape (n, 5).
    """

    words: Words

    @classmethod
    def at(
        cls,
        *,
        file: int,
        offset: npt.ArrayLike,
        length: npt.ArrayLike,
        codec: npt.ArrayLike = 0,
        row: npt.ArrayLike = 0,
    ) -> Locations:
        """Locations that a backend returns from a write. The blob writer fills in checksum and header.

        Each column is an array of n or a constant; at least one is an array. Stored lengths are below 2^56 bytes.
        """
        columns = [np.asarray(column, np.uint64) for column in (offset, length, codec, row)]
        words = np.zeros(
            (max(column.size for column in columns if column.ndim) if columns else 0, LOCATION_WORDS), np.uint64
        )
        words[:, OFFSET] = columns[0]
        words[:, STORED] = (columns[1] & _LENGTH_MASK) | (columns[2] << _CODEC_SHIFT)
        words[:, FILE_ROW] = (columns[3] << _ROW_SHIFT) | np.uint64(file)
        return cls(words)

    @classmethod
    def from_rows(cls, rows: Sequence[bytes]) -> Locations:
        """Locations of stored records.

        Raises
        ------
        CorruptionError
            A record is not 40 bytes long.
        """
        if not set(map(len, rows)) <= {LOCATION.size}:
            raise CorruptionError("the location of a blob in the database has the wrong size")
        data = np.frombuffer(b"".join(rows), "<u8").astype(np.uint64)
        return cls(data.reshape(len(rows), LOCATION_WORDS))

    @classmethod
    def concatenate(cls, parts: Sequence[Locations]) -> Locations:
        """All of ``parts``, in their order."""
        return cls(
            np.concatenate([part.words for part in parts]) if parts else np.empty((0, LOCATION_WORDS), np.uint64)
        )

    def __len__(self) -> int:
        return len(self.words)

    def to_rows(self) -> list[bytes]:
        """The stored records, 40 bytes each."""
        data = np.ascontiguousarray(self.words, "<u8")
        return data.view(f"V{LOCATION.size}")[:, 0].tolist() if len(data) else []

    def take(self, index: Any) -> Locations:
        """Subset of the locations; ``index`` is an array of positions, a mask or a slice."""
        return Locations(
            self.words.take(index, axis=0)
            if isinstance(index, np.ndarray) and index.dtype != np.bool_
            else self.words[index]
        )

    @property
    def offset(self) -> Words:
        """First byte in the blob file, shape (n,)."""
        return self.words[:, OFFSET]

    @property
    def length(self) -> Words:
        """Number of stored bytes (of the whole chunk, if a chunk holds several blobs), shape (n,)."""
        lengths: Words = self.words[:, STORED] & _LENGTH_MASK
        return lengths

    @property
    def codec(self) -> Words:
        """Codec of the stored bytes, a number defined by the backend; 0: unencoded. Shape (n,)."""
        codecs: Words = self.words[:, STORED] >> _CODEC_SHIFT
        return codecs

    @property
    def check(self) -> Words:
        """Checksum of the logical bytes, shape (n,)."""
        return self.words[:, CHECK]

    @property
    def header(self) -> Words:
        """Id of the header, shape (n,)."""
        return self.words[:, HEADER]

    @property
    def file(self) -> Words:
        """Id of the blob file, shape (n,)."""
        files: Words = self.words[:, FILE_ROW] & FILE_MASK
        return files

    @property
    def row(self) -> Words:
        """Position of the blob in its chunk, shape (n,)."""
        rows: Words = self.words[:, FILE_ROW] >> _ROW_SHIFT
        return rows

    def set_checks(self, headers: npt.ArrayLike, checks: npt.ArrayLike) -> None:
        """Fill in the header ids and checksums, which :meth:`at` leaves at 0; a constant or of shape (n,)."""
        self.words[:, HEADER] = headers
        self.words[:, CHECK] = checks
