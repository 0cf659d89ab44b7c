"""Order-preserving encoding of sample keys.

An int is ``10`` and 8 bytes big-endian, a str is ``20`` and UTF-8. Sorted as bytes, ints come first by value, then
strings by code point. In a nested column a str sample ends in ``00``, and the key of the subsample follows, so the
subsamples of one sample are a prefix range. Batches are encoded without a Python call per key.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import add
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar import limits
from hangar.errors import CorruptionError, InvalidTypeError
from hangar.names import SampleKey, check_key, good_text_keys, normal_key
from hangar.objects.ascending import Ascending

__all__ = [
    "INT_TAG",
    "MASK_HINT",
    "STR_TAG",
    "check_encoded",
    "decode_key",
    "decode_keys",
    "decode_prefix",
    "decode_prefixes",
    "encode_batch",
    "encode_int_array",
    "encode_int_pairs",
    "encode_key",
    "encode_keys",
    "encode_nested_key",
    "encode_pairs",
    "encode_text_pairs",
    "int_array",
    "int_pairs",
    "lookup_key",
    "sample_prefix",
    "split_nested_key",
]

MASK_HINT: Final = "read(positions=np.flatnonzero(mask))"
"""What reads the samples that a mask selects, for messages."""
INT_TAG: Final = 0x10
STR_TAG: Final = 0x20
_INT = struct.Struct(">BQ")
_INT_BYTES: Final = 9
_TEXT_PAIR: Final = "\x20%s\x00\x20%s"
_pack = _INT.pack


def encode_key(key: SampleKey) -> bytes:
    """Encode one key (of a flat column, or of a subsample)."""
    if type(key) is int:
        return _pack(INT_TAG, key)
    return b"\x20" + key.encode()  # type: ignore[union-attr]


def lookup_key(key: Any) -> bytes | None:
    """Encode a key for a lookup; None if no sample can have this key.

    Raises
    ------
    InvalidTypeError
        The type of ``key`` can never be that of a key.
    """
    if type(key) is int:
        try:
            return _pack(INT_TAG, key)
        except struct.error:
            return None
    if type(key) is not str:
        normal = normal_key(key)
        if normal is None:
            if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
                return None
            if isinstance(key, (np.ndarray, slice, range, set, frozenset, Iterator)):
                hint = "read(keys), or read(positions=...) by position in key order"
                if isinstance(key, np.ndarray) and key.dtype == np.bool_:
                    hint = f"{hint}; of a mask, {MASK_HINT}"
                raise InvalidTypeError(f"brackets take one key or a list of keys, not {type(key).__name__}: use {hint}")
            raise InvalidTypeError(f"a sample key is an int or a str, not {type(key).__name__}: {key!r}")
        return lookup_key(normal)
    try:
        return b"\x20" + key.encode()
    except UnicodeEncodeError:
        return None


def encode_int_array(keys: npt.NDArray[np.uint64]) -> list[bytes]:
    """Encode unsigned 64-bit ints, shape (n,), or pairs of sample and subsample, shape (n, 2)."""
    parts = keys.reshape(len(keys), keys.shape[1] if keys.ndim > 1 else 1)
    rows = np.empty((*parts.shape, _INT_BYTES), np.uint8)
    rows[:, :, 0] = INT_TAG
    rows[:, :, 1:] = parts.astype(">u8", order="C").view(np.uint8).reshape(*parts.shape, 8)
    encoded: list[bytes] = (
        rows.reshape(len(keys), _INT_BYTES * parts.shape[1]).view(f"V{_INT_BYTES * parts.shape[1]}")[:, 0].tolist()
    )
    return encoded


def encode_keys(keys: Sequence[SampleKey]) -> list[bytes]:
    """Encode keys that :func:`check_keys` has checked."""
    kinds = set(map(type, keys))
    if kinds == {int}:
        return encode_int_array(np.array(keys, np.uint64))
    if kinds == {str}:
        return [b"\x20" + text for text in map(str.encode, keys)]  # type: ignore[arg-type]
    return [encode_key(key) for key in keys]


def encode_batch(keys: Iterable[Any]) -> list[bytes]:
    """Check and encode keys for a write.

    Raises
    ------
    InvalidInputError
        One of them is not suitable (see :func:`hangar.names.check_key`).
    """
    if not isinstance(keys, np.ndarray):
        keys = list(keys)
    ints = int_array(keys)
    if ints is None:
        return encode_keys(check_keys(keys))
    encoded = encode_int_array(ints)
    return Ascending(encoded) if (ints[1:] > ints[:-1]).all() else encoded


def int_array(keys: Any) -> npt.NDArray[np.uint64] | None:
    """Keys as an array of shape (n,) if all are ints from 0 to 2**64 - 1, else None."""
    if isinstance(keys, np.ndarray):
        good = keys.ndim == 1 and (keys.dtype.kind == "u" or (keys.dtype.kind == "i" and not (keys < 0).any()))
        return keys.astype(np.uint64, copy=False) if good else None
    if set(map(type, keys)) == {int}:
        try:
            # Four times as fast as numpy with a list.
            return np.frombuffer(array("Q", keys), np.uint64)
        except OverflowError:
            pass
    return None


def encode_int_pairs(pairs: npt.NDArray[np.uint64]) -> list[bytes]:
    """Encode pairs of ints for a write: uint64, shape (n, 2)."""
    encoded = encode_int_array(pairs)
    first, second = pairs[:, 0], pairs[:, 1]
    ascends = (first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (second[1:] > second[:-1]))
    return Ascending(encoded) if ascends.all() else encoded


def int_pairs(pairs: Any) -> npt.NDArray[np.uint64] | None:
    """Like :func:`int_array` for pairs of keys (sequences of two, or an array): shape (n, 2), or None."""
    if isinstance(pairs, np.ndarray):
        flat = int_array(pairs.reshape(-1)) if pairs.ndim == 2 and pairs.shape[1] == 2 else None
    else:
        flat = int_array(list(chain.from_iterable(pairs)))
    return None if flat is None else flat.reshape(-1, 2)


def encode_pairs(samples: Sequence[Any], subsamples: Sequence[Any]) -> list[bytes]:
    """Check and encode pairs of keys that are not all ints (see :func:`int_pairs`); raises like :func:`encode_batch`."""
    left, right = check_keys(samples), check_keys(subsamples)
    if set(map(type, left)) == {str} == set(map(type, right)):
        return encode_text_pairs(left, right)  # type: ignore[arg-type]
    prefixes = [key + b"\x00" if key[:1] == b"\x20" else key for key in encode_keys(left)]
    return list(map(add, prefixes, encode_keys(right)))


def encode_text_pairs(samples: Sequence[str], subsamples: Sequence[str]) -> list[bytes]:
    """Encode pairs of texts. Samples must not contain a zero character. Raises UnicodeEncodeError."""
    return list(map(str.encode, map(_TEXT_PAIR.__mod__, zip(samples, subsamples, strict=True))))


def check_keys(keys: Iterable[Any]) -> list[SampleKey]:
    """Check ``keys`` for a write, and return them as a list.

    Raises
    ------
    InvalidInputError
        One of them is not suitable (see :func:`hangar.names.check_key`).
    """
    if isinstance(keys, np.ndarray):
        keys = keys.tolist() if keys.ndim == 1 else list(keys)
    values = list(keys)
    kinds = set(map(type, values))
    if kinds == {int} and min(values) >= 0 and max(values) <= limits.MAX_INTEGER_KEY:
        return values
    if kinds == {str} and good_text_keys(values):
        return values
    return [check_key(key) for key in values]


def decode_key(data: bytes) -> SampleKey:
    """The key that ``data`` encodes.

    Raises
    ------
    CorruptionError
        ``data`` is not an encoded key.
    """
    if len(data) == _INT_BYTES and data[0] == INT_TAG:
        return int.from_bytes(data[1:], "big")
    if data[:1] == b"\x20":
        try:
            return data[1:].decode()
        except UnicodeDecodeError:
            pass
    raise CorruptionError(f"bytes {data[:16].hex()} are not a sample key")


def decode_keys(encoded: Sequence[bytes]) -> list[SampleKey]:
    """Decode many keys; consecutive ints, or consecutive texts, are decoded as a batch."""
    ints = _integers(encoded)
    if ints is not None:
        found: list[SampleKey] = ints.tolist()
        return found
    if {data[:1] for data in encoded} == {b"\x20"}:
        try:
            return [data[1:].decode() for data in encoded]
        except UnicodeDecodeError:
            pass
    return [decode_key(data) for data in encoded]


def check_encoded(encoded: Sequence[bytes]) -> None:
    """Check that many keys can be decoded. Raises what :func:`decode_keys` does."""
    if _integers(encoded) is None:
        decode_keys(encoded)


def _integers(encoded: Sequence[bytes]) -> npt.NDArray[np.uint64] | None:
    """Encoded keys as numbers; None unless all of them are ints."""
    joined = b"".join(encoded)
    if len(joined) != _INT_BYTES * len(encoded) or not set(map(len, encoded)) <= {_INT_BYTES}:
        return None
    rows = np.frombuffer(joined, np.uint8).reshape(-1, _INT_BYTES)
    return np.ascontiguousarray(rows[:, 1:]).view(">u8")[:, 0] if (rows[:, 0] == INT_TAG).all() else None


def sample_prefix(sample: SampleKey) -> bytes:
    """The prefix of the encoded keys of all subsamples of ``sample``."""
    prefix = encode_key(sample)
    return prefix if type(sample) is int else prefix + b"\x00"


def decode_prefix(prefix: bytes) -> SampleKey:
    """The sample of a prefix (inverse of :func:`sample_prefix`)."""
    return decode_key(prefix if prefix[:1] == b"\x10" else prefix[:-1])


def decode_prefixes(prefixes: Sequence[bytes]) -> list[SampleKey]:
    """The samples of many prefixes."""
    return decode_keys([prefix if prefix[:1] == b"\x10" else prefix[:-1] for prefix in prefixes])


def encode_nested_key(sample: SampleKey, subsample: SampleKey) -> bytes:
    """Encoded form of a subsample's key in a nested column."""
    return sample_prefix(sample) + encode_key(subsample)


def split_nested_key(data: bytes) -> tuple[SampleKey, SampleKey]:
    """Sample and subsample key of an encoded key of a nested column."""
    end = _INT_BYTES if data[:1] == b"\x10" else data.find(b"\x00", 1)
    if end < 0 or end >= len(data):
        raise CorruptionError(f"bytes {data[:16].hex()} are not a key of a nested column")
    skip = 0 if data[:1] == b"\x10" else 1
    return decode_key(data[:end]), decode_key(data[end + skip :])
