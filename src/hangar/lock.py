"""The writer lock of a repository: at most one writer, and no stale lock after a crash.

It consists of an epoch in ``meta`` and an ``flock`` on the file ``lock.<epoch>``, which the system releases when the
process dies. The file is created only when the epoch is incremented, and has a token that is also in ``meta``. If the
file is missing, or has another token, the repository counts as locked until a forced release; so deleting the file
does not let a second writer in. A forced release increments the epoch. The former holder notices this at its next
``check``, which every access of a writer and every publishing transaction makes (the epoch is a fencing token).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hangar import _fs, forking
from hangar.db.environment import Database
from hangar.db.tables import META
from hangar.db.transaction import ReadTransaction, WriteTransaction
from hangar.errors import (
    CorruptionError,
    DiskFullError,
    InvalidStateError,
    LockedError,
    PathNotFoundError,
    StorageError,
)
from hangar.lockfile import (
    EPOCH,
    HEADING_BYTES,
    HOLDER_BYTES,
    TOKEN_BYTES,
    epoch_row,
    heading,
    lock_epochs,
    lock_path,
    make,
    parse_epoch,
    record_epoch,
)
from hangar.rollback import Rollback, find_rollback, keep_files, publish_count, warn_of_rollback

__all__ = [
    "Holder",
    "WriterLock",
    "create_lock",
    "force_release",
    "holder",
    "lock_problem",
    "owner_alive",
    "under_lock",
]

T = TypeVar("T")

FORCE_COMMAND: Final = "hangar writer-lock --force-release"
REPAIR_COMMAND: Final = "hangar fsck --repair"

_ATTEMPTS: Final = 20
_PAUSE_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class Holder:
    """Process that holds the writer lock, as recorded in the lock file.

    Attributes
    ----------
    pid : int or None
        None if the holder is not known: it has just taken the lock, or the lock file is missing.
    time : float or None
        Seconds since 1970 when the lock was taken.
    """

    pid: int | None = None
    host: str = ""
    user: str = ""
    time: float | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "an unknown process"
        since = (
            "" if self.time is None else f" since {datetime.fromtimestamp(self.time).astimezone():%Y-%m-%d %H:%M:%S %z}"
        )
        return f"process {self.pid} of {self.user or 'an unknown user'} on {self.host or 'an unknown host'}{since}"


class WriterLock:
    """The writer lock, as used by one process.

    Attributes
    ----------
    epoch : int
        The epoch of the lock while it is held, else 0.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._descriptor: int | None = None
        self._pid = 0
        self._row: bytes | None = b""
        self.epoch = 0

    @property
    def held(self) -> bool:
        """Whether this object holds the lock in this process (a forced release since then is not noticed here)."""
        return self._descriptor is not None and self._pid == os.getpid()

    @property
    def released(self) -> bool:
        """Whether this object has not acquired the lock, or has released it; False in a fork of the holder."""
        return self._descriptor is None

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        LockedError
            Another writer holds it (the message says who), or the lock file is missing.
        InvalidStateError
            This object holds it.
        AccessError
            The repository is read-only.
        """
        if self.held:
            raise InvalidStateError("this object already holds the writer lock")
        self._db.require_writable()
        for attempt in range(_ATTEMPTS):
            # Retry: a check by another process holds the lock for a moment, and a forced release may change the epoch.
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            epoch, token = _current(self._db)
            descriptor = _open_lock(self._db, epoch, token, write=True)
            try:
                free = _fs.try_lock(descriptor, shared=False) and self._still(epoch, token, descriptor)
                if free and not _is_rolled_back(self._db):
                    self._descriptor = forking.close_in_child(descriptor)
                    self._pid = os.getpid()
                    self.epoch, self._row = epoch, b""
                    _introduce(descriptor, lock_path(self._db.directory, epoch))
                    return
            except BaseException:
                # A leaked descriptor would keep the lock until the process ends.
                self._descriptor, self.epoch = None, 0
                forking.close_private(descriptor)
                raise
            os.close(descriptor)
            if free:
                _raise_epoch(self._db)
        raise _locked(_read_holder(self._db, _current(self._db)[0]))

    def _still(self, epoch: int, token: bytes, descriptor: int) -> bool:
        """Whether the locked file is still the current lock file."""
        try:
            same = os.path.samestat(os.fstat(descriptor), lock_path(self._db.directory, epoch).stat())
        except OSError:
            return False
        return same and _current(self._db) == (epoch, token)

    def release(self) -> None:
        """Release the lock; no effect if it is not held, as in a forked child."""
        descriptor = self._descriptor
        try:
            # Mark it as not held before freeing it, never in the other order.
            self._descriptor, self.epoch = None, 0
            self._let_go(descriptor)
        except BaseException:
            # After an interrupt only this method knows the descriptor, which would keep the lock until the process ends.
            self._let_go(descriptor)
            raise

    def _let_go(self, descriptor: int | None) -> None:
        """Unlock and close the descriptor. Idempotent: a closed descriptor is not registered any more."""
        if descriptor is not None and self._pid == os.getpid() and forking.is_private(descriptor):
            # Unlock explicitly: a forked child that has not closed its copy of the descriptor would keep the lock.
            _fs.unlock(descriptor)
            forking.close_private(descriptor)

    def require_held(self) -> None:
        """Check that this process holds the lock, without reading the database; a forced release is not noticed.

        Raises
        ------
        LockedError
            This is a forked copy of the writer's process.
        InvalidStateError
            The lock was never taken, or was released.
        """
        if self._descriptor is None:
            raise InvalidStateError("the writer lock is not held")
        if self._pid != os.getpid():
            raise LockedError(
                f"this is a fork of the writer's process {self._pid}: close the checkout there, then open a new "
                "write checkout in this process"
            )

    def check(self, transaction: ReadTransaction | None = None) -> None:
        """Check that this process still holds the lock.

        Parameters
        ----------
        transaction
            Transaction in which to read the epoch, so that its changes are published under the lock.

        Raises
        ------
        LockedError
            The lock was forced, or this is a forked copy of the writer's process.
        InvalidStateError
            It was never taken, or was released.
        """
        self.require_held()
        if transaction is None:
            with self._db.read() as reading:
                row = reading.get(META, EPOCH)
        else:
            row = transaction.get(META, EPOCH)
        if row != self._row:
            self._compare(row)

    def _compare(self, row: bytes | None) -> None:
        """Make sure that a row of ``meta`` has the epoch of this lock."""
        epoch, _ = _parse(row)
        if epoch != self.epoch:
            raise LockedError(
                f"the writer lock was released by force (epoch {self.epoch} is now {epoch}): the new writer has the "
                "uncommitted changes; open a new write checkout"
            )
        self._row = row


def under_lock(db: Database, act: Callable[[WriterLock], T]) -> T:
    """Run ``act`` while holding the writer lock, and return its result. The lock is released even after an interrupt.

    Raises
    ------
    LockedError
        Another writer holds the lock; nothing was done.
    """
    lock = WriterLock(db)
    try:
        lock.acquire()
        result = act(lock)
        lock.release()
        return result
    except BaseException:
        # Also if the release itself was interrupted, which a ``finally`` would not handle.
        lock.release()
        raise


def create_lock(db: Database) -> None:
    """Create the first lock file and epoch 1, durably; part of creating a repository."""
    _raise_epoch(db)


def holder(db: Database) -> Holder | None:
    """The holder of the writer lock, or None if it is free."""
    epoch, token = _current(db)
    try:
        descriptor = _open_lock(db, epoch, token)
    except LockedError:
        return Holder()
    try:
        return None if _fs.try_lock(descriptor, shared=True) else _read_holder(db, epoch)
    finally:
        os.close(descriptor)


def lock_problem(db: Database) -> str | None:
    """Problem of the lock file, which would keep writers out; None if it is intact."""
    epoch, token = _current(db)
    try:
        os.close(_open_lock(db, epoch, token))
    except LockedError as error:
        # A concurrent forced release creates another file.
        return str(error) if _current(db) == (epoch, token) else None
    return None


def owner_alive(db: Database, epoch: int) -> bool:
    """Whether a writer of this epoch may still be writing: ``lock.<epoch>`` is locked, or missing (then unknown)."""
    try:
        descriptor = _fs.open_file(lock_path(db.directory, epoch))
    except PathNotFoundError:
        return True
    try:
        return not _fs.try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def force_release(db: Database) -> bool:
    """Take the lock away from its holder by a new epoch. Returns whether somebody held it."""
    held = holder(db) is not None
    _raise_epoch(db)
    return held


# --------------------------------------------------------------------------------------------------------- helpers


def _is_rolled_back(db: Database) -> bool:
    with db.read() as transaction:
        return find_rollback(db.directory, transaction) is not None


def _raise_epoch(db: Database) -> None:
    """Begin a new epoch. Where the database turns out to be older than its files, they are kept from then on, and a warning says so."""
    found = db.update(lambda transaction: _begin_epoch(db, transaction))
    if found is not None:
        warn_of_rollback(found)


def _begin_epoch(db: Database, transaction: WriteTransaction) -> Rollback | None:
    row = epoch_row(transaction)
    # Above the epochs of all lock files: one may be known to a newer copy of the database alone.
    epoch = 1 if row is None else max([parse_epoch(row)[0], *lock_epochs(db.directory)]) + 1
    found = None if row is None else find_rollback(db.directory, transaction)
    if found is not None:
        keep_files(db.directory, transaction, found)
    token = os.urandom(TOKEN_BYTES)
    while lock_path(db.directory, epoch).is_dir():
        epoch += 1
    path = lock_path(db.directory, epoch)
    # What has this name is no lock file, or the leftover of a crash as the repository was made: nobody can have locked it.
    if path.exists():
        _fs.remove_file(path)
    make(db.directory, epoch, token, publish_count(transaction))
    record_epoch(transaction, epoch, token)
    return found


def _parse(row: bytes | None) -> tuple[int, bytes]:
    if row is None:
        raise CorruptionError("the epoch of the writer lock is missing from the database: run `hangar fsck`")
    return parse_epoch(row)


def _current(db: Database) -> tuple[int, bytes]:
    with db.read() as transaction:
        return _parse(epoch_row(transaction))


def _open_lock(db: Database, epoch: int, token: bytes, write: bool = False) -> int:
    path = lock_path(db.directory, epoch)
    try:
        if path.is_dir():
            raise _not_ours(path)
        descriptor = _fs.open_file(path, write)
    except PathNotFoundError:
        db.require_in_place()
        raise LockedError(
            f"the lock file {path} is missing, so it is not known whether a writer is active: make sure that none "
            f"is, and run `{REPAIR_COMMAND}`, or `{FORCE_COMMAND}`"
        ) from None
    try:
        sound = os.pread(descriptor, HEADING_BYTES, 0) == heading(epoch, token)
    except OSError:
        sound = False
    if not sound:
        os.close(descriptor)
        raise _not_ours(path)
    return descriptor


def _not_ours(path: Path) -> LockedError:
    return LockedError(
        f"{path} was not created by Hangar, or is damaged: make sure that no writer is active, and run "
        f"`{REPAIR_COMMAND}`, or `{FORCE_COMMAND}`"
    )


def _introduce(descriptor: int, path: Path) -> None:
    """Write the holder into the lock file. Informational only, so it is not synced, and errors are ignored."""
    text = msgspec.json.encode({"pid": os.getpid(), "host": os.uname().nodename, "user": _user(), "time": time.time()})
    data = text[: HOLDER_BYTES - 1] + b"\n"
    with contextlib.suppress(DiskFullError, StorageError):
        _fs.write_at(descriptor, [data.ljust(HOLDER_BYTES)], HEADING_BYTES, path)


def _user() -> str:
    try:
        import getpass  # slow to import, and needed only by writers

        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _read_holder(db: Database, epoch: int) -> Holder:
    try:
        descriptor = _fs.open_file(lock_path(db.directory, epoch))
        try:
            text = os.pread(descriptor, HOLDER_BYTES, HEADING_BYTES)
        finally:
            os.close(descriptor)
        fields = msgspec.json.decode(text)
        return Holder(int(fields["pid"]), str(fields["host"]), str(fields["user"]), float(fields["time"]))
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError):
        return Holder()


def _locked(who: Holder) -> LockedError:
    if who.pid == os.getpid() and who.host == os.uname().nodename:
        return LockedError(
            f"this process holds the writer lock already ({who}): close() the write checkout that is open. "
            f"If you have no reference to it any more, run `{FORCE_COMMAND}`"
        )
    return LockedError(
        f"another writer holds the lock: {who}. Wait until it has closed its checkout; if it cannot, run `{FORCE_COMMAND}`"
    )
