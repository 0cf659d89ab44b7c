"""Asking a remote which blobs it has."""

from __future__ import annotations

from typing import Final

import numpy as np

from hangar.blobs.index import Digests, Mask
from hangar.remote.peer import ABSENT, BlobNames, Reader

__all__ = ["asked"]

_AT_ONCE: Final = 16_384


def asked(reader: Reader, digests: Digests) -> tuple[Mask, int]:
    """Mask of the blobs that a remote has, and the bytes of those."""
    mask = np.zeros(len(digests), np.bool_)
    nbytes = 0
    for start in range(0, len(digests), _AT_ONCE):
        part = np.ascontiguousarray(digests[start : start + _AT_ONCE])
        sizes = np.frombuffer(reader.blob_sizes(BlobNames(part.tobytes())), "<u8")
        found = sizes != np.uint64(ABSENT)
        mask[start : start + len(part)] = found
        nbytes += int(sizes[found].sum())
    return mask, nbytes
