"""A set of digests in arrays does what a set of bytes does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hangar.blobs.digests import DigestSet
from hangar.digest import digest_array, digest_list

# Few first words, so that digests share them.
DIGESTS = st.builds(
    lambda first, rest: first.to_bytes(8, "big") + rest.to_bytes(24, "big"), st.integers(0, 5), st.integers(0, 3)
)


@given(st.lists(st.lists(DIGESTS, min_size=1, max_size=20), max_size=6), st.lists(DIGESTS, min_size=1, max_size=30))
def test_it_is_a_set(batches: list[list[bytes]], sought: list[bytes]) -> None:
    model: set[bytes] = set()
    found = DigestSet()
    for batch in batches:
        new = list(digest_list(found.add(digest_array(batch))))
        assert new == sorted(set(batch) - model)
        model |= set(batch)
        assert len(found) == len(model)
    assert found.holds(digest_array(sought)).tolist() == [digest in model for digest in sought]
    assert [digest in found for digest in sought] == [digest in model for digest in sought]
    assert sorted(digest_list(found.digests())) == sorted(model)
    assert found.nbytes == 32 * len(model)


def test_it_holds_many_in_few_parts() -> None:
    source = np.random.default_rng(0)
    digests = source.integers(0, 256, (50_000, 32), np.uint8)
    found = DigestSet()
    for start in range(0, 50_000, 500):
        assert len(found.add(digests[start : start + 500])) == 500
        assert not len(found.add(digests[start : start + 500]))
    assert len(found) == 50_000
    assert len(found._parts) <= 17
    assert found.holds(digests[::7]).all()
    assert not found.holds(source.integers(0, 256, (500, 32), np.uint8)).any()


def test_an_empty_one() -> None:
    found = DigestSet()
    none = np.empty((0, 32), np.uint8)
    assert not len(found.add(none))
    assert found.holds(none).tolist() == []
    assert not found.holds(np.zeros((2, 32), np.uint8)).any()
    assert found.digests().shape == (0, 32)
