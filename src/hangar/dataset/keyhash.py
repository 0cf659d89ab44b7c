"""Salted 64-bit hash values of sample keys or group labels. They decide the part of each sample in a split.

A hash value depends on the salt and the encoded key alone, so it is the same on every machine, in every column and
commit. It is the first 8 bytes, big-endian, of the keyed BLAKE3 digest of the encoded key (``schema/keys``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from hangar.columns import FlatSampleReader, NestedSampleReader
from hangar.digest import digest_array
from hangar.errors import InvalidInputError
from hangar.hashing import hash_list, hash_rows
from hangar.objects.scan import leaves, scan_samples
from hangar.schema.keys import decode_keys, int_array

__all__ = [
    "HashValues",
    "Reader",
    "derive_hash_key",
    "encode_labels",
    "encoded_key_batches",
    "group_encoder",
    "hash_encoded_keys",
]

HashValues = npt.NDArray[np.uint64]
"""One hash value for each key: shape (n,)."""
Reader = FlatSampleReader | NestedSampleReader
Encoder = Callable[[list[bytes]], list[bytes]]
"""Maps the encoded keys of samples to the encoded labels of their groups."""

_CONTEXT: Final = "hangar 0 split"
_BATCH: Final = 2**16
_INT_BYTES: Final = 9
_STR: Final = b"\x20"


def derive_hash_key(salt: str) -> bytes:
    """Key of 32 bytes for keyed BLAKE3, derived from a salt."""
    return blake3(salt.encode(), derive_key_context=_CONTEXT).digest()


def hash_encoded_keys(key: bytes, encoded: Sequence[bytes]) -> HashValues:
    """Hash values of encoded keys: uint64, shape (n,). ``key`` is that of :func:`derive_hash_key`."""
    joined = b"".join(encoded)
    if len(joined) == _INT_BYTES * len(encoded) and set(map(len, encoded)) == {_INT_BYTES}:
        digests = hash_rows(key, np.frombuffer(joined, np.uint8).reshape(-1, _INT_BYTES))
    else:
        digests = digest_array(hash_list(key, encoded))
    return np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0].astype(np.uint64)


def encoded_key_batches(column: Reader) -> Iterator[list[bytes]]:
    """Encoded sample keys of a column in key order, in batches. They are the same for flat and nested columns."""
    nodes, root = column._snapshot()
    if root is None:
        return
    if isinstance(column, NestedSampleReader):
        found = (
            [prefix if prefix[:1] != _STR else prefix[:-1] for prefix in some]
            for some in scan_samples(nodes, root.digest)
        )
    else:
        found = (leaf.keys[first:last] for leaf, first, last in leaves(nodes, root.digest))
    held: list[bytes] = []
    for keys in found:
        held += keys
        if len(held) >= _BATCH:
            yield held
            held = []
    if held:
        yield held


def group_encoder(
    prefix: str, function: Callable[[Any], Any] | None, labels: FlatSampleReader | None
) -> Encoder | None:
    """The function from encoded keys to encoded group labels; None if each sample is its own group.

    Raises
    ------
    InvalidInputError
        The column of labels does not hold one integer or text for each sample.
    """
    if labels is not None:
        return _by_labels(labels)
    if function is not None:
        return lambda encoded: encode_labels(list(map(function, decode_keys(encoded))))
    if prefix:
        end = prefix.encode()
        return lambda encoded: [key.partition(end)[0] if key[:1] == _STR else key for key in encoded]
    return None


def _by_labels(labels: FlatSampleReader) -> Encoder:
    name, schema = labels.column, labels.schema
    scalar = schema.dtype is not None and schema.dtype.kind in "iu" and schema.shape == () and not schema.variable
    if schema.nested or not (scalar or schema.kind_name == "str"):
        raise InvalidInputError(
            f"column {name!r} cannot name groups: choose a flat column with one integer or text for each sample"
        )
    return lambda encoded: encode_labels(labels.read(decode_keys(encoded)))


def encode_labels(labels: Any) -> list[bytes]:
    """Encode group labels as sample keys are encoded. A negative integer is encoded as its two's complement.

    Raises
    ------
    InvalidInputError
        A label is neither an int of 64 bits nor a text.
    """
    if isinstance(labels, np.ndarray):
        labels = labels.astype(np.int64).view(np.uint64) if labels.dtype.kind == "i" else labels
    ints = int_array(labels)
    if ints is not None:
        rows = np.empty((len(ints), _INT_BYTES), np.uint8)
        rows[:, 0] = 0x10
        rows[:, 1:] = ints.astype(">u8").view(np.uint8).reshape(-1, 8)
        encoded: list[bytes] = rows.view(f"V{_INT_BYTES}")[:, 0].tolist()
        return encoded
    return list(map(_encode_label, labels))


def _encode_label(label: Any) -> bytes:
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool) and -(2**63) <= label < 2**64:
        return b"\x10" + (int(label) % 2**64).to_bytes(8, "big")
    try:
        if isinstance(label, str):
            return _STR + label.encode()
    except UnicodeEncodeError:
        pass
    raise InvalidInputError(f"the label of a group is an int of 64 bits or a str, not {label!r}")


def batched(keys: Sequence[Any]) -> Iterator[list[Any]]:
    """``keys`` in batches of at most ``_BATCH``."""
    rest = iter(keys)
    while some := list(islice(rest, _BATCH)):
        yield some
