"""Who may append to a blob file: the token under which a :class:`~hangar.blobs.writer.BlobWriter` writes.

The row of a file names the epoch of its owner. The holder of the writer lock goes on with files of its own epoch, and with those of earlier
epochs whose holders are dead. A writer without that lock, as a fetch is, has no epoch: it makes files of its own, under
:data:`NO_EPOCH`, and nobody goes on with them afterwards. So any number of processes write blobs at one time, and no file has two writers.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from hangar.db import ReadTransaction
from hangar.errors import LockedError

__all__ = ["NO_EPOCH", "FileOwner", "OwnFiles"]

NO_EPOCH: Final = 0
"""Epoch in the row of a file that nobody goes on with. The first writer lock has epoch 1."""


class FileOwner(Protocol):
    """The right to append to blob files: the writer lock, or :class:`OwnFiles`."""

    @property
    def epoch(self) -> int:
        """Epoch that the rows of its files name."""

    @property
    def held(self) -> bool:
        """Whether this process has the right, as far as it knows without asking the database."""

    def require_held(self) -> None:
        """Raise LockedError or InvalidStateError where :attr:`held` is False."""

    def check(self, transaction: ReadTransaction | None = None) -> None:
        """Raise LockedError where somebody else has taken over, as the database says, or ``transaction``."""


class OwnFiles:
    """The right of a writer without the writer lock, for the process that made it: it appends to files of its own alone."""

    epoch: Final = NO_EPOCH

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def held(self) -> bool:
        """Whether this is the process that made it, and not a fork of it."""
        return self._pid == os.getpid()

    def require_held(self) -> None:
        """Raise LockedError in a fork: two processes would write to one file."""
        if not self.held:
            raise LockedError(f"this is a fork of the process {self._pid}, which writes these blobs")

    def check(self, transaction: ReadTransaction | None = None) -> None:
        """As :meth:`require_held`: nobody else can take over files of its own."""
        self.require_held()
