"""Node boundaries of a tree: the complete rule of format version 0 (content-defined chunking).

Walk the keys of one level in order, ``c`` = entries since the last cut, and cut after key ``k`` if ``c == 256``, or
the key bytes since the last cut exceed 32 KiB, or ``c >= 16 and h(k) < 2**64 / 16 and (c >= 64 or h(k) < 2**64 /
256)``, with ``h(k) = xxh3_64(k, seed=level)``. A cut depends only on the keys since the previous cut. So equal
content is divided equally whatever its history was, and a change moves few cuts. Source of the idea: the prolly trees
of Noms.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_digest

from hangar import limits
from hangar.gathering import checksum_rows

__all__ = ["cuts", "int_cuts", "marks"]

_MIN_ENTRIES: Final = limits.NODE_MIN_ENTRIES
_WEAK_MIN_ENTRIES: Final = 64
"""From this many entries on, one hash in 16 cuts; before it, one in 256."""
_MAX_ENTRIES: Final = limits.NODE_MAX_ENTRIES
_MAX_KEY_BYTES: Final = limits.NODE_MAX_KEY_BYTES

_BLOCK: Final = 4 * _MAX_ENTRIES

_STRONG: Final = b"\x00"
_WEAK: Final = b"\x01"
_CLASSES: Final = bytes([0] + [1] * 15 + [2] * 240)
"""By the first byte of a big-endian hash: 0 is below 2**64 / 256, 1 to 15 below 2**64 / 16."""
_EITHER: Final = bytes([0, 0, 2]) + bytes(253)


def marks(keys: Sequence[bytes], level: int) -> bytes:
    """Class of the hash of each key, one byte a key: 0 allows a cut from 16 entries on, 1 from 64 on, 2 none."""
    return b"".join(map(xxh3_64_digest, keys, repeat(level)))[::8].translate(_CLASSES)


def cuts(keys: Sequence[bytes], marked: bytes) -> list[int]:
    """Ends of the complete nodes: each node is ``keys[previous end:end]``.

    Parameters
    ----------
    keys
        Keys of one level in order, from a cut (or the beginning) on.
    marked
        Their :func:`marks`.

    Returns
    -------
    list of int
        Ascending. The keys after the last end are a node only if they end the level.
    """
    return _ends(len(keys), marked, keys if _may_be_heavy(keys) else None)


def int_cuts(keys: npt.NDArray[np.uint8], level: int) -> list[int]:
    """As :func:`cuts`, of encoded int keys: uint8, shape (n, 9). So short ones never exceed the limit of key bytes."""
    high = (checksum_rows(keys, level) >> np.uint64(56)).astype(np.uint8)
    return _ends(len(keys), high.tobytes().translate(_CLASSES), None)


def _ends(count: int, marked: bytes, heavy: Sequence[bytes] | None) -> list[int]:
    """Ends of the complete nodes of ``count`` keys; ``heavy``: the keys, if they may exceed the limit of key bytes."""
    either = marked.translate(_EITHER)
    ends: list[int] = []
    start = 0
    while True:
        end = start + _MAX_ENTRIES
        found = marked.find(_STRONG, start + _MIN_ENTRIES - 1, end)
        if found >= 0:
            end = found + 1
        found = either.find(_STRONG, start + _WEAK_MIN_ENTRIES - 1, end)
        if found >= 0:
            end = found + 1
        if heavy is not None:
            end = min(end, _heavy_end(heavy, start))
        if end > count:
            return ends
        ends.append(end)
        start = end


def _may_be_heavy(keys: Sequence[bytes]) -> bool:
    """Whether the limit of key bytes might apply to some node."""
    # A node spans at most two blocks. Their total key length is faster to compute than the longest, and usually enough.
    blocks = (keys[at : at + _BLOCK] for at in range(0, len(keys), _BLOCK))
    return (
        any(2 * len(b"".join(block)) > _MAX_KEY_BYTES for block in blocks)
        and max(map(len, keys)) * _MAX_ENTRIES > _MAX_KEY_BYTES
    )


def _heavy_end(keys: Sequence[bytes], start: int) -> int:
    """End of the node that begins at ``start`` by the limit of key bytes alone."""
    total = 0
    for i in range(start, min(start + _MAX_ENTRIES, len(keys))):
        total += len(keys[i])
        if total > _MAX_KEY_BYTES:
            return i + 1
    return start + _MAX_ENTRIES
