"""Files of a data set: syncing new ones, and measuring their size on disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["disk_bytes", "sync_new"]


def sync_new(path: Path, since: int) -> None:
    """Sync every file below ``path`` that was written after ``since`` (ns), and the directories."""
    for directory, _, names in os.walk(path):
        changed = False
        for name in names:
            file = os.path.join(directory, name)
            with suppress(FileNotFoundError):  # threads of a peer clean up behind it
                if os.stat(file).st_mtime_ns >= since - 20_000_000:  # the clock of a file system is coarse
                    _sync(file)
                    changed = True
        if changed:
            _sync(directory)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_bytes(path: Path) -> int:
    """Bytes of all files below ``path``; holes are not counted."""
    found = 0
    for directory, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.stat(os.path.join(directory, name))
                found += min(status.st_size, status.st_blocks * 512)
    return found
