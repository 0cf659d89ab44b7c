"""Correct a single flipped bit: each bit is flipped in turn until the digest or checksum matches.

A wrong correction would have to match a 256-bit digest by chance, or a 64-bit checksum for rows without a digest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hangar.db.tables import Table, strip_checksum
from hangar.errors import CorruptionError

__all__ = ["BitFlipCorrector"]

MOST_BYTES: Final = 2**17
"""Maximum length of content to correct: the time grows with the square of the length."""
BUDGET: Final = 2**37
"""Maximum number of bytes that are hashed in all; takes a few minutes."""


class BitFlipCorrector:
    """Corrects single flipped bits.

    Parameters
    ----------
    budget
        Maximum number of bytes that all corrections together may hash.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._left = budget

    def correct(self, data: bytes, is_right: Callable[[bytearray], bool]) -> bytes | None:
        """``data`` with one bit flipped so that ``is_right`` holds; None if no bit does that, or ``data`` is too long."""
        cost = 8 * len(data) * (len(data) + 64)
        if len(data) > MOST_BYTES or cost > self._left:
            return None
        self._left -= cost
        buffer = bytearray(data)
        for at in range(len(buffer)):
            for bit in range(8):
                buffer[at] ^= 1 << bit
                if is_right(buffer):
                    return bytes(buffer)
                buffer[at] ^= 1 << bit
        return None

    def correct_row(self, table: Table, key: bytes, row: bytes) -> tuple[bytes, bytes] | None:
        """Key and payload of a row of a checked table with one bit of its key, payload or checksum corrected."""
        whole = self.correct(key + row, lambda data: _holds(table, bytes(data[: len(key)]), bytes(data[len(key) :])))
        if whole is None:
            return None
        return whole[: len(key)], strip_checksum(table, whole[: len(key)], whole[len(key) :])


def _holds(table: Table, key: bytes, row: bytes) -> bool:
    try:
        strip_checksum(table, key, row)
    except CorruptionError:
        return False
    return True
