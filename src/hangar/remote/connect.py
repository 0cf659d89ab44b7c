"""Connections to remotes: a server, a repository on this machine, or a bundle file, by the form of the address."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hangar.errors import InvalidInputError, InvalidStateError, NotFoundError, UnreachableError
from hangar.refs.remotes import RemoteRow, check_address
from hangar.remote.address import parse_address
from hangar.remote.identity import repository_id
from hangar.remote.peer import Hello, Peer
from hangar.stores import Stores

__all__ = ["Settings", "check_settings", "connected", "full_address", "is_local"]

_DIRECTORY: Final = ".hangar"
_PATHS: Final = ("ca", "token-file")
_KNOWN: Final = (*_PATHS, "token-env", "insecure")


@dataclass(frozen=True, slots=True)
class Settings:
    """Credentials of one call, instead of those that the settings of the remote name."""

    token: str | None = None
    username: str = ""
    password: str = ""


def check_settings(
    given: Mapping[str, str | os.PathLike[str] | bool | None], before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The settings of a remote as they are stored: those ``before``, changed by those that are given.

    A path is made absolute. None, False and an empty text remove a setting.

    Raises
    ------
    InvalidInputError
        A setting is unknown, or its value is not text.
    """
    stored = dict(before or {})
    for name, value in given.items():
        key = name.replace("_", "-")
        if key not in _KNOWN:
            raise InvalidInputError(f"a remote has no setting {name!r}: the settings are {', '.join(_KNOWN)}")
        stored.pop(key, None)
        if not value:
            continue
        if value is not True and not isinstance(value, (str, os.PathLike)):
            raise InvalidInputError(f"setting {name!r} of a remote is text, not {type(value).__name__}")
        text = "true" if value is True else os.fspath(value)
        if key in _PATHS:
            text = str(Path(text).expanduser().absolute())
        if not text.isprintable():
            raise InvalidInputError(f"setting {name!r} of a remote is printable text, not {text!r}")
        stored[key] = text
    return stored


def is_local(address: str) -> bool:
    """Whether an address is a path on this machine."""
    return str(address).startswith(("/", "./", "../", "~", "file://")) or address in (".", "..")


def full_address(address: str, directory: Path | None = None) -> str:
    """An address as it is stored: a path on this machine is made absolute, from ``directory`` or the current one.

    Raises
    ------
    InvalidInputError
        It is neither the address of a server nor a path.
    """
    if not is_local(address):
        parse_address(check_address(address))
        return address
    path = Path(address.removeprefix("file://")).expanduser()
    return str(((directory or Path.cwd()) / path).resolve())


@contextmanager
def connected(
    name: str, row: RemoteRow, credentials: Settings | None = None, *, other_than: Path | None = None
) -> Iterator[Any]:
    """Connect to a remote for the time of the block, and agree on a version of the protocol.

    Parameters
    ----------
    other_than
        The ``.hangar`` of a repository that the remote must not be.

    Raises
    ------
    InvalidStateError
        (a ``RuntimeError``) it is the repository ``other_than``, by another path or through a server.
    UnreachableError
        (a ``ConnectionError``) it does not answer.
    UnsupportedVersionError
        It speaks no version of the protocol that is known here.
    """
    with _opened(name, row, credentials or Settings()) as peer:
        welcome = peer.hello(Hello(software=_software()))
        if other_than is not None and welcome.repository == repository_id(other_than):
            raise InvalidStateError(
                f"remote {name!r} is this repository itself, and has nothing that is not here: remove it with "
                f"`hangar remote remove {name}`"
            )
        yield peer


def _software() -> str:
    from hangar._version import __version__

    return f"hangar {__version__}"


@contextmanager
def _opened(name: str, row: RemoteRow, credentials: Settings) -> Iterator[Peer]:
    if not is_local(row.address):
        from hangar.remote.dial import connect_server

        with connect_server(
            row.address,
            row.settings,
            token=credentials.token,
            username=credentials.username,
            password=credentials.password,
        ) as peer:
            yield peer
        return
    path = Path(row.address.removeprefix("file://")).expanduser()
    if path.is_file():
        from hangar.remote.bundle_reader import BundleReader

        with BundleReader(path) as bundle:
            yield bundle  # type: ignore[misc]  # it refuses the first call of a push
        return
    directory = path / _DIRECTORY if (path / _DIRECTORY).is_dir() else path
    if not directory.is_dir():
        raise UnreachableError(f"remote {name!r} cannot be reached: there is no repository in {path}")
    from hangar.remote.service import Service

    try:
        stores = Stores(directory.resolve())
    except NotFoundError as error:
        raise UnreachableError(f"remote {name!r} cannot be reached: {error}") from None
    try:
        yield Service(stores)
    finally:
        stores.close()
