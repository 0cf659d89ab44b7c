"""Validation of names (branches, tags, remotes, columns) and sample keys.

Both are checked when they are written, and never when they are read, so that the rules can change and old repositories
stay readable.
"""

from __future__ import annotations

import operator
import re
import string
import unicodedata
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hangar import limits
from hangar.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["NameKind", "SampleKey", "check_key", "check_name", "good_text_keys", "normal_key", "plain_text"]

SampleKey: TypeAlias = int | str
NameKind = Literal["branch", "tag", "remote", "column"]

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{limits.MAX_NAME_CHARACTERS}}}\Z")
_ASCII_KEY = re.compile(rf"[A-Za-z0-9_./+-]{{1,{limits.MAX_KEY_CHARACTERS}}}\Z")
_KEY_PUNCTUATION = frozenset("_.-/+")
_ASCII_KEY_BYTES = (string.ascii_letters + string.digits + "_.-/+").encode()
_KEY_CATEGORIES = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd"))


def check_name(name: object, kind: NameKind) -> str:
    """Return ``name`` if it is a valid name of a ``kind``.

    A column or a remote has one part: 1 to 64 of the characters ``A-Z a-z 0-9 _ . -``, not ``.`` or ``..``. A branch
    or a tag has one or more such parts with ``/`` between them, at most 255 characters together, as in git.

    Raises
    ------
    InvalidInputError
        It is not valid.
    """
    text = name if isinstance(name, str) else ""
    paths = kind in ("branch", "tag")
    parts = text.split("/") if paths else [text]
    if not all(map(_NAME.match, parts)) or len(text) > limits.MAX_PATH_NAME_CHARACTERS:
        rule = f"use 1 to {limits.MAX_NAME_CHARACTERS} of the characters A-Z a-z 0-9 _ . -"
        if paths:
            rule += (
                f" in each part, / between the parts, and at most {limits.MAX_PATH_NAME_CHARACTERS} characters in all"
            )
        raise _unsuitable(kind, name, rule)
    if paths:
        _check_parts(text, parts, kind)
    elif text in (".", ".."):
        raise _unsuitable(kind, name, "it has a special meaning in paths")
    return _plain(text)


def _check_parts(name: str, parts: Sequence[str], kind: NameKind) -> None:
    """Refuse branches and tags that git refuses: those that look like options, hidden files, lock files or ranges."""
    if name == "HEAD":
        raise _unsuitable(kind, name, "HEAD stands for the branch to write")
    if ".." in name:
        raise _unsuitable(kind, name, "'..' stands for a range of commits")
    for part in parts:
        if part.startswith((".", "-")):
            raise _unsuitable(kind, name, f"no part may begin with {part[0]!r}")
        if part.endswith((".", ".lock")):
            raise _unsuitable(kind, name, "no part may end in '.' or '.lock'")


def _unsuitable(kind: NameKind, name: object, why: str) -> InvalidInputError:
    return InvalidInputError(f"{kind} name {name!r} is not suitable: {why}")


def _plain(text: str) -> str:
    """Convert a ``str`` subclass to ``str``. For a member of a text enumeration, ``str(text)`` would give its name."""
    return str.__str__(text)


def plain_text(value: object) -> str:
    """The text of ``value`` as a revision; for a member of a text enumeration its value."""
    return _plain(value) if isinstance(value, str) else str(value)


def _good_text_key(key: str) -> bool:
    if _ASCII_KEY.match(key):
        return True
    return 0 < len(key) <= limits.MAX_KEY_CHARACTERS and all(map(_good_character, key))


def good_text_keys(keys: Sequence[str]) -> bool:
    """Whether all of ``keys`` (at least one) are valid; checked as a batch."""
    if not min(map(len, keys)) or max(map(len, keys)) > limits.MAX_KEY_CHARACTERS:
        return False
    joined = "".join(keys)
    if joined.isascii():
        return not joined.encode().translate(None, _ASCII_KEY_BYTES)
    return all(map(_good_character, set(joined)))


def _good_character(character: str) -> bool:
    return character in _KEY_PUNCTUATION or unicodedata.category(character) in _KEY_CATEGORIES


def normal_key(key: Any) -> SampleKey | None:
    """Normalize ``key`` to an ``int`` or ``str``; None if its type or value can never be a sample key.

    ``numpy`` integers become ``int``; ``bool`` is not a key. The characters of a str are not checked.
    """
    if type(key) is str:
        return key
    if type(key) is int:
        return key if 0 <= key <= limits.MAX_INTEGER_KEY else None
    if isinstance(key, bool) or type(key).__name__ in ("bool", "bool_"):
        return None
    if isinstance(key, str):
        return _plain(key)
    try:
        number: int = operator.index(key)
    except TypeError:
        return None
    return number if 0 <= number <= limits.MAX_INTEGER_KEY else None


def check_key(key: int | str | np.integer[Any]) -> SampleKey:
    """Check ``key`` for a write, and return it as an ``int`` or ``str``.

    Raises
    ------
    InvalidInputError
        It is neither an integer from 0 to 2**64 - 1 nor a ``str`` of 1 to 255 letters, marks, digits (of any script)
        and ``_ . - / +``.
    """
    normal = normal_key(key)
    if normal is None or (type(normal) is str and not _good_text_key(normal)):
        raise InvalidInputError(
            f"key {key!r} is not suitable: use an int from 0 to 2**64 - 1, or a str of 1 to {limits.MAX_KEY_CHARACTERS} "
            "letters, digits and _ . - / + without white space"
        )
    return normal
