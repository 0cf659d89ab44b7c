"""The mark of a repository that evicts: a lock on a file, which ends with the process.

A repository sets the mark before it asks a remote whether that has the data, and clears it when the data is dropped. Who is asked
while the mark is set says that it has nothing. So of two repositories that are remotes of each other at least one sees
the mark of the other, and keeps its data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hangar import _fs, forking
from hangar.errors import LockedError, PathNotFoundError, StorageError

__all__ = ["EVICT_LOCK", "evicting", "is_evicting"]

EVICT_LOCK = "evict.lock"
"""Name of the file in the repository's directory. It is empty, and stays."""


@contextmanager
def evicting(directory: Path) -> Iterator[None]:
    """Set the mark of the repository in ``directory``.

    Raises
    ------
    LockedError
        The mark is set already.
    """
    path = directory / EVICT_LOCK
    if not path.exists():
        try:
            os.close(_fs.create_file(path))
        except StorageError:
            if not path.exists():
                raise
    descriptor = forking.close_in_child(_fs.open_file(path))
    try:
        if not _fs.try_lock(descriptor, shared=False):
            raise LockedError("another process evicts data of this repository: try again when it has ended")
        yield
    finally:
        forking.close_private(descriptor)


def is_evicting(directory: Path) -> bool:
    """Whether the mark is set."""
    try:
        descriptor = _fs.open_file(directory / EVICT_LOCK)
    except PathNotFoundError:
        return False
    try:
        return not _fs.try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
