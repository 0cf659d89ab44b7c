"""Attributes: user-defined metadata of a column or a commit, stored as a canonical map.

A map of str to str, int, float, bool, bytes, list or map of these; at most 1 MB encoded. The encoding is canonical,
so equal maps have equal digests: keys are sorted by code point, integers use the shortest form of MessagePack, and
every NaN is the same quiet NaN. Commits refer to attributes by digest (see ``commit``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from hangar import limits
from hangar.digest import Digest
from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.content import load_record

if TYPE_CHECKING:
    from hangar.db import Database

__all__ = [
    "AttributeMap",
    "canonical_map",
    "decode_attributes",
    "encode_attributes",
    "load_attributes",
]

AttributeMap = dict[str, Any]

MAX_DEPTH: Final = 32
"""Maximum nesting of lists and maps, the outermost map included."""
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
_NAN: Final = float("nan")

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode


def canonical_map(values: Mapping[str, Any]) -> AttributeMap:
    """A deep copy of ``values`` in canonical form: plain types, keys sorted.

    Raises
    ------
    InvalidInputError
        A value has another type or is too large, a text cannot be encoded as UTF-8, a key is not a str, or the
        nesting is too deep.
    """
    if not isinstance(values, Mapping):
        raise InvalidInputError(f"attributes are a map, not {type(values).__name__}")
    canonical: AttributeMap = _canonical(values, 1)
    return canonical


def _canonical(value: Any, depth: int) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if not _MIN_INTEGER <= value <= _MAX_INTEGER:
            raise InvalidInputError(f"the integer {value} in attributes is outside the range -2**63 to 2**64 - 1")
        return int(value)
    if isinstance(value, float):
        return _NAN if value != value else float(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"attributes are nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {key: _canonical(value[key], depth + 1) for key in sorted(map(_text, value))}
    if isinstance(value, Sequence):
        return [_canonical(item, depth + 1) for item in value]
    raise InvalidInputError(
        f"attributes hold str, int, float, bool, bytes, and lists and maps of these, not {type(value).__name__}"
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"a key of an attribute map is a str, not {type(value).__name__}: {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"the text {value[:40]!r} in attributes cannot be encoded as UTF-8") from None
    return str(value)


def encode_attributes(values: Mapping[str, Any]) -> bytes:
    """Canonical encoding of ``values``.

    Raises
    ------
    InvalidInputError
        They cannot be attributes (see :func:`canonical_map`), or their encoding is larger than 1 MB.
    """
    data = _encode(canonical_map(values))
    if len(data) > limits.MAX_ATTRIBUTES_BYTES:
        raise InvalidInputError(
            f"attributes of {len(data):,} bytes are over the limit of {limits.MAX_ATTRIBUTES_BYTES:,}"
        )
    return data


def decode_attributes(data: bytes) -> AttributeMap:
    """The map that ``data`` encodes.

    Raises
    ------
    CorruptionError
        ``data`` is not a canonical encoding of attributes.
    """
    if len(data) > limits.MAX_ATTRIBUTES_BYTES:
        raise CorruptionError(f"an attributes record of {len(data):,} bytes exceeds the limit")
    try:
        values = _decode(data)
        same = encode_attributes(values) == data
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise CorruptionError(f"an attributes record cannot be read: {error}") from None
    if not same:
        raise CorruptionError("an attributes record is not in canonical form")
    return values


def load_attributes(db: Database, digest: Digest) -> AttributeMap:
    """The attributes of this digest.

    Raises
    ------
    CorruptionError
        They are missing or damaged.
    """
    return decode_attributes(load_record(db, "attributes", digest))
