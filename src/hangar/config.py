"""Configuration of the user and of a repository: name and email of the committer, and cache sizes.

There are two INI files: the user's, ``$XDG_CONFIG_HOME/hangar/config`` (else ``~/.config/hangar/config``), and the
repository's, ``.hangar/config``, which has precedence. A key is ``SECTION.NAME``; the known keys are in :data:`KEYS`.
Other keys, comments and order in a file are preserved. A file is replaced atomically and durably; a value that would
not read back exactly as it was set is refused. Files are read on every access and never cached, because another
process may change them at any time.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from hangar import _fs
from hangar.errors import InvalidInputError, InvalidStateError, RepositoryNotFoundError, StorageError

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

KEYS: Final = ("cache.chunks", "remote.tls-ca", "user.email", "user.name")
"""Every key that can be set, sorted."""
MAX_VALUE_BYTES: Final = 1_000
"""Maximum length of a value in UTF-8; the limit for names in commits is slightly higher."""
_FORBIDDEN_CATEGORIES: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories of refused characters: control characters, lone surrogates, line and paragraph separators."""


class Person(NamedTuple):
    """Name and email of a user."""

    name: str
    email: str


class ConfigValue(NamedTuple):
    """A value, and the file (scope) that it comes from."""

    value: str
    scope: Scope


def check_key(key: str) -> str:
    """Return ``key`` if it is one of :data:`KEYS`.

    Raises
    ------
    InvalidInputError
        It is not one of them.
    """
    if key in KEYS:
        return key
    import difflib  # slow to import, and needed for a typing error alone

    near = difflib.get_close_matches(str(key), KEYS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(KEYS)}"
    raise InvalidInputError(f"no configuration key {key!r}: {hint}")


