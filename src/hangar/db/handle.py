"""Shared handle of an LMDB environment, opened once per process and file.

LMDB allows one open environment per process and file, cannot change the map size during a transaction, and must not
be used across a fork. So there is one ``Handle`` for each file. An exclusive operation (new map size, fork, close)
takes the environment out of the handle, waits for the transactions of other threads (which are short) and puts it
back. Transactions are in ``transaction``, fork handling is in ``fork``.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import lmdb

from hangar import forking
from hangar.db import opening
from hangar.db.failures import translate
from hangar.db.opening import create_environment, file_identity, join, open_environment
from hangar.errors import ClosedError, InvalidStateError, StorageError
from hangar.statements import Running, is_running

__all__ = ["Handle", "Reader", "Writer"]

WAIT_SECONDS: Final = 60.0
"""How long an exclusive operation waits for transactions of other threads, in seconds."""
QUIET_WAIT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.0005


class Reader(Protocol):
    """Interface of a read transaction for its handle."""

    thread: int
    running: Running | None

    def end(self) -> None:
        """End it."""

    @property
    def lmdb_transaction(self) -> lmdb.Transaction[bytes] | None:
        """The LMDB transaction, None after its end."""

    def forget(self) -> None:
        """Drop the LMDB transaction without calling LMDB."""


class Writer(Reader, Protocol):
    """Interface of the write transaction for its handle."""

    full: bool

    def abandon(self) -> None:
        """End it without any change to the database."""


class Handle:
    """One LMDB environment with its tables and users.

    Attributes
    ----------
    data_file : Path
        LMDB's data file.
    environment : lmdb.Environment or None
        None while it is not open, or during an exclusive operation; ``current`` then opens it, or waits.
    exclusive : lmdb.Environment or None
        The environment during an exclusive operation. Only a thread with a running transaction may begin another one in it.
    opened : lmdb.Environment or None
        The last environment that was opened and not closed, even if an interrupt kept it from being used.
    live : set of weak references
        The read transactions of this process. One without other references (after an interrupt at its end) is freed
        together with its LMDB transaction.
    writing : RLock
        Held by the writing thread.
    gate : RLock
        Held during an exclusive operation. Lock order: ``writing`` before ``gate``.
    writable : bool
        Whether the environment is, or will be, opened for writing; True from the first update of this process on.
    users : int
        Number of open ``Database`` objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data_file = path / opening.DATA_FILE
        self.users = 0
        self.identity: tuple[int, int] | None = None
        self.environment: lmdb.Environment | None = None
        self.exclusive: lmdb.Environment | None = None
        self.opened: lmdb.Environment | None = None
        self.tables: list[Any] = []
        self.live: set[weakref.ref[Reader]] = set()
        self.writer: Writer | None = None
        self.writing = threading.RLock()
        self.gate = threading.RLock()
        self.presence: int | None = None
        self.failed = False
        self.unusable = ""
        self.writable = False

    # ------------------------------------------------------------------------------------------------ open and close

    def open(self) -> None:
        """Open the environment."""
        if self.presence is None:
            self.presence = join(self.path)
        self._close_opened()
        self.opened, self.tables = open_environment(self.path, self.writable)
        self.identity = file_identity(self.path)
        self.environment, self.exclusive = self.opened, None

    def create(self, map_size: int) -> None:
        """Create the environment and open it."""
        self.presence = join(self.path)
        self.opened, self.tables = create_environment(self.path, map_size)
        self.writable = True
        self.identity = file_identity(self.path)
        self.environment = self.opened

    def close(self) -> bool:
        """Close the environment after the transactions of other threads have ended; False if this thread is in one."""
        if self.is_writing() or self.is_reading():
            return False
        with self.writing, self.gate:
            if self.exclusive is not None:
                return False
            self._shut()
            return True

    def _shut(self) -> None:
        """Close the environment, and tell other processes that it is not open here any more."""
        self.drop_leftover()
        self._put_away()
        if self.presence is not None:
            forking.close_private(self.presence)
            self.presence = None

    def away_for(self, function: Callable[[], bool]) -> bool:
        """Run ``function`` while the environment is closed and not locked, and open it again.

        False, without running it, if this thread is in a transaction.
        """
        if self.is_writing() or self.is_reading():
            return False
        with self.writing, self.gate:
            if self.exclusive is not None:
                return False
            self._shut()
            try:
                return function()
            finally:
                if self.users:
                    self.open()

    def renew(self) -> None:
        """Close the environment after a failed commit: a failed sync must not be retried on the same descriptor."""
        with self.gate:
            self.failed = False
            self._put_away()

    def _put_away(self) -> None:
        environment = self.environment
        try:
            if environment is not None:
                self.exclusive, self.environment = environment, None
                self.wait_for_readers(WAIT_SECONDS)
        finally:
            self.exclusive = self.environment = None
            self._close_opened()

    def _close_opened(self) -> None:
        """Close the environment, even one that an interrupt kept from being used; LMDB cannot open it twice."""
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    # -------------------------------------------------------------------------------------------------- transactions

    def current(self) -> lmdb.Environment:
        """The environment; it is opened if necessary.

        Raises
        ------
        ClosedError
            All its users have closed it.
        """
        environment = self.environment
        if environment is not None:
            return environment
        exclusive = self.exclusive
        if exclusive is not None and self._own():
            # The exclusive operation waits for this thread's transaction, which may need another one before it ends.
            return exclusive
        with self.gate:
            if self.unusable:
                raise StorageError(self.unusable)
            if not self.users:
                raise ClosedError(f"the database in {self.path} was closed: open the repository again")
            if self.environment is None:
                self.open()
            assert self.environment is not None
            return self.environment

    def begin_slowly(self, reader: weakref.ref[Reader]) -> lmdb.Transaction[bytes]:
        """Begin a read transaction after the fast path failed: no environment, a grown map, or no free reader slot."""
        self.live.discard(reader)
        deadline = time.monotonic() + opening.SLOT_SECONDS
        while True:
            environment = self.current()
            self.live.add(reader)
            try:
                if environment in (self.environment, self.exclusive):
                    return environment.begin()
            except lmdb.MapResizedError:
                self.live.discard(reader)
                self.resize(0)
            except (lmdb.ReadersFullError, lmdb.BadRslotError) as error:
                self.live.discard(reader)
                # Slots of dead processes are freed; other slots are held only during one read.
                environment.reader_check()
                if time.monotonic() > deadline:
                    raise translate(error, self.path) from error
                time.sleep(_POLL_SECONDS)
            except lmdb.Error as error:
                self.live.discard(reader)
                raise translate(error, self.path) from error
            self.live.discard(reader)
            if time.monotonic() > deadline + WAIT_SECONDS:
                raise StorageError(
                    f"cannot begin a read transaction on the database in {self.path}: its map keeps changing"
                )

    def begin_write(self) -> lmdb.Transaction[bytes]:
        """Begin the write transaction; the caller holds ``writing``."""
        if not self.writable:
            self._make_writable()
        while True:
            environment = self.current()
            try:
                environment.reader_check()
                return environment.begin(write=True)
            except lmdb.MapResizedError:
                self.resize(0)
            except lmdb.Error as error:
                raise translate(error, self.path) from error

    def _make_writable(self) -> None:
        with self.gate:
            self._put_away()
            self.writable = True
            try:
                self.current()
            except BaseException:
                self.writable = False
                raise

    def is_writing(self) -> bool:
        """Whether this thread holds ``writing``."""
        return bool(self.writing._is_owned())  # type: ignore[attr-defined]

    def is_reading(self) -> bool:
        """Whether this thread is in a read transaction."""
        return bool(self._own())

    def drop_leftover(self) -> None:
        """End a write transaction that an interrupt left open; the caller holds ``writing``."""
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None

    # ------------------------------------------------------------------------------------ exclusive operations

    def grow(self) -> None:
        """Double the map."""
        self.resize(2 * self.current().info()["map_size"])

    def resize(self, size: int) -> None:
        """Set the size of the map; 0 adopts the size set by another process."""
        with self.writing:
            if self.writer is not None and self.writer.lmdb_transaction is not None:
                raise StorageError(f"the map of the database in {self.path} cannot change in a write transaction")
            with self._alone() as environment:
                try:
                    environment.set_mapsize(size)
                except lmdb.Error as error:
                    raise translate(error, self.path) from error

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Block new transactions of other threads, and wait for running ones for a bounded time (best effort)."""
        with self.gate:
            environment = self.environment
            try:
                self.exclusive, self.environment = environment, None
                with contextlib.suppress(StorageError):
                    self.wait_for_readers(QUIET_WAIT_SECONDS)
                yield
            finally:
                self.exclusive, self.environment = None, environment

    @contextlib.contextmanager
    def _alone(self) -> Iterator[lmdb.Environment]:
        with self.gate:
            environment = self.current()
            if self._own():
                raise InvalidStateError(
                    "the map of the database cannot change in a read transaction of the same thread"
                )
            try:
                self.exclusive, self.environment = environment, None
                self.wait_for_readers(WAIT_SECONDS)
                yield environment
            finally:
                self.exclusive, self.environment = None, environment

    def readers(self) -> list[Reader]:
        """The running read transactions; one whose ``with`` statement was left by an interrupt is ended here."""
        found = []
        for reference in list(self.live):
            reader = reference()
            if reader is None:
                self.live.discard(reference)
            elif is_running(reader):
                found.append(reader)
            else:
                reader.end()
        return found

    def _own(self) -> list[Reader]:
        thread = threading.get_ident()
        return [reader for reader in self.readers() if reader.thread == thread]

    def wait_for_readers(self, seconds: float) -> None:
        """Wait until no other thread is in a read transaction; the caller holds ``gate`` and took the environment."""
        deadline = time.monotonic() + seconds
        thread = threading.get_ident()
        while any(reader.thread != thread for reader in self.readers()):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"a read transaction on the database in {self.path} did not end within {seconds:.0f} s"
                )
            time.sleep(_POLL_SECONDS)
