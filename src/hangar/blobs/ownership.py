"""Ownership of blob files: the token that allows a :class:`~hangar.blobs.writer.BlobWriter` to append to a file.

The row of a file has the epoch of its owner. The holder of the writer lock continues files of its own epoch, and files
of earlier epochs whose holders are dead. A writer without that lock, such as a fetch, has no epoch. It creates its own
files, with :data:`NO_EPOCH`, and nobody continues them. So any number of processes can write blobs at the same time,
and no file has two writers.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from hangar.db import ReadTransaction
from hangar.errors import LockedError

__all__ = ["NO_EPOCH", "FileOwner", "OwnFiles"]

NO_EPOCH: Final = 0
"""Epoch of a file that nobody continues. The first writer lock has epoch 1."""


class FileOwner(Protocol):
    """The right to append to blob files: the writer lock, or :class:`OwnFiles`."""

    @property
    def epoch(self) -> int:
        """Epoch to record in the rows of its files."""

    @property
    def held(self) -> bool:
        """Whether this process has the right, as far as it knows without reading the database."""

    def require_held(self) -> None:
        """Raise LockedError or InvalidStateError if :attr:`held` is False."""

    def check(self, transaction: ReadTransaction | None = None) -> None:
        """Raise LockedError if the database (in ``transaction``, if given) shows another owner."""


class OwnFiles:
    """Right of a writer without the writer lock: it appends only to its own files, in the process that created it."""

    epoch: Final = NO_EPOCH

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def held(self) -> bool:
        """Whether this is the process that created it, not a fork of it."""
        return self._pid == os.getpid()

    def require_held(self) -> None:
        """Raise LockedError in a fork: two processes would write to one file."""
        if not self.held:
            raise LockedError(f"this is a fork of the process {self._pid}, which writes these blobs")

    def check(self, transaction: ReadTransaction | None = None) -> None:
        """Like :meth:`require_held`: nobody can take over its files."""
        self.require_held()
