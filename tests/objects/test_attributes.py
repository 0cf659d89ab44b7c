"""Attributes: one map, one encoding; what cannot be one is refused on the way in and on the way out."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import struct
from collections import OrderedDict
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.db.tables import ATTRIBUTES
from hangar.digest import record_digest
from hangar.errors import CorruptionError, HangarError, InvalidInputError
from hangar.objects.attributes import (
    canonical_map,
    decode_attributes,
    encode_attributes,
    load_attributes,
)
from hangar.objects.content import store_record
from tests.objects.memory import MemoryDatabase

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = texts | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.booleans() | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
maps = st.dictionaries(texts, values, max_size=6)


@given(maps)
def test_round_trip(attributes: dict[str, Any]) -> None:
    data = encode_attributes(attributes)
    assert decode_attributes(data) == attributes
    assert encode_attributes(decode_attributes(data)) == data


@given(maps, st.randoms(use_true_random=False))
def test_the_order_of_keys_means_nothing(attributes: dict[str, Any], order: random.Random) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(inner)) for key, inner in value.items()]
            order.shuffle(items)
            return OrderedDict(items)
        return tuple(map(shuffled, value)) if isinstance(value, list) else value

    assert encode_attributes(shuffled(attributes)) == encode_attributes(attributes)


def test_keys_are_sorted_by_code_point() -> None:
    keys = ["b", "a", "é", "z", "Z", "\U0001f600", "\uffff", "", "aa"]
    data = encode_attributes(dict.fromkeys(keys, True))
    assert list(decode_attributes(data)) == sorted(keys) == sorted(keys, key=str.encode)


def test_every_nan_is_one_nan() -> None:
    odd = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_1234))[0]
    data = encode_attributes({"x": odd})
    assert data == encode_attributes({"x": math.nan}) == encode_attributes({"x": np.float32("nan")})
    assert data[-8:] == bytes.fromhex("7ff8000000000000")
    assert math.isnan(decode_attributes(data)["x"])


def test_floats_and_integers_are_told_apart() -> None:
    assert len({encode_attributes({"x": x}) for x in (1, 1.0, True, 0, 0.0, -0.0, False, "1", b"1")}) == 9


def test_numpy_scalars_become_plain() -> None:
    plain = canonical_map(
        {"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True), "d": np.str_("x"), "e": [np.uint8(7)]}
    )
    assert plain == {"a": 3, "b": 0.5, "c": True, "d": "x", "e": [7]}
    assert [type(value) for value in plain.values()] == [int, float, bool, str, list]


def test_a_canonical_map_shares_nothing_with_what_it_was_made_of() -> None:
    inner = [1, 2]
    made = canonical_map({"x": inner, "y": {"z": inner}})
    inner.append(3)
    assert made == {"x": [1, 2], "y": {"z": [1, 2]}}


def deep(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"x": value}


@pytest.mark.parametrize(
    "attributes",
    [
        {"x": None},
        {"x": 2**64},
        {"x": -(2**63) - 1},
        {"x": "\ud800"},
        {"\ud800": 1},
        {1: 1},
        {"x": {1: 1}},
        {"x": {None: 1}},
        {"x": {1, 2}},
        {"x": 1j},
        {"x": object()},
        {"x": np.zeros(3)},
        {"x": np.complex64(1)},
        {"x": np.datetime64("2020-01-01")},
        {"x": "a" * 2**20},
        {"x": [True] * 2**20},
        deep(33),
        deep(5_000),
        [],
        None,
        "x",
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_attributes(attributes: Any) -> None:
    with pytest.raises(InvalidInputError):
        encode_attributes(attributes)


def test_the_limits_themselves_are_allowed() -> None:
    assert decode_attributes(encode_attributes(deep(32))) == deep(32)
    largest = {"x": b"a" * (limits.MAX_ATTRIBUTES_BYTES - 8)}
    assert len(encode_attributes(largest)) == limits.MAX_ATTRIBUTES_BYTES
    numbers = {"x": [2**64 - 1, -(2**63), math.inf, -math.inf]}
    assert decode_attributes(encode_attributes(numbers)) == numbers


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x90",
        b"\xc0",
        b"\x80\x80",
        msgspec.msgpack.encode({"x": None}),
        msgspec.msgpack.encode({"b": 1, "a": 1}),
        b"\x82\xa1a\x01\xa1a\x01",
        b"\x81\xa1a\xcc\x01",
        b"\xde\x00\x01\xa1a\x01",
        b"\x81\xa1a\xca" + struct.pack(">f", 1),
        b"\x81\xa1a\xcb\xff\xf8" + bytes(6),
        b"\x81\xa1a\xd9\x01b",
        b"\x81\xa1\xff\x01",
        b"\x81\x01\x01",
        b"\x81\xa1a\x81\x01\x01",
        b"\x81\xa1a\x81\x90\x01",
        b"\x81\xa1a\x81\x81\x01\x02\x01",
        msgspec.msgpack.encode({"x": msgspec.msgpack.Ext(5, b"x")}),
        b"\x81\xa1a\xd6\xff" + bytes(4),
        b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01",
        msgspec.msgpack.encode(deep(33)),
        msgspec.msgpack.encode({"x": b"a" * 2**20}),
    ],
    ids=itertools.count(),
)
def test_bytes_that_are_no_canonical_map(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_attributes(data)


def test_mutated_bytes_raise_nothing_but_our_errors() -> None:
    rng = random.Random(29)
    honest = encode_attributes({"mean": [0.5, 0.25], "classes": {"cat": 0, "dog": 1}, "unit": "m", "raw": b"\x00\xff"})
    for _ in range(4_000):
        data = bytearray(honest)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(HangarError):
            assert encode_attributes(decode_attributes(bytes(data))) == data


def test_stored_and_loaded() -> None:
    database = MemoryDatabase()
    attributes = {"classes": ["cat", "dog"], "mean": 0.5}
    digest = database.update(lambda transaction: store_record(transaction, "attributes", encode_attributes(attributes)))
    assert digest == record_digest("attributes", encode_attributes(attributes))
    assert load_attributes(database, digest) == attributes  # type: ignore[arg-type]
    database.rows[ATTRIBUTES.name][digest] += b"\x00"
    with pytest.raises(CorruptionError, match=digest.hex()):
        load_attributes(database, digest)  # type: ignore[arg-type]
