"""The id by which a repository knows itself again when it is reached as a remote."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from blake3 import blake3

from hangar import _fs
from hangar.remote.peer import ID_BYTES

__all__ = ["repository_id"]

_FILE: Final = "format"
"""A file of every repository that is written once."""


def repository_id(directory: Path) -> bytes:
    """The id of a repository: the same by whatever path or address it is reached, another one for a copy of it.

    It is derived from the place of a file on the disk and the time at which it came there, which no copy shares.

    Parameters
    ----------
    directory
        The ``.hangar`` of the repository.
    """
    path = directory / _FILE
    try:
        found = path.stat()
    except OSError as error:
        _fs.raise_for(error, "read", path)
    return blake3(f"hangar repository {found.st_ino} {found.st_ctime_ns}".encode()).digest()[:ID_BYTES]
