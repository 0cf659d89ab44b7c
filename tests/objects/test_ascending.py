"""What is known to ascend does; what does not is not taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.errors import InvalidInputError
from hangar.objects.ascending import Ascending, as_ascending


@given(st.lists(st.binary(max_size=3), max_size=20))
def test_keys_that_ascend_are_told_from_others(keys: list[bytes]) -> None:
    found = as_ascending(keys)
    if keys == sorted(set(keys)):
        assert found == keys
        assert isinstance(found, Ascending)
        assert as_ascending(found) is found
    else:
        assert found is None


@pytest.mark.parametrize("at", [0, 5, 127, 128, 299])
def test_a_key_that_is_too_long_is_found_anywhere(at: int) -> None:
    keys = [number.to_bytes(9, "big") for number in range(300)]
    keys[at] = keys[at].ljust(limits.MAX_KEY_BYTES, b"\xff")
    assert as_ascending(keys) == keys
    keys[at] += b"\xff"
    with pytest.raises(InvalidInputError, match="longer than 2100 bytes"):
        as_ascending(keys)


def test_many_long_keys_are_good_ones() -> None:
    keys = [number.to_bytes(1_000, "big") for number in range(300)]
    assert as_ascending(keys) == keys
