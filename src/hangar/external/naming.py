"""List the files of a folder, and derive sample keys from their paths.

A key is the path of the file relative to the folder, without suffix. In a nested column the directory is the sample and
the file its subsample. The key of a single file is its base name. Characters that are invalid in keys become ``_``. An
exported folder may store keys of its own, see :mod:`hangar.external.keysfile`. Hidden files and folders are skipped.
Links are followed only to targets inside the folder, so that an untrusted folder cannot bring other files of the host
into a repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hangar import limits
from hangar.errors import HangarError, InvalidInputError, PathNotFoundError
from hangar.external.keysfile import Key, read_keys
from hangar.external.safe_io import file_error
from hangar.names import SampleKey, check_key

__all__ = ["Source", "find_files", "integer_key", "key_of", "key_text", "named_by"]

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+\Z")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")


class Source(NamedTuple):
    """A file to import."""

    path: str
    """Path of the file."""
    relative: str
    """Path relative to the imported folder, with ``/`` between the parts."""
    key: Key | None = None
    """Key of its sample if the keys file of the folder has one."""

    @property
    def folder(self) -> str:
        """The directory part of ``relative`` with a slash at its end, or ``''``."""
        return self.relative[: self.relative.rfind("/") + 1]


@lru_cache(maxsize=4096)
def _is_valid(character: str) -> bool:
    try:
        check_key(character)
    except InvalidInputError:
        return False
    return True


def key_text(name: str, path: str) -> str:
    """Convert ``name`` to a sample key: invalid characters become ``_``.

    Raises
    ------
    InvalidInputError
        The name is empty or too long; the message names ``path``.
    """
    key = name if _PLAIN.match(name) else "".join(character if _is_valid(character) else "_" for character in name)
    if not 0 < len(key) <= limits.MAX_KEY_CHARACTERS:
        raise InvalidInputError(
            f"{path} cannot name a sample: a key has 1 to {limits.MAX_KEY_CHARACTERS} characters, this has {len(key)}"
        )
    return key


def key_of(name: str, path: str, *, nested: bool, integers: bool = False) -> Key:
    """Derive the key of the sample in a file.

    Parameters
    ----------
    name
        Path relative to the folder, without suffix.
    path
        Path of the file, for messages.
    nested
        Whether the column is nested: the directory is the sample, and the file its subsample.
    integers
        Whether a name of digits alone becomes an integer key.

    Raises
    ------
    InvalidInputError
        The name cannot be a key.
    """
    if not nested:
        return _one_key(name, path, integers)
    sample, slash, subsample = name.rpartition("/")
    if not slash:
        raise InvalidInputError(
            f"{path} is not in a subfolder of the imported folder: "
            "in a column with subsamples a folder is a sample, and a file in it a subsample"
        )
    return _one_key(sample, path, integers), _one_key(subsample, path, integers)


def _one_key(name: str, path: str, integers: bool) -> SampleKey:
    text = key_text(name, path)
    return integer_key(text) if integers else text


def integer_key(text: str) -> SampleKey:
    """``text`` as an integer key if it is the decimal form of one, else unchanged."""
    number = _NUMBER.fullmatch(text) and int(text) <= limits.MAX_INTEGER_KEY
    return int(text) if number else text


def named_by(relative: str, *, nested: bool) -> Key | None:
    """The key derived from the path of a file relative to the folder; None if the path cannot be a key."""
    source = Source(relative, relative)
    try:
        return key_of(source.folder + Path(relative).stem, relative, nested=nested)
    except InvalidInputError:
        return None


def find_files(
    path: str | os.PathLike[str], on_fault: Callable[[str, HangarError], object] | None = None
) -> list[Source]:
    """The files to import from ``path``, a file or a folder, sorted by their path.

    Parameters
    ----------
    path
        The file or folder.
    on_fault
        Called with a path below ``path`` that cannot be used, and the error about it; default: the error is raised.

    Raises
    ------
    PathNotFoundError
        ``path`` does not exist.
    InvalidInputError
        A link in the folder leads out of it, or its keys file is invalid.
    AccessError, StorageError
        A folder cannot be read.
    """
    top = os.fspath(path)
    if not os.path.lexists(top):
        raise PathNotFoundError(f"there is no file or folder {top}")
    if not Path(top).is_dir():
        return [Source(top, Path(top).name)]
    if is_store(top):
        return [Source(top, Path(top.rstrip("/")).name)]
    root = os.path.realpath(top)
    keys = read_keys(top)
    base = top.rstrip("/") or ""
    found = [Source(f"{base}/{relative}", relative, keys.get(relative)) for relative in _walk(top, root, on_fault)]
    found.sort(key=lambda source: source.relative)
    return found


def _walk(top: str, root: str, on_fault: Callable[[str, HangarError], object] | None) -> Iterator[str]:
    """Yield the relative paths of all files in ``top``.

    Iterative: a deep path would exceed Python's recursion limit.
    """
    folders = [(top, "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            fault = file_error("read", folder, error)
            if on_fault is None:
                raise fault from error
            on_fault(folder, fault)
            continue
        for entry in entries:
            relative = prefix + entry.name
            if entry.is_symlink():
                if not _leads_inside(entry.path, root):
                    outside = InvalidInputError(
                        f"{entry.path} is a link that leads out of the folder: put the file itself there"
                    )
                    if on_fault is None:
                        raise outside
                    on_fault(entry.path, outside)
                elif not entry.is_dir():
                    yield relative
            elif entry.is_dir() and is_store(entry.path):
                yield relative
            elif entry.is_dir():
                folders.append((entry.path, f"{relative}/"))
            else:
                yield relative


def is_store(path: str) -> bool:
    """Whether ``path`` is a folder that is one file to an import: a zarr store."""
    if not path.rstrip("/").lower().endswith(".zarr"):
        return False
    return any(Path(path, name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _leads_inside(path: str, root: str) -> bool:
    return os.path.commonpath((root, os.path.realpath(path))) == root
