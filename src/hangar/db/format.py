"""The format file of a repository: which version of Hangar's format it has, and what a program must know to open it.

``format`` holds the line ``hangar <version>`` and then one line for each required feature. Writing it is the last, durable step of
making a repository, so its presence means "initialized". It is read before anything else is opened: a repository of a newer
format is refused without a byte of it changed. What the version means is in the format specification.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

import lmdb

from hangar import _fs, limits
from hangar.db.structure import check_roots
from hangar.db.tables import META, strip_checksum
from hangar.errors import CorruptionError, RepositoryNotFoundError, UnsupportedVersionError

__all__ = [
    "FILE_NAME",
    "FORMAT_VERSION",
    "KNOWN_FEATURES",
    "VERSION_KEY",
    "check_format",
    "lost_format",
    "require_format",
    "write_format",
]

FILE_NAME: Final = "format"
FORMAT_VERSION: Final = 0
KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
"""Features a repository may require that this version knows."""

VERSION_KEY: Final = b"format version"
"""Key in the table ``meta`` under which the version is repeated, so that a damaged format file is not taken for a newer one."""

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
        recorded = _recorded_version(directory / "db")
        if recorded is not None and recorded <= FORMAT_VERSION:
            raise CorruptionError(
                f"{path} is damaged: it says version {version}, and the database beside it has version {recorded}. Restore it, or "
                f"write the line `hangar {recorded}` into it"
            )
        raise UnsupportedVersionError(
            f"{directory} has repository format {version}, and this version of Hangar knows up to {FORMAT_VERSION}: "
            "install a newer Hangar"
        )
    return _check_features(path, text[first.end() :])


def lost_format(directory: Path) -> str | None:
    """What to say of a ``directory`` that holds a database and no format file; None where it does not.

    A repository is made elsewhere and moved into place with its format file, so there was one.
    """
    if _fs.exists(directory / FILE_NAME) or not _fs.exists(directory / "db" / "data.mdb"):
        return None
    return (
        f"{directory / FILE_NAME} is missing, and the database of a repository lies beside it: restore the file from a copy, or "
        f"write the line `hangar {FORMAT_VERSION}` into it"
    )


def require_format(directory: Path) -> None:
    """Raise RepositoryNotFoundError where ``directory`` holds a database and no format file."""
    lost = lost_format(directory)
    if lost is not None:
        raise RepositoryNotFoundError(lost) from None


def _recorded_version(database: Path) -> int | None:
    """The version that the database itself says it has; None where it cannot be asked. Nothing is changed, and nothing locked."""
    row: bytes | None = None
    with contextlib.suppress(CorruptionError, OSError, lmdb.Error, ValueError):
        check_roots(database / "data.mdb")
        with lmdb.open(
            os.fsencode(database), readonly=True, lock=False, max_dbs=limits.DATABASE_MAX_TABLES
        ) as environment:
            table = environment.open_db(META.name.encode(), create=False)
            with environment.begin() as transaction:
                row = transaction.get(VERSION_KEY, None, table)
        return None if row is None else int(strip_checksum(META, VERSION_KEY, row))
    return None


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
