"""Access tokens of a server: the token file, and comparing a token in constant time.

A token file has one token a line: ``NAME TOKEN [read|write]``; ``write`` is the default, ``#`` begins a comment. ``TOKEN``
is the token itself or ``sha256:`` and the hexadecimal SHA-256 digest of it, so that the file need not hold secrets. The
file is read again when it changes, so that tokens are added and revoked while the server runs. Messages name the line of
an error and never its content.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import threading
from pathlib import Path
from typing import Final, NamedTuple

from hangar import _fs
from hangar.errors import InvalidInputError

__all__ = ["Caller", "TokenFile", "parse_tokens"]

MIN_TOKEN_CHARACTERS: Final = 16
MAX_TOKEN_CHARACTERS: Final = 1_000
MAX_FILE_BYTES: Final = 2**20
_HASHED: Final = "sha256:"


class Caller(NamedTuple):
    """Who makes a call.

    Attributes
    ----------
    name
        Name of the token, for logs; empty on a server without tokens.
    may_write
        Whether this caller may push.
    """

    name: str
    may_write: bool


class _Entry(NamedTuple):
    digest: bytes
    caller: Caller


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def parse_tokens(text: str, source: str) -> list[_Entry]:
    """The tokens of a token file; ``source`` is its name, for messages.

    Raises
    ------
    InvalidInputError
        A line has another form, a token is too short, or no token is there.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        place = f"line {number} of {source}"
        if len(words) not in (2, 3):
            raise InvalidInputError(f"{place} is not of the form NAME TOKEN [read|write]")
        rights = words[2] if len(words) == 3 else "write"
        if rights not in ("read", "write"):
            raise InvalidInputError(f"{place}: the third word is read or write")
        entries.append(_Entry(_token_digest(words[1], place), Caller(words[0][:64], rights == "write")))
    if not entries:
        raise InvalidInputError(f"{source} has no token: nobody could connect")
    return entries


def _token_digest(word: str, place: str) -> bytes:
    if word.startswith(_HASHED):
        text = word.removeprefix(_HASHED)
        if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
            raise InvalidInputError(f"{place}: sha256: is followed by 64 hexadecimal digits")
        return bytes.fromhex(text)
    if not MIN_TOKEN_CHARACTERS <= len(word) <= MAX_TOKEN_CHARACTERS:
        raise InvalidInputError(
            f"{place}: a token has {MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS} characters; make one with "
            "`openssl rand -hex 32`"
        )
    return _digest(word)


class TokenFile:
    """The tokens of a file, which is read again when it changes.

    Parameters
    ----------
    path
        The token file.

    Raises
    ------
    InvalidInputError
        The file is not a token file, or other users may read it.
    StorageError
        The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._state = self._stamp()
        self._entries = self._read()

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = self.path.stat()
        except OSError as error:
            _fs.raise_for(error, "read", self.path)
        if stat.S_IMODE(status.st_mode) & 0o007:
            raise InvalidInputError(f"every user may read {self.path}: run `chmod o-rwx {self.path}`")
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> list[_Entry]:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            _fs.raise_for(error, "read", self.path)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidInputError(f"{self.path} is longer than {MAX_FILE_BYTES} bytes")
        try:
            return parse_tokens(data.decode(), os.fspath(self.path))
        except UnicodeDecodeError:
            raise InvalidInputError(f"{self.path} is not UTF-8 text") from None

    def refresh(self) -> bool:
        """Read the file again if it changed; True if it did. On an error the old tokens stay, and the error is raised."""
        with self._lock:
            stamp = self._stamp()
            if stamp == self._state:
                return False
            self._entries = self._read()
            self._state = stamp
            return True

    def caller(self, token: str) -> Caller | None:
        """Who has this token, or None. The time does not depend on the tokens."""
        given = _digest(token)
        found = None
        for digest, caller in self._entries:  # always all of them
            if hmac.compare_digest(given, digest):
                found = caller
        return found
