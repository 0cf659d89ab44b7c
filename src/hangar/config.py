"""Configuration of the user and of one repository: who commits, and how much memory caches take.

Two INI files of one form: the user's, ``$XDG_CONFIG_HOME/hangar/config`` (else ``~/.config/hangar/config``), and the repository's,
``.hangar/config``, which wins. A key is ``SECTION.NAME``; the known ones are in :data:`KEYS`, others in a file are left alone, as
are comments and order. A file is replaced whole and durably; a value either reads back exactly as it was set or is refused.
Nothing here is read before it is asked for, and nothing is kept: another process may change the files at any time.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from hangar import _fs
from hangar.errors import InvalidInputError, InvalidStateError, RepositoryNotFoundError

if TYPE_CHECKING:
    from configparser import RawConfigParser

__all__ = [
    "KEYS",
    "Config",
    "ConfigFile",
    "ConfigValue",
    "Person",
    "Scope",
    "check_value",
    "parse_bytes",
    "user_config_path",
]

Scope: TypeAlias = 'Literal["user", "repository"]'

KEYS: Final = ("cache.chunks", "user.email", "user.name")
"""Every key that can be set, sorted."""
MAX_VALUE_BYTES: Final = 1_000
"""In UTF-8; a commit holds names a little longer."""
_FORBIDDEN_CATEGORIES: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Control characters, lone surrogates, line and paragraph separators."""


class Person(NamedTuple):
    """Who did something."""

    name: str
    email: str


class ConfigValue(NamedTuple):
    """A value, and which of the two files it comes from."""

    value: str
    scope: Scope


def check_key(key: str) -> str:
    """Return ``key`` when it is one of :data:`KEYS`.

    Raises
    ------
    InvalidInputError
        It is not.
    """
    if key in KEYS:
        return key
    import difflib  # slow to import, and needed for a typing error alone

    near = difflib.get_close_matches(str(key), KEYS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(KEYS)}"
    raise InvalidInputError(f"no configuration key {key!r}: {hint}")


def check_value(key: str, value: str) -> str:
    """Return ``value`` when a file can hold it and give it back.

    Raises
    ------
    InvalidInputError
        It is no str, too long, begins or ends with white space, or holds control characters or line ends.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"{key} is a str, not {type(value).__name__}")
    if key == "user.name" and not value.strip():
        raise InvalidInputError("user.name is empty: commits are made in somebody's name")
    if value != value.strip():
        raise InvalidInputError(f"{key} {value!r} begins or ends with white space")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise InvalidInputError(f"{key} {value!r} holds a control character, a line end or half a character")
    if key == "cache.chunks":
        parse_bytes(key, value)
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise InvalidInputError(f"{key} is longer than {MAX_VALUE_BYTES} bytes")
    return value


def parse_bytes(key: str, value: str) -> int:
    """A number of bytes as people write it: ``"1000000"``, ``"64k"``, ``"64M"``, ``"2G"`` (powers of 1,024), as git takes it.

    Raises
    ------
    InvalidInputError
        It is no such number.
    """
    found = re.fullmatch(r"(\d{1,12})([kmg]?)", value.lower(), re.ASCII)
    if found is None:
        raise InvalidInputError(f"{key} is a number of bytes, such as 1000000, 64M or 2G, not {value!r}")
    return int(found[1]) << 10 * " kmg".index(found[2] or " ")


def user_config_path() -> Path | None:
    """Where the user's configuration lies, present or not; None for a user without a home directory."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if base.is_absolute():  # the XDG specification has relative paths ignored
        return base / "hangar" / "config"
    try:
        return Path.home() / ".config" / "hangar" / "config"
    except RuntimeError:
        return None


class ConfigFile:
    """One configuration file.

    Parameters
    ----------
    path
        The file; it need not exist.
    """

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def items(self) -> dict[str, str]:
        """Every key in the file, known or not, with its value.

        Raises
        ------
        InvalidInputError
            The file cannot be understood.
        StorageError
            The file cannot be read.
        """
        return self._parse(self._text())

    def get(self, key: str) -> str | None:
        """Value of ``key``, or None. Raises what :meth:`items` does, and ``InvalidInputError`` for an unknown key."""
        return self.items().get(check_key(key))

    def set(self, key: str, value: str) -> None:
        """Set ``key``, durably. The file and its directories are made when missing.

        Raises
        ------
        InvalidInputError
            An unknown key, a value that could not be read back, or a file that cannot be understood.
        StorageError
            The file cannot be read or written.
        """
        check_value(check_key(key), value)
        text = self._text()
        before = self._parse(text)
        if before.get(key) != value:
            self._write(_with(text, key, value), before | {key: value})

    def unset(self, key: str) -> bool:
        """Remove ``key``; False when the file does not have it. Raises what :meth:`set` does."""
        check_key(key)
        text = self._text()
        before = self._parse(text)
        if key not in before:
            return False
        self._write(_with(text, key, None), {other: value for other, value in before.items() if other != key})
        return True

    def _text(self) -> str:
        try:
            return _fs.retried(self.path.read_bytes).decode("utf-8-sig")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"{self.path} is no UTF-8 text ({error.reason}): correct it, or move it away"
            ) from None
        except OSError as error:
            _fs.raise_for(error, "read", self.path)

    def _parse(self, text: str) -> dict[str, str]:
        from configparser import Error

        parser = _parser()
        try:
            parser.read_string(text)
        except Error as error:
            reason = str(error).replace("'<string>'", str(self.path)).replace("\n", " ")
            raise InvalidInputError(
                f"{self.path} cannot be understood: {reason}; correct it, or move it away"
            ) from None
        return {f"{section}.{name}": value for section in parser.sections() for name, value in parser.items(section)}

    def _write(self, text: str, expected: dict[str, str]) -> None:
        # The text was edited, not made anew: what configparser reads back decides, not what the edit meant to do.
        try:
            good = self._parse(text) == expected
        except InvalidInputError:
            good = False
        if not good:
            raise InvalidInputError(f"{self.path} is written in a way that cannot be edited here: change it by hand")
        path = self.path.resolve()  # a link (to a directory of dot files) stays one
        missing = [directory for directory in path.parents if not directory.exists()]
        for directory in reversed(missing):
            _fs.make_directory(directory)
        _fs.replace_file(path, text.encode())


