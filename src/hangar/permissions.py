"""Permission bits of the files of a repository: which of them were lost, and restoring them.

Hangar gives the owner of a file permission to read and write it, and for a directory to list it too. Copies that were made
with other rights lack them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Final

__all__ = ["lacking", "lost_permission", "restore"]

_DIRECTORY: Final = 0o700
_FILE: Final = 0o600
_READ_ONLY: Final = 0o500


def lost_permission(path: str | PathLike[str]) -> str:
    """Advice for a file of a repository that belongs to this user, who may nevertheless not use it; else empty."""
    own = Path(os.fsdecode(os.fspath(path)))
    lost = False
    if ".hangar" in own.parts:
        for place in (own, *own.parents):
            # A directory that may not be entered hides what is in it.
            with contextlib.suppress(OSError):
                lost = os.lstat(place).st_uid == os.geteuid()
                break
    return ". If the permissions were lost: `hangar fsck --repair` restores them" if lost else ""


def lacking(directory: Path, *, writing: bool) -> Iterator[Path]:
    """Files and directories of this user from ``directory`` downwards whose owner lacks a permission.

    A directory is given before its content, which can be listed only after :func:`restore`.

    Parameters
    ----------
    writing
        Whether the permission to write counts; without it a repository can be read.
    """
    needed = (_DIRECTORY, _FILE) if writing else (_READ_ONLY, _FILE & _READ_ONLY)
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode):
        return
    if _lacks(status, needed[0]):
        yield directory
    try:
        entries = list(os.scandir(directory))
    except PermissionError:
        return
    for entry in entries:
        try:
            found = entry.stat(follow_symlinks=False)
        except (FileNotFoundError, PermissionError):
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from lacking(Path(entry.path), writing=writing)
        elif stat.S_ISREG(found.st_mode) and _lacks(found, needed[1]):
            yield Path(entry.path)


def _lacks(status: os.stat_result, needed: int) -> bool:
    return status.st_uid == os.geteuid() and bool(needed & ~status.st_mode)


def restore(path: Path) -> None:
    """Give the owner of a file or directory the permissions that Hangar gives."""
    mode = path.lstat().st_mode
    path.chmod(stat.S_IMODE(mode) | (_DIRECTORY if stat.S_ISDIR(mode) else _FILE))
