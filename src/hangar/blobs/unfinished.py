"""Unfinished pushes that a repository keeps on disk, so that they can be continued: what they take, and when they go.

A push has files in the quarantine that begin with its name: its objects, the journal of its blobs (``journal``) and
parts of large blobs; the blobs themselves are in blob files that no row names. All of it may go at any time when nobody
has the objects locked. It goes when nothing was received for as many hours as the journal says, or for lack of space.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hangar import _fs
from hangar.blobs.catalog import blob_file_path
from hangar.blobs.journal import QUARANTINE_DIRECTORY, Entries, read_journal
from hangar.errors import HangarError

__all__ = ["JOURNAL", "OBJECTS", "PART", "PUSH", "UnfinishedPush", "awaited_files", "unfinished_pushes"]

PUSH: Final = "push-"
"""The name of a push is this, and its id in hexadecimal digits."""
OBJECTS: Final = ".objects"
JOURNAL: Final = ".blobs"
PART: Final = ".part"
_PUSH: Final = re.compile(r"(push-[0-9a-f]{32}(?:-[0-9a-f]{8})?)\..*")
_HOURS: Final = 72
"""How long a push is kept whose journal cannot be read."""


@dataclass(frozen=True, slots=True)
class UnfinishedPush:
    """A push that may be continued.

    Attributes
    ----------
    name
        The first part of the names of its files in the quarantine.
    files
        These files.
    blob_files
        Blob files with what it received.
    nbytes
        Bytes of all of them.
    changed
        When something was received last, in seconds since 1970.
    hours
        So long it is kept after that.
    """

    name: str
    files: tuple[Path, ...]
    blob_files: tuple[Path, ...]
    nbytes: int
    changed: float
    hours: int

    @property
    def expired(self) -> bool:
        """Whether it is kept no longer."""
        return self.changed + 3_600 * self.hours < time.time()


def unfinished_pushes(directory: Path) -> list[UnfinishedPush]:
    """The pushes that a repository keeps, also those in progress; the one that changed first comes first.

    Parameters
    ----------
    directory
        The ``.hangar`` of the repository.
    """
    place = directory / QUARANTINE_DIRECTORY
    names: dict[str, list[Path]] = {}
    for name in _fs.list_directory(place):
        match = _PUSH.fullmatch(name)
        if match is not None:
            names.setdefault(match[1], []).append(place / name)
    found = [_look_at(directory, name, files) for name, files in names.items()]
    return sorted(found, key=lambda one: (one.changed, one.name))


def _look_at(directory: Path, name: str, files: list[Path]) -> UnfinishedPush:
    entries = read_journal(directory / QUARANTINE_DIRECTORY / f"{name}{JOURNAL}", blobs=False)
    blob_files = tuple(_blob_files(directory, entries))
    nbytes, changed = 0, 0.0
    for path in (*files, *blob_files):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            nbytes += status.st_size
            changed = max(changed, status.st_mtime)
    return UnfinishedPush(
        name, tuple(files), blob_files, nbytes, changed or time.time(), _HOURS if entries is None else entries.hours
    )


def _blob_files(directory: Path, entries: Entries | None) -> Iterator[Path]:
    for file_id, tag in ({} if entries is None else entries.files).items():
        with contextlib.suppress(HangarError):
            yield blob_file_path(directory, file_id, tag)


def awaited_files(directory: Path) -> set[str]:
    """Names of the blob files that unfinished pushes hold, which are not orphans."""
    return {path.name for push in unfinished_pushes(directory) if not push.expired for path in push.blob_files}
