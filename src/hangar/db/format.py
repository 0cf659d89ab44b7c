"""The format file of a repository: which version of Hangar's format it has, and what a program must know to open it.

``format`` holds the line ``hangar <version>`` and then one line for each required feature. Writing it is the last, durable step of
making a repository, so its presence means "initialized". It is read before anything else is opened: a repository of a newer
format is refused without a byte of it changed. What the version means is in the format specification.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hangar import _fs
from hangar.errors import CorruptionError, RepositoryNotFoundError, UnsupportedVersionError

__all__ = ["FILE_NAME", "FORMAT_VERSION", "KNOWN_FEATURES", "check_format", "require_format", "write_format"]

FILE_NAME: Final = "format"
FORMAT_VERSION: Final = 0
KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
"""Features a repository may require that this version knows."""

_MAX_BYTES: Final = 4096
_FIRST_LINE: Final = re.compile(rb"hangar (0|[1-9][0-9]{0,8})\n")
_FEATURE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")


def write_format(directory: Path, features: frozenset[str] = frozenset()) -> None:
    """Write the format file durably: the repository in ``directory`` (its ``.hangar``) is initialized."""
    lines = [f"hangar {FORMAT_VERSION}", *sorted(features)]
    _fs.replace_file(directory / FILE_NAME, "".join(f"{line}\n" for line in lines).encode("ascii"))


def check_format(directory: Path) -> frozenset[str]:
    """Return the features that the repository in ``directory`` requires, all of them known.

    Raises
    ------
    RepositoryNotFoundError
        There is no format file: no repository, or one whose making was interrupted.
    UnsupportedVersionError
        A newer version of Hangar wrote it.
    CorruptionError
        The file is not a format file.
    """
    path = directory / FILE_NAME
    try:
        with _fs.retried(lambda: path.open("rb")) as stream:
            text = stream.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        require_format(directory)
        raise RepositoryNotFoundError(
            f"no initialized repository in {directory}: run `hangar init`, or look for it elsewhere"
        ) from None
    except OSError as error:
        _fs.raise_for(error, "read", path)
    first = _FIRST_LINE.match(text)
    if first is None or len(text) > _MAX_BYTES:
        raise CorruptionError(f"{path} is not the format file of a repository: restore it from a copy")
    version = int(first.group(1))
    if version > FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"{directory} has repository format {version}, and this version of Hangar knows up to {FORMAT_VERSION}: "
            "install a newer Hangar"
        )
    return _check_features(path, text[first.end() :])


def require_format(directory: Path) -> None:
    """Raise RepositoryNotFoundError where ``directory`` holds a database and no format file, which is written last."""
    if (directory / "db" / "data.mdb").exists() and not (directory / FILE_NAME).exists():
        raise RepositoryNotFoundError(
            f"{directory / FILE_NAME} is missing: run `hangar init` if the making of the repository was interrupted, and "
            "restore the file from a copy if there was data in it"
        ) from None


def _check_features(path: Path, text: bytes) -> frozenset[str]:
    try:
        *features, rest = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        features, rest = [], "not text"
    if rest or not all(map(_FEATURE.match, features)):
        raise CorruptionError(f"{path} is not the format file of a repository: restore it from a copy")
    unknown = sorted(set(features) - KNOWN_FEATURES)
    if unknown:
        raise UnsupportedVersionError(
            f"{path.parent} requires what this version of Hangar does not know ({', '.join(unknown)}): install a newer Hangar"
        )
    return frozenset(features)
