"""Backend ``10``: arrays in append-only files that are mapped into memory.

For small and medium arrays of fixed and variable shape: a batch read is one gather at the speed of memory, and nothing is decoded.
Arrays are stored as they are; where they compress well and are large, HDF5 takes less disk.
"""

from __future__ import annotations

from typing import ClassVar

from hangar.backends.append import RawBackend
from hangar.backends.base import Capabilities
from hangar.digest import NDARRAY

__all__ = ["Memmap"]


class Memmap(RawBackend):
    """Arrays, uncompressed."""

    tag: ClassVar[str] = "10"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({NDARRAY}), raw=True)
