"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from hangar.progress import format_bytes
from hangar.wording import plural


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "sample", "0 samples"), (1, "sample", "1 sample"), (1797, "sample", "1,797 samples"), (1, "entry", "1 entry"), (2, "entry", "2 entries"), (2, "key", "2 keys")],
)  # fmt: skip
def test_a_number_with_its_noun(number: int, noun: str, text: str) -> None:
    assert plural(number, noun) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (-1, "-1 bytes"), (2, "2 bytes"), (1000, "1.00 kB")])  # fmt: skip
def test_one_byte(number: int, text: str) -> None:
    assert format_bytes(number) == text
