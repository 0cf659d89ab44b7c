"""Moves blobs to another backend, or to other options of the same one: read, verify, write, read back, publish.

A blob has a valid location at all times: the old one until the transaction that records the new one, and both after it.
Old bytes are not changed; when no location names their file any more, ``release`` removes the file. Moved blobs are not
moved again, so an interrupted conversion can be continued. Memory use is bounded by the batch size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from hangar.backends.base import Options
from hangar.backends.location import FILE_MASK, FILE_ROW, HEADER, OFFSET, Locations, Words
from hangar.blobs.index import Digests, Mask, Positions
from hangar.blobs.intact import logical_size, logical_sizes
from hangar.blobs.store import BlobStore
from hangar.blobs.tombstones import find_tombstones
from hangar.blobs.writer import BlobWriter
from hangar.digest import NDARRAY, Header, blob_digest, blob_digests, digest_list
from hangar.errors import CorruptionError, PathNotFoundError, StorageError
from hangar.lock import WriterLock
from hangar.publishing import publish

__all__ = ["Mover"]

_BATCH_BYTES: Final = 32 * 2**20
"""Logical bytes of a batch."""
_PUBLISH_BYTES: Final = 64 * 2**20
"""Moved bytes after which a publish follows. An interrupt loses at most this much work."""


class Mover:
    """Moves blobs of one repository to one backend.

    Parameters
    ----------
    lock
        The writer lock, held by the caller.
    writer
        Blob writer of the lock's holder, with ``own_files``.
    options
        Options of the backend, as its ``check_options`` returned them.

    Attributes
    ----------
    moved, nbytes
        Number of blobs that were moved and published, and their logical bytes.
    damaged
        Blobs that cannot be read, with the reason; they are not moved.
    """

    def __init__(self, store: BlobStore, lock: WriterLock, writer: BlobWriter, tag: str, options: Options) -> None:
        self._store = store
        self._lock = lock
        self._writer = writer
        self._tag = tag
        self._options = options
        self._waiting = 0
        self._waiting_bytes = 0
        self.moved = 0
        self.nbytes = 0
        self.damaged: dict[bytes, str] = {}

    def move(self, digests: Digests, advance: Callable[[int], object]) -> None:
        """Move the blobs that are not stored by the backend with its options.

        Parameters
        ----------
        digests
            uint8, shape (n, 32), n at least one, without duplicates.
        advance
            Called with the number of blobs that were handled.

        Raises
        ------
        DiskFullError, StorageError
            Nothing stored is lost. Published blobs stay moved.
        """
        digests = self._present(digests)
        places = self._store.locate(digests).words
        wanted = np.flatnonzero(self._elsewhere(places))
        advance(len(digests) - len(wanted))
        self.move_at(digests, places, wanted, advance)

    def move_at(self, digests: Digests, places: Words, wanted: Positions, advance: Callable[[int], object]) -> None:
        """Move the blobs at the positions ``wanted``, wherever they are stored; see :meth:`move`.

        Parameters
        ----------
        places
            Their newest locations, shape (n, 5).
        """
        for part in self._batches(places, wanted):
            self._move(digests[part], places[part])
            if self._waiting_bytes >= _PUBLISH_BYTES:
                self.publish()
            advance(len(part))

    def publish(self) -> None:
        """Publish the new locations."""
        if not self._waiting:
            return
        publish(self._store.db, self._lock, self._writer)
        self.moved += self._waiting
        self.nbytes += self._waiting_bytes
        self._waiting = self._waiting_bytes = 0

    # ------------------------------------------------------------------ selecting

    def _present(self, digests: Digests) -> Digests:
        known = self._store.known(digests)
        gone = digests[~known]
        if len(gone) and self._store.promises.possible():
            gone = gone[~self._store.promises.promised(gone)]
        absent = digest_list(gone)
        if absent:
            with self._store.db.read() as transaction:
                purged = find_tombstones(transaction, absent)
            lost = [digest for digest in absent if digest not in purged]
            self.damaged.update(dict.fromkeys(lost, "it has no location in this repository"))
        return digests if known.all() else np.ascontiguousarray(digests[known])

    def _elsewhere(self, places: Words) -> Mask:
        """Mask of the locations that are not of the backend with its options."""
        elsewhere = np.ones(len(places), np.bool_)
        files = places[:, FILE_ROW] & FILE_MASK
        for file_id in np.unique(files).tolist():
            if self._store.files.tag(file_id) == self._tag:
                here = np.flatnonzero(files == file_id)
                with contextlib.suppress(CorruptionError, PathNotFoundError):  # which shows when they are read
                    file, backend = self._store.files.get(file_id)
                    elsewhere[here] = ~backend.stored_as(file, Locations(places[here]), self._options)
        return elsewhere

    def _batches(self, places: Words, wanted: Positions) -> Iterator[Positions]:
        """Split positions into batches of bounded size, sorted by offset on disk."""
        if not wanted.size:
            return
        order = wanted[
            np.lexsort((places[wanted, FILE_ROW], places[wanted, OFFSET], places[wanted, FILE_ROW] & FILE_MASK))
        ]
        part_of = np.cumsum(logical_sizes(self._store, places[order])) // _BATCH_BYTES
        yield from np.split(order, np.flatnonzero(np.diff(part_of)) + 1)

    # ------------------------------------------------------------------ moving

    def _move(self, digests: Digests, places: Words) -> None:
        """Move one batch. Damaged blobs are found by bisection and skipped."""
        header_ids = np.unique(places[:, HEADER])
        header = self._store.header(int(header_ids[0]))
        try:
            if len(header_ids) == 1 and header.kind == NDARRAY:
                self._move_rows(digests, header)
            else:
                self._move_list(digests)
        except CorruptionError as error:
            if len(digests) == 1:
                self.damaged[digests[0].tobytes()] = str(error)
                return
            half = len(digests) // 2
            self._move(digests[:half], places[:half])
            self._move(digests[half:], places[half:])

    def _move_rows(self, digests: Digests, header: Header) -> None:
        nbytes = logical_size(header)
        rows = self._store.read_rows(digests, header, nbytes)
        if not np.array_equal(blob_digests(header, rows), digests):
            raise CorruptionError("its content is not what the digest names")
        self._writer.add_rows(self._tag, header, rows, digests, self._options, again=True)
        self._read_back(lambda: self._store.read_rows(digests, header, nbytes, rows))
        self._count(len(rows), rows.nbytes)

    def _move_list(self, digests: Digests) -> None:
        names: list[bytes] = [*digest_list(digests)]
        blobs = self._store.read_list(names)
        if [blob_digest(header, blob) for header, blob in blobs] != names:  # type: ignore[arg-type]
            raise CorruptionError("its content is not what the digest names")
        headers = [header for header, _ in blobs]
        buffers = [blob for _, blob in blobs]
        self._writer.add_list(self._tag, headers, buffers, names, self._options, again=True)  # type: ignore[arg-type]
        nbytes = sum(map(len, buffers))
        del blobs, buffers
        self._read_back(lambda: self._store.read_list(names))
        self._count(len(names), nbytes)

    def _read_back(self, read: Callable[[], object]) -> None:
        """Re-read and verify the new copy before the old one is dropped."""
        try:
            read()
        except CorruptionError as error:
            raise StorageError(
                f"backend {self._tag!r} does not return the bytes that were written to it; nothing more is moved: {error}"
            ) from error

    def _count(self, count: int, nbytes: int) -> None:
        self._waiting += count
        self._waiting_bytes += nbytes
