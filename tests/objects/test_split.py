"""The boundary rule, against a plain reading of its text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from hangar.objects.split import cuts, marks
from tests.objects.memory import int_key


def plain_cuts(keys: list[bytes], level: int) -> list[int]:
    """The rule of the architecture page, word for word."""
    ends: list[int] = []
    count = key_bytes = 0
    for i, key in enumerate(keys):
        count += 1
        key_bytes += len(key)
        h = xxh3_64_intdigest(key, seed=level)
        if (
            count == 256
            or key_bytes > 32 * 1024
            or (count >= 16 and h < 2**64 // 16 and (count >= 64 or h < 2**64 // 256))
        ):
            ends.append(i + 1)
            count = key_bytes = 0
    return ends


@pytest.mark.parametrize("level", [0, 1, 2, 7])
@pytest.mark.parametrize("seed", range(8))
def test_cuts_are_where_the_rule_says(level: int, seed: int) -> None:
    keys = [int_key(number) for number in sorted(random.Random(seed).sample(range(10**6), 3_000))]
    assert cuts(keys, marks(keys, level)) == plain_cuts(keys, level)


@given(st.lists(st.binary(min_size=1, max_size=2_100), max_size=120, unique=True), st.integers(0, 5))
def test_long_keys_end_a_node_early(keys: list[bytes], level: int) -> None:
    keys = sorted(key * 30 if len(key) < 70 else key for key in keys)
    assert cuts(keys, marks(keys, level)) == plain_cuts(keys, level)


def test_the_bound_of_key_bytes_is_met_exactly() -> None:
    # 256 keys of 128 bytes are 32 KiB, which does not exceed the bound; one byte more does. No hash of these may cut before.
    keys = [key for i in range(20_000) if xxh3_64_intdigest(key := b"%0128d" % i) >= 2**60][:256]
    assert cuts(keys, marks(keys, 0)) == [256]
    heavier = [keys[0] + b"x", *keys[1:]]
    assert plain_cuts(heavier, 0)[:1] == cuts(heavier, marks(heavier, 0))[:1] == [256]
    much_heavier = [key + b"x" * 100 for key in keys[:200]]
    assert cuts(much_heavier, marks(much_heavier, 0)) == plain_cuts(much_heavier, 0)
    assert cuts(much_heavier, marks(much_heavier, 0))[0] < 150


def test_key_bytes_cut_where_they_exceed_the_bound_and_not_where_they_meet_it() -> None:
    keys = [key for i in range(2_000) if xxh3_64_intdigest(key := b"%0512d" % i) >= 2**60][:200]
    assert cuts(keys, marks(keys, 0)) == plain_cuts(keys, 0) == [65, 130, 195]


def test_no_keys_no_cuts() -> None:
    assert cuts([], marks([], 0)) == []


def test_nodes_are_neither_small_nor_large() -> None:
    keys = [int_key(number) for number in range(200_000)]
    ends = cuts(keys, marks(keys, 0))
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert min(sizes) >= 16
    assert max(sizes) <= 256
    assert 65 <= sum(sizes) / len(sizes) <= 80
