"""Blob store: reads blobs by digest, in batches, and verifies every byte.

A read returns the content that its digest names, or raises ``CorruptionError``: the location must have the right header
and be within the file, and the checksum of the copy must match. If one of these checks fails, all caches are dropped
and the blob is looked up once more, because it may have been moved. For a blob without a location there is no second
look-up; :meth:`BlobStore.locate` returns a mask of them. Results are in new memory. Several threads, and a forked
child, may read. ``writer`` writes blobs; its unpublished blobs are readable here, in its own process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from hangar.backends.base import Blob, Rows
from hangar.backends.location import (
    FILE_MASK,
    FILE_ROW,
    HEADER,
    LOCATION_WORDS,
    Words,
)
from hangar.blobs.absence import explain_absence
from hangar.blobs.asked import AskedRows, Resolve
from hangar.blobs.index import Digests, Mask, Positions, Sought
from hangar.blobs.locator import Located
from hangar.blobs.promises import Promises
from hangar.blobs.reader import STALE, BlobReader
from hangar.db import Database
from hangar.db.epoch import raise_if_collected
from hangar.digest import DIGEST_BYTES, Header, digest_array
from hangar.errors import CorruptionError, InvalidInputError, NotLocalError, PurgedError

__all__ = ["BlobStore"]

_T = TypeVar("_T")


class BlobStore(BlobReader):
    """Blobs of one repository, by digest.

    Parameters
    ----------
    db
        Its database.
    directory
        Its ``.hangar``.

    Attributes
    ----------
    promises
        Which blobs without a location a remote has.
    """

    def __init__(self, db: Database, directory: Path) -> None:
        super().__init__(db, directory)
        self.promises = Promises(db, self.known)

    def close(self) -> None:
        """Close all files. They are opened again when the store is used again."""
        self.refresh()

    def refresh(self) -> None:
        """Drop the caches of locations and open files."""
        self.locator.forget()
        self.files.clear()

    # ------------------------------------------------------------------ looking up

    def locate(self, digests: Digests) -> Located:
        """Look up the locations of blobs; the result also has the positions of blobs without one.

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order, repeated or not.
        """
        if not len(digests):
            return Located(np.empty((0, LOCATION_WORDS), np.uint64), np.empty(0, np.intp))
        return self.locator.locate(Sought.of(_checked_digests(digests)))

    def known(self, digests: Digests) -> Mask:
        """Mask of the blobs that are stored in a file. Blobs that are only in the memory of a writer do not count.

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
        """Error for a blob that has no location and that no remote promised.

        Raises
        ------
        RepositoryNotFoundError
            The repository was moved or removed since it was opened.
        RevisionNotFoundError
            Blobs were removed by garbage collection since it was opened.
        """
        self.db.require_in_place()
        with self.db.read() as transaction:
            raise_if_collected(self.db, transaction, f"blob {digest.hex()}")
        return CorruptionError(
            f"blob {digest.hex()} is not in this repository, and no remote is known to have it"
            + "".join(f"; {reason}" for reason in self.locator.damage())
            + ": run `hangar fsck --data` to see what is affected"
        )

    def shared_header(self, digests: Digests) -> Header | None:
        """The common header of ``digests``; None if they have several, or a blob is not in a file."""
        header_ids = self.locate(digests).words[:, HEADER]
        if not len(header_ids) or (header_ids != header_ids[0]).any() or not header_ids[0]:
            return None
        return self.header(int(header_ids[0]))

    # ------------------------------------------------------------------ reading

    def read_rows(
        self,
        digests: Digests,
        header: Header,
        nbytes: int,
        out: Rows | None = None,
        *,
        resolve: Resolve | None = None,
    ) -> Rows:
        """Read blobs of one header, stacked into one array.

        Parameters
        ----------
        digests
            uint8, shape (n, 32), in any order, repeated or not.
        header
            Header of all of them.
        nbytes
            Size of each.
        out
            uint8, shape (n, nbytes), C order, to read into; None: new memory.
        resolve
            Called with the digests of blobs that are not here, before an error is raised for them.

        Returns
        -------
        numpy.ndarray
            uint8, shape (n, nbytes): ``out``, or new memory.

        Raises
        ------
        NotLocalError
            A blob is not here, and a remote has promised it.
        CorruptionError
            A blob is missing, damaged, or has another header; the message names digest and file.
        PurgedError
            A blob was purged; the message names its sample.
        """
        digests = _checked_digests(digests)
        count = digests.shape[0]
        if out is not None and (out.shape != (count, nbytes) or out.dtype != np.uint8 or not out.flags.carray):
            raise InvalidInputError(f"`out` must be a writable uint8 array in C order of shape {(count, nbytes)}")
        if not count:
            return np.empty((0, nbytes), np.uint8) if out is None else out
        asked = None if resolve is None else AskedRows(header, nbytes)
        words, missing = self._locate_all(digests, resolve, asked)
        if asked is not None and missing.size:
            return self._with_asked(asked, missing, digests, out, resolve)
        try:
            return self.read_rows_at(words, header, nbytes, out, digests=digests)
        except STALE:
            return self._again(
                lambda words: self.read_rows_at(words, header, nbytes, out, digests=digests), digests, resolve
            )

    def _with_asked(
        self, asked: AskedRows, missing: Positions, digests: Digests, out: Rows | None, resolve: Resolve | None
    ) -> Rows:
        """The rows of a batch, of which those at ``missing`` were handed over."""
        if out is None:
            out = np.empty((len(digests), asked.nbytes), np.uint8)
        asked.put_into(out, missing)
        if len(missing) < len(digests):
            here = np.delete(np.arange(len(digests)), missing)
            out[here] = self.read_rows(digests[here], asked.header, asked.nbytes, resolve=resolve)
        return out

    def read_list(self, digests: Sequence[bytes], *, resolve: Resolve | None = None) -> list[tuple[Header, Blob]]:
        """Read blobs of any headers, in the order of ``digests``: header and logical bytes of each.

        Parameters
        ----------
        resolve
            As in :meth:`read_rows`.

        Returns
        -------
        list
            Header and logical bytes: a new uint8 array for an ndarray, ``bytes`` for a str or bytes value.

        Raises
        ------
        NotLocalError
            A blob is not here, and a remote has promised it.
        CorruptionError
            A blob is missing or damaged; the message names digest and file.
        PurgedError
            A blob was purged; the message names its sample.
        """
        if not digests:
            return []
        if not set(map(len, digests)) <= {DIGEST_BYTES}:
            raise InvalidInputError(f"a digest has {DIGEST_BYTES} bytes")
        array = digest_array(digests)
        words = self._locate_all(array, resolve).words
        try:
            return self.read_list_at(words, digests=array)
        except STALE:
            return self._again(lambda words: self.read_list_at(words, digests=array), array, resolve)

    def read_one(self, digest: bytes, *, resolve: Resolve | None = None) -> tuple[Header, Blob]:
        """Read one blob: header and logical bytes, as in :meth:`read_list`."""
        found = self.locator.locate_one(digest)
        if found is not None:
            header = self._headers.get(found[HEADER])
            blob = None if header is None else self.read_at(found, header)
            if header is not None and blob is not None:
                return header, blob
        # The general path, which also raises the errors.
        return self.read_list([digest], resolve=resolve)[0]

    def fetch(self, digests: Digests, resolve: Resolve) -> int:
        """Have the blobs fetched that are not here, so that reads find them. Those that nobody has are left to the reads.

        Returns
        -------
        int
            Bytes that were fetched.
        """
        if not len(digests) or not self.promises.possible():
            return 0
        missing = self.locate(digests).missing
        return resolve(digests[missing]) if missing.size else 0

    # ------------------------------------------------------------------ where a read failed

    def _locate_all(self, digests: Digests, resolve: Resolve | None = None, asked: AskedRows | None = None) -> Located:
        """Locations of blobs; raises if a blob has none, also after ``resolve`` was called for it.

        If it handed over all that were missing, they are still missing in the result.
        """
        located = self.locator.locate(Sought.of(digests))
        missing = located.missing
        if missing.size and resolve is not None and self.promises.possible():
            resolve(digests[missing], asked=asked)
            if asked is not None and asked.count == missing.size:
                return located
            located = self.locator.locate(Sought.of(digests))
        if located.missing.size:
            raise self.absent(digests[located.missing])
        return located

    def absent(self, digests: Digests) -> CorruptionError | PurgedError | NotLocalError:
        """Error for blobs without a location: they are lost, or a remote has promised them, or they were purged."""
        self.db.require_in_place()
        explained = explain_absence(self.db, self.promises, digests)
        return self.lost(explained) if isinstance(explained, bytes) else explained

    def _again(self, read: Callable[[Words], _T], digests: Digests, resolve: Resolve | None) -> _T:
        """Read again, after dropping all caches and looking up the locations again: the data may have been moved, or evicted."""
        self.db.require_in_place()
        self.refresh()
        words = self._locate_all(digests, resolve).words
        try:
            return read(words)
        except STALE as error:
            self._name_damage(digests, words, error)
            raise CorruptionError(str(error)) from error

    def _name_damage(self, digests: Digests, words: Words, error: Exception) -> None:
        """Raise an error that names the first damaged blob of ``digests`` and its file."""
        for at in range(len(digests)):
            try:
                self.read_list_at(words[at : at + 1], digests=digests[at : at + 1])
            except STALE as reason:
                file_id = int(words[at, FILE_ROW] & FILE_MASK)
                raise CorruptionError(
                    f"blob {digests[at].tobytes().hex()} in blob file {file_id:08x} cannot be read: {reason}"
                ) from error


def _checked_digests(digests: Digests) -> Digests:
    if digests.dtype != np.uint8 or digests.ndim != 2 or digests.shape[1] != DIGEST_BYTES:
        raise InvalidInputError(f"digests are a uint8 array (n, {DIGEST_BYTES}), not {digests.dtype} {digests.shape}")
    return digests if digests.flags.c_contiguous else np.ascontiguousarray(digests)
