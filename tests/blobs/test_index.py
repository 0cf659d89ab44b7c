from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.backends import Locations
from hangar.blobs.index import Index, Sought, sort_digests

Digests = npt.NDArray[np.uint8]

# Few prefixes and few tails, so that digests that share a prefix, or all but the prefix, are common.
digest_values = st.builds(
    lambda prefix, middle, tail: bytes([prefix] * 8) + bytes([middle] * 8) + bytes(15) + bytes([tail]),
    st.integers(0, 3),
    st.integers(0, 1),
    st.integers(0, 3),
)


def array(values: list[bytes]) -> Digests:
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), 32)


def place(values: list[bytes], file: int = 1) -> Locations:
    """A location for each digest that can be told from all others."""
    made = Locations.at(file=file, offset=np.arange(len(values)), length=[len(values)] * len(values))
    made.set_checks(5, np.arange(len(values)) + 1000)
    return made


def index_of(values: list[bytes], file: int = 1) -> tuple[Index, dict[bytes, tuple[int, ...]]]:
    """An index of distinct digests, and what it must say."""
    locations = place(values, file)
    order, sought, _ = sort_digests(array(values))
    expected = {value: tuple(words.tolist()) for value, words in zip(values, locations.words, strict=True)}
    return Index.build(sought, locations.take(order)), expected


@given(st.lists(digest_values, max_size=40))
def test_sorting_finds_order_and_repeats(values: list[bytes]) -> None:
    order, sought, repeats = sort_digests(array(values))
    ordered = [values[at] for at in order]
    assert ordered == sorted(values)
    assert sought.words.view(np.uint8).tobytes() == b"".join(ordered)
    assert [value for value, again in zip(ordered, repeats, strict=True) if not again] == sorted(set(values))


@given(st.lists(digest_values, unique=True, min_size=1, max_size=30), st.lists(digest_values, min_size=1, max_size=40))
def test_a_batch_and_each_alone_are_found(values: list[bytes], asked: list[bytes]) -> None:
    index, expected = index_of(values)
    sought = Sought.of(array(asked))
    found, places = index.search(sought)
    assert found.tolist() == [value in expected for value in asked]
    hits = np.flatnonzero(found)
    words = index.take(places[hits], sought.take(hits))
    assert [tuple(row.tolist()) for row in words] == [expected[asked[at]] for at in hits]
    for value in asked:
        assert index.locate_one(value, int.from_bytes(value[:8], "big")) == expected.get(value)


def test_a_large_batch_is_found_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (3_000, 32), np.uint8)
    digests[1::2, :8] = digests[::2, :8]  # pairs share a prefix
    index, expected = index_of([row.tobytes() for row in digests])
    asked = digests[rng.integers(0, len(digests), 20_000)].copy()
    asked[::5, 31] ^= 1
    found, places = index.search(Sought.of(asked))
    names = [row.tobytes() for row in asked]
    assert found.tolist() == [name in expected for name in names]
    hits = np.flatnonzero(found)
    words = index.take(places[hits], Sought.of(asked).take(hits))
    assert [tuple(row.tolist()) for row in words] == [expected[names[at]] for at in hits]


def test_copies_are_merged_by_the_sort_of_prefixes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = np.random.default_rng(0).integers(0, 256, (2_000, 32), np.uint8)
    old, _ = index_of([row.tobytes() for row in digests], 1)
    new, _ = index_of([row.tobytes() for row in digests[:1_500]], 2)
    monkeypatch.setattr(np, "lexsort", lambda *_: pytest.fail("all digests were sorted by all words"))
    merged = Index.merge([new, old])
    assert np.array_equal(merged.digests(), old.digests())
    moved = {row.tobytes() for row in digests[:1_500]}
    expected = [2 if row.tobytes() in moved else 1 for row in merged.digests()]
    assert merged.locations().file.tolist() == expected


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, min_size=1, max_size=30), st.randoms())
def test_all_of_a_batch(values: list[bytes], random: object) -> None:
    index, expected = index_of(values)
    found = index.locate_all(Sought.of(array(values)))
    assert found is not None
    assert [tuple(row.tolist()) for row in found] == [expected[value] for value in values]
    stranger = bytes(32) if bytes(32) not in expected else b"\1" * 32
    assert index.locate_all(Sought.of(array([*values, stranger]))) is None


@given(st.lists(st.lists(digest_values, unique=True, min_size=1, max_size=20), min_size=1, max_size=4))
def test_merging_keeps_the_earlier(parts: list[list[bytes]]) -> None:
    made = [index_of(values, file) for file, values in enumerate(parts, 1)]
    merged = Index.merge([index for index, _ in made])
    expected: dict[bytes, tuple[int, ...]] = {}
    for _, own in reversed(made):
        expected.update(own)
    assert [bytes(digest) for digest in merged.digests()] == sorted(expected)
    found = zip(merged.digests(), merged.locations().words, strict=True)
    assert {bytes(digest): tuple(words.tolist()) for digest, words in found} == expected


def test_an_empty_index_has_nothing() -> None:
    index = Index.merge([])
    assert index.count == 0
    assert index.locate_one(bytes(32), 0) is None
    found, _ = index.search(Sought.of(array([bytes(32)])))
    assert not found.any()
    assert len(index.digests()) == len(index.locations()) == 0


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_an_entry_moved_to_another_digest_does_not_pass(count: int) -> None:
    """The checksum in an entry is tied to the digest, so the location of one blob never serves another."""
    source = np.random.default_rng(0)
    values = [source.bytes(32) for _ in range(count)]
    index, expected = index_of(values)
    digests = [bytes(digest) for digest in index.digests()]
    entries = index.entries.copy()
    entries[:, 3:] = np.roll(entries[:, 3:], 1, axis=0)
    moved = Index(index.prefixes, entries)
    for at, digest in enumerate(digests):
        found = moved.locate_one(digest, int.from_bytes(digest[:8], "big"))
        assert found is not None
        if count > 1:
            assert found[1] != expected[digests[at - 1]][1]
