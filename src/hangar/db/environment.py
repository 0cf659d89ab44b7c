"""``Database``: how the rest of Hangar reads and writes the bookkeeping of a repository.

It promises that a read sees one state, whole; that an update is all or nothing and, once it returns, on disk; and that maps grow,
forks and other processes are nobody else's concern. It knows nothing of what the tables hold.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import lmdb

from hangar import _fs, limits
from hangar.db import registry
from hangar.db.failures import translate
from hangar.db.format import FILE_NAME, FORMAT_VERSION, VERSION_KEY, check_format
from hangar.db.handle import Handle
from hangar.db.network import FORCE_NETWORK, network_file_system
from hangar.db.opening import DATA_FILE, DATABASE_LOCK, LOCK_FILE, file_identity
from hangar.db.structure import check_pages
from hangar.db.tables import COMMITS, META, REFS, STAGING, Table
from hangar.db.transaction import FullMapError, ReadTransaction, WriteTransaction
from hangar.errors import (
    AccessError,
    ClosedError,
    CorruptionError,
    InvalidStateError,
    LockedError,
    RepositoryExistsError,
    RepositoryNotFoundError,
)

__all__ = ["DATABASE_DIRECTORY", "Database", "database_path"]

T = TypeVar("T")

DATABASE_DIRECTORY: Final = "db"
_LEFTOVER_BYTES: Final = 2**20
"""A database that an interrupted ``create`` left is smaller than this."""

_COMMIT_BEFORE = _fs.register_point("db.commit.before")
_COMMIT_AFTER = _fs.register_point("db.commit.after")
_CREATE_BEFORE = _fs.register_point("db.create.before")
_CREATE_AFTER = _fs.register_point("db.create.after")


class Database:
    """The database of one repository. Threads may share it; a forked child may go on using it.

    Attributes
    ----------
    directory : Path
        The ``.hangar`` directory.
    readonly : bool
        Whether ``update`` is refused: it was asked for, or this user cannot write there.
    """

    def __init__(self, directory: Path, handle: Handle, readonly: bool, network: str | None = None) -> None:
        self.directory = directory
        self.readonly = readonly
        self._handle: Handle | None = handle
        self._reason = (
            f": it lies on a network file system ({network}), where locks cannot be trusted; "
            f"set {FORCE_NETWORK}=1 to write all the same"
            if network
            else ""
        )

    @classmethod
    def open(cls, directory: Path, *, readonly: bool = False) -> Database:
        """Open the database of the repository whose ``.hangar`` is ``directory``.

        Where this user cannot write it is opened read-only, without locks (and with a ``RuntimeWarning``) if need be.

        Raises
        ------
        RepositoryNotFoundError, UnsupportedVersionError
            See ``check_format``; nothing was opened.
        CorruptionError
            The database is missing, cut short or no database.
        """
        check_format(directory)
        path = database_path(directory)
        if not _fs.exists(path / DATA_FILE):
            raise CorruptionError(
                f"{path / DATA_FILE} is missing: restore it from a copy, or clone the repository again"
            )
        writable = os.access(path / DATA_FILE, os.W_OK) and os.access(path, os.W_OK)
        network = network_file_system(path)
        if os.environ.get(FORCE_NETWORK) == "1":
            network = None
        handle = None
        try:
            handle = registry.acquire(path)
            return cls(directory, handle, readonly or not writable or network is not None, network)
        except BaseException:
            if handle is not None:
                registry.release(handle)
            raise

    @classmethod
    def create(cls, directory: Path, *, map_size: int = limits.DATABASE_INITIAL_BYTES) -> Database:
        """Make an empty, durable database in ``directory``, which exists; what an interrupted ``create`` left is made good.

        Raises
        ------
        RepositoryExistsError
            The repository in ``directory`` is initialized.
        LockedError
            Another process has the database open.
        """
        if (directory / FILE_NAME).exists():
            raise RepositoryExistsError(f"there is a repository in {directory}")
        _fs.crash_point(_CREATE_BEFORE)
        path = database_path(directory)
        _fs.make_directory(path)
        lock = _exclusive(directory / DATABASE_LOCK)
        try:
            _clear_leftover(path)
        finally:
            os.close(lock)
        handle = registry.acquire(path, create_size=map_size)
        db = cls(directory, handle, readonly=False)
        db.update(lambda transaction: transaction.put(META, VERSION_KEY, str(FORMAT_VERSION).encode()))
        # What was made in `directory` itself is synced with the format file, without which there is no repository.
        _fs.sync_directory(path)
        _fs.crash_point(_CREATE_AFTER)
        return db

    def close(self) -> None:
        """Give the database up; what was begun elsewhere in this process goes on."""
        handle, self._handle = self._handle, None
        if handle is not None:
            registry.release(handle)

    def read(self) -> ReadTransaction:
        """One state of the database, as a context manager.

        For the time of one call: ``update`` is refused on the same thread inside it, and waits for other threads where the
        map must grow.
        """
        if self._handle is None:
            self._closed()
        return ReadTransaction(self._handle)

    def update(self, function: Callable[[WriteTransaction], T]) -> T:
        """Run ``function`` in a writing transaction, commit durably and return its result.

        Updates are serialised, over all processes. When ``function`` raises, nothing is changed. It may be run more than once
        (a full map is doubled and it starts over): what it keeps outside of the transaction must bear that.

        Raises
        ------
        AccessError
            The database is read-only.
        RepositoryNotFoundError
            The repository was moved, removed or replaced since it was opened.
        DiskFullError
            Nothing was changed.
        """
        handle = self._handle
        if handle is None:
            self._closed()
        self.require_writable()
        nested = handle.is_writing()
        with handle.writing:
            if nested or handle.is_reading():
                raise InvalidStateError("the database cannot be written inside another transaction of the same thread")
            handle.drop_leftover()
            # What is committed to a database that nobody will open again is lost.
            self.require_in_place()
            while True:
                with contextlib.suppress(FullMapError):
                    return self._try_update(handle, function)
                handle.grow()

    def _try_update(self, handle: Handle, function: Callable[[WriteTransaction], T]) -> T:
        try:
            # All of it inside: an interrupt must not leave LMDB's writer lock behind.
            transaction = handle.writer = WriteTransaction(handle)
            transaction.begin()
            result = function(transaction)
            transaction.finish()
            if transaction.full:
                raise FullMapError
            _fs.crash_point(_COMMIT_BEFORE)
            self._commit(handle, transaction)
        except BaseException as error:
            begun = handle.writer
            if begun is not None:
                begun.abandon()
            if handle.failed:
                handle.renew()
            if begun is not None and begun.full and isinstance(error, Exception):
                # Whatever the function made of it.
                raise FullMapError from error
            raise
        finally:
            handle.writer = None
        _fs.report_file_sync(handle.path / DATA_FILE)
        _fs.crash_point(_COMMIT_AFTER)
        return result

    def _commit(self, handle: Handle, transaction: WriteTransaction) -> None:
        try:
            transaction.commit()
        except lmdb.MapFullError as error:
            raise FullMapError from error
        except lmdb.Error as error:
            handle.failed = True
            raise translate(error, handle.path) from error

    def require_in_place(self) -> None:
        """Make sure that what was opened is still what lies under its name.

        Raises
        ------
        RepositoryNotFoundError
            The repository was moved, removed or replaced since.
        """
        if self._handle is None:
            self._closed()
        self._handle.current()
        path = database_path(self.directory)
        try:
            found = file_identity(path)
        except (FileNotFoundError, NotADirectoryError):
            raise RepositoryNotFoundError(
                f"the repository in {self.directory} was moved or removed since it was opened: open it again where it is now"
            ) from None
        except OSError as error:
            _fs.raise_for(error, "look at", path)
        if found != self._handle.identity:
            raise RepositoryNotFoundError(
                f"the database in {path} was replaced by another since it was opened, as when a copy is restored: open the "
                "repository again"
            )

    def require_writable(self) -> None:
        """Raise AccessError where the database is read-only, with the reason."""
        if self.readonly:
            raise AccessError(f"the repository in {self.directory} is read-only{self._reason}")

    def page_problems(self, table: Table | None = None) -> list[str]:
        """What is wrong with the pages that LMDB keeps the tables, or one table, in: one line a table.

        While anything is, reading may end the process, and writing destroy what is sound.
        """
        while True:
            with self.read() as transaction:
                data = database_path(self.directory) / DATA_FILE
                problems = check_pages(data, transaction.number(), "" if table is None else table.name)
            if problems is not None:
                return problems

    def size_bytes(self) -> int:
        """Bytes of the data file."""
        try:
            return (database_path(self.directory) / DATA_FILE).stat().st_size
        except OSError as error:
            _fs.raise_for(error, "measure", self.directory)

    def _closed(self) -> NoReturn:
        raise ClosedError(f"the database in {self.directory} was closed: open the repository again")


def database_path(directory: Path) -> Path:
    """LMDB's directory in the repository whose ``.hangar`` is ``directory``, resolved."""
    return Path(os.path.realpath(directory)) / DATABASE_DIRECTORY


