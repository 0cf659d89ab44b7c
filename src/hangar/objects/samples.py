"""Sample prefixes of the encoded keys of a nested column.

An encoded key of a nested column begins with its sample: 9 bytes for an int (tag ``10``), and up to the first ``00``
for a str (tag ``20``). Trees count distinct samples by these prefixes; they use nothing else of the structure of
keys.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from hangar.errors import CorruptionError
from hangar.objects.node import Node

__all__ = ["count_samples", "distinct_samples", "sample_of", "samples_below", "split_samples"]

_INT_TAG: Final = 0x10
_STR_TAG: Final = 0x20
_INT_BYTES: Final = 9


def sample_of(key: bytes) -> bytes:
    """The prefix of ``key`` that identifies its sample.

    Raises
    ------
    CorruptionError
        ``key`` is not a valid key of a nested column.
    """
    tag = key[0] if key else None
    end = _INT_BYTES if tag == _INT_TAG else key.find(b"\x00") + 1 if tag == _STR_TAG else 0
    if not 0 < end < len(key):
        raise CorruptionError(f"key {key[:16].hex()} is not valid in a nested column")
    return key[:end]


def samples_below(node: Node) -> int:
    """Distinct samples below a node of a nested column, by the counts of its entries or, in a leaf, by its keys."""
    return sum(node.samples) if node.level else count_samples(node.keys)


def count_samples(keys: Sequence[bytes]) -> int:
    """Number of distinct samples among ``keys``, which ascend."""
    return len(distinct_samples(keys))


def distinct_samples(keys: Sequence[bytes]) -> list[bytes]:
    """Distinct sample prefixes of ``keys``, which ascend; without a Python call per key.

    Raises
    ------
    CorruptionError
        One of the keys is not valid in a nested column.
    """
    ints = bisect_left(keys, b"\x11") if keys and keys[0][:1] == b"\x10" else 0
    heads = dict.fromkeys([key[:_INT_BYTES] for key in (keys[:ints] if ints < len(keys) else keys)]) if ints else {}
    if ints < len(keys):
        heads |= dict.fromkeys([key[: key.find(b"\x00") + 1] for key in (keys[ints:] if ints else keys)])
        if (keys[ints][:1], keys[-1][:1]) != (b"\x20", b"\x20"):
            _refuse(keys)
    # A key without a zero byte has an empty prefix, and a key that equals its prefix has no subsample.
    if b"" in heads or not heads.keys().isdisjoint(keys):
        _refuse(keys)
    return list(heads)


def _refuse(keys: Sequence[bytes]) -> None:
    """Raise CorruptionError for the first of ``keys`` that is not valid."""
    for key in keys:
        sample_of(key)


def split_samples(keys: Sequence[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
    """Split ``keys``, which ascend, into sample prefixes and subsample keys; without a Python call per key.

    Returns
    -------
    stops : dict
        For each sample prefix, in order, the index after its last key.
    rests : list of bytes
        The rest of each key after the prefix: the encoded subsample key.

    Raises
    ------
    CorruptionError
        One of the keys is not valid in a nested column.
    """
    ints = bisect_left(keys, b"\x11") if keys and keys[0][:1] == b"\x10" else 0
    stops: dict[bytes, int] = {}
    rests: list[bytes] = []
    if ints:
        heads = [key[:_INT_BYTES] for key in keys[:ints]]
        stops = dict(zip(heads, range(1, ints + 1), strict=True))
        rests = [key[_INT_BYTES:] for key in keys[:ints]]
    if ints < len(keys):
        parts = [key.partition(b"\x00") for key in (keys[ints:] if ints else keys)]
        heads = [head + zero for head, zero, _ in parts]
        stops |= zip(heads, range(ints + 1, len(keys) + 1), strict=True)
        rests += [rest for _, _, rest in parts]
    if b"" in rests or (keys[ints:][:1] and (keys[ints][:1], keys[-1][:1]) != (b"\x20", b"\x20")):
        _refuse(keys)
    return stops, rests
