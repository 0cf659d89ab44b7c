"""Blob reader: reads blobs at known locations: of a batch, of an offset table, or of one blob.

Every byte is verified against the checksum in its location. A location becomes stale when its blob is moved. Then the
read raises ``CorruptionError`` or ``PathNotFoundError``, and the caller handles it: ``BlobStore`` looks the blobs up
again, a column drops its offset table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from xxhash import xxh3_64_intdigest

from hangar.backends.base import Blob, Rows
from hangar.backends.file import MAX_OFFSET, BlobFile
from hangar.backends.location import (
    CHECK,
    FILE_BITS,
    FILE_MASK,
    FILE_ROW,
    HEADER,
    LENGTH_MASK,
    OFFSET,
    STORED,
    Location,
    Locations,
    Words,
)
from hangar.backends.parts import Parts
from hangar.backends.raw import LARGE_BYTES, gather_list, gather_rows, read_large
from hangar.blobs.catalog import get_header
from hangar.blobs.files import OpenFiles
from hangar.blobs.index import Digests, Positions
from hangar.blobs.locator import IN_MEMORY, Locator
from hangar.blobs.offsets import OffsetTable
from hangar.db import Database
from hangar.digest import NDARRAY, Header, checksum, checksums, digest_list
from hangar.errors import CorruptionError, PathNotFoundError
from hangar.gathering import gather_entries
from hangar.wording import plural

__all__ = ["STALE", "BlobReader"]

_CACHED_HEADERS: Final = 65_536
_FAR_BYTES: Final = 16_384
"""Rows that are so far apart on average are read one by one."""
STALE: Final = (CorruptionError, PathNotFoundError)
"""Errors that a stale location can cause."""


class BlobReader:
    """Reads blobs of one repository by location.

    Parameters
    ----------
    db
        Its database.
    directory
        Its ``.hangar``.
    """

    def __init__(self, db: Database, directory: Path) -> None:
        self.db = db
        self.directory = directory
        self.files = OpenFiles(db, directory)
        self.locator = Locator(db, directory)
        self._headers: dict[int, Header] = {}

    def remember_header(self, header: Header) -> None:
        """Add a header to the cache of headers by id. The database records it when a blob of it is published."""
        self._headers.setdefault(header.id, header)

    def header(self, header_id: int) -> Header:
        """The header that a location names by its id.

        Raises
        ------
        CorruptionError
            The header is not recorded.
        """
        found = self._headers.get(header_id) or self.locator.unpublished_header(header_id)
        if found is None:
            with self.db.read() as transaction:
                found = get_header(transaction, header_id)
            if len(self._headers) >= _CACHED_HEADERS:
                self._headers.clear()
            self._headers[header_id] = found
        return found

    # ------------------------------------------------------------------ reading at locations

    def read_rows_at(
        self, words: Words, header: Header, nbytes: int, out: Rows | None = None, *, digests: Digests | None = None
    ) -> Rows:
        """Read rows at known locations. Like ``BlobStore.read_rows``, without a second attempt.

        Parameters
        ----------
        words
            Locations, as ``BlobStore.locate`` returns them: uint64, shape (n, 5), n at least one.
        digests
            Digests of the same blobs, needed for blobs in the memory of a writer; None if there are none.
        """
        # Fast path of the common case: all blobs unencoded in one file.
        tail = words[:, STORED:]
        same = tail == tail[0]
        if same.item(same.argmin()):
            file = self.files.raw.get(tail.item(2))
            if file is not None and tail.item(0) == nbytes and tail.item(1) == header.id:
                return _gather(file, words, nbytes, out, header.id)
        parts = _by_file(words)
        if len(parts) == 1:
            return self._rows_of_file(parts[0][0], digests, words, header, nbytes, out)
        if out is None:
            out = np.empty((len(words), nbytes), np.uint8)
        for file_id, part in parts:
            out[part] = self._rows_of_file(file_id, _part(digests, part), words[part], header, nbytes, None)
        return out

    def _rows_of_file(
        self, file_id: int, digests: Digests | None, words: Words, header: Header, nbytes: int, out: Rows | None
    ) -> Rows:
        if file_id == IN_MEMORY:
            return _stack(self._list_in_memory(digests), header, nbytes, out)
        right = words[:, HEADER] == header.id
        if not right.all():
            raise CorruptionError("the blob is not what its column holds")
        file, backend = self.files.get(file_id)
        if backend.capabilities.raw:
            # Codec and row are zero, so the stored length fills its word.
            if not (words[:, STORED] == nbytes).all():
                raise CorruptionError(f"the blob does not have the {plural(nbytes, 'byte')} that its header says")
            return _gather(file, words, nbytes, out, header.id)
        rows = np.empty((len(words), nbytes), np.uint8) if out is None else out
        backend.read_rows(file, Locations(words), header, rows)
        if not (checksums(rows, header.id) == words[:, CHECK]).all():
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return rows

    def read_apart(self, words: Words, header: Header, nbytes: int) -> Rows | None:
        """Read unencoded rows of one file, with calls and not from its map; None if a general method of reading is better, or needed.

        A server that sends whole files would otherwise hold them all. Rows in the order of the file that lie one after the
        other are read with one call, and those that lie far apart with one each: a page fault takes longer, and maps 64 KiB.
        """
        offsets = words[:, OFFSET]
        right = words[:, STORED:] == words[0, STORED:]
        if not (right.all() and int(words[0, STORED]) == nbytes and int(words[0, HEADER]) == header.id):
            return None
        if int(offsets.max()) > MAX_OFFSET:
            return None
        breaks = np.flatnonzero(offsets[1:] - offsets[:-1] != nbytes) + 1
        if breaks.size and int(offsets[-1]) - int(offsets[0]) < (breaks.size + 1) * _FAR_BYTES:
            return None
        rows = np.empty((len(words), nbytes), np.uint8)
        ends = [*breaks.tolist(), len(words)]
        try:
            file, backend = self.files.get(int(words[0, FILE_ROW]) & FILE_BITS)
            if not backend.capabilities.raw:
                return None
            start = 0
            for end, offset in zip(ends, offsets[[0, *ends[:-1]]].tolist(), strict=True):
                read_large(file, offset, rows[start:end].reshape(-1))
                start = end
        except STALE:
            return None
        return rows if (checksums(rows, header.id) == words[:, CHECK]).all() else None

    def read_list_at(self, words: Words, *, digests: Digests | None = None) -> list[tuple[Header, Blob]]:
        """Read a list of blobs at known locations. Like ``BlobStore.read_list``, without a second attempt.

        Parameters
        ----------
        words, digests
            As in :meth:`read_rows_at`.
        """
        parts = _by_file(words)
        if len(parts) == 1:
            return self._list_of_file(parts[0][0], digests, words)
        blobs: dict[int, tuple[Header, Blob]] = {}
        for file_id, part in parts:
            blobs.update(
                zip(part.tolist(), self._list_of_file(file_id, _part(digests, part), words[part]), strict=True)
            )
        return list(map(blobs.__getitem__, range(len(words))))

    def _list_of_file(self, file_id: int, digests: Digests | None, words: Words) -> list[tuple[Header, Blob]]:
        if file_id == IN_MEMORY:
            return self._list_in_memory(digests)
        header_ids: list[int] = words[:, HEADER].tolist()
        try:
            headers = list(map(self._headers.__getitem__, header_ids))
        except KeyError:
            headers = list(map(self.header, header_ids))
        file, backend = self.files.get(file_id)
        if backend.capabilities.raw:
            lengths = words[:, STORED]
            if int(lengths.max()) > LENGTH_MASK:
                raise CorruptionError(
                    f"a location in {file.path} names a codec, but blobs of its backend are not encoded"
                )
            mapped = file.need_all(words[:, OFFSET], lengths)
            kinds = {header.kind for header in headers}
            blobs, sums = gather_list(file, mapped, words[:, OFFSET], lengths, kinds, words[:, HEADER])
        else:
            blobs = backend.read_list(file, Locations(words), headers)
            sums = [checksum(blob, header_id) for blob, header_id in zip(blobs, header_ids, strict=True)]  # type: ignore[arg-type]
        if sums != words[:, CHECK].tolist():
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return list(zip(headers, blobs, strict=True))

    def _list_in_memory(self, digests: Digests | None) -> list[tuple[Header, Blob]]:
        blobs: list[tuple[Header, Blob]] = []
        if digests is None:
            raise CorruptionError("the blob has no location")
        for digest in digest_list(digests):
            held = self.locator.buffered(digest)
            if held is None:
                raise CorruptionError("the blob was moved while it was read")
            fresh: Blob = np.frombuffer(held.data, np.uint8).copy() if held.header.kind == NDARRAY else held.data
            blobs.append((held.header, fresh))
        return blobs

    def read_at(self, found: Location, header: Header) -> Blob | None:
        """One blob at a known location; None if a general method of reading has to find out what is the matter, or is needed."""
        offset, check, stored, header_id, file_row = found
        file = self.files.raw.get(file_row)
        if file is None:
            return self._read_encoded(found, header)
        if stored >= LARGE_BYTES:
            return None
        mapped = file.mapped
        end = offset + stored
        if end <= mapped.size and file.whole(mapped):
            blob: Blob = mapped.bytes[offset:end].copy() if header.kind == NDARRAY else mapped.map[offset:end]
            if xxh3_64_intdigest(blob, header_id) == check:  # type: ignore[arg-type]
                return blob
        return None

    def _read_encoded(self, found: Location, header: Header) -> Blob | None:
        """The encoded blob at one location; None unless its file is open and the read succeeds."""
        opened = self.files.opened(found[FILE_ROW] & FILE_BITS)
        if opened is None or opened[1].capabilities.raw:
            return None
        try:
            blob = opened[1].read_one(opened[0], found, header)
        except STALE:
            return None
        return blob if checksum(blob, found[HEADER]) == found[CHECK] else None  # type: ignore[arg-type]

    # ------------------------------------------------------------------ reading parts

    def read_whole(self, found: Location, header: Header, out: Rows) -> Parts | None:
        """Read one blob into ``out``, which has its size, and verify it.

        Returns
        -------
        Parts
            For :meth:`read_part`. None if a general method of reading has to find out what is the matter, or is needed;
            ``out`` may have changed.
        """
        file_id = found[FILE_ROW] & FILE_BITS
        if file_id == IN_MEMORY or found[HEADER] != header.id:
            return None
        try:
            file, backend = self.files.get(file_id)
            parts = backend.parts(file, found, len(out))
            if parts is None:
                return None
            parts.read(file, 0, len(out), out)
        except STALE:
            return None
        if checksum(out.data, header.id) != found[CHECK]:
            return None
        parts.verified(out)
        return parts

    def read_part(self, parts: Parts, start: int, stop: int, out: Rows) -> bool:
        """Read a part of a blob, and verify it; False if the whole blob has to be read. See :meth:`Parts.read`."""
        opened = self.files.opened(parts.file_id)
        if opened is None:
            return False
        try:
            parts.read(opened[0], start, stop, out)
        except STALE:
            return False
        return True

    # ------------------------------------------------------------------ reading from an offset table

    def read_rows_of(
        self, table: OffsetTable, positions: Positions | range, header: Header, nbytes: int, out: Rows | None = None
    ) -> Rows:
        """Read the blobs at some positions of an offset table. Like ``BlobStore.read_rows``, without a second attempt.

        Raises
        ------
        CorruptionError, PathNotFoundError
            A blob is damaged, or was moved since the table was made.
        """
        if not len(positions):
            return np.empty((0, nbytes), np.uint8) if out is None else out
        if not (table.plain and table.stored == nbytes < LARGE_BYTES and table.header_id == header.id):
            return self.read_rows_at(table.words(positions), header, nbytes, out)
        file = self.files.raw.get(table.file_id) or self.files.get(table.file_id)[0]
        mapped = file.need(table.end)
        rows = np.empty((len(positions), nbytes), np.uint8) if out is None else out
        if gather_entries(mapped.map, table.where, table.checks, positions, rows, table.header_id) >= 0:
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return rows

    def read_one_of(self, table: OffsetTable, position: int) -> tuple[Header, Blob]:
        """Read the blob at a position of an offset table. Raises the same errors as :meth:`read_rows_of`."""
        if table.plain and table.stored < LARGE_BYTES:
            file = self.files.raw.get(table.file_id)
            header = self._headers.get(table.header_id)
            if file is not None and header is not None and header.kind == NDARRAY:
                offset, check = table.offset_and_check(position)
                mapped = file.mapped
                end = offset + table.stored
                if end <= mapped.size and file.whole(mapped):
                    rows = mapped.bytes[offset:end].copy()
                    if xxh3_64_intdigest(rows, table.header_id) == check:
                        return header, rows
        found = table.location(position)
        header = self._headers.get(found[HEADER])
        blob = None if header is None else self._read_encoded(found, header)
        if blob is None or header is None:
            return self.read_list_at(table.words(range(position, position + 1)))[0]
        return header, blob


def _gather(file: BlobFile, words: Words, nbytes: int, out: Rows | None, seed: int) -> Rows:
    """Read unencoded blobs of one file; ``nbytes`` is below 2^56."""
    mapped = file.need_all(words[:, OFFSET], words[:, STORED])
    rows = np.empty((len(words), nbytes), np.uint8) if out is None else out
    gather_rows(file, mapped, words[:, OFFSET], words[:, CHECK], rows, seed)
    return rows


def _by_file(words: Words) -> list[tuple[int, Positions]]:
    """Group locations by file: file id and positions of each group."""
    files = words[:, FILE_ROW] & FILE_MASK
    order = np.argsort(files, kind="stable")
    ordered = files[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return [(int(files[part[0]]), part) for part in np.split(order, cuts)]


def _stack(blobs: list[tuple[Header, Blob]], header: Header, nbytes: int, out: Rows | None) -> Rows:
    rows = np.empty((len(blobs), nbytes), np.uint8) if out is None else out
    for index, (found, blob) in enumerate(blobs):
        if found != header or len(blob) != nbytes:
            raise CorruptionError("the blob is not what its column holds")
        rows[index] = blob if isinstance(blob, np.ndarray) else np.frombuffer(blob, np.uint8)
    return rows


def _part(digests: Digests | None, part: Positions) -> Digests | None:
    return None if digests is None else digests[part]
