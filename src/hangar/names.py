"""Validation of names and sample keys, where a user writes them.

Names (branches, tags, remotes, columns) are for people and for paths; keys name samples. Both are checked when they are
written and never when they are read back, so that a later, wider rule opens old repositories.
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

__all__ = ["NameKind", "SampleKey", "check_key", "check_name", "good_text_keys", "normal_key"]

SampleKey: TypeAlias = "int | str"
NameKind = Literal["branch", "tag", "remote", "column"]

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{limits.MAX_NAME_CHARACTERS}}}\Z")
_ASCII_KEY = re.compile(rf"[A-Za-z0-9_./+-]{{1,{limits.MAX_KEY_CHARACTERS}}}\Z")
_KEY_PUNCTUATION = frozenset("_.-/+")
_ASCII_KEY_BYTES = (string.ascii_letters + string.digits + "_.-/+").encode()
_KEY_CATEGORIES = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd"))


def check_name(name: object, kind: NameKind) -> str:
    """Return ``name`` when it can name a ``kind``.

    Raises
    ------
    InvalidInputError
        It is no ``str`` of 1 to 64 characters of ``A-Z a-z 0-9 _ . -``, or a branch or tag would be called ``HEAD``.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidInputError(
            f"{kind} name {name!r} is not suitable: use 1 to {limits.MAX_NAME_CHARACTERS} of the characters "
            "A-Z a-z 0-9 _ . -"
        )
    if name == "HEAD" and kind in ("branch", "tag"):
        raise InvalidInputError(f"{kind} name 'HEAD' is not suitable: it stands for the branch to write")
    return _plain(name)


def _plain(text: str) -> str:
    """A ``str`` of the characters of ``text``; ``str(text)`` is the name of a member where ``text`` is of an enumeration."""
    return str.__str__(text)


def _good_text_key(key: str) -> bool:
    if _ASCII_KEY.match(key):
        return True
    return 0 < len(key) <= limits.MAX_KEY_CHARACTERS and all(map(_good_character, key))


def good_text_keys(keys: Sequence[str]) -> bool:
    """Whether all of ``keys``, of which there is one at least, may be written; looked at together."""
    if not min(map(len, keys)) or max(map(len, keys)) > limits.MAX_KEY_CHARACTERS:
        return False
    joined = "".join(keys)
    if joined.isascii():
        return not joined.encode().translate(None, _ASCII_KEY_BYTES)
    return all(map(_good_character, set(joined)))


def _good_character(character: str) -> bool:
    return character in _KEY_PUNCTUATION or unicodedata.category(character) in _KEY_CATEGORIES


def normal_key(key: Any) -> SampleKey | None:
    """``key`` as the ``int`` or ``str`` that names a sample, or None where its type or value never can.

    ``numpy`` integers become ``int``; ``bool`` is no key. Only the form is looked at, not the characters.
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
    """Return ``key`` as an ``int`` or ``str`` that may be written.

    Raises
    ------
    InvalidInputError
        It is no integer of 0 to 2**64 - 1 and no ``str`` of 1 to 255 letters, marks, digits (of any script) and ``_ . - / +``.
    """
    normal = normal_key(key)
    if normal is None or (type(normal) is str and not _good_text_key(normal)):
        raise InvalidInputError(
            f"key {key!r} is not suitable: use an int from 0 to 2**64 - 1, or a str of 1 to {limits.MAX_KEY_CHARACTERS} "
            "letters, digits and _ . - / + without white space"
        )
    return normal
