"""Blobs by digest: read in batches, every byte of them checked.

A read gives what its digest names or raises ``CorruptionError``: the location must be of the right header, lie within the file, and the
checksum of what was copied out must match. Where one of these fails the blob is looked up once more from scratch, because its
file may have been moved meanwhile. What is handed out is fresh memory. Reads may come from several threads, and from a
forked child. Writing is ``writer``'s affair; its unpublished blobs are readable here, in its own process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from hangar.backends.base import Blob, Rows
from hangar.backends.location import LENGTH_MASK, Locations, Words
from hangar.backends.raw import gather_list, gather_rows
from hangar.blobs.catalog import get_header
from hangar.blobs.files import OpenFiles
from hangar.blobs.locator import IN_MEMORY, Locator
from hangar.db import Database
from hangar.digest import DIGEST_BYTES, NDARRAY, Header, checksum, checksums, digest_array, digest_list
from hangar.errors import CorruptionError, InvalidInputError, PathNotFoundError

__all__ = ["BlobStore"]

_T = TypeVar("_T")
_FILE_MASK = np.uint64(0xFFFF_FFFF)
_OFFSET, _STORED, _CHECK, _HEADER, _PLACE = range(5)


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
        """Let go of all files. The store opens them again where it is used again."""
        self.locator.forget()
        self.files.clear()

    def refresh(self) -> None:
        """Forget what was remembered of where blobs lie."""
        self.locator.forget()
        self.files.clear()

    # ------------------------------------------------------------------ looking up

    def known(self, digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Which blobs are stored; those that a writer has gathered in memory do not count.

        Parameters
        ----------
        digests
            uint8, shape (n, 32).

        Returns
        -------
        numpy.ndarray
            bool, shape (n,).
        """
        return self.locator.known(_checked_digests(digests))

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
        found = self._headers.get(number) or self.locator.pending.headers.get(number)
        if found is None:
            with self.db.read() as transaction:
                found = get_header(transaction, number)
            self._headers[number] = found
        return found

    # ------------------------------------------------------------------ reading

    def read_rows(self, digests: npt.NDArray[np.uint8], header: Header, nbytes: int, out: Rows | None = None) -> Rows:
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
        if out is not None and (
            out.shape != (len(digests), nbytes) or out.dtype != np.uint8 or not out.flags.c_contiguous
        ):
            raise InvalidInputError(f"`out` must be a uint8 array in C order of shape {(len(digests), nbytes)}")
        if not len(digests):
            return np.empty((0, nbytes), np.uint8) if out is None else out
        return self._twice(lambda: self._read_rows(digests, header, nbytes, out), digests)

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
        return self._twice(lambda: self._read_list(array), array)

    def read_one(self, digest: bytes) -> tuple[Header, Blob]:
        """One blob: header and logical bytes, as :meth:`read_list` gives them."""
        prefix = int.from_bytes(digest[:8], "big")
        for index in self.locator.indexes:
            found = index.find(digest, prefix)
            if found is not None:
                offset, stored, check, number, place = found
                file = self.files.raw.get(place)
                header = self._headers.get(number)
                if file is None or header is None or not file.has(offset + stored):
                    break
                blob: Blob
                if header.kind == NDARRAY:
                    blob = file.bytes[offset : offset + stored].copy()
                else:
                    blob = file.map[offset : offset + stored]
                if xxh3_64_intdigest(blob, number) == check:  # type: ignore[arg-type]
                    return header, blob
                break
        return self.read_list([digest])[0]

    # ------------------------------------------------------------------ how

    def _twice(self, read: Callable[[], _T], digests: npt.NDArray[np.uint8]) -> _T:
        """What ``read`` gives; where a location proves wrong, everything is looked up again, once."""
        try:
            return read()
        except (CorruptionError, PathNotFoundError):
            self.refresh()
        try:
            return read()
        except (CorruptionError, PathNotFoundError) as error:
            self._name_damage(digests, error)
            raise CorruptionError(str(error)) from error

    def _name_damage(self, digests: npt.NDArray[np.uint8], error: Exception) -> None:
        """Raise an error that names the first damaged one of ``digests``, and its file."""
        for at in range(len(digests)):
            one = digests[at : at + 1]
            words = self.locator.locate(one)
            try:
                self._read_list(one)
            except (CorruptionError, PathNotFoundError) as reason:
                file_id = int(words[0, _PLACE] & _FILE_MASK)
                raise CorruptionError(
                    f"blob {one.tobytes().hex()} in blob file {file_id:08x} cannot be read: {reason}"
                ) from error

    def _by_file(self, words: Words) -> Iterator[tuple[int, npt.NDArray[np.intp] | slice]]:
        """Ids of the files that locations lie in, each with the positions of those locations."""
        files = words[:, _PLACE] & _FILE_MASK
        first = files[0]
        if (files == first).all():
            yield int(first), slice(None)
            return
        order = np.argsort(files, kind="stable")
        cuts = np.flatnonzero(np.diff(files[order])) + 1
        for part in np.split(order, cuts):
            yield int(files[part[0]]), part

    def _read_rows(self, digests: npt.NDArray[np.uint8], header: Header, nbytes: int, out: Rows | None) -> Rows:
        words = self.locator.locate(digests)
        for file_id, part in self._by_file(words):
            if isinstance(part, slice):
                return self._rows_of_file(file_id, digests, words, header, nbytes, out)
            if out is None:
                out = np.empty((len(words), nbytes), np.uint8)
            out[part] = self._rows_of_file(file_id, digests[part], words[part], header, nbytes, None)
        assert out is not None
        return out

    def _rows_of_file(
        self, file_id: int, digests: npt.NDArray[np.uint8], words: Words, header: Header, nbytes: int, out: Rows | None
    ) -> Rows:
        if file_id == IN_MEMORY:
            return self._rows_in_memory(digests, header, nbytes, out)
        right = words[:, _HEADER] == header.seed
        if not right.all():
            raise CorruptionError(f"blob {digests[np.argmin(right)].tobytes().hex()} is not what its column holds")
        file, backend = self.files.get(file_id)
        if backend.capabilities.raw:
            # Codec and row are zero, so the stored length fills its word.
            if not (words[:, _STORED] == nbytes).all():
                raise CorruptionError(f"the blob does not have the {nbytes} bytes that its header says")
            offsets = words[:, _OFFSET]
            file.need_all(offsets, words[:, _STORED])
            rows, sums = gather_rows(file, offsets, nbytes, out, header.seed)
        else:
            rows = np.empty((len(words), nbytes), np.uint8) if out is None else out
            backend.read_rows(file, Locations(words), header, rows)
            sums = checksums(rows, header.seed)
        if not (sums == words[:, _CHECK]).all():
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return rows

    def _rows_in_memory(self, digests: npt.NDArray[np.uint8], header: Header, nbytes: int, out: Rows | None) -> Rows:
        rows = np.empty((len(digests), nbytes), np.uint8) if out is None else out
        for index, (found, blob) in enumerate(self._list_in_memory(digests)):
            if found != header or len(blob) != nbytes:
                raise CorruptionError("the blob has a header that its column does not have")
            rows[index] = np.frombuffer(blob, np.uint8)
        return rows

    def _list_in_memory(self, digests: npt.NDArray[np.uint8]) -> list[tuple[Header, Blob]]:
        blobs: list[tuple[Header, Blob]] = []
        for digest in digest_list(digests):
            held = self.locator.pending.buffers.get(digest)
            if held is None:
                raise CorruptionError("the blob was moved while it was read")
            fresh: Blob = np.frombuffer(held.data, np.uint8).copy() if held.header.kind == NDARRAY else held.data
            blobs.append((held.header, fresh))
        return blobs

    def _read_list(self, digests: npt.NDArray[np.uint8]) -> list[tuple[Header, Blob]]:
        words = self.locator.locate(digests)
        blobs: dict[int, tuple[Header, Blob]] = {}
        for file_id, part in self._by_file(words):
            if isinstance(part, slice):
                return self._list_of_file(file_id, digests, words)
            found = self._list_of_file(file_id, digests[part], words[part])
            blobs.update(zip(part.tolist(), found, strict=True))
        return list(map(blobs.__getitem__, range(len(words))))

    def _list_of_file(self, file_id: int, digests: npt.NDArray[np.uint8], words: Words) -> list[tuple[Header, Blob]]:
        if file_id == IN_MEMORY:
            return self._list_in_memory(digests)
        numbers: list[int] = words[:, _HEADER].tolist()
        try:
            headers = list(map(self._headers.__getitem__, numbers))
        except KeyError:
            headers = list(map(self.header, numbers))
        file, backend = self.files.get(file_id)
        if backend.capabilities.raw:
            lengths = words[:, _STORED]
            if int(lengths.max()) > LENGTH_MASK:
                raise CorruptionError(f"a location in {file.path} names a codec, and nothing there is encoded")
            file.need_all(words[:, _OFFSET], lengths)
            kinds = {header.kind for header in set(headers)}
            blobs, sums = gather_list(file, words[:, _OFFSET], lengths, kinds, words[:, _HEADER])
        else:
            blobs = backend.read_list(file, Locations(words), headers)
            sums = [checksum(blob, number) for blob, number in zip(blobs, numbers, strict=True)]  # type: ignore[arg-type]
        if sums != words[:, _CHECK].tolist():
            raise CorruptionError(f"its checksum does not match in {file.path}")
        return list(zip(headers, blobs, strict=True))


def _checked_digests(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if digests.dtype != np.uint8 or digests.ndim != 2 or digests.shape[1] != DIGEST_BYTES:
        raise InvalidInputError(
            f"digests are a uint8 array of shape (n, {DIGEST_BYTES}), not {digests.dtype} {digests.shape}"
        )
    return np.ascontiguousarray(digests)
