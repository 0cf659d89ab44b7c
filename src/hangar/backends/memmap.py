"""Backend ``10``: uncompressed arrays in append-only, memory-mapped files.

For small and medium arrays of fixed and variable shape: a batch read is one gather at memory speed, without decoding.
Large arrays that compress well take less disk space in HDF5.
"""

from __future__ import annotations

from typing import ClassVar

from hangar.backends.append import RawBackend
from hangar.backends.base import Capabilities
from hangar.digest import NDARRAY, SPARSE

__all__ = ["Memmap"]


class Memmap(RawBackend):
    """Arrays, uncompressed; sparse arrays in their canonical form."""

    tag: ClassVar[str] = "10"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({NDARRAY, SPARSE}), raw=True)
