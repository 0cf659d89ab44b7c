"""Compaction: the database written anew without its free pages.

The new file takes the place of the old one by a rename, which nobody who has the old one open would notice: what they commit
next would be lost. So it needs the lock alone that every opener shares, and where somebody has the database open it is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

from hangar import _fs
from hangar.db import registry
from hangar.db.environment import database_path
from hangar.db.failures import translate
from hangar.db.format import check_format
from hangar.db.opening import DATA_FILE, DATABASE_LOCK, open_environment
from hangar.db.structure import check_pages
from hangar.errors import AccessError, CorruptionError

__all__ = ["compact"]

_COPIED = _fs.register_point("db.compact.copied")
_RENAMED = _fs.register_point("db.compact.renamed")


def compact(directory: Path) -> bool:
    """Compact the database of the repository whose ``.hangar`` is ``directory``; False where it is open, here or elsewhere.

    Raises
    ------
    AccessError
        This user cannot write there.
    DiskFullError
        There is no room for the copy; nothing was changed.
    """
    check_format(directory)
    path = database_path(directory)
    if not (os.access(path, os.W_OK) and os.access(path / DATA_FILE, os.W_OK)):
        raise AccessError(f"the database in {path} cannot be written by this user")
    return registry.closed_for(path, lambda: _compact_alone(path))


def _compact_alone(path: Path) -> bool:
    descriptor = _fs.open_file(path.parent / DATABASE_LOCK)
    try:
        if not _fs.try_lock(descriptor, shared=False):
            return False
        _write_anew(path)
        return True
    finally:
        os.close(descriptor)


def _write_anew(path: Path) -> None:
    _require_sound_pages(path)
    fresh = path / f"{DATA_FILE}.new"
    fresh.unlink(missing_ok=True)
    descriptor = _fs.create_file(fresh)
    try:
        environment, _ = open_environment(path, writable=False)
        with environment:
            environment.copyfd(descriptor, compact=True)
        _fs.sync_file(descriptor, fresh)
        _fs.crash_point(_COPIED)
        os.rename(fresh, path / DATA_FILE)
        _fs.crash_point(_RENAMED)
    except lmdb.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        _fs.raise_for(error, "compact", path)
    finally:
        os.close(descriptor)
        fresh.unlink(missing_ok=True)
    _fs.sync_directory(path)


def _require_sound_pages(path: Path) -> None:
    """LMDB copies what it finds, and what it does not find is gone with the old file."""
    problems = check_pages(path / DATA_FILE)
    if problems:
        raise CorruptionError(f"{path / DATA_FILE} is damaged, and was not compacted: {'; '.join(problems)}")
