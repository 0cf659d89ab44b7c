from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError
from hangar.names import SampleKey
from hangar.objects.ascending import Ascending
from hangar.schema.keys import (
    check_keys,
    decode_key,
    decode_keys,
    encode_batch,
    encode_int_array,
    encode_key,
    encode_keys,
    encode_nested_key,
    int_array,
    lookup_key,
    sample_prefix,
    split_nested_key,
)

ints = st.integers(0, 2**64 - 1)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
keys = st.one_of(ints, texts)


def order(key: SampleKey) -> tuple[int, int, str]:
    return (0, key, "") if isinstance(key, int) else (1, 0, key)


@given(st.lists(keys))
def test_encoded_keys_sort_as_ints_by_value_then_strings_by_code_point(values: list[SampleKey]) -> None:
    assert [decode_key(data) for data in sorted(map(encode_key, values))] == sorted(values, key=order)


@given(st.lists(keys))
def test_a_batch_is_encoded_and_decoded_as_single_keys_are(values: list[SampleKey]) -> None:
    encoded = encode_keys(values)
    assert encoded == [encode_key(value) for value in values]
    assert decode_keys(encoded) == values


@given(st.lists(ints))
def test_an_array_of_ints_is_encoded_as_single_keys_are(values: list[int]) -> None:
    assert encode_int_array(np.array(values, np.uint64)) == [encode_key(value) for value in values]


@given(keys, keys, keys, keys)
def test_nested_keys_split_and_sort_by_sample_then_subsample(
    a: SampleKey, b: SampleKey, c: SampleKey, d: SampleKey
) -> None:
    first, second = encode_nested_key(a, b), encode_nested_key(c, d)
    assert split_nested_key(first) == (a, b)
    assert first.startswith(sample_prefix(a))
    assert (first < second) == ((order(a), order(b)) < (order(c), order(d)))


def test_lookup_tells_missing_keys_from_wrong_types() -> None:
    assert lookup_key(np.int64(5)) == encode_key(5)
    assert lookup_key(-1) is None
    assert lookup_key(2**64) is None
    assert lookup_key(np.int8(-3)) is None
    assert lookup_key("\ud800") is None
    for wrong in (True, np.True_, 1.5, None, b"x", (1, 2), [1]):
        with pytest.raises(InvalidTypeError):
            lookup_key(wrong)


@given(st.lists(ints) | st.lists(ints | st.text("aé-", min_size=1)))
def test_a_batch_to_write_is_encoded_as_single_keys_are(values: list[SampleKey]) -> None:
    encoded = encode_batch(values)
    assert encoded == encode_batch(iter(values)) == [encode_key(value) for value in values]
    if isinstance(encoded, Ascending):
        assert encoded == sorted(set(encoded))


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">u8", ">i4"])
def test_an_array_to_write_is_encoded_as_its_ints_are(dtype: str) -> None:
    values = [3, 4, 5, 90]
    encoded = encode_batch(np.array([0, *values, 7], dtype)[1:-1])
    assert encoded == list(map(encode_key, values))
    assert isinstance(encoded, Ascending)
    assert not isinstance(encode_batch(np.array(values[::-1], dtype)), Ascending)


@pytest.mark.parametrize("bad", [[-1], [2**64], [3, True], [1.0], [None]])
def test_a_batch_to_write_is_checked(bad: list[Any]) -> None:
    for given_ in (bad, np.array(bad, np.int64 if bad == [-1] else object)):
        with pytest.raises(InvalidInputError, match="is not suitable"):
            encode_batch(given_)
    assert int_array([3, True]) is None
    assert int_array(np.array([True])) is None


def test_keys_to_write_are_checked() -> None:
    assert check_keys(np.arange(3)) == [0, 1, 2]
    assert check_keys(range(2)) == [0, 1]
    assert check_keys(iter(["a/b", "ünïcode-5"])) == ["a/b", "ünïcode-5"]
    for bad in ([-1], [2**64], ["a b"], [""], ["x" * 256], [True], [1.0], ["a\0b"], [None]):
        with pytest.raises(InvalidInputError, match="is not suitable"):
            check_keys(bad)


@pytest.mark.parametrize("data", [b"", b"\x10\x00", b"\x30abc", b"\x20\xff\xfe", b"\x10" + b"\0" * 9])
def test_bytes_that_are_no_key_are_corruption(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_key(data)
    with pytest.raises(CorruptionError):
        decode_keys([encode_key(1), data])
