"""Compaction: rewrite the database without its free pages.

The new file replaces the old one by a rename. A process that has the old file open would not notice this, and its
next commit would be lost. So compaction needs an exclusive lock on the file that every opener locks shared, and does
nothing while the database is open elsewhere.
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

__all__ = ["compact", "compact_open"]

_COPIED = _fs.register_point("db.compact.copied")
_RENAMED = _fs.register_point("db.compact.renamed")


def compact(directory: Path) -> bool:
    """Compact the database of the repository whose ``.hangar`` is ``directory``; False if it is open in any process.

    Raises
    ------
    AccessError
        This user cannot write there.
    DiskFullError
        There is no space for the copy; nothing was changed.
    """
    path = _writable(directory)
    return registry.closed_for(path, lambda: _compact_alone(path))


def compact_open(directory: Path) -> bool:
    """Like :func:`compact`, also while this process has the database open; False if another process has it open.

    It is closed meanwhile, and opened again for its users here, whose transactions wait.
    """
    path = _writable(directory)
    return registry.away_for(path, lambda: _compact_alone(path))


def _writable(directory: Path) -> Path:
    check_format(directory)
    path = database_path(directory)
    if not (os.access(path, os.W_OK) and os.access(path / DATA_FILE, os.W_OK)):
        raise AccessError(f"this user cannot write to the database in {path}")
    return path


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
    """Refuse a damaged file: LMDB copies only pages that it can reach; the rest would be lost with the old file."""
    problems = check_pages(path / DATA_FILE)
    if problems:
        raise CorruptionError(f"{path / DATA_FILE} is damaged, and was not compacted: {'; '.join(problems)}")
