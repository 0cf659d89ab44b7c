"""What a read asks for, and what has come of it: whoever fetches the blobs may hand over their bytes at once."""

from __future__ import annotations

from typing import Protocol

from hangar.backends.base import Rows
from hangar.blobs.index import Digests, Positions
from hangar.digest import Header

__all__ = ["AskedRows", "Resolve"]


class AskedRows:
    """Blobs of one header that a read needs as rows.

    Parameters
    ----------
    header
        Header of all of them.
    nbytes
        Size of each.

    Attributes
    ----------
    count
        Number of blobs that were handed over.
    """

    __slots__ = ("_parts", "count", "header", "nbytes")

    def __init__(self, header: Header, nbytes: int) -> None:
        self.header, self.nbytes = header, nbytes
        self.count = 0
        self._parts: list[tuple[Positions, Rows]] = []

    def hand_over(self, places: Positions, rows: Rows) -> None:
        """Hand over blobs whose digests were verified: their places among the digests asked for, each once, and their bytes."""
        self._parts.append((places, rows))
        self.count += len(places)

    def put_into(self, out: Rows, positions: Positions) -> None:
        """Copy the blobs to their positions in a batch, of which ``positions`` has that of each digest asked for."""
        for places, rows in self._parts:
            out[positions[places]] = rows


class Resolve(Protocol):
    """Tries to fetch blobs that are not here; returns their bytes. What it stored is found by the next look-up."""

    def __call__(self, digests: Digests, *, asked: AskedRows | None = None) -> int:
        """Fetch blobs, by their digests: uint8, shape (n, 32). Their bytes may be handed over to ``asked``."""
