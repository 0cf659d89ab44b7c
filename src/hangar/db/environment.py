"""``Database``: the interface to the metadata database of a repository.

Every read sees one consistent snapshot. An update is atomic, and durable when it returns. Growth of the memory map,
forks and other processes are handled here. The content of the tables is defined elsewhere.
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
"""An unfinished database of an interrupted ``create`` is smaller than this."""

_COMMIT_BEFORE = _fs.register_point("db.commit.before")
_COMMIT_AFTER = _fs.register_point("db.commit.after")
_CREATE_BEFORE = _fs.register_point("db.create.before")
_CREATE_AFTER = _fs.register_point("db.create.after")


class Database:
    """The database of one repository. Threads may share it, and a forked child may continue to use it.

    Attributes
    ----------
    directory : Path
        The ``.hangar`` directory.
    opened_epoch : int or None
        The gc epoch when the repository was opened, to tell removed data from lost data; None: not known.
    readonly : bool
        Whether ``update`` is refused, because it was requested or because this user has no write permission.
    """

    def __init__(self, directory: Path, handle: Handle, readonly: bool, network: str | None = None) -> None:
        self.directory = directory
        self.readonly = readonly
        self.opened_epoch: int | None = None
        self._handle: Handle | None = handle
        self._path = directory / DATABASE_DIRECTORY
        self._reason = (
            f": it is on a network file system ({network}), where locks are not reliable; "
            f"set {FORCE_NETWORK}=1 to write nevertheless"
            if network
            else ""
        )

    @classmethod
    def open(cls, directory: Path, *, readonly: bool = False, lenient: bool = False) -> Database:
        """Open the database of the repository whose ``.hangar`` is ``directory``.

        Without write permission it is opened read-only, and if it cannot be locked, without locks and with a
        ``RuntimeWarning``. With ``lenient``, a lost or damaged format file is no obstacle, for fsck.

        Raises
        ------
        RepositoryNotFoundError, UnsupportedVersionError
            See ``check_format``; nothing was opened.
        CorruptionError
            The database is missing, truncated or not a database.
        """
        check_format(directory, lenient=lenient)
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
        """Create an empty, durable database in the existing ``directory``; replaces leftovers of an interrupted call.

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
        # New entries of `directory` itself are synced later, together with the format file that makes it a repository.
        _fs.sync_directory(path)
        _fs.crash_point(_CREATE_AFTER)
        return db

    def close(self) -> None:
        """Close this object. Other users of the database in this process are not affected."""
        handle, self._handle = self._handle, None
        if handle is not None:
            registry.release(handle)

    def read(self) -> ReadTransaction:
        """A read transaction (one snapshot of the database), as a context manager.

        Keep it short: inside it, ``update`` is refused on the same thread, and the map cannot grow for other threads.
        """
        if self._handle is None:
            self._closed()
        return ReadTransaction(self._handle)

    def update(self, function: Callable[[WriteTransaction], T]) -> T:
        """Run ``function`` in a write transaction, commit durably and return its result.

        Updates are serialized across all processes. If ``function`` raises, nothing is changed. It may run more than
        once (when the map is full, it is doubled and the update restarts), so its side effects outside the
        transaction must be repeatable.

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
            # A commit to a file that was moved or replaced would be lost.
            self.require_in_place()
            while True:
                with contextlib.suppress(FullMapError):
                    return self._try_update(handle, function)
                handle.grow()

    def _try_update(self, handle: Handle, function: Callable[[WriteTransaction], T]) -> T:
        try:
            # Everything is inside the try, so that an interrupt cannot leave LMDB's writer lock taken.
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
                # Even if the function caught the error.
                raise FullMapError from error
            raise
        finally:
            handle.writer = None
        _fs.report_file_sync(handle.data_file)
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
        """Check that the path still leads to the file that was opened.

        Raises
        ------
        RepositoryNotFoundError
            The repository was moved, removed or replaced since.
        """
        if self._handle is None:
            self._closed()
        self._handle.current()
        try:
            found = file_identity(self._path)
        except (FileNotFoundError, NotADirectoryError):
            raise RepositoryNotFoundError(
                f"the repository in {self.directory} was moved or removed since it was opened: open it again where it is now"
            ) from None
        except OSError as error:
            _fs.raise_for(error, "look at", self._path)
        if found != self._handle.identity:
            raise RepositoryNotFoundError(
                f"the database in {self._path} was replaced by another since it was opened, as when a copy is restored: open the "
                "repository again"
            )

    def require_writable(self) -> None:
        """Raise AccessError, with the reason, if the database is read-only."""
        if self.readonly:
            raise AccessError(f"the repository in {self.directory} is read-only{self._reason}")

    def page_problems(self, table: Table | None = None) -> list[str]:
        """Problems of the LMDB pages of all tables, or of one table: one line per table.

        If there are any, reading may crash the process, and writing may destroy sound data.
        """
        while True:
            with self.read() as transaction:
                data = database_path(self.directory) / DATA_FILE
                problems = check_pages(data, transaction.number(), "" if table is None else table.name)
            if problems is not None:
                return problems

    def alone(self) -> bool:
        """Whether no other process has the database open, as far as ``db.lock`` tells."""
        presence = None if self._handle is None else self._handle.presence
        if presence is None:
            return False
        alone = _fs.try_lock(presence, shared=False)
        _fs.try_lock(presence, shared=True)
        self.require_in_place()  # a failed attempt gives up the shared lock for a moment, in which others may compact
        return alone

    def free_bytes(self) -> int:
        """Bytes of the data file that no table uses. Compaction gives them back."""
        with self.read() as transaction:
            used = transaction.used_bytes()
        return max(0, self.size_bytes() - used)

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
    """Open ``db.lock``, create it if necessary, lock it exclusively, and return the descriptor."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        _fs.raise_for(error, "create", path)
    if not _fs.try_lock(descriptor, shared=False):
        os.close(descriptor)
        raise LockedError(f"another process is creating a repository in {path.parent}: wait until it has finished")
    return descriptor


def _clear_leftover(path: Path) -> None:
    """Remove the unusable database of an interrupted ``create``; a database with content is never removed."""
    data = path / DATA_FILE
    if not data.exists():
        return
    try:
        with lmdb.open(os.fsencode(path), readonly=True, lock=False, max_dbs=limits.DATABASE_MAX_TABLES) as environment:
            for table in (COMMITS, REFS, STAGING):
                with contextlib.suppress(lmdb.NotFoundError), environment.begin() as transaction:
                    if transaction.stat(environment.open_db(table.name.encode(), transaction, create=False))["entries"]:
                        raise CorruptionError(
                            f"{data} has the data of a repository, but the format file is missing: restore the file"
                        )
    except lmdb.Error as error:
        if data.stat().st_size > _LEFTOVER_BYTES:
            raise CorruptionError(f"{data} is damaged, and not a leftover of `hangar init`: move it away") from error
        data.unlink()
        (path / LOCK_FILE).unlink(missing_ok=True)