class Config:
    """The configuration that holds in a repository, or for the user where there is none.

    Parameters
    ----------
    directory
        The ``.hangar`` directory, or None.
    """

    __slots__ = ("_repository", "_user")

    def __init__(self, directory: Path | None = None) -> None:
        self._repository = None if directory is None else ConfigFile(directory / "config")
        path = user_config_path()
        self._user = None if path is None else ConfigFile(path)

    def get(self, key: str) -> str | None:
        """Value of ``key``, the repository's before the user's; None when neither has it."""
        for file in (self._repository, self._user):
            value = None if file is None else file.get(key)
            if value is not None:
                return value
        check_key(key)
        return None

    def items(self) -> dict[str, ConfigValue]:
        """Every key that is set, sorted, with the value that holds and where it comes from."""
        found: dict[str, ConfigValue] = {}
        if self._user is not None:
            found.update((key, ConfigValue(value, "user")) for key, value in self._user.items().items())
        if self._repository is not None:
            found.update((key, ConfigValue(value, "repository")) for key, value in self._repository.items().items())
        return dict(sorted(found.items()))

    def file(self, scope: Scope) -> ConfigFile:
        """The file of one scope, to set and unset keys.

        Raises
        ------
        InvalidStateError
            There is no such file: no repository, or no home directory.
        """
        file = self._repository if scope == "repository" else self._user
        if file is None:
            lacking = "no repository here" if scope == "repository" else "no home directory: set XDG_CONFIG_HOME"
            raise InvalidStateError(f"the {scope} configuration has no place: {lacking}")
        return file

    def person(self) -> Person:
        """Who commits here.

        Raises
        ------
        InvalidStateError
            The name or the email is set nowhere, or the name is empty.
        RepositoryNotFoundError
            The repository is not where it was.
        """
        found: dict[str, str] = {}
        if self._repository is not None and not _fs.exists(self._repository.path.parent):
            raise RepositoryNotFoundError(
                f"the repository in {self._repository.path.parent} was moved or removed: open it again where it is now"
            )
        for file in (self._repository, self._user):
            if file is not None and not ("user.name" in found and "user.email" in found):
                found = file.items() | found
        name, email = found.get("user.name"), found.get("user.email")
        if not name or email is None:
            key = "user.email" if name else "user.name"
            raise InvalidStateError(f"{key} is not set: run `hangar config {key} VALUE`")
        return Person(name, email)


def _parser() -> RawConfigParser:
    from configparser import RawConfigParser

    # The section that gives defaults to all others is named by a character no section can have, so there is none.
    return RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), inline_comment_prefixes=None, default_section="\n"
    )


def _with(text: str, key: str, value: str | None) -> str:
    """``text`` with ``key`` set to ``value``, or without it; every other line stays as it is."""
    section, name = key.split(".")
    line = [] if value is None else [f"{name} = {value}"]
    lines = text.removesuffix("\n").split("\n") if text else []
    headers = [i for i, one in enumerate(lines) if one.startswith("[")]
    start = next((i for i in headers if lines[i].startswith(f"[{section}]")), None)
    if start is None:
        return "\n".join([*lines, f"[{section}]", *line]) + "\n"
    end = next((i for i in headers if i > start), len(lines))
    option = re.compile(rf"\s*{re.escape(name)}\s*=", re.IGNORECASE)
    at = next((i for i in range(start + 1, end) if option.match(lines[i])), None)
    if at is None:
        at = start + 1
        return "\n".join([*lines[:at], *line, *lines[at:]]) + "\n"
    after = at + 1
    while after < end and lines[after][:1] in (" ", "\t") and lines[after].strip():
        after += 1  # the rest of a value of several lines
    return "\n".join([*lines[:at], *line, *lines[after:]]) + "\n"
