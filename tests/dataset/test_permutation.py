"""Keyed permutations: each is one, looks random, and never changes."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pytest

from hangar.dataset.permutation import SORTED_MOST, hashed, key_of, permutation, uniform_below

SIZES = [1, 2, 3, 10, 257, SORTED_MOST, SORTED_MOST + 1, 100_003, 2**17, 1_000_000]

GOLDEN = {
    (10, 1): "c193c4913293bc3d",
    (1_000, 1): "48261b81f6e7f71c",
    (100_003, 1): "01764254eac64e0f",
    (100_003, 2): "22f10a9b11397edf",
    (2**31 + 11, 1): "fdf305115b125e31",
    (2**33 + 17, 1): "afe4bdf2c46c16a6",
}
"""First 1,000 numbers of each permutation, by size and key."""


def first(count: int, key: int, number: int) -> npt.NDArray[np.uint64]:
    return permutation(count, key)(np.arange(min(count, number), dtype=np.uint64))


@pytest.mark.parametrize("count", SIZES)
def test_each_number_comes_once(count: int) -> None:
    numbers = first(count, key_of("test", count), count)
    assert np.array_equal(np.sort(numbers), np.arange(count))


@pytest.mark.parametrize("count", [1_000, SORTED_MOST + 1, 1_000_000])
def test_positions_are_independent_of_each_other(count: int) -> None:
    shuffle = permutation(count, 5)
    chosen = np.random.default_rng(0).integers(0, count, 100).astype(np.uint64)
    assert np.array_equal(shuffle(chosen), first(count, 5, count)[chosen])
    assert [int(shuffle(np.array([one]))[0]) for one in chosen[:5]] == shuffle(chosen[:5]).tolist()


def chi_square(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], bins: int = 32) -> float:
    """Deviation from independence in standard deviations of the chi-square distribution."""
    table = np.histogram2d(one, other, bins)[0]
    expected = len(one) / bins**2
    return float((((table - expected) ** 2 / expected).sum() - bins**2) / np.sqrt(2 * bins**2))


@pytest.mark.parametrize("count", [50_000, 100_003, 1_000_000])
@pytest.mark.parametrize("key", [0, 1])
def test_an_order_looks_random(count: int, key: int) -> None:
    numbers = first(count, key, count).astype(np.float64)
    after = first(count, key_of(key, "next"), count).astype(np.float64)
    for other in (np.arange(count, dtype=np.float64), np.roll(numbers, 1), np.roll(numbers, 17), after, numbers[::-1]):
        assert abs(chi_square(numbers, other)) < 5
    low = numbers % 32
    assert abs(chi_square(low, np.roll(low, 1))) < 5
    assert abs(float(np.mean(np.abs(np.diff(numbers)))) / count - 1 / 3) < 0.01


def test_the_test_of_randomness_can_fail() -> None:
    count = 100_003
    numbers = (np.arange(count) * 7919 % count).astype(np.float64)
    assert abs(chi_square(numbers, np.roll(numbers, 1))) > 5


@pytest.mark.parametrize(("count", "key"), GOLDEN)
def test_orders_never_change(count: int, key: int) -> None:
    numbers = first(count, key_of("golden", key), 1_000).astype("<u8")
    assert blake2b(numbers.tobytes(), digest_size=8).hexdigest() == GOLDEN[count, key]


def test_hashes_never_change() -> None:
    numbers = np.arange(3, dtype=np.uint64)
    assert key_of("a", 1, 2) == 0x6EF300F630BB9293
    assert hashed(numbers, 5).tolist() == [13168350753275463132, 7134611160154358618, 13877614986023876344]
    assert uniform_below(numbers, 5, 1000).tolist() == [713, 386, 752]


def test_random_integers_are_in_their_bounds_and_even() -> None:
    numbers = uniform_below(np.arange(60_000, dtype=np.uint64), 3, 6)
    assert np.abs(np.bincount(numbers.astype(np.int64), minlength=6) - 10_000).max() < 500
    assert uniform_below(np.arange(50, dtype=np.uint64), 3, np.arange(1, 51)).tolist()[0] == 0
