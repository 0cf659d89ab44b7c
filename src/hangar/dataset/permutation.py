"""Keyed permutations of 0 to n - 1 and keyed random numbers. Each value is computed from its position alone.

Up to 65,536 numbers are sorted by a keyed hash. More go through a Feistel network with modular addition on two factors of
about the same size, whose product is n or slightly more. A result outside of the range goes through the network again
(cycle walking; J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Shuffling large data by such networks is from R. Mitchell et al., "Bandwidth-Optimal
Random Shuffling for GPUs", 2022. The hash is the finalizer of SplitMix64 (G. Steele et al., 2014). Only integer
operations are used, so that an order is the same on every machine and in every version: golden orders are in
``tests/dataset/test_permutation.py``.

It is made for shuffling, not for cryptography.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from math import isqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Numbers", "hashed", "key_of", "permutation", "uniform_below"]

Numbers = npt.NDArray[np.uint64]

SORTED_MOST: Final = 2**16
"""Up to this many numbers are permuted by sorting."""
_ROUNDS: Final = 6
_MULTIPLIERS: Final = {32: (0x85EBCA6B, 0xC2B2AE35), 64: (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)}
"""Of the round function, by word size: those of MurmurHash3's finalizer (A. Appleby, 2011), and of SplitMix64's."""


def key_of(*parts: int | str) -> int:
    """A key of 64 bits made of numbers and names, in order."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8, person=b"hangar-order").digest(), "little")


def hashed(numbers: Numbers, key: int) -> Numbers:
    """Hash of each number: uint64, of the shape of ``numbers``."""
    mixed: Numbers = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed += np.uint64(key)
    _mix(mixed)
    return mixed


def _mix(mixed: Numbers) -> None:
    """SplitMix64's finalizer, in place."""
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)


def uniform_below(numbers: Numbers, key: int, bounds: Any) -> Numbers:
    """For each number a random integer from 0 to ``bounds - 1``, by its hash; bounds are below 2**32.

    The high half of the hash is multiplied by the bound (D. Lemire, "Fast Random Integer Generation in an Interval",
    2019); the bias is at most bound / 2**32.
    """
    scaled: Numbers = (hashed(numbers, key) >> np.uint64(32)) * np.asarray(bounds, np.uint64)
    scaled >>= np.uint64(32)
    return scaled


def permutation(count: int, key: int) -> Callable[[Numbers], Numbers]:
    """The permutation of 0 to ``count - 1`` that belongs to ``key``.

    Returns
    -------
    callable
        From positions, uint64 of shape (m,), each below ``count``, to numbers of the same shape.
    """
    if count <= SORTED_MOST:
        order = np.argsort(hashed(np.arange(count, dtype=np.uint64), key), kind="stable").astype(np.uint64)
        return lambda positions: order[positions]
    return _Feistel(count, key)


class _Feistel:
    """Permutation of many numbers. Up to 2**32 of them are computed in 32 bits, twice as fast as in 64."""

    def __init__(self, count: int, key: int) -> None:
        low, high = _factors(count)
        self._word: type[np.unsignedinteger[Any]] = (
            np.uint32 if max(low, high) <= 2**16 and low * high <= 2**32 else np.uint64
        )
        word, width = self._word, 8 * np.dtype(self._word).itemsize
        self._count = count
        self._first, self._second = map(word, _MULTIPLIERS[width])
        self._shift, self._half = word(width // 2 - 3), word(width // 2)
        self._low, self._high = word(low), word(high)
        self._keys = hashed(np.arange(_ROUNDS, dtype=np.uint64), key).astype(word)

    def __call__(self, positions: Numbers) -> Numbers:
        numbers = self._once(positions.astype(self._word))
        outside = np.flatnonzero(numbers >= self._count)
        while len(outside):
            walked = self._once(numbers[outside])
            numbers[outside] = walked
            outside = outside[walked >= self._count]
        return numbers.astype(np.uint64)

    def _once(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        high, low = np.divmod(numbers, self._low)
        for index in range(0, _ROUNDS, 2):
            low = self._added(low, high, self._low, index)
            high = self._added(high, low, self._high, index + 1)
        high *= self._low
        high += low
        return high

    def _added(self, half: npt.NDArray[Any], other: npt.NDArray[Any], bound: Any, index: int) -> npt.NDArray[Any]:
        """One round: ``half`` plus a hash of ``other``, modulo ``bound``."""
        mixed: npt.NDArray[Any] = other ^ self._keys[index]
        mixed *= self._first
        mixed ^= mixed >> self._shift
        mixed *= self._second
        mixed >>= self._half
        mixed *= bound
        mixed >>= self._half
        mixed += half
        # What is below the bound wraps around to a very large number.
        reduced: npt.NDArray[Any] = np.minimum(mixed, mixed - bound)
        return reduced


def _factors(count: int) -> tuple[int, int]:
    """Two factors of about the same size whose product is ``count`` or little more."""
    root = isqrt(count)
    return min(((low, -(-count // low)) for low in range(root, root - 64, -1)), key=lambda pair: pair[0] * pair[1])
