"""Offset table: the locations of the blobs of one column of a commit, by position. Blobs are looked up once, not at every read.

A table takes 12 to 20 bytes a blob: the offset in its file (or the row in its chunk), the checksum, and the number of
its *extent*. An extent is the part of a location that many blobs share: file, stored length, codec, header, and in
chunked files the offset of the chunk. The checksum is XORed with the position. So an entry that ends up at another
position by accident fails the checksum of the read. A location becomes stale when its blob is moved. A read then fails,
and the owner drops the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.backends.location import (
    CHECK,
    FILE_MASK,
    FILE_ROW,
    HEADER,
    LOCATION_WORDS,
    OFFSET,
    ROW_SHIFT,
    STORED,
    Location,
    Words,
)

__all__ = ["OffsetTable"]

Positions = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]

_ROW_SHIFT = np.uint64(ROW_SHIFT)
_DTYPES: Final[dict[str, npt.DTypeLike]] = {
    "extents": np.uint64,
    "extent_of": np.uint32,
    "where": np.uint64,
    "checks": np.uint64,
    "chunked": np.bool_,
}


class OffsetTable:
    """Locations of blobs, by position from 0.

    Parameters
    ----------
    extents
        Shared part of the locations of each extent, shape (k, 5); zeros for blobs without a location.
    extent_of
        Extent number of each blob, shape (n,); empty if there is only one extent.
    where
        Offset of each blob in its file, or its row in a chunk; shape (n,).
    checks
        Checksum of each blob XOR its position; shape (n,).
    chunked
        Mask of the extents that are chunks, bool, shape (k,).
    """

    __slots__ = (
        "_checks_view",
        "_chunked",
        "_extent_of",
        "_extents",
        "_where_view",
        "checks",
        "count",
        "end",
        "file_id",
        "header_id",
        "plain",
        "stored",
        "where",
    )

    def __init__(
        self, extents: Words, extent_of: Numbers, where: Words, checks: Words, chunked: npt.NDArray[np.bool_]
    ) -> None:
        self._extents, self._extent_of, self.where, self.checks, self._chunked = (
            extents,
            extent_of,
            where,
            checks,
            chunked,
        )
        self._where_view, self._checks_view = where.data, checks.data
        self.count: Final = len(where)
        self.plain: Final = len(extents) == 1 and not chunked[0] and extents[0, FILE_ROW] != 0
        """Whether all blobs are unencoded in one file, with one size and header: ``file_id``, ``stored`` and ``header_id``."""
        self.file_id: Final = int(extents[0, FILE_ROW])
        self.stored: Final = int(extents[0, STORED])
        self.header_id: Final = int(extents[0, HEADER])
        self.end: Final = int(where.max()) + self.stored if self.plain else 0
        """End of the last blob in the file; 0 unless the table is plain."""

    @property
    def nbytes(self) -> int:
        """Size of the table in bytes."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The parts of the table by the names of the parameters."""
        return {
            "extents": self._extents,
            "extent_of": self._extent_of,
            "where": self.where,
            "checks": self.checks,
            "chunked": self._chunked,
        }

    @classmethod
    def build(cls, parts: Iterable[Words], is_chunked: Callable[[int], bool]) -> OffsetTable:
        """Build a table from locations in the order of positions.

        Parameters
        ----------
        parts
            Locations, a batch at a time, shape (m, 5); zeros for a blob without a location.
        is_chunked
            Whether the file of an id holds chunks.
        """
        builder = _Builder(is_chunked)
        for part in parts:
            builder.add(part)
        return builder.table()

    @classmethod
    def of(cls, **arrays: npt.NDArray[Any]) -> OffsetTable:
        """The table that :meth:`arrays` gave.

        Raises
        ------
        ValueError, TypeError
            They are no parts of one table.
        """
        for name, array in arrays.items():
            if array.dtype != _DTYPES.get(name) or array.ndim != (2 if name == "extents" else 1):
                raise ValueError(f"not a part of an offset table: {name}")
        table = cls(**arrays)
        extents, extent_of = table._extents, table._extent_of
        if (
            extents.shape[1] != LOCATION_WORDS
            or len(table._chunked) != len(extents)
            or len(table.checks) != table.count
            or len(extent_of) != (0 if len(extents) == 1 else table.count)
            or (len(extent_of) and int(extent_of.max()) >= len(extents))
        ):
            raise ValueError("parts of different offset tables")
        return table

    def words(self, positions: Positions | range) -> Words:
        """Locations of the blobs at some positions, shape (m, 5)."""
        chosen = _as_index(positions)
        where = self.where[chosen]
        if len(self._extents) == 1:
            words = np.repeat(self._extents, len(where), axis=0)
            chunked: Any = self._chunked[0]
        else:
            extent = self._extent_of[chosen]
            # A mapped table may have been damaged since it was checked: a number that no extent has gives one whose checksums are wrong.
            words = self._extents.take(extent, axis=0, mode="clip")
            chunked = self._chunked.take(extent, mode="clip")
        words[:, OFFSET] += np.where(chunked, np.uint64(0), where)
        words[:, FILE_ROW] |= np.where(chunked, where << _ROW_SHIFT, np.uint64(0))
        words[:, CHECK] = self.checks[chosen] ^ _numbers(positions)
        return words

    def offset_and_check(self, position: int) -> tuple[int, int]:
        """Of a plain table: first byte and checksum of one blob."""
        return self._where_view[position], self._checks_view[position] ^ position

    def location(self, position: int) -> Location:
        """Location of one blob."""
        extent = min(self._extent_of.item(position), len(self._extents) - 1) if len(self._extent_of) else 0
        offset, _, stored, header, file_row = self._extents[extent].tolist()
        where, check = self._where_view[position], self._checks_view[position] ^ position
        if self._chunked.item(extent):
            return offset, check, stored, header, file_row | where << ROW_SHIFT
        return offset + where, check, stored, header, file_row


