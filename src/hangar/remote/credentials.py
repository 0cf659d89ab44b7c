"""Access tokens of the user, for connecting to servers.

A remote may name a file that holds nothing but the token (``token-file``), or an environment variable (``token-env``). Else the environment variable ``HANGAR_TOKEN`` has precedence. The credentials file is ``credentials`` beside the user's
configuration file, or the one that ``HANGAR_CREDENTIALS`` names. It has one server a line, ``HOST:PORT TOKEN``; ``HOST``
alone stands for any port. A file that other users may read is refused. No message contains a token.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hangar import _fs
from hangar.config import user_config_path
from hangar.errors import AccessError, InvalidInputError
from hangar.remote.address import Address

__all__ = ["credentials_path", "find_token"]

TOKEN_VARIABLE: Final = "HANGAR_TOKEN"
FILE_VARIABLE: Final = "HANGAR_CREDENTIALS"
MAX_FILE_BYTES: Final = 2**20


def credentials_path() -> Path | None:
    """Path of the credentials file, whether it exists or not; None for a user without a home directory."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named).expanduser()
    config = user_config_path()
    return None if config is None else config.with_name("credentials")


def find_token(address: Address, settings: Mapping[str, str]) -> str | None:
    """The token for a server, or None; ``settings`` are those of the remote.

    Raises
    ------
    AccessError
        Other users may read the credentials file.
    InvalidInputError
        The credentials file has a line of another form.
    StorageError
        It cannot be read.
    """
    if "token-file" in settings:
        named = Path(settings["token-file"]).expanduser()
        return check_token(_text(named, needed=True).strip(), os.fspath(named))
    variable = settings.get("token-env", TOKEN_VARIABLE)
    given = os.environ.get(variable)
    if given:
        return check_token(given, f"the environment variable {variable}")
    path = credentials_path()
    if path is None:
        return None
    found: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise InvalidInputError(f"line {number} of {path} is not of the form HOST:PORT TOKEN")
        found[words[0].removeprefix("grpcs://").removeprefix("grpc://")] = check_token(
            words[1], f"line {number} of {path}"
        )
    return found.get(address.target) or found.get(address.host)


def check_token(token: str, source: str) -> str:
    """Return ``token`` if it can be sent: 1 to 1,000 visible ASCII characters."""
    if not (0 < len(token) <= 1_000 and token.isascii() and token.isprintable() and " " not in token):
        raise InvalidInputError(f"the token of {source} is not 1 to 1,000 visible ASCII characters")
    return token


def _text(path: Path, *, needed: bool = False) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise AccessError(f"other users may read {path}, which holds your tokens: run `chmod 600 {path}`")
            return file.read(MAX_FILE_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        if needed:
            _fs.raise_for(error, "read", path)
        return ""
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text") from None
    except AccessError:
        raise
    except OSError as error:
        _fs.raise_for(error, "read", path)
