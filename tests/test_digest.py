"""Digests: canonical, domain-separated; headers that cannot be right are refused; batches equal single calls."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from hangar import limits
from hangar.digest import (
    BYTES,
    NDARRAY,
    STR,
    Header,
    RecordClass,
    blob_digest,
    blob_digests,
    blob_digests_of_list,
    checksum,
    checksums,
    digest_array,
    digest_list,
    record_digest,
    record_digests,
)
from hangar.errors import InvalidInputError

CLASSES: list[RecordClass] = ["node", "commit", "schema", "attributes", "tree", "column", "key"]
HEADERS = [
    Header(NDARRAY, 6, ()),
    Header(NDARRAY, 6, (0,)),
    Header(NDARRAY, 6, (4,)),
    Header(NDARRAY, 6, (4, 0)),
    Header(NDARRAY, 6, (0, 4)),
    Header(NDARRAY, 6, (2, 2)),
    Header(NDARRAY, 2, (4,)),
    Header(NDARRAY, 6, (4, 1)),
    Header(NDARRAY, 255, (1,) * limits.MAX_RANK),
    Header(NDARRAY, 1, (2**40,)),
    Header(STR, 0, ()),
    Header(BYTES, 0, ()),
]


def test_a_record_digest_is_keyed_blake3_of_its_exact_bytes() -> None:
    for name in CLASSES:
        key = blake3(name.encode(), derive_key_context="hangar 0 record class").digest()
        assert record_digest(name, b"data") == blake3(b"data", key=key).digest()
    digests = {record_digest(name, data) for name in CLASSES for data in (b"", b"data", b"data\x00")}
    assert len(digests) == 3 * len(CLASSES)


def test_many_records_at_once() -> None:
    records = [bytes([i]) * i for i in range(50)]
    assert record_digests("node", records) == [record_digest("node", record) for record in records]
    assert record_digests("node", []) == []


def test_a_blob_digest_is_blake3_under_the_key_of_its_header() -> None:
    for header in HEADERS:
        key = blake3(header.encode(), derive_key_context="hangar 0 blob header").digest()
        assert header.key == key
        assert blob_digest(header, b"1234") == blake3(b"1234", key=key).digest()


def test_one_content_under_two_headers_has_two_digests_and_two_checksums() -> None:
    assert len({blob_digest(header, b"1234") for header in HEADERS}) == len(HEADERS)
    assert len({checksum(b"1234", header.id) for header in HEADERS}) == len(HEADERS)
    assert not {blob_digest(header, b"1234") for header in HEADERS} & {record_digest(name, b"1234") for name in CLASSES}


@pytest.mark.parametrize("width", [0, 1, 31, 784, 4_095, 4_096, 10_000])
@pytest.mark.parametrize("count", [0, 1, 17])
def test_batches_equal_single_calls(width: int, count: int) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (count, width), dtype=np.uint8)
    header = Header(NDARRAY, 6, (width,))
    digests = blob_digests(header, rows)
    assert digests.shape == (count, 32)
    assert digests.dtype == np.uint8
    assert digest_list(digests) == [blob_digest(header, row.tobytes()) for row in rows]
    sums = checksums(rows, header.id)
    assert sums.dtype == np.uint64
    assert sums.tolist() == [checksum(row.tobytes(), header.id) for row in rows]
    assert sums.tolist() == [xxh3_64_intdigest(row.tobytes(), seed=header.id) for row in rows]


@pytest.mark.parametrize("count", [0, 3, 1_200])
def test_lists_equal_single_calls(count: int) -> None:
    buffers = [bytes([at % 256]) * (at % 300) for at in range(count)]
    for headers in ([HEADERS[-1]] * count, [HEADERS[at % len(HEADERS)] for at in range(count)]):
        assert blob_digests_of_list(headers, buffers) == [
            blob_digest(header, buffer) for header, buffer in zip(headers, buffers, strict=True)
        ]


def test_rows_that_do_not_lie_one_after_the_other() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (9, 20), dtype=np.uint8)
    header = Header(NDARRAY, 6, (10,))
    for rows in (wide[:, ::2], wide[::2, :10]):
        assert (blob_digests(header, rows) == blob_digests(header, rows.copy())).all()
        assert (checksums(rows, 3) == checksums(rows.copy(), 3)).all()


def test_digests_as_arrays() -> None:
    digests = [record_digest("node", bytes([i])) for i in range(5)]
    array = digest_array(digests)
    assert array.shape == (5, 32)
    assert digest_list(array) == digests
    assert digest_list(array[::2]) == digests[::2]
    assert digest_array([]).shape == (0, 32)
    assert digest_list(digest_array([])) == []
    # A digest that ends in zeros keeps them.
    zeros = bytes(31) + b"\x01", b"\x01" + bytes(31), bytes(32)
    assert digest_list(digest_array(zeros)) == list(zeros)


@pytest.mark.parametrize("header", HEADERS, ids=itertools.count())
def test_headers_round_trip(header: Header) -> None:
    data = header.encode()
    assert Header.decode(data) == header
    assert Header.decode(data).encode() == data
    assert data == struct.pack("<BBB", header.kind, header.dtype, len(header.shape)) + b"".join(
        extent.to_bytes(8, "little") for extent in header.shape
    )


@pytest.mark.parametrize(
    ("kind", "dtype", "shape"),
    [
        (0, 0, ()),
        (4, 0, ()),
        (-1, 0, ()),
        (NDARRAY, 0, ()),
        (NDARRAY, 256, ()),
        (NDARRAY, -1, ()),
        (NDARRAY, 6, (1,) * (limits.MAX_RANK + 1)),
        (NDARRAY, 6, (-1,)),
        (NDARRAY, 6, (2**40 + 1,)),
        (NDARRAY, 6, (2**20, 2**21)),
        (NDARRAY, 6, (0, 2**41)),
        (NDARRAY, 6, (2**63, 2)),
        (STR, 6, ()),
        (STR, 0, (1,)),
        (BYTES, 0, (0,)),
    ],
)
def test_headers_that_cannot_be(kind: int, dtype: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError):
        Header(kind, dtype, shape)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        assert Header.decode(data).encode() == data


def test_ten_thousand_fuzzed_headers() -> None:
    rng = random.Random(26)
    accepted = 0
    for _ in range(10_000):
        rank = rng.randrange(40)
        shape = [rng.choice([0, 1, 2, 255, 2**20, 2**40, 2**63, 2**64 - 1, rng.randrange(2**64)]) for _ in range(rank)]
        data = bytes([rng.randrange(5), rng.randrange(256), rank]) + struct.pack(f"<{rank}Q", *shape)
        data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data
        try:
            header = Header.decode(data)
        except InvalidInputError:
            continue
        accepted += 1
        assert header.encode() == data
        # Whatever is accepted, numpy can have.
        assert np.empty((0, *header.shape), np.uint8).shape[1:] == header.shape
    assert accepted > 50
