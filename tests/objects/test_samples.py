"""Samples of many keys together are those of each key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.errors import CorruptionError
from hangar.objects.samples import count_samples, distinct_samples, sample_of, split_samples
from hangar.schema.keys import encode_nested_key

SAMPLES = st.sampled_from([0, 5, 256, 2**64 - 1, "a", "a/b", "é"])
PAIRS = st.tuples(SAMPLES, st.sampled_from([0, 256, "x", "10"]))


@given(st.sets(PAIRS, min_size=1, max_size=25))
def test_many_keys(pairs: set[tuple[int | str, int | str]]) -> None:
    keys = sorted(encode_nested_key(*pair) for pair in pairs)
    samples = list(map(sample_of, keys))
    wanted = list(dict.fromkeys(samples))
    assert distinct_samples(keys) == wanted
    assert count_samples(keys) == len(wanted)
    stops, rests = split_samples(keys)
    assert list(stops.items()) == [(one, len(samples) - samples[::-1].index(one)) for one in wanted]
    assert [sample + rest for sample, rest in zip(samples, rests, strict=True)] == keys


INT = b"\x10" + bytes(8)


@pytest.mark.parametrize(
    "keys",
    [
        [b"\x20abc"],
        [b"\x20a\x00"],
        [b"\x20a\x00x", b"\x20b"],
        [INT],
        [INT, INT + b"x"],
        [b"\x10abc"],
        [INT + b"x", b"\x12zz\x00q"],
        [b"\x05aaaaaaaaaaaaaaa"],
        [b"\x20a\x00x", b"\x30a\x00x"],
        [b""],
    ],
)
def test_keys_that_are_none(keys: list[bytes]) -> None:
    for look in (distinct_samples, count_samples, split_samples):
        with pytest.raises(CorruptionError):
            look(keys)
