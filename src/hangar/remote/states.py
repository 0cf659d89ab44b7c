"""States of blobs at a peer, which it is asked for before blobs are dropped or promises are corrected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["BlobState", "BlobStates"]


class BlobState(IntEnum):
    """State of a blob at a peer."""

    ABSENT = 0
    """It has no such blob."""
    HERE = 1
    """It has it."""
    DAMAGED = 2
    """What it has is not what the digest names."""
    PROMISED = 3
    """It does not have it; another repository has promised it to the peer."""
    LEAVING = 4
    """It has it, and is evicting data at the moment."""


@dataclass(frozen=True, slots=True)
class BlobStates:
    """The :class:`BlobState` of each of some blobs, u8, and their sizes, u64 little-endian (:data:`~hangar.remote.peer.ABSENT`: not there).

    Pages follow the order of the question without gaps. An empty one says that the peer is still reading.
    """

    states: bytes
    sizes: bytes
