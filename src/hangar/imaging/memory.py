"""Memory of batches of pixels, used again when nobody holds the batch any more.

A batch has many megabytes. New memory for each costs a page fault for each of its pages, and the kernel clears it first:
a twentieth of the time of decoding JPEGs into it.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["BatchMemory"]

_LEAST: Final = 2**20
"""Smaller arrays are ordinary ones."""
_MOST: Final = 2**26
"""Larger blocks are not kept."""
_KEPT: Final = 2
"""Number of blocks that are kept when nobody uses them."""

Block = npt.NDArray[np.uint8]


class BatchMemory:
    """Makes arrays of pixels; the memory of an array whose views are all gone is used for another one of its size."""

    def __init__(self) -> None:
        # Appending to a list and popping from it are atomic, so that a finalizer may run at any time and on any thread.
        self._free: list[Block] = []

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """New array with any content, as ``numpy.empty(shape, numpy.uint8)``."""
        size = math.prod(shape)
        if not _LEAST <= size <= _MOST:
            return np.empty(shape, np.uint8)
        block = self._taken(size)
        # Views of this array keep it alive, not the block, because the base of a view is the first array over foreign memory.
        owner = np.frombuffer(block.data, np.uint8)
        key, free, owners = id(owner), self._free, _owners

        def give_back(_: Any) -> None:
            owners.pop(key, None)
            if len(free) < _KEPT:
                free.append(block)

        owners[key] = weakref.ref(owner, give_back)
        return owner.reshape(shape)

    def _taken(self, size: int) -> Block:
        while True:
            try:
                block = self._free.pop()
            except IndexError:
                return np.empty(size, np.uint8)
            if len(block) == size:
                return block

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchMemory, ()


_owners: dict[int, weakref.ref[Any]] = {}
"""Weak references whose callback gives memory back."""
