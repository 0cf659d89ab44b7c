"""The LMDB handle of a database: opened once per process and file, and shared by all who use it.

LMDB allows one open environment per process and file, cannot change the size of its map under a transaction, and must not be used
across a fork. So there is one ``Handle`` for each file; what must be alone (a new map size, a fork, a close) takes the
environment away, waits for the transactions of other threads (short, by the rules of this package) and puts it back. What
transactions do is in ``transaction``, how a fork goes in ``fork``.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import lmdb

from hangar import _fs
from hangar.db import opening
from hangar.db.failures import translate
from hangar.db.opening import create_environment, file_identity, join, open_environment
from hangar.errors import ClosedError, InvalidStateError, StorageError
from hangar.statements import Running, is_running

__all__ = ["Handle", "Reader", "Writer"]

WAIT_SECONDS: Final = 60.0
"""How long a step that must be alone waits for transactions of other threads."""
QUIET_WAIT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.0005


class Reader(Protocol):
    """What a handle knows of a read transaction: its thread, whether it is running, how it is ended, and how a fork drops it."""

    thread: int
    running: Running | None

    def end(self) -> None:
        """End it."""

    @property
    def lmdb_transaction(self) -> lmdb.Transaction[bytes] | None:
        """The transaction of LMDB, while there is one."""

    def forget(self) -> None:
        """Drop the LMDB transaction without touching it."""


class Writer(Reader, Protocol):
    """What a handle knows of the writing transaction: besides, whether it filled the map, and how it is given up."""

    full: bool

    def abandon(self) -> None:
        """End without a trace."""


class Handle:
    """One LMDB environment, its tables and who uses it.

    Attributes
    ----------
    environment : lmdb.Environment or None
        None while it is not open, or taken by what must be alone: then ``current`` waits, or opens it.
    opened : lmdb.Environment or None
        The last one that was opened and not closed, whether it came to be used or not.
    live : set of weak references
        The read transactions of this process. One that nobody holds any more (an interrupt struck as it ended) is gone, and its
        LMDB transaction with it.
    writing : RLock
        Held by the thread that writes.
    gate : RLock
        Held by what takes the environment away. After ``writing``, where both are held.
    writable : bool
        Whether the environment is, or will be, opened for writing: from the first update of this process on.
    users : int
        Open ``Database`` objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users = 0
        self.identity: tuple[int, int] | None = None
        self.environment: lmdb.Environment | None = None
        self.taken: lmdb.Environment | None = None
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
        self.environment, self.taken = self.opened, None

    def create(self, map_size: int) -> None:
        """Make the environment, and open it."""
        self.presence = join(self.path)
        self.opened, self.tables = create_environment(self.path, map_size)
        self.writable = True
        self.identity = file_identity(self.path)
        self.environment = self.opened

    def close(self) -> bool:
        """Close the environment, when the transactions of other threads have ended; False where this thread is in one."""
        if self.is_writing() or self.is_reading():
            return False
        with self.writing, self.gate:
            if self.taken is not None:
                return False
            self.drop_leftover()
            self._put_away()
            if self.presence is not None:
                _fs.close_private(self.presence)
                self.presence = None
            return True

    def renew(self) -> None:
        """Close the environment after a failed commit: nothing is tried again on a handle whose sync failed."""
        with self.gate:
            self.failed = False
            self._put_away()

    def _put_away(self) -> None:
        environment = self.environment
        try:
            if environment is not None:
                self.taken, self.environment = environment, None
                self.wait_for_readers(WAIT_SECONDS)
        finally:
            self.taken = self.environment = None
            self._close_opened()

    def _close_opened(self) -> None:
        """Close the environment; also one that an interrupt kept from being used, which could not be opened a second time."""
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    # -------------------------------------------------------------------------------------------------- transactions

    def current(self) -> lmdb.Environment:
        """The environment, opened where it is not.

        Raises
        ------
        ClosedError
            Everyone who used it has closed it.
        """
        environment = self.environment
        if environment is not None:
            return environment
        taken = self.taken
        if taken is not None and self._own():
            # Whoever took it waits for this thread's transaction, which may need another one before it ends.
            return taken
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
        """Begin a read transaction where the short way failed: no environment, a grown map, no free slot."""
        self.live.discard(reader)
        deadline = time.monotonic() + opening.SLOT_SECONDS
        while True:
            environment = self.current()
            self.live.add(reader)
            try:
                if environment in (self.environment, self.taken):
                    return environment.begin()
            except lmdb.MapResizedError:
                self.live.discard(reader)
                self.resize(0)
            except (lmdb.ReadersFullError, lmdb.BadRslotError) as error:
                self.live.discard(reader)
                # Slots of processes that died are freed; the others are held for the time of one read.
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
                    f"no read transaction could begin on the database in {self.path}: others change its map"
                )

    def begin_write(self) -> lmdb.Transaction[bytes]:
        """Begin the writing transaction; the caller holds ``writing``."""
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
        """End the writing transaction that an interrupt, striking as it ended, left; the caller holds ``writing``."""
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None

    # ---------------------------------------------------------------------------------------------- to be alone

    def grow(self) -> None:
        """Double the map."""
        self.resize(2 * self.current().info()["map_size"])

    def resize(self, size: int) -> None:
        """Set the size of the map; 0 adopts the size that another process gave it."""
        with self.writing:
            if self.writer is not None and self.writer.lmdb_transaction is not None:
                raise StorageError(f"the map of the database in {self.path} cannot change in a writing transaction")
            with self._alone() as environment:
                try:
                    environment.set_mapsize(size)
                except lmdb.Error as error:
                    raise translate(error, self.path) from error

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """A time without transactions of other threads, or nearly: it does not wait for long."""
        with self.gate:
            environment = self.environment
            try:
                self.taken, self.environment = environment, None
                with contextlib.suppress(StorageError):
                    self.wait_for_readers(QUIET_WAIT_SECONDS)
                yield
            finally:
                self.taken, self.environment = None, environment

    @contextlib.contextmanager
    def _alone(self) -> Iterator[lmdb.Environment]:
        with self.gate:
            environment = self.current()
            if self._own():
                raise InvalidStateError(
                    "the map of the database cannot change in a read transaction of the same thread"
                )
            try:
                self.taken, self.environment = environment, None
                self.wait_for_readers(WAIT_SECONDS)
                yield environment
            finally:
                self.taken, self.environment = None, environment

    def readers(self) -> list[Reader]:
        """The read transactions; one whose ``with`` statement was left without its end, by an interrupt, ends here."""
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
        """Wait until no other thread is in a read transaction; the caller holds ``gate`` and has taken the environment."""
        deadline = time.monotonic() + seconds
        thread = threading.get_ident()
        while any(reader.thread != thread for reader in self.readers()):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"a read transaction on the database in {self.path} did not end within {seconds:.0f} s"
                )
            time.sleep(_POLL_SECONDS)
