"""Publish a change: prepare what lies outside of the database, then record everything in one transaction.

All that changes a repository under a lock goes through :func:`publish`: batches, commits, conversion, the release of old files.
The order is always the same.

1. ``prepare`` writes and syncs what the transaction will name (blob files, runs). Nobody sees any of it yet.
2. One transaction checks the lock and calls ``publish``, which records the change. When it commits the change is durable.
3. ``published`` brings the memory of this process in line.

If anything fails, or is interrupted, ``rollback`` brings memory back to what the database holds. That may be the change after all, where
the transaction committed and the process did not learn of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.errors import InvalidStateError

__all__ = ["OutdatedError", "Ownership", "Record", "Rows", "publish", "publish_rows"]

_ATTEMPTS: Final = 8


class Ownership(Protocol):
    """The right to publish: the writer lock, or whatever else keeps others from changing the same things."""

    def check(self, transaction: ReadTransaction) -> None:
        """Raise LockedError where ``transaction`` shows that somebody else has taken over."""


class OutdatedError(InvalidStateError):
    """What was prepared stands for something that has changed since. The transaction changes nothing, and :func:`publish` prepares anew."""


class Record(Protocol):
    """A change of the repository, as :func:`publish` needs it."""

    def prepare(self) -> None:
        """Bring to disk what the transaction will name. Called again after an OutdatedError."""

    def publish(self, transaction: WriteTransaction) -> None:
        """Record the change; the lock was checked. May run again, in another transaction, where this one did not commit."""

    def published(self) -> None:
        """The transaction was committed: bring memory in line."""

    def rollback(self) -> None:
        """Something failed, at any step: bring memory back to what the database holds, which may be the change."""


class Rows:
    """A change of rows alone: there is nothing to prepare and nothing in memory.

    Parameters
    ----------
    write
        Changes the rows.
    """

    def __init__(self, write: Callable[[WriteTransaction], object]) -> None:
        self._write = write

    def prepare(self) -> None:
        """Nothing lies outside of the database."""

    def publish(self, transaction: WriteTransaction) -> None:
        """Change the rows."""
        self._write(transaction)

    def published(self) -> None:
        """Nothing is in memory."""

    def rollback(self) -> None:
        """Nothing is in memory."""


def publish(db: Database, owner: Ownership, record: Record) -> None:
    """Make a change of the repository true, all of it or nothing. When this returns it is durable.

    Parameters
    ----------
    owner
        Checked in the transaction: who has lost the lock records nothing.

    Raises
    ------
    LockedError
        The lock was taken over.
    InvalidStateError
        What the change was prepared from went on changing, attempt after attempt.
    HangarError
        Whatever ``record`` raises. Nothing was published then, or its outcome is not known; memory is in line with the database.
    """

    def write(transaction: WriteTransaction) -> None:
        owner.check(transaction)
        record.publish(transaction)

    try:
        for attempt in range(1, _ATTEMPTS + 1):
            record.prepare()
            try:
                db.update(write)
                break
            except OutdatedError:
                if attempt == _ATTEMPTS:
                    raise
        record.published()
    except BaseException:
        record.rollback()
        raise


def publish_rows(db: Database, owner: Ownership, write: Callable[[WriteTransaction], object]) -> None:
    """Change rows of the database under a lock; see :class:`Rows`."""
    publish(db, owner, Rows(write))
