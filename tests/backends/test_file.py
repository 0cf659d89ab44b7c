"""The header that every blob file begins with."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from hangar.backends.file import FILE_HEADER_BYTES, decode_file_header, encode_file_header
from hangar.digest import checksum
from hangar.errors import CorruptionError, UnsupportedVersionError

PATH = Path("blobs/00000001.10")


def test_row_26_ten_thousand_fuzzed_headers() -> None:
    """Of random bytes, of damaged headers, and of such as were given a good checksum: a header or an error of the tree."""
    source = random.Random(26)
    accepted = 0
    for turn in range(10_000):
        data = bytearray(encode_file_header(source.choice(("10", "toy", "a" * 8)), source.randrange(2**32)))
        for _ in range(source.randrange(4)):
            data[source.randrange(len(data))] = source.randrange(256)
        if turn % 3 == 0:
            data[56:] = struct.pack("<Q", checksum(bytes(data[:56]), 0))
        elif turn % 3 == 1:
            data = bytearray(source.randbytes(source.randrange(100)))
        if source.random() < 0.1:
            del data[source.randrange(len(data) + 1) :]
        try:
            tag, file_id = decode_file_header(bytes(data), PATH)
        except (CorruptionError, UnsupportedVersionError):
            continue
        accepted += 1
        assert len(tag) <= 8
        assert 0 <= file_id < 2**32
        assert len(data) >= FILE_HEADER_BYTES
    assert accepted > 500
