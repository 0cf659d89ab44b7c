"""Read files that a user names. Pipes and devices are refused, because reading them could block for ever."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from hangar import limits
from hangar.errors import AccessError, DiskFullError, HangarError, InvalidInputError, PathNotFoundError, StorageError

__all__ = ["file_error", "open_input", "read"]

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def file_error(action: str, path: str | os.PathLike[str], error: OSError) -> HangarError:
    """Convert an ``OSError`` into the Hangar error for a failed ``action`` (such as ``'read'``) on ``path``."""
    text = f"cannot {action} {os.fspath(path)}: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        return PathNotFoundError(text)
    if isinstance(error, PermissionError):
        return AccessError(text)
    return DiskFullError(text) if error.errno in _FULL else StorageError(text)


@contextmanager
def open_input(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a regular file for reading.

    Raises
    ------
    PathNotFoundError, AccessError, StorageError
        The file cannot be opened.
    InvalidInputError
        It is not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise file_error("read", path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)  # before os.fdopen, which has an error of its own for a folder
        raise InvalidInputError(f"{os.fspath(path)} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read(path: str | os.PathLike[str], limit: int = limits.MAX_TEXT_BYTES) -> bytes:
    """The bytes of a file, to store them in a column of images, audio, video or bytes: ``photos["cat"] = hangar.read("cat.jpg")``.

    Parameters
    ----------
    path
        The file.
    limit
        Maximum size in bytes. A larger file is refused without reading it.

    Raises
    ------
    PathNotFoundError, AccessError, StorageError
        (``OSError``) the file cannot be read.
    InvalidInputError
        (``ValueError``) it is not a regular file, or is larger than ``limit``.
    """
    with open_input(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InvalidInputError(f"{os.fspath(path)} is {size:,} bytes long: the limit for one value is {limit:,}")
        try:
            return file.read(limit)
        except OSError as error:
            raise file_error("read", path, error) from error
