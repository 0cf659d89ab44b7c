"""From files to sample keys: which files a folder holds, and what their samples are called.

A file is named by its path below the folder, without suffix; in a nested column the directory is the sample and the file its subsample; a file that is given alone by its base name. Characters that no key
may have become ``_``. A folder that was exported may tell keys of its own, see :mod:`hangar.external.keysfile`. Hidden files and folders are left out. A link is followed only to a file inside the folder, so that a folder
from a stranger cannot bring the host's own files into a repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hangar import limits
from hangar.errors import InvalidInputError, PathNotFoundError
from hangar.external.keysfile import Key, read_keys
from hangar.external.safe_io import file_error
from hangar.names import SampleKey, check_key

__all__ = ["Source", "find_files", "key_of", "key_text", "named_by"]

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+\Z")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")


class Source(NamedTuple):
    """A file to import."""

    path: str
    """Where it lies."""
    relative: str
    """Its path below the folder that is imported, with ``/`` between the parts."""
    key: Key | None = None
    """The key of its sample, where the folder tells one."""

    @property
    def folder(self) -> str:
        """The part of ``relative`` before the file's own name, with the slash, or ``''``."""
        return self.relative[: self.relative.rfind("/") + 1]


@lru_cache(maxsize=4096)
def _suits(character: str) -> bool:
    try:
        check_key(character)
    except InvalidInputError:
        return False
    return True


def key_text(name: str, path: str) -> str:
    """``name`` as a sample key: every character that no key may have becomes ``_``.

    Raises
    ------
    InvalidInputError
        It is empty or too long; the message names ``path``.
    """
    key = name if _PLAIN.match(name) else "".join(character if _suits(character) else "_" for character in name)
    if not 0 < len(key) <= limits.MAX_KEY_CHARACTERS:
        raise InvalidInputError(
            f"{path} cannot name a sample: a key has 1 to {limits.MAX_KEY_CHARACTERS} characters, this has {len(key)}"
        )
    return key


def key_of(name: str, path: str, *, nested: bool, integers: bool = False) -> Key:
    """The key that a file gives.

    Parameters
    ----------
    name
        Its path below the folder, without suffix.
    path
        The file, for messages.
    nested
        Whether it is a subsample: of the sample that its directory names.
    integers
        Whether a plain number becomes an integer key.

    Raises
    ------
    InvalidInputError
        It can give none.
    """
    if not nested:
        return _one_key(name, path, integers)
    sample, slash, subsample = name.rpartition("/")
    if not slash:
        raise InvalidInputError(
            f"{path} lies in no folder below the one imported: in a column with subsamples a folder is a sample, and a file "
            "in it a subsample"
        )
    return _one_key(sample, path, integers), _one_key(subsample, path, integers)


def _one_key(name: str, path: str, integers: bool) -> SampleKey:
    text = key_text(name, path)
    number = integers and _NUMBER.fullmatch(text) and int(text) <= limits.MAX_INTEGER_KEY
    return int(text) if number else text


def named_by(relative: str, *, nested: bool) -> Key | None:
    """The key that a file alone would give, by its path below the folder; None where it can give none."""
    source = Source(relative, relative)
    try:
        return key_of(source.folder + Path(relative).stem, relative, nested=nested)
    except InvalidInputError:
        return None


def find_files(path: str | os.PathLike[str]) -> list[Source]:
    """The files to import from ``path``, a file or a folder, sorted by their path.

    Raises
    ------
    PathNotFoundError
        There is nothing at ``path``.
    InvalidInputError
        A link in the folder leads out of it, or what it tells of keys cannot be understood.
    AccessError, StorageError
        A folder cannot be read.
    """
    top = os.fspath(path)
    if not os.path.lexists(top):
        raise PathNotFoundError(f"there is no file or folder {top}")
    if not Path(top).is_dir():
        return [Source(top, Path(top).name)]
    root = os.path.realpath(top)
    keys = read_keys(top)
    base = top.rstrip("/") or ""
    found = [Source(f"{base}/{relative}", relative, keys.get(relative)) for relative in _walk(top, root)]
    found.sort(key=lambda source: source.relative)
    return found


def _walk(top: str, root: str) -> Iterator[str]:
    """The paths of all files below ``top``, by a list of folders: a path may have more of them than Python can call functions."""
    folders = [(top, "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            raise file_error("read", folder, error) from error
        for entry in entries:
            relative = prefix + entry.name
            if entry.is_symlink():
                _check_link(entry.path, root)
                if not entry.is_dir():
                    yield relative
            elif entry.is_dir():
                folders.append((entry.path, f"{relative}/"))
            else:
                yield relative


def _check_link(path: str, root: str) -> None:
    target = os.path.realpath(path)
    if os.path.commonpath((root, target)) != root:
        raise InvalidInputError(f"{path} is a link that leads out of the folder: put the file itself there")
