"""Parts of a stored blob that can be read and verified alone.

A location has one checksum, that of the whole blob. So a blob is read whole once. From then on the parts have checksums of
their own: those that the stored form has, or those that were computed from the verified bytes and are kept in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from hangar.backends.file import BlobFile

__all__ = ["Parts"]


class Parts(ABC):
    """The parts of one stored blob.

    Attributes
    ----------
    file_id
        The file it is in.
    small
        Whether a part is much smaller than the blob.
    """

    __slots__ = ("file_id", "small")

    file_id: int
    small: bool

    @abstractmethod
    def read(self, file: BlobFile, start: int, stop: int, out: npt.NDArray[np.uint8]) -> None:
        """Read the bytes from ``start`` to ``stop`` of the blob to their place in ``out``, and verify them if :meth:`verified` was called.

        ``out`` has the size of the blob; the bytes around them change too.

        Raises
        ------
        CorruptionError
            They are damaged.
        """

    @abstractmethod
    def verified(self, data: npt.NDArray[np.uint8]) -> None:
        """Note that ``data``, the whole blob as it was read, has the checksum of its location."""
