from __future__ import annotations

import numpy as np
import pytest

from hangar.backends import Locations
from hangar.errors import CorruptionError


def some() -> Locations:
    made = Locations.at(
        file=2**32 - 1, offset=[0, 2**63, 2**64 - 1], length=[0, 2**56 - 1, 5], codec=255, row=[0, 1, 2**32 - 1]
    )
    made.set_checks([1, 2, 2**64 - 1], 7)
    return made


def test_columns_come_back() -> None:
    made = some()
    assert made.file.tolist() == [2**32 - 1] * 3
    assert made.offset.tolist() == [0, 2**63, 2**64 - 1]
    assert made.length.tolist() == [0, 2**56 - 1, 5]
    assert made.codec.tolist() == [255] * 3
    assert made.row.tolist() == [0, 1, 2**32 - 1]
    assert made.header.tolist() == [1, 2, 2**64 - 1]
    assert made.check.tolist() == [7, 7, 7]


def test_rows_come_back() -> None:
    made = some()
    rows = made.to_rows()
    assert [len(row) for row in rows] == [40, 40, 40]
    assert np.array_equal(Locations.from_rows(rows).words, made.words)
    assert Locations.from_rows([]).words.shape == (0, 5)
    assert Locations(np.empty((0, 5), np.uint64)).to_rows() == []


def test_a_row_is_five_little_endian_words() -> None:
    made = Locations.at(file=3, offset=[0x0102], length=4, codec=5, row=6)
    made.set_checks(8, 9)
    words = [0x0102, 9, (5 << 56) + 4, 8, (6 << 32) + 3]
    assert made.to_rows() == [b"".join(word.to_bytes(8, "little") for word in words)]


def test_take_and_concatenate() -> None:
    made = some()
    both = Locations.concatenate([made.take(np.array([2, 0])), made.take(slice(1, 2)), made.take(made.row == 1)])
    assert both.row.tolist() == [2**32 - 1, 0, 1, 1]
    assert len(Locations.concatenate([])) == 0


@pytest.mark.parametrize("rows", [[b""], [b"x" * 39], [b"x" * 40, b"x" * 41], [b"x" * 80, b""]])
def test_rows_of_other_sizes_are_damage(rows: list[bytes]) -> None:
    with pytest.raises(CorruptionError):
        Locations.from_rows(rows)
