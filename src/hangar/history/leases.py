"""Leases: protect commits and blobs that a process without the writer lock is about to use, before a ref names them.

A fetch stores blobs without the writer lock, and publishes the ref that names them at the end. Until then its lease
keeps them: a row of the table ``leases`` and a lock on the file ``leases/<token>``, which the system releases when the
process dies. The row of a dead process has no effect, and garbage collection deletes it. Readers have no leases (see
design note 037).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from hangar import _fs, forking
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import LEASES
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, HangarError, PathNotFoundError

__all__ = [
    "LEASE_DIRECTORY",
    "Lease",
    "LiveLease",
    "dead_leases",
    "live_leases",
    "remove_leases",
]

LEASE_DIRECTORY: Final = "leases"
_TOKEN_BYTES: Final = 16


class _Row(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A lease: commits that are kept, the lowest id of a blob file that the process may make, and who holds it (for people)."""

    commits: list[bytes]
    first_file: int
    pid: int
    host: str
    time_ns: int


_decode = msgspec.msgpack.Decoder(_Row).decode


@dataclass(frozen=True, slots=True)
class LiveLease:
    """A lease whose process lives.

    Attributes
    ----------
    commits
        Commits that it keeps.
    first_file
        All blobs in files of this id and above that were written without the writer lock are kept.
    holder
        The process, for people.
    """

    commits: tuple[Digest, ...]
    first_file: int
    holder: str


class Lease:
    """A lease of this process; a context manager.

    Parameters
    ----------
    db
        The database.
    commits
        Commits to keep, with all that they name.
    first_file
        Lowest id that a blob file of this process may get (``blobs.catalog.first_free_id``).

    Raises
    ------
    AccessError
        The repository is read-only.
    """

    def __init__(self, db: Database, commits: Iterable[Digest] = (), first_file: int = 0) -> None:
        self._db = db
        self._key = os.urandom(_TOKEN_BYTES)
        self._path = _path(db.directory, self._key)
        self._row = _Row(list(commits), first_file, os.getpid(), os.uname().nodename, time.time_ns())
        self._descriptor: int | None = None

    def __enter__(self) -> Lease:
        _fs.make_directory(self._path.parent)
        # Locked before there is a row: a row without a lock is that of a dead process.
        while not self._lock():
            self._release()  # garbage collection removed the file before it was locked
        try:
            row = msgspec.msgpack.encode(self._row)
            self._db.update(lambda transaction: transaction.put(LEASES, self._key, row))
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._row.pid == os.getpid():
                self._db.update(lambda transaction: transaction.delete(LEASES, self._key))
        finally:
            self._release()

    def _lock(self) -> bool:
        """Make the file and lock it; whether it is still there then."""
        self._descriptor = forking.close_in_child(_fs.create_file(self._path))
        try:
            locked = _fs.try_lock(self._descriptor, shared=True)
            return locked and os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self._row.pid == os.getpid():
            with contextlib.suppress(HangarError):
                _fs.remove_file(self._path)
            forking.close_private(descriptor)


def live_leases(db: Database, transaction: ReadTransaction) -> list[LiveLease]:
    """The leases of living processes.

    Raises
    ------
    CorruptionError
        A row cannot be read.
    """
    return [
        LiveLease(tuple(map(Digest, row.commits)), row.first_file, f"process {row.pid} on {row.host}")
        for key, row in _rows(transaction)
        if _is_held(db.directory, key)
    ]


def dead_leases(db: Database, transaction: ReadTransaction) -> list[bytes]:
    """Keys of the leases whose processes died."""
    return [key for key, _ in _rows(transaction) if not _is_held(db.directory, key)]


def remove_leases(transaction: WriteTransaction, keys: Iterable[bytes]) -> None:
    """Delete leases."""
    for key in keys:
        transaction.delete(LEASES, key)


def _rows(transaction: ReadTransaction) -> list[tuple[bytes, _Row]]:
    found = []
    for key, data in transaction.scan(LEASES):
        try:
            row = _decode(data)
        except (msgspec.DecodeError, ValueError) as error:
            raise CorruptionError(f"a row of table 'leases' cannot be read (key {key.hex()}): {error}") from None
        if len(key) != _TOKEN_BYTES or any(len(digest) != DIGEST_BYTES for digest in row.commits):
            raise CorruptionError(f"a row of table 'leases' is malformed (key {key.hex()})")
        found.append((key, row))
    return found


def _path(directory: Path, key: bytes) -> Path:
    return directory / LEASE_DIRECTORY / key.hex()


def _is_held(directory: Path, key: bytes) -> bool:
    """Whether the process that made a lease lives."""
    try:
        descriptor = _fs.open_file(_path(directory, key))
    except PathNotFoundError:
        return False
    try:
        return not _fs.try_lock(descriptor, shared=False)
    finally:
        os.close(descriptor)
