"""Keys that are known to ascend: a tree is made of nothing else, and to look at a million keys twice costs more than to remember.

What makes keys says so where it knows (ints are compared as an array); what needs it asks :func:`as_ascending`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import lt
from typing import Final

from hangar import limits
from hangar.errors import InvalidInputError

__all__ = ["Ascending", "as_ascending"]

_BLOCK: Final = 64
"""Keys whose lengths are looked at together: the length of all is faster to have than that of the longest, and mostly enough."""


class Ascending(list[bytes]):
    """Encoded keys in ascending order, each once, none of them too long for a tree. Never changed after it was made."""

    __slots__ = ()


def as_ascending(keys: Sequence[bytes]) -> Ascending | None:
    """``keys`` as what they are known to be, None where they do not ascend.

    Raises
    ------
    InvalidInputError
        One of them is too long.
    """
    if isinstance(keys, Ascending):
        return keys
    if not all(map(lt, keys, islice(keys, 1, None))):
        return None
    for at in range(0, len(keys), _BLOCK):
        block = keys[at : at + _BLOCK]
        if len(b"".join(block)) > limits.MAX_KEY_BYTES and max(map(len, block)) > limits.MAX_KEY_BYTES:
            raise InvalidInputError(f"a key is longer than {limits.MAX_KEY_BYTES} bytes when encoded")
    return Ascending(keys)
