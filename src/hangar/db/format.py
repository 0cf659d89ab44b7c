"""The format file of a repository: its format version and required features.

``format`` has the line ``hangar <version>`` and then one line for each required feature. Writing it is the last,
durable step of creating a repository, so its presence means "initialized". It is read before anything else is opened:
a repository of a newer format is refused without any change to its files. The versions are defined in the format
specification.
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
    "recorded_version",
    "require_format",
    "write_format",
]

FILE_NAME: Final = "format"
FORMAT_VERSION: Final = 0
KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
"""Features that this version of Hangar supports and that a repository may require."""

VERSION_KEY: Final = b"format version"
"""Key of the copy of the version in the table ``meta``: tells a damaged format file from a newer version."""

_MAX_BYTES: Final = 4096
_FIRST_LINE: Final = re.compile(rb"hangar (0|[1-9][0-9]{0,8})\n")
_FEATURE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")


def write_format(directory: Path, features: frozenset[str] = frozenset()) -> None:
    """Write the format file durably, which makes the repository in ``directory`` (its ``.hangar``) initialized."""
    lines = [f"hangar {FORMAT_VERSION}", *sorted(features)]
    _fs.replace_file(directory / FILE_NAME, "".join(f"{line}\n" for line in lines).encode("ascii"))


def check_format(directory: Path, *, lenient: bool = False) -> frozenset[str]:
    """Check the format file, and return the features that the repository in ``directory`` requires.

    Parameters
    ----------
    lenient
        Accept a lost or damaged file if the database has a version that is known here, for fsck.

    Raises
    ------
    RepositoryNotFoundError
        There is no format file: there is no repository, or its creation was interrupted.
    UnsupportedVersionError
        A newer version of Hangar wrote it.
    CorruptionError
        The file is not a format file.
    """
    try:
        return _check(directory)
    except (CorruptionError, RepositoryNotFoundError):
        recorded = recorded_version(directory) if lenient else None
        if recorded is None or recorded > FORMAT_VERSION:
            raise
        return frozenset()


def _check(directory: Path) -> frozenset[str]:
    path = directory / FILE_NAME
    try:
        with _fs.retried(lambda: path.open("rb")) as stream:
            text = stream.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        require_format(directory)
        raise RepositoryNotFoundError(
            f"no initialized repository in {directory}: run `hangar init`, or choose another directory"
        ) from None
    except IsADirectoryError:
        raise _damaged(path, "it is a directory") from None
    except OSError as error:
        _fs.raise_for(error, "read", path)
    first = _FIRST_LINE.match(text)
    if first is None or len(text) > _MAX_BYTES:
        raise _damaged(path, "it is empty" if not text else "it is not the format file of a repository")
    version = int(first.group(1))
    if version > FORMAT_VERSION:
        recorded = recorded_version(directory)
        if recorded is not None and recorded <= FORMAT_VERSION:
            raise _damaged(path, f"it has version {version}, but the database has version {recorded}")
        raise UnsupportedVersionError(
            f"{directory} has repository format {version}, and this version of Hangar supports up to {FORMAT_VERSION}: "
            "install a newer Hangar"
        )
    return _check_features(path, text[first.end() :])


def _damaged(path: Path, detail: str) -> CorruptionError:
    return CorruptionError(f"{path} is damaged, {detail}: run `hangar fsck --repair`, which writes it again")


def lost_format(directory: Path) -> str | None:
    """Message for a ``directory`` that has a database but no format file; None in all other cases.

    A new repository is moved into place together with its format file, so the file was lost later.
    """
    if _fs.exists(directory / FILE_NAME) or not _fs.exists(directory / "db" / "data.mdb"):
        return None
    return (
        f"{directory / FILE_NAME} is missing, but the database of the repository exists: run `hangar fsck --repair`, which "
        "writes it again"
    )


def require_format(directory: Path) -> None:
    """Raise RepositoryNotFoundError if ``directory`` has a database but no format file."""
    lost = lost_format(directory)
    if lost is not None:
        raise RepositoryNotFoundError(lost) from None


def recorded_version(directory: Path) -> int | None:
    """The version recorded in the database of ``directory`` (the ``.hangar``); None if it cannot be read.

    Changes nothing and takes no lock.
    """
    database = directory / "db"
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
        raise _damaged(path, "it is not the format file of a repository")
    unknown = sorted(set(features) - KNOWN_FEATURES)
    if unknown:
        raise UnsupportedVersionError(
            f"{path.parent} requires features that this version of Hangar does not have ({', '.join(unknown)}): "
            "install a newer Hangar"
        )
    return frozenset(features)