def check_value(key: str, value: str) -> str:
    """Return ``value`` if it can be stored in a file and reads back unchanged.

    Raises
    ------
    InvalidInputError
        It is not a str, is too long, begins or ends with white space, or has control characters or line ends.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"{key} is a str, not {type(value).__name__}")
    if key == "user.name" and not value.strip():
        raise InvalidInputError("user.name is empty: a commit needs the name of its author")
    if value != value.strip():
        raise InvalidInputError(f"{key} {value!r} begins or ends with white space")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise InvalidInputError(f"{key} {value!r} has a control character, a line end or a lone surrogate")
    if key == "cache.chunks":
        parse_bytes(key, value)
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise InvalidInputError(f"{key} is longer than {MAX_VALUE_BYTES} bytes")
    return value


def parse_bytes(key: str, value: str) -> int:
    """Parse a number of bytes such as ``"1000000"``, ``"64k"``, ``"64M"`` or ``"2G"``.

    The letters are powers of 1,024, as in git; ``"64MB"``, ``"64 MB"`` and ``"64MiB"`` are ``"64M"``.

    Raises
    ------
    InvalidInputError
        It is not such a number.
    """
    found = re.fullmatch(r"(\d{1,12}) ?(?:([kmg])(?:i?b)?|b)?", value.lower(), re.ASCII)
    if found is None:
        raise InvalidInputError(f"{key} is a number of bytes, such as 1000000, 64M or 2GB, not {value!r}")
    return int(found[1]) << 10 * " kmg".index(found[2] or " ")


def user_config_path() -> Path | None:
    """Path of the user's configuration file, whether it exists or not; None for a user without a home directory."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if base.is_absolute():  # the XDG specification says to ignore relative paths
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
            The file cannot be parsed.
        StorageError
            The file cannot be read.
        """
        return self._parse(self._text())

    def get(self, key: str) -> str | None:
        """Value of ``key``, or None. Raises what :meth:`items` does, and ``InvalidInputError`` for an unknown key."""
        return self.items().get(check_key(key))

    def set(self, key: str, value: str) -> None:
        """Set ``key``, durably. A missing file and missing directories are created.

        Raises
        ------
        InvalidInputError
            An unknown key, a value that would not read back unchanged, or a file that cannot be parsed.
        StorageError
            The file cannot be read or written.
        """
        check_value(check_key(key), value)
        text = self._text()
        before = self._parse(text)
        if before.get(key) != value:
            self._write(_with(text, key, value), before | {key: value})

    def unset(self, key: str) -> bool:
        """Remove ``key``; False if the file does not have it. Raises the same errors as :meth:`set`."""
        check_key(key)
        text = self._text()
        before = self._parse(text)
        if key not in before:
            return False
        self._write(_with(text, key, None), {other: value for other, value in before.items() if other != key})
        return True

    def replace(self, values: Mapping[str, str]) -> None:
        """Replace the whole file by these keys and values, in one step. Raises the same errors as :meth:`set`."""
        text = ""
        for key, value in values.items():
            text = _with(text, check_key(key), check_value(key, value))
        self._write(text, dict(values))

    def _text(self) -> str:
        try:
            return _fs.retried(self.path.read_bytes).decode("utf-8-sig")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{self.path} is not UTF-8 text ({error.reason}): {self._remedy}") from None
        except IsADirectoryError:
            raise StorageError(f"cannot read {self.path}, which is a directory: {self._remedy}") from None
        except OSError as error:
            _fs.raise_for(error, "read", self.path)

    @property
    def _remedy(self) -> str:
        if self.path.parent.name == ".hangar":
            return "correct it, or run `hangar fsck --repair`, which writes it again"
        return "correct it, or move it away"

    def _parse(self, text: str) -> dict[str, str]:
        from configparser import Error

        parser = _parser()
        try:
            parser.read_string(text)
        except Error as error:
            reason = str(error).replace("'<string>'", str(self.path)).replace("\n", " ")
            raise InvalidInputError(f"{self.path} cannot be parsed: {reason}; {self._remedy}") from None
        return {f"{section}.{name}": value for section in parser.sections() for name, value in parser.items(section)}

    def _write(self, text: str, expected: dict[str, str]) -> None:
        # The text was edited in place, so parse the result and compare it with the expected values before writing.
        try:
            good = self._parse(text) == expected
        except InvalidInputError:
            good = False
        if not good:
            raise InvalidInputError(f"{self.path} has a form that cannot be edited automatically: edit it by hand")
        path = self.path.resolve()  # keep a symbolic link (for example to a directory of dot files)
        missing = [directory for directory in path.parents if not directory.exists()]
        for directory in reversed(missing):
            _fs.make_directory(directory)
        _fs.replace_file(path, text.encode())


class Config:
    """The effective configuration: that of a repository and the user, or of the user alone.

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
        """Value of ``key``, from the repository's file or else the user's; None if neither has it."""
        for file in (self._repository, self._user):
            value = None if file is None else file.get(key)
            if value is not None:
                return value
        check_key(key)
        return None

    def items(self) -> dict[str, ConfigValue]:
        """Every key that is set, sorted, with its effective value and its scope."""
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
            raise InvalidStateError(f"there is no {scope} configuration file: {lacking}")
        return file

    def person(self) -> Person:
        """Name and email of the committer.

        Raises
        ------
        InvalidStateError
            The name or the email is not set, or the name is empty.
        RepositoryNotFoundError
            The repository was moved or removed.
        """
        found: dict[str, str] = {}
        if self._repository is not None and not _fs.exists(self._repository.path.parent):
            raise RepositoryNotFoundError(
                f"the repository in {self._repository.path.parent} was moved or removed: open it at its new path"
            )
        for file in (self._repository, self._user):
            if file is not None and not ("user.name" in found and "user.email" in found):
                found = file.items() | found
        name, email = found.get("user.name"), found.get("user.email")
        if not name or email is None:
            key = "user.email" if name else "user.name"
            raise InvalidStateError(f"{key} is not set: {self.lost() or f'run `hangar config {key} VALUE`'}")
        return Person(name, email)

    def lost(self) -> str:
        """Message for a repository whose configuration file is missing, empty or cut; else empty."""
        if self._repository is None:
            return ""
        path = self._repository.path
        try:
            text = path.read_bytes()
            if text.endswith(b"\n"):
                return ""
            state = "cut" if text else "empty"
        except FileNotFoundError:
            state = "missing"
        except OSError as error:
            _fs.raise_for(error, "read", path)
        return f"{path} is {state}. Run `hangar fsck --repair`, which writes it again"


def _parser() -> RawConfigParser:
    from configparser import RawConfigParser

    # Disable the default section by giving it a name that no section can have.
    return RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), inline_comment_prefixes=None, default_section="\n"
    )


def _with(text: str, key: str, value: str | None) -> str:
    """Return ``text`` with ``key`` set to ``value``, or removed (None); all other lines are unchanged."""
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
        after += 1  # continuation lines of a value
    return "\n".join([*lines[:at], *line, *lines[after:]]) + "\n"
