"""Translate LMDB errors to Hangar errors, so that no ``lmdb.Error`` reaches a caller."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Final

import lmdb

from hangar import _fs, limits
from hangar.errors import (
    AccessError,
    CorruptionError,
    DiskFullError,
    HangarError,
    InvalidInputError,
    InvalidStateError,
    ResourceLimitError,
    StorageError,
    UnsupportedVersionError,
)
from hangar.permissions import lost_permission

__all__ = ["translate"]

_DAMAGE: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.PageFullError,
    lmdb.CursorFullError,
    lmdb.IncompatibleError,
    lmdb.BadTxnError,
    lmdb.NotFoundError,
)
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_NUMBERS: Final = (*_FULL, errno.EIO, *_fs.SHORTAGES)
_LITTLE_SPACE: Final = 2**20


def translate(error: lmdb.Error, path: Path) -> HangarError:
    """The Hangar error for an LMDB error on the database in ``path``; raise it ``from`` the original."""
    code = _code(error)
    if isinstance(error, lmdb.BadValsizeError):
        return InvalidInputError("a key of a row must have 1 to 511 bytes")
    if isinstance(error, lmdb.VersionMismatchError):
        return UnsupportedVersionError(f"the database in {path} was written by another version of LMDB")
    if isinstance(error, _DAMAGE):
        return CorruptionError(f"the database in {path} is damaged ({error}): run `hangar fsck`")
    if isinstance(error, lmdb.ReadonlyError):
        return AccessError(f"the database in {path} cannot be written: {error}{lost_permission(path)}")
    if isinstance(error, lmdb.DiskError) or code in _FULL or (code == errno.EIO and _nearly_full(path)):
        return DiskFullError(
            f"no space left for the database in {path}. Nothing acknowledged was lost: free space and try again"
        )
    if code in _fs.SHORTAGES or isinstance(error, lmdb.MemoryError):
        return ResourceLimitError(
            f"the database in {path} cannot be used now: {error}. Nothing is damaged: close files or programs, or raise "
            "the limit (`ulimit -n`, `ulimit -v`), and try again"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return ResourceLimitError(
            f"the database in {path} has the maximum number of simultaneous readers "
            f"({limits.DATABASE_MAX_READERS}). Nothing is damaged: try again when fewer processes read"
        )
    if "closed/deleted/dropped" in str(error):
        return InvalidStateError("this transaction has ended")
    return StorageError(f"the database in {path} failed: {error}")


def _code(error: lmdb.Error) -> int:
    """The ``errno`` of an LMDB error: an attribute since lmdb 3, before that only in the text."""
    code = getattr(error, "code", None)
    if code is not None:
        return int(code)
    return next((number for number in _NUMBERS if os.strerror(number) in str(error)), 0)


def _nearly_full(path: Path) -> bool:
    """Whether a short write, which LMDB reports as an I/O error, was caused by a full disk."""
    try:
        space = os.statvfs(path)
        size = (path / "data.mdb").stat().st_size
    except OSError:
        return False
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return space.f_bavail * space.f_frsize < _LITTLE_SPACE or (
        limit != resource.RLIM_INFINITY and size + _LITTLE_SPACE > limit
    )
