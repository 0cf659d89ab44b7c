"""Encoded batches: values in canonical form, and their cells for the tree.

A *cell* is an inline value, if the value is small enough, or the digest of a blob. The schema defines which of the
two it is and how it is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from hangar.digest import Header
from hangar.gathering import Rows

__all__ = ["CellBatch", "Encoded", "Rows"]


class Encoded(msgspec.Struct, frozen=True):
    """A batch of values in canonical form: either ``rows`` with one header, or ``buffers`` with one header each."""

    headers: Sequence[Header]
    buffers: Sequence[bytes | memoryview]
    rows: Rows | None = None

    def __len__(self) -> int:
        return len(self.buffers) if self.rows is None else len(self.rows)


class CellBatch(msgspec.Struct, frozen=True):
    """The cells of a batch of values, some of which may become blobs.

    Attributes
    ----------
    blobs
        The values that become blobs, in their order.
    inline
        The cells of inline values, with None for each blob; None as a whole if all values become blobs.
    digest_cell
        Makes the cell of a blob from its digest.
    """

    blobs: Encoded
    inline: list[bytes | None] | Rows | None
    digest_cell: Callable[[bytes], bytes]

    def filled(self, digests: Sequence[bytes] | Rows) -> Sequence[bytes] | Rows:
        """The cells of all values, given the digests of ``blobs``."""
        inline = self.inline
        if inline is None:
            return digests
        if isinstance(inline, np.ndarray):
            return inline
        rest = iter(digests)
        return [self.digest_cell(next(rest)) if cell is None else cell for cell in inline]