def _as_index(positions: Positions | range) -> Any:
    return slice(positions.start, positions.stop) if isinstance(positions, range) else positions


def _numbers(positions: Positions | range) -> Words:
    if isinstance(positions, range):
        return np.arange(positions.start, positions.stop, dtype=np.uint64)
    return positions.astype(np.uint64)


class _Builder:
    def __init__(self, is_chunked: Callable[[int], bool]) -> None:
        self._is_chunked = is_chunked
        self._files: dict[int, bool] = {}
        self._extents: dict[bytes, int] = {}
        self._chunked: list[bool] = []
        self._parts: list[tuple[Numbers, Words, Words]] = []
        self._count = 0

    def add(self, words: Words) -> None:
        files = words[:, FILE_ROW] & FILE_MASK
        chunked = np.zeros(len(words), np.bool_)
        for file_id in np.unique(files).tolist():
            if file_id not in self._files:
                self._files[file_id] = file_id != 0 and self._is_chunked(file_id)
            if self._files[file_id]:
                chunked |= files == np.uint64(file_id)
        shared = words.copy()
        shared[:, FILE_ROW] = files
        shared[:, CHECK] = 0
        shared[~chunked, OFFSET] = 0
        where = np.where(chunked, words[:, FILE_ROW] >> _ROW_SHIFT, words[:, OFFSET])
        checks = words[:, CHECK] ^ np.arange(self._count, self._count + len(words), dtype=np.uint64)
        self._parts.append((self._extent_numbers(shared, chunked), where, checks))
        self._count += len(words)

    def _extent_numbers(self, shared: Words, chunked: npt.NDArray[np.bool_]) -> Numbers:
        if (shared == shared[0]).all():
            return np.full(len(shared), self._number(shared[0].tobytes(), bool(chunked[0])), np.uint32)
        # Neighbours mostly share an extent: one look for each run of equal ones.
        cuts = np.flatnonzero((shared[1:] != shared[:-1]).any(axis=1)) + 1
        starts = np.concatenate(([0], cuts))
        names = np.ascontiguousarray(shared[starts]).view(f"V{8 * LOCATION_WORDS}")[:, 0].tolist()
        numbers = list(map(self._number, names, chunked[starts].tolist()))
        return np.repeat(np.array(numbers, np.uint32), np.diff(np.concatenate((starts, [len(shared)]))))

    def _number(self, name: bytes, chunked: bool) -> int:
        found = self._extents.setdefault(name, len(self._extents))
        if found == len(self._chunked):
            self._chunked.append(chunked)
        return found

    def table(self) -> OffsetTable:
        extents = np.frombuffer(b"".join(self._extents), np.uint64).reshape(-1, LOCATION_WORDS)
        numbers, where, checks = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        one = len(extents) == 1
        chunked = np.array(self._chunked, np.bool_)
        return OffsetTable(extents, numbers[:0] if one else numbers, where, checks, chunked)
