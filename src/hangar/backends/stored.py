"""A large blob as it is stored: pieces that are decoded one by one, and a description of them.

A repository sends such a blob without decoding it, and one that stores blobs in the same form keeps the pieces as they came.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

__all__ = ["StoredForm"]


class StoredForm(ABC):
    """How one blob is stored.

    Attributes
    ----------
    description
        The description in bytes.
    sizes
        Stored size of each piece.
    piece_bytes
        Decoded size of a piece, with padding.
    """

    __slots__ = ("description", "piece_bytes", "sizes")

    description: bytes
    sizes: tuple[int, ...]
    piece_bytes: int

    @abstractmethod
    def span(self, number: int) -> tuple[int, int]:
        """Where a piece begins and ends in the blob."""

    @abstractmethod
    def decode(
        self, number: int, stored: npt.NDArray[np.uint8], memory: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """Verify and decode a piece into ``memory``, which has ``piece_bytes``; return its bytes of the blob, a part of the memory.

        Raises
        ------
        CorruptionError
            The stored bytes are not those that the description names, or do not decode to a piece.
        """

    def parts(self, first: int, most_stored: int, most: int) -> tuple[int, int]:
        """Where a part ends that begins with piece ``first`` and has at most so many stored and decoded bytes: the piece, and its stored bytes.

        A part has one piece at least.
        """
        last, nbytes = first, 0
        begin = self.span(first)[0]
        while last < len(self.sizes) and (
            last == first or (nbytes + self.sizes[last] <= most_stored and self.span(last)[1] - begin <= most)
        ):
            nbytes += self.sizes[last]
            last += 1
        return last, nbytes
