from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.db import tables
from hangar.db.tables import (
    CHECKSUM_BYTES,
    LOCATIONS,
    META,
    NODES,
    REFS,
    TABLES,
    Table,
    add_checksum,
    add_checksums,
    strip_checksum,
    strip_checksums,
)
from hangar.errors import CorruptionError

keys = st.binary(min_size=1, max_size=40)
payloads = st.binary(max_size=100)


def test_a_tables_number_is_its_place_and_its_name_is_its_own() -> None:
    assert [table.number for table in TABLES] == list(range(len(TABLES)))
    assert len({table.name for table in TABLES}) == len(TABLES)


def test_the_numbers_are_part_of_the_format() -> None:
    assert " ".join(table.name for table in TABLES) == (
        "nodes commits schemas attributes graph refs reflog locations headers files staging pending conflicts leases "
        "promisors tombstones operations complete meta"
    )


def test_every_table_without_digests_is_checked() -> None:
    assert [table.name for table in TABLES if not table.checked] == ["nodes", "commits", "schemas", "attributes"]
    assert not any(table.counted for table in TABLES if not table.checked)


def test_every_table_constant_is_listed() -> None:
    constants = [value for value in vars(tables).values() if isinstance(value, Table)]
    assert set(constants) == set(TABLES)


def test_a_golden_row() -> None:
    assert add_checksum(REFS, b"heads/master", b"\x01\x02").hex() == "0102" + "16fee910751e89bd"


@given(keys, payloads)
def test_a_row_is_unsealed_to_what_was_sealed(key: bytes, payload: bytes) -> None:
    row = add_checksum(META, key, payload)
    assert len(row) == len(payload) + CHECKSUM_BYTES
    assert strip_checksum(META, key, row) == payload


@given(keys, payloads, st.data())
def test_any_flipped_bit_is_found(key: bytes, payload: bytes, data: st.DataObject) -> None:
    row = bytearray(add_checksum(META, key, payload))
    place = data.draw(st.integers(0, len(row) * 8 - 1))
    row[place // 8] ^= 1 << place % 8
    with pytest.raises(CorruptionError, match=f"'meta'.*{key.hex()}"):
        strip_checksum(META, key, bytes(row))


@given(keys, payloads)
def test_a_row_is_of_one_table_and_one_key(key: bytes, payload: bytes) -> None:
    row = add_checksum(REFS, key, payload)
    with pytest.raises(CorruptionError):
        strip_checksum(LOCATIONS, key, row)
    with pytest.raises(CorruptionError):
        strip_checksum(REFS, key + b"0", row)
    # The border between key and payload counts too.
    with pytest.raises(CorruptionError):
        strip_checksum(REFS, key + row[:1], row[1:])


def test_a_row_shorter_than_a_checksum_is_damaged() -> None:
    for length in range(CHECKSUM_BYTES):
        with pytest.raises(CorruptionError):
            strip_checksum(META, b"key", bytes(length))


@given(st.lists(st.tuples(keys, payloads), max_size=8))
def test_many_rows_are_sealed_as_each_is(items: list[tuple[bytes, bytes]]) -> None:
    rows = add_checksums(REFS, items)
    assert rows == [(key, add_checksum(REFS, key, payload)) for key, payload in items]
    assert strip_checksums(REFS, [key for key, _ in rows], [row for _, row in rows]) == [
        payload for _, payload in items
    ]


def test_the_damaged_one_of_many_is_named() -> None:
    rows = add_checksums(REFS, [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
    with pytest.raises(CorruptionError, match=b"b".hex()):
        strip_checksums(REFS, [b"a", b"b", b"c"], [rows[0][1], rows[0][1], rows[2][1]])


def test_content_addressed_tables_hold_values_as_they_are() -> None:
    assert not NODES.checked


def test_only_where_absence_means_nothing_is_it_not_checked() -> None:
    # New blobs are looked up by the thousand before they are written; a location that is missed is a lost blob, and said so.
    unsought = [table.name for table in TABLES if table.checked and not table.sought]
    assert unsought == ["graph", "locations", "complete"]
    assert not any(table.sought for table in TABLES if not table.checked)
