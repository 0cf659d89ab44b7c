"""Publish a change atomically: first write files, then record everything in one transaction.

Every change of a repository under a lock uses :func:`publish`: batches, commits, conversion, removal of old files.
The order is always the same.

1. ``prepare`` writes and syncs the files that the transaction will refer to (blob files, runs). They are not visible yet.
2. One transaction checks the lock, counts the change, and calls ``record``, which writes the rows of the change. When it
   commits, the change is durable.
3. ``committed`` updates the memory of this process. The count is written to the lock file, so that a database that is
   replaced by an older copy is recognised (see :mod:`hangar.rollback`).

After an error or interrupt, ``rollback`` reloads the state in memory from the database. The database may have the change
nevertheless, if the transaction committed and the process was interrupted before it learned this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.errors import InvalidStateError
from hangar.rollback import count_publish, note_publish

__all__ = ["OutdatedError", "Ownership", "Publishable", "RowChange", "publish", "publish_rows"]

_ATTEMPTS: Final = 8


class Ownership(Protocol):
    """The right to publish: the writer lock, or another form of ownership of the changed objects."""

    def check(self, transaction: ReadTransaction) -> None:
        """Raise LockedError if ``transaction`` shows that the ownership was lost."""


class OutdatedError(InvalidStateError):
    """The prepared state is outdated, because the repository has changed. :func:`publish` then prepares again."""


class Publishable(Protocol):
    """A change of the repository that :func:`publish` can make durable."""

    def prepare(self) -> None:
        """Write and sync the files that the transaction will refer to. Called again after an OutdatedError."""

    def record(self, transaction: WriteTransaction) -> None:
        """Write the rows of the change, after the check of the lock. May run again in another transaction."""

    def committed(self) -> None:
        """Update memory after the transaction was committed."""

    def rollback(self) -> None:
        """Reload the state in memory from the database after a failure at any step; it may have the change."""


class RowChange:
    """A change of rows of the database alone: nothing to prepare, nothing to update in memory.

    Parameters
    ----------
    write
        Changes the rows.
    """

    def __init__(self, write: Callable[[WriteTransaction], object]) -> None:
        self._write = write

    def prepare(self) -> None:
        """Nothing is stored outside of the database."""

    def record(self, transaction: WriteTransaction) -> None:
        """Change the rows."""
        self._write(transaction)

    def committed(self) -> None:
        """Nothing is in memory."""

    def rollback(self) -> None:
        """Nothing is in memory."""


def publish(db: Database, owner: Ownership, change: Publishable) -> None:
    """Publish a change, all of it or nothing. When this returns, the change is durable and visible.

    Parameters
    ----------
    owner
        Checked in the transaction: after the lock was lost, nothing is recorded.

    Raises
    ------
    LockedError
        The lock was taken over.
    InvalidStateError
        The state that the change was prepared from changed again in every attempt.
    HangarError
        Any error of ``change``. Nothing was published, or the outcome is not known; memory agrees with the database.
    """

    def write(transaction: WriteTransaction) -> tuple[int, int]:
        owner.check(transaction)
        counted = count_publish(db.directory, transaction)
        change.record(transaction)
        return counted

    try:
        for _ in range(_ATTEMPTS - 1):
            change.prepare()
            with contextlib.suppress(OutdatedError):
                counted = db.update(write)
                break
        else:
            change.prepare()
            counted = db.update(write)
        change.committed()
    except BaseException:
        change.rollback()
        raise
    note_publish(db, *counted)


def publish_rows(db: Database, owner: Ownership, write: Callable[[WriteTransaction], object]) -> None:
    """Change rows of the database under a lock; see :class:`RowChange`."""
    publish(db, owner, RowChange(write))