def _exclusive(path: Path) -> int:
    """A descriptor of ``db.lock``, made if need be, held alone."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        _fs.raise_for(error, "create", path)
    if not _fs.try_lock(descriptor, shared=False):
        os.close(descriptor)
        raise LockedError(f"another process is making a repository in {path.parent}: wait for it, or look what it made")
    return descriptor


def _clear_leftover(path: Path) -> None:
    """Remove the database that an interrupted ``create`` left, if it cannot be used; never one with anything in it."""
    data = path / DATA_FILE
    if not data.exists():
        return
    try:
        with lmdb.open(os.fsencode(path), readonly=True, lock=False, max_dbs=limits.DATABASE_MAX_TABLES) as environment:
            for table in (COMMITS, REFS, STAGING):
                with contextlib.suppress(lmdb.NotFoundError), environment.begin() as transaction:
                    if transaction.stat(environment.open_db(table.name.encode(), transaction, create=False))["entries"]:
                        raise CorruptionError(
                            f"{data} holds a repository, and its format file is missing: restore the file"
                        )
    except lmdb.Error as error:
        if data.stat().st_size > _LEFTOVER_BYTES:
            raise CorruptionError(f"{data} is damaged, and no leftover of `hangar init`: move it away") from error
        data.unlink()
        (path / LOCK_FILE).unlink(missing_ok=True)
