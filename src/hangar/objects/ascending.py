"""A list type for keys that were already checked to be sorted, so that a batch of a million keys is checked only once.

Code that makes sorted keys (for example from a sorted array of ints) returns :class:`Ascending`; code that needs them
calls :func:`as_ascending`, which checks only other sequences.
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
"""Number of keys whose lengths are checked together: their total is faster to compute than the longest."""


class Ascending(list[bytes]):
    """Encoded keys in ascending order, each once, each within the length limit. Never changed after construction."""

    __slots__ = ()


def as_ascending(keys: Sequence[bytes]) -> Ascending | None:
    """``keys`` as an :class:`Ascending` list, None if they do not ascend.

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
