"""Blobs by digest: read in batches, every byte of them checked.

A read gives what its digest names or raises ``CorruptionError``: the location must be of the right header, lie within the file, and the
checksum of what was copied out must match. Where one of these fails the blob is looked up once more from scratch, because its
file may have been moved meanwhile. A blob without a location is looked up once: :meth:`BlobStore.locate` says which these are. What is handed out is fresh memory. Reads may come from several threads, and from a
forked child. ``writer`` writes; its unpublished blobs are readable here, in its own process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from xxhash import xxh3_64_intdigest

from hangar.backends.base import Blob, Rows
from hangar.backends.file import BlobFile
from hangar.backends.location import (
    CHECK,
    FILE_BITS,
    FILE_MASK,
    FILE_ROW,
    HEADER,
    LENGTH_MASK,
    LOCATION_WORDS,
    OFFSET,
    STORED,
    Location,
    Locations,
    Words,
)
from hangar.backends.raw import LARGE_BYTES, gather_list, gather_rows
from hangar.blobs.catalog import get_header
from hangar.blobs.files import OpenFiles
from hangar.blobs.index import Digests, Mask, Positions, Sought
from hangar.blobs.locator import IN_MEMORY, Located, Locator
from hangar.blobs.offsets import OffsetTable
from hangar.db import Database
from hangar.digest import DIGEST_BYTES, NDARRAY, Header, checksum, checksums, digest_array, digest_list
from hangar.errors import CorruptionError, InvalidInputError, PathNotFoundError
from hangar.gathering import gather_entries

__all__ = ["BlobStore"]

_T = TypeVar("_T")
_CACHED_HEADERS: Final = 65_536
_FAILURES = (CorruptionError, PathNotFoundError)
"""What a stale location shows as."""


class BlobStore:
    """The blobs of one repository.

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

    def close(self) -> None:
        """Let go of all files. A store that is used again opens them again."""
        self.refresh()

    def refresh(self) -> None:
        """Forget what was remembered of where blobs lie."""
        self.locator.forget()
        self.files.clear()

    # ------------------------------------------------------------------ looking up

    def locate(self, digests: Digests) -> Located:
        """Locations of blobs, and which of them have none.

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order, repeated or not.
        """
        if not len(digests):
            return Located(np.empty((0, LOCATION_WORDS), np.uint64), np.empty(0, np.intp))
        return self.locator.locate(Sought.of(_checked_digests(digests)))

    def known(self, digests: Digests) -> Mask:
        """Which blobs are stored; those that only wait in the memory of the writer do not count.

        Parameters
        ----------
        digests
            uint8, shape (n, 32).

        Returns
        -------
        numpy.ndarray
            bool, shape (n,).
        """
        if not len(digests):
            return np.zeros(0, np.bool_)
        sought = Sought.of(_checked_digests(digests))
        order = np.argsort(sought.prefixes)
        known = np.empty(len(order), np.bool_)
        known[order] = self.locator.locate(sought.take(order)).stored
        return known

    def lost(self, digest: bytes) -> CorruptionError:
        """The error for a blob that has no location and that no remote promised.

        Raises
        ------
        RepositoryNotFoundError
            The repository was moved or removed since it was opened.
        """
        self.db.require_in_place()
        return CorruptionError(
            f"blob {digest.hex()} is not in this repository, and nothing says that a remote has it"
            + "".join(f"; {reason}" for reason in self.locator.damage())
            + ": run `hangar fsck --data` to see what is affected"
        )

    def header_id(self, header: Header) -> int:
        """The number by which locations name a header: its seed. It is recorded when a blob of it is published."""
        self._headers.setdefault(header.seed, header)
        return header.seed

    def header(self, number: int) -> Header:
        """The header of a number that a location names.

        Raises
        ------
        CorruptionError
            It is not recorded.
        """
        found = self._headers.get(number) or self.locator.pending_header(number)
        if found is None:
            with self.db.read() as transaction:
                found = get_header(transaction, number)
            if len(self._headers) >= _CACHED_HEADERS:
                self._headers.clear()
            self._headers[number] = found
        return found

    def shared_header(self, digests: Digests) -> Header | None:
        """The header that all of ``digests`` have; None where they have several, or one is not in a file."""
        numbers = self.locate(digests).words[:, HEADER]
        if not len(numbers) or (numbers != numbers[0]).any() or not numbers[0]:
            return None
        return self.header(int(numbers[0]))

    # ------------------------------------------------------------------ reading

    def read_rows(self, digests: Digests, header: Header, nbytes: int, out: Rows | None = None) -> Rows:
        """Blobs of one header, stacked.

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order, repeated or not.
        header
            Header of all of them.
        nbytes
            Size of each.
        out
            uint8, shape (n, nbytes), C order, to read into; None: fresh memory.

        Returns
        -------
        numpy.ndarray
            uint8, shape (n, nbytes): ``out``, or fresh memory.

        Raises
        ------
        CorruptionError
            One is missing, damaged, or of another header; the message names digest and file.
        """
        digests = _checked_digests(digests)
        count = digests.shape[0]
        if out is not None and (out.shape != (count, nbytes) or out.dtype != np.uint8 or not out.flags.carray):
            raise InvalidInputError(f"`out` must be a writable uint8 array in C order of shape {(count, nbytes)}")
        if not count:
            return np.empty((0, nbytes), np.uint8) if out is None else out
        words = self._locate_all(digests)
        try:
            return self.read_rows_at(words, header, nbytes, out, digests=digests)
        except _FAILURES:
            return self._again(lambda words: self.read_rows_at(words, header, nbytes, out, digests=digests), digests)

    def read_list(self, digests: Sequence[bytes]) -> list[tuple[Header, Blob]]:
        """Blobs of any headers, in the order of ``digests``: header and logical bytes of each.

        Returns
        -------
        list
            The bytes of an ndarray are a fresh uint8 array, those of a str or bytes value ``bytes``.

        Raises
        ------
        CorruptionError
            One is missing or damaged; the message names digest and file.
        """
        if not digests:
            return []
        if not set(map(len, digests)) <= {DIGEST_BYTES}:
            raise InvalidInputError(f"a digest has {DIGEST_BYTES} bytes")
        array = digest_array(digests)
        words = self._locate_all(array)
        try:
            return self.read_list_at(words, digests=array)
        except _FAILURES:
            return self._again(lambda words: self.read_list_at(words, digests=array), array)

    def read_one(self, digest: bytes) -> tuple[Header, Blob]:
        """One blob: header and logical bytes, as :meth:`read_list` gives them."""
        found = self.locator.locate_one(digest)
        if found is not None:
            offset, check, stored, number, file_row = found
            file = self.files.raw.get(file_row)
            header = self._headers.get(number)
            if file is not None and header is not None and stored < LARGE_BYTES:
                mapped = file.mapped
                end = offset + stored
                if end <= mapped.size and file.whole(mapped):
                    if header.kind == NDARRAY:
                        rows = mapped.bytes[offset:end].copy()
                        if xxh3_64_intdigest(rows, number) == check:
                            return header, rows
                    else:
                        data = mapped.map[offset:end]
                        if xxh3_64_intdigest(data, number) == check:
                            return header, data
            elif file is None and header is not None:
                blob = self._read_encoded(found, header)
                if blob is not None:
                    return header, blob
        # The general way, which also raises the errors.
        return self.read_list([digest])[0]

    def _read_encoded(self, found: Location, header: Header) -> Blob | None:
        """The blob at one location of a file that is open, None where anything is not as expected."""
        opened = self.files.opened(found[FILE_ROW] & FILE_BITS)
        if opened is None or opened[1].capabilities.raw:
            return None
        try:
            blob = opened[1].read_one(opened[0], found, header)
        except _FAILURES:
            return None
        return blob if checksum(blob, found[HEADER]) == found[CHECK] else None  # type: ignore[arg-type]

    # ------------------------------------------------------------------ reading from an offset table

    def read_rows_of(
        self, table: OffsetTable, positions: Positions | range, header: Header, nbytes: int, out: Rows | None = None
    ) -> Rows:
        """As :meth:`read_rows`, of the blobs at some positions of an offset table, and without a second attempt.

        Raises
        ------
        CorruptionError, PathNotFoundError
            One is damaged, or was moved since the table was made.
        """
        if not len(positions):
            return np.empty((0, nbytes), np.uint8) if out is None else out
        if not (table.plain and table.stored == nbytes < LARGE_BYTES and table.seed == header.seed):
            return self.read_rows_at(table.words(positions), header, nbytes, out)
        file = self.files.raw.get(table.file_id) or self.files.get(table.file_id)[0]
        mapped = file.need(table.end)
        rows = np.empty((len(positions), nbytes), np.uint8) if out is None else out
        if gather_entries(mapped.map, table.where, table.checks, positions, rows, table.seed) >= 0:
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return rows

    def read_one_of(self, table: OffsetTable, position: int) -> tuple[Header, Blob]:
        """As :meth:`read_one`, of the blob at a position of an offset table; errors as of :meth:`read_rows_of`."""
        if table.plain and table.stored < LARGE_BYTES:
            file = self.files.raw.get(table.file_id)
            header = self._headers.get(table.seed)
            if file is not None and header is not None and header.kind == NDARRAY:
                offset, check = table.offset_and_check(position)
                mapped = file.mapped
                end = offset + table.stored
                if end <= mapped.size and file.whole(mapped):
                    rows = mapped.bytes[offset:end].copy()
                    if xxh3_64_intdigest(rows, table.seed) == check:
                        return header, rows
        found = table.location(position)
        header = self._headers.get(found[HEADER])
        blob = None if header is None else self._read_encoded(found, header)
        if blob is None or header is None:
            return self.read_list_at(table.words(range(position, position + 1)))[0]
        return header, blob

    # ------------------------------------------------------------------ where a read failed

    def _locate_all(self, digests: Digests) -> Words:
        """Locations of blobs, all of which must have one."""
        words, missing = self.locator.locate(Sought.of(digests))
        if missing.size:
            raise self.lost(digests[missing[0]].tobytes())
        return words

    def _again(self, read: Callable[[Words], _T], digests: Digests) -> _T:
        """Read once more, from locations that are looked up from scratch."""
        self.db.require_in_place()
        self.refresh()
        words = self._locate_all(digests)
        try:
            return read(words)
        except _FAILURES as error:
            self._name_damage(digests, words, error)
            raise CorruptionError(str(error)) from error

    def _name_damage(self, digests: Digests, words: Words, error: Exception) -> None:
        """Raise an error that names the first damaged one of ``digests``, and its file."""
        for at in range(len(digests)):
            try:
                self.read_list_at(words[at : at + 1], digests=digests[at : at + 1])
            except _FAILURES as reason:
                file_id = int(words[at, FILE_ROW] & FILE_MASK)
                raise CorruptionError(
                    f"blob {digests[at].tobytes().hex()} in blob file {file_id:08x} cannot be read: {reason}"
                ) from error

    # ------------------------------------------------------------------ reading at locations

    def read_rows_at(
        self, words: Words, header: Header, nbytes: int, out: Rows | None = None, *, digests: Digests | None = None
    ) -> Rows:
        """As :meth:`read_rows`, at locations that were looked up before, and without a second attempt.

        Parameters
        ----------
        words
            Locations, as :meth:`locate` gives them: uint64, shape (n, 5), n at least one.
        digests
            The digests of the same blobs, for those that lie in memory; None where none does.
        """
        # The common case, in as few calls as can be: all in one file, as they are.
        tail = words[:, STORED:]
        same = tail == tail[0]
        if same.item(same.argmin()):
            file = self.files.raw.get(tail.item(2))
            if file is not None and tail.item(0) == nbytes and tail.item(1) == header.seed:
                return _gather(file, words, nbytes, out, header.seed)
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
        right = words[:, HEADER] == header.seed
        if not right.all():
            raise CorruptionError("the blob is not what its column holds")
        file, backend = self.files.get(file_id)
        if backend.capabilities.raw:
            # Codec and row are zero, so the stored length fills its word.
            if not (words[:, STORED] == nbytes).all():
                raise CorruptionError(f"the blob does not have the {nbytes} bytes that its header says")
            return _gather(file, words, nbytes, out, header.seed)
        rows = np.empty((len(words), nbytes), np.uint8) if out is None else out
        backend.read_rows(file, Locations(words), header, rows)
        if not (checksums(rows, header.seed) == words[:, CHECK]).all():
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return rows

    def read_list_at(self, words: Words, *, digests: Digests | None = None) -> list[tuple[Header, Blob]]:
        """As :meth:`read_list`, at locations that were looked up before, and without a second attempt.

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
        numbers: list[int] = words[:, HEADER].tolist()
        try:
            headers = list(map(self._headers.__getitem__, numbers))
        except KeyError:
            headers = list(map(self.header, numbers))
        file, backend = self.files.get(file_id)
        if backend.capabilities.raw:
            lengths = words[:, STORED]
            if int(lengths.max()) > LENGTH_MASK:
                raise CorruptionError(f"a location in {file.path} names a codec, and nothing there is encoded")
            mapped = file.need_all(words[:, OFFSET], lengths)
            kinds = {header.kind for header in headers}
            blobs, sums = gather_list(file, mapped, words[:, OFFSET], lengths, kinds, words[:, HEADER])
        else:
            blobs = backend.read_list(file, Locations(words), headers)
            sums = [checksum(blob, number) for blob, number in zip(blobs, numbers, strict=True)]  # type: ignore[arg-type]
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


def _gather(file: BlobFile, words: Words, nbytes: int, out: Rows | None, seed: int) -> Rows:
    """Blobs of one file in which they lie as they are: ``nbytes`` is below 2^56."""
    mapped = file.need_all(words[:, OFFSET], words[:, STORED])
    rows = np.empty((len(words), nbytes), np.uint8) if out is None else out
    gather_rows(file, mapped, words[:, OFFSET], words[:, CHECK], rows, seed)
    return rows


def _by_file(words: Words) -> list[tuple[int, Positions]]:
    """Ids of the files that locations lie in, each with the positions of those locations."""
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


def _checked_digests(digests: Digests) -> Digests:
    if digests.dtype != np.uint8 or digests.ndim != 2 or digests.shape[1] != DIGEST_BYTES:
        raise InvalidInputError(f"digests are a uint8 array (n, {DIGEST_BYTES}), not {digests.dtype} {digests.shape}")
    return digests if digests.flags.c_contiguous else np.ascontiguousarray(digests)
