"""Which sample an entry of a nested column belongs to.

An encoded key of a nested column begins with its sample: 9 bytes for an int (tag ``10``), and up to the first ``00`` for a
str (tag ``20``). Trees count samples by these prefixes and know no more of keys than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hangar.errors import CorruptionError

__all__ = ["count_samples", "sample_of"]

_INT_TAG: Final = 0x10
_STR_TAG: Final = 0x20
_INT_BYTES: Final = 9


def sample_of(key: bytes) -> bytes:
    """The part of ``key`` that names its sample.

    Raises
    ------
    CorruptionError
        ``key`` cannot stand in a nested column.
    """
    tag = key[0] if key else None
    end = _INT_BYTES if tag == _INT_TAG else key.find(b"\x00") + 1 if tag == _STR_TAG else 0
    if not 0 < end < len(key):
        raise CorruptionError(f"key {key[:16].hex()} has no place in a nested column")
    return key[:end]


def count_samples(keys: Sequence[bytes]) -> int:
    """Distinct samples among ``keys``."""
    return len(set(map(sample_of, keys)))
