"""Key spaces: map the keys of users to the encoded keys of a tree and back.

There are three: keys of a flat column, pairs of sample and subsample key, and the subsample keys of one sample. Reading
and writing by key use only the key space, and do not depend on the layout. A sample of a nested column is the range of
keys with its prefix.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any, Protocol

import numpy as np

from hangar.columns.keybatch import NO_SUCH_KEY, KeyBatch
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.names import SampleKey, check_key
from hangar.schema.keys import (
    decode_keys,
    encode_batch,
    encode_int_pairs,
    encode_key,
    encode_nested_key,
    encode_pairs,
    encode_text_pairs,
    int_pairs,
    lookup_key,
    split_nested_key,
)

__all__ = [
    "FLAT",
    "PAIRS",
    "KeySpace",
    "PrefixSpace",
    "are_pairs",
    "as_pairs",
    "batch_list",
    "lookup_prefix",
    "range_end",
]

_STR = b"\x20"


def range_end(prefix: bytes) -> bytes:
    """A bound above all keys that begin with ``prefix`` and below all others that follow."""
    return prefix + b"\xff"


def lookup_prefix(sample: Any) -> bytes | None:
    """Key prefix of a sample to look up; raises like :func:`lookup_key`."""
    encoded = lookup_key(sample)
    return None if encoded is None else _prefix_of(encoded)


def _prefix_of(encoded: bytes) -> bytes | None:
    """Key prefix of a sample; None for a text that contains the terminator byte, which no sample key does."""
    if encoded[:1] != _STR:
        return encoded
    return None if b"\x00" in encoded else encoded + b"\x00"


def are_pairs(keys: Iterable[Any]) -> bool:
    """Whether all keys are tuples or lists of any length (named tuples included)."""
    return all(issubclass(kind, (tuple, list)) for kind in set(map(type, keys)))


def batch_list(what: str, given: Any) -> list[Any]:
    """A batch that a user gave, as a list.

    Raises
    ------
    InvalidInputError
        A str or bytes: it is a sequence of characters, but never meant as a batch.
    InvalidTypeError
        Not iterable, or a set: sets have no order, so keys and values could not be matched.
    """
    if isinstance(given, (str, bytes)):
        raise InvalidInputError(f"a batch of {what} is a sequence, not one {type(given).__name__}")
    if isinstance(given, (set, frozenset)):
        raise InvalidTypeError(f"a batch of {what} is a sequence, not a set, which has no order")
    if isinstance(given, np.ndarray) and given.ndim == 1:
        values: list[Any] = given.tolist()
        return values
    if not is_iterable(given):
        raise InvalidTypeError(f"a batch of {what} is a sequence, not {type(given).__name__}")
    return list(given)


def as_pairs(other: object, kwargs: Mapping[str, Any]) -> dict[Any, Any]:
    """Result of ``dict(other, **kwargs)``, with Hangar's errors. An error in a user's own generator or mapping is not changed."""
    if type(other) is dict and not kwargs:
        return other
    given = _listed_pairs(other)
    try:
        return dict(given, **kwargs)
    except TypeError as error:
        raise InvalidTypeError(f"neither a mapping nor pairs: {error}") from None
    except ValueError as error:
        raise InvalidInputError(f"neither a mapping nor pairs: {error}") from None


def _listed_pairs(other: Any) -> Any:
    """``other`` as a dict or a list, after running all code of the user's object."""
    if other is None or isinstance(other, dict):
        return other or {}
    if hasattr(other, "keys"):
        return [(key, other[key]) for key in other.keys()]  # noqa: SIM118  (that it has keys() makes it a mapping)
    if not is_iterable(other):
        raise InvalidTypeError(f"neither a mapping nor pairs: {type(other).__name__} object is not iterable")
    return list(other)


