"""The LMDB handle of a database: opened once per process and file, and shared by all who use it.

LMDB allows one open environment per process and file, cannot change the size of its map under a transaction, and must not be used
across a fork. So there is one ``Handle`` for each file; what must be alone (a new map size, a fork, a close) takes the
environment away, waits for the transactions of other threads (short, by the rules of this package) and puts it back. A forked
child closes what it inherited without touching what it shares with its parent, and opens anew on first use.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lmdb

from hangar import _fs, limits
from hangar.db.failures import translate
from hangar.db.tables import TABLES
from hangar.errors import ClosedError, CorruptionError, InvalidStateError, StorageError

if TYPE_CHECKING:
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["DATABASE_LOCK", "DATA_FILE", "Handle"]

DATA_FILE: Final = "data.mdb"
DATABASE_LOCK: Final = "db.lock"
WAIT_SECONDS: Final = 60.0
"""How long a step that must be alone waits for transactions of other threads."""
FORK_WAIT_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.0005

# The first format of LMDB's data file is the one in the format specification; newer bindings bundle a second engine.
_ENGINE: Final[dict[str, Any]] = {"lib_version": 0} if int(lmdb.__version__.partition(".")[0]) >= 3 else {}


class Handle:
    """One LMDB environment, its tables and who uses it.

    Parameters
    ----------
    path
        The directory of LMDB's files.
    readonly
        Open it without the ability to write.
    """

    def __init__(self, path: Path, map_size: int, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.users = 0
        self.identity: tuple[int, int] | None = None
        self.environment: lmdb.Environment | None = None
        self.tables: list[Any] = []
        self.live: set[ReadTransaction] = set()
        self.writer: WriteTransaction | None = None
        self.failed = False
        self.writing = threading.RLock()
        self._gate = threading.RLock()
        self._taken: lmdb.Environment | None = None
        self._map_size = map_size
        self._presence: int | None = None
        self._fork: _Fork | None = None
        self._unusable = ""

    # ------------------------------------------------------------------------------------------------ open and close

    def open(self, create: bool = False) -> None:
        """Open the environment and its tables; every opener holds a shared lock that keeps compaction out."""
        if self._presence is None:
            self._presence = _join(self.path.parent / DATABASE_LOCK)
        lock = _can_lock(self.path) or create
        if not lock:
            warnings.warn(
                f"{self.path} cannot be locked: reading it while another process writes may fail",
                RuntimeWarning,
                stacklevel=2,
            )
        try:
            environment = lmdb.open(
                os.fspath(self.path),
                map_size=self._map_size,
                readonly=self.readonly,
                lock=lock,
                sync=True,
                metasync=True,
                mode=0o666,
                max_readers=limits.DATABASE_MAX_READERS,
                max_dbs=limits.DATABASE_MAX_TABLES,
                max_spare_txns=1,
                **_ENGINE,
            )
            try:
                self._check_length(environment)
                self.tables = self._open_tables(environment, create)
                if lock:
                    environment.reader_check()
            except BaseException:
                environment.close()
                raise
        except lmdb.Error as error:
            raise translate(error, self.path) from error
        except OSError as error:
            _fs.raise_for(error, "open the database in", self.path)
        self.identity = file_identity(self.path)
        self.environment = environment

    def _check_length(self, environment: lmdb.Environment) -> None:
        # A page that the map shows and the file does not have would end the process with SIGBUS.
        needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        size = (self.path / DATA_FILE).stat().st_size
        if size < needed:
            raise CorruptionError(
                f"{self.path / DATA_FILE} has {size} bytes and needs {needed}: it was cut short. Restore it from a copy or a remote"
            )

    def _open_tables(self, environment: lmdb.Environment, create: bool) -> list[Any]:
        try:
            if self.readonly:
                return [environment.open_db(table.name.encode(), create=False) for table in TABLES]
            # One transaction: LMDB keeps the table handles of writing transactions only.
            with environment.begin(write=True) as transaction:
                tables = [environment.open_db(table.name.encode(), transaction, create=create) for table in TABLES]
        except lmdb.NotFoundError as error:
            raise CorruptionError(f"the database in {self.path} lacks a table ({error}): run `hangar fsck`") from error
        if create:
            _fs.report_file_sync(self.path / DATA_FILE)
        return tables

    def close(self) -> bool:
        """Close the environment, when the transactions of other threads have ended; False where this thread is in one."""
        with self.writing, self._gate:
            if self._taken is not None or self.busy():
                return False
            environment, self.environment = self.environment, None
            if environment is not None:
                try:
                    self._wait_alone(WAIT_SECONDS)
                finally:
                    environment.close()
            if self._presence is not None:
                _fs.close_private(self._presence)
                self._presence = None
            return True

    # -------------------------------------------------------------------------------------------------- transactions

    def current(self) -> lmdb.Environment:
        """The environment, opened again where a fork or a failure closed it.

        Raises
        ------
        ClosedError
            Everyone who used it has closed it.
        """
        environment = self.environment
        if environment is not None:
            return environment
        if self._taken is not None and self._own():
            # Whoever took it waits for this thread's transaction, which may need another one before it ends.
            return self._taken
        with self._gate:
            if self._unusable:
                raise StorageError(self._unusable)
            if not self.users:
                raise ClosedError(f"the database in {self.path} was closed: open the repository again")
            if self.environment is None:
                self.open()
            assert self.environment is not None
            return self.environment

    def begin_slowly(self, reader: ReadTransaction) -> lmdb.Transaction[bytes]:
        """Begin a read transaction where the short way failed: no environment, a grown map, no free slot."""
        self.live.discard(reader)
        for _ in range(8):
            environment = self.current()
            self.live.add(reader)
            try:
                if environment in (self.environment, self._taken):
                    return environment.begin()
            except lmdb.MapResizedError:
                self.live.discard(reader)
                self.resize(0)
            except lmdb.ReadersFullError:
                environment.reader_check()
                time.sleep(_POLL_SECONDS)
            except lmdb.Error as error:
                self.live.discard(reader)
                raise translate(error, self.path) from error
            self.live.discard(reader)
        raise StorageError(f"no read transaction could begin on the database in {self.path}: too many readers?")

    def begin_write(self) -> lmdb.Transaction[bytes]:
        """Begin the writing transaction; the caller holds ``writing``."""
        while True:
            environment = self.current()
            try:
                environment.reader_check()
                return environment.begin(write=True)
            except lmdb.MapResizedError:
                self.resize(0)
            except lmdb.Error as error:
                raise translate(error, self.path) from error

    def busy(self) -> bool:
        """Whether this thread is in a transaction; the caller holds ``writing``."""
        return self.writer is not None or bool(self._own())

    def grow(self) -> None:
        """Double the map."""
        self.resize(2 * self.current().info()["map_size"])

    def resize(self, size: int) -> None:
        """Set the size of the map; 0 adopts the size that another process gave it."""
        with self.writing:
            if self.writer is not None:
                raise StorageError(f"the map of the database in {self.path} cannot change during a writing transaction")
            with self._alone() as environment:
                try:
                    environment.set_mapsize(size)
                    self._map_size = environment.info()["map_size"]
                except lmdb.Error as error:
                    raise translate(error, self.path) from error

    def renew(self) -> None:
        """Close the environment after a failed commit: nothing is tried again on a handle whose sync failed."""
        with self._gate:
            self.failed = False
            environment, self.environment = self.environment, None
            if environment is not None:
                self._wait_alone(WAIT_SECONDS)
                environment.close()

    def make_writable(self) -> None:
        """Let the environment, open read-only, be opened again with the ability to write."""
        with self.writing:
            self.renew()
            self.readonly = False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[lmdb.Environment]:
        with self._gate:
            environment = self.current()
            self._taken, self.environment = environment, None
            try:
                if self._own():
                    raise InvalidStateError(
                        "the database cannot be written inside a read transaction of the same thread"
                    )
                self._wait_alone(WAIT_SECONDS)
                yield environment
            finally:
                self._taken, self.environment = None, environment

    def _own(self) -> list[ReadTransaction]:
        thread = threading.get_ident()
        return [reader for reader in list(self.live) if reader.thread == thread]

    def _wait_alone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        thread = threading.get_ident()
        while any(reader.thread != thread for reader in list(self.live)):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"a read transaction on the database in {self.path} did not end within {seconds:.0f} s"
                )
            time.sleep(_POLL_SECONDS)

    # ---------------------------------------------------------------------------------------------------------- fork

    def before_fork(self) -> None:
        """Let the transactions of other threads end, and keep new ones out until the fork is done."""
        fork = _Fork(os.getpid())
        fork.writing = self.writing.acquire(timeout=FORK_WAIT_SECONDS)
        fork.gate = self._gate.acquire(timeout=FORK_WAIT_SECONDS)
        self._fork = fork
        if not (fork.writing and fork.gate):
            fork.unsafe = True
            return
        fork.environment, self.environment = self.environment, None
        self._taken = fork.environment
        try:
            self._wait_alone(FORK_WAIT_SECONDS)
        except StorageError:
            fork.unsafe = True
        if fork.environment is not None and not fork.unsafe:
            with contextlib.suppress(lmdb.Error):
                # The spare transaction owns a slot in the shared table of readers. Out of its cache it is a transaction
                # like others: in the child it is dropped untouched, whereas a close would free the parent's slot.
                fork.spare = fork.environment.begin()

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        fork, self._fork = self._fork, None
        if fork is None:
            return
        fork.spare = None
        if fork.writing and fork.gate:
            self._taken, self.environment = None, fork.environment
        if fork.gate:
            self._gate.release()
        if fork.writing:
            self.writing.release()

    def after_fork_in_child(self) -> None:
        """Close what was inherited, without touching what is shared with the parent."""
        fork, self._fork = self._fork, None
        if fork is None:
            return
        self.writing = threading.RLock()
        self._gate = threading.RLock()
        environment = fork.environment or self.environment or self._taken
        self.environment = self._taken = None
        self._presence = None  # the descriptor was closed by _fs
        left = self._forget_transactions(fork)
        if environment is None:
            return
        if fork.unsafe or left:
            # Closing it would wait for a thread that does not exist here, or free a slot of the parent.
            self._unusable = (
                f"this process was forked while a transaction was open on {self.path}: "
                "fork outside of transactions, or start workers with the spawn method"
            )
            _abandoned.append(environment)
            return
        self.tables = []
        environment.close()

    def _forget_transactions(self, fork: _Fork) -> bool:
        wrappers = [*self.live, *([self.writer] if self.writer is not None else [])]
        references = [weakref.ref(w.lmdb_transaction) for w in wrappers if w.lmdb_transaction is not None]
        if fork.spare is not None:
            references.append(weakref.ref(fork.spare))
            fork.spare = None
        for wrapper in wrappers:
            wrapper.forget()
        self.live.clear()
        self.writer = None
        return any(reference() is not None for reference in references)


class _Fork:
    """What one handle holds while a fork is under way."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.writing = False
        self.gate = False
        self.unsafe = False
        self.environment: lmdb.Environment | None = None
        self.spare: lmdb.Transaction[bytes] | None = None


_abandoned: Final[list[lmdb.Environment]] = []
"""Inherited environments that cannot be closed; kept, because their destructor would close them."""


def file_identity(path: Path) -> tuple[int, int]:
    """Device and inode of the data file in ``path``."""
    status = (path / DATA_FILE).stat()
    return status.st_dev, status.st_ino


def _join(path: Path) -> int | None:
    """A shared lock on ``db.lock``, or None where the file system or its rights forbid one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    deadline = time.monotonic() + WAIT_SECONDS
    while not _fs.try_lock(descriptor, shared=True):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise StorageError(f"the database beside {path} is being compacted for more than {WAIT_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return _fs.close_in_child(descriptor)


def _can_lock(path: Path) -> bool:
    lock = path / "lock.mdb"
    return os.access(lock, os.W_OK) if lock.exists() else os.access(path, os.W_OK)