def is_iterable(value: object) -> bool:
    """Whether ``value`` can be iterated over, without running code of its own."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return hasattr(type(value), "__iter__") or hasattr(type(value), "__getitem__")


class KeySpace(Protocol):
    """Keys of a mapping, and their range in the tree: from ``start`` up to, not including, ``stop``."""

    @property
    def start(self) -> bytes: ...
    @property
    def stop(self) -> bytes | None: ...

    def lookup(self, key: Any) -> bytes | None:
        """Encoded form of a key to read; None if no sample can have it. Raises InvalidTypeError for a type that no key has."""

    def batch(self, keys: Any) -> KeyBatch:
        """Many keys to read."""

    def encode(self, key: Any) -> bytes:
        """Encoded form of a key to write. Raises InvalidInputError if it is not suitable."""

    def encode_all(self, keys: Iterable[Any]) -> list[bytes]:
        """Many keys to write."""

    def decode(self, encoded: Sequence[bytes]) -> list[Any]:
        """The keys of entries."""


class _Flat:
    """Sample keys of a flat column."""

    start = b""
    stop: bytes | None = None
    lookup = staticmethod(lookup_key)
    batch = staticmethod(KeyBatch.of)
    decode = staticmethod(decode_keys)

    @staticmethod
    def encode(key: Any) -> bytes:
        return encode_key(check_key(key))

    @staticmethod
    def encode_all(keys: Iterable[Any]) -> list[bytes]:
        array = isinstance(keys, np.ndarray) and keys.ndim == 1
        return encode_batch(keys if array else batch_list("keys", keys))


class PrefixSpace:
    """Subsample keys of one sample."""

    __slots__ = ("start",)

    def __init__(self, prefix: bytes) -> None:
        self.start = prefix

    @property
    def stop(self) -> bytes:
        return range_end(self.start)

    def lookup(self, key: Any) -> bytes | None:
        encoded = lookup_key(key)
        return None if encoded is None else self.start + encoded

    def batch(self, keys: Any) -> KeyBatch:
        return KeyBatch(None, [self.start + key for key in KeyBatch.of(keys).encoded()])

    def encode(self, key: Any) -> bytes:
        return self.start + _Flat.encode(key)

    def encode_all(self, keys: Iterable[Any]) -> list[bytes]:
        return [self.start + key for key in _Flat.encode_all(keys)]

    def decode(self, encoded: Sequence[bytes]) -> list[Any]:
        skip = len(self.start)
        return decode_keys([key[skip:] for key in encoded])


class _Pairs:
    """Pairs of sample and subsample key of a nested column."""

    start = b""
    stop: bytes | None = None

    @staticmethod
    def lookup(key: Any) -> bytes | None:
        if not isinstance(key, (tuple, list)) or len(key) != 2:
            raise InvalidTypeError(f"in a nested column a key is a pair (sample, subsample), not {key!r}")
        prefix, encoded = lookup_prefix(key[0]), lookup_key(key[1])
        return None if prefix is None or encoded is None else prefix + encoded

    @staticmethod
    def batch(keys: Any) -> KeyBatch:
        ints = int_pairs(keys) if isinstance(keys, np.ndarray) else None
        if ints is not None:
            return KeyBatch(ints, [])
        given = KeyBatch.checked(keys.tolist() if isinstance(keys, np.ndarray) else keys)
        if not are_pairs(given) or not set(map(len, given)) <= {2}:
            wrong = next(key for key in given if not isinstance(key, (tuple, list)) or len(key) != 2)
            raise InvalidTypeError(f"in a nested column a key is a pair (sample, subsample), not {wrong!r}")
        ints = int_pairs(given)
        if ints is not None:
            return KeyBatch(ints, [])
        samples: Any
        subsamples: Any
        samples, subsamples = zip(*given, strict=True) if given else ((), ())
        if set(map(type, samples)) == {str} == set(map(type, subsamples)) and "\x00" not in "".join(samples):
            with contextlib.suppress(UnicodeEncodeError):
                return KeyBatch(None, encode_text_pairs(samples, subsamples))
        first, second = KeyBatch.of(samples), KeyBatch.of(subsamples)
        # As _prefix_of, without a call for each key.
        prefixes = [
            key if key[:1] != _STR else NO_SUCH_KEY if b"\x00" in key else key + b"\x00" for key in first.encoded()
        ]
        return KeyBatch(None, list(map(add, prefixes, second.encoded())))

    @staticmethod
    def encode(key: Any) -> bytes:
        sample, subsample = _checked_pair(key)
        return encode_nested_key(check_key(sample), check_key(subsample))

    @staticmethod
    def encode_all(keys: Iterable[Any]) -> list[bytes]:
        if isinstance(keys, np.ndarray):
            ints = int_pairs(keys)
            if ints is not None:
                return encode_int_pairs(ints)
            keys = keys.tolist()
        pairs = batch_list("keys", keys)
        if not are_pairs(pairs) or not set(map(len, pairs)) <= {2}:
            pairs = list(map(_checked_pair, pairs))
        if not pairs:
            return []
        ints = int_pairs(pairs)
        if ints is not None:
            return encode_int_pairs(ints)
        samples, subsamples = zip(*pairs, strict=True)
        return encode_pairs(samples, subsamples)

    @staticmethod
    def decode(encoded: Sequence[bytes]) -> list[Any]:
        return list(map(split_nested_key, encoded))


def _checked_pair(key: Any) -> tuple[SampleKey, SampleKey]:
    if not isinstance(key, (tuple, list)) or len(key) != 2:
        raise InvalidInputError(f"key {key!r} is not suitable: in a nested column it is a pair (sample, subsample)")
    return key[0], key[1]


FLAT: KeySpace = _Flat()
PAIRS: KeySpace = _Pairs()
