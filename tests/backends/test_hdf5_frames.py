"""Heads of frames of HDF5 files, which say how much to allocate: of any bytes."""

from __future__ import annotations

import random
import struct

from xxhash import xxh3_64_intdigest

from hangar.backends.hdf5.codecs import Encoding
from hangar.backends.hdf5.frames import MAX_PIECE_BYTES, Content, Frame, encode_head
from hangar.errors import CorruptionError, UnsupportedVersionError

HEADER = bytes([1, 6, 1]) + struct.pack("<Q", 100)
SIZES = (0, 1, 2, 7, 100, 2**26, 2**26 + 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def head(source: random.Random) -> bytearray:
    stored = [source.randrange(100) for _ in range(source.choice((1, 1, 3)))]
    piece = source.choice((20, 100))
    content = Content(0, HEADER, source.choice((1, 4)), 1, 0, len(stored), piece, piece * len(stored))
    return bytearray(encode_head(content, Encoding(0, 0, 0), stored, [0] * len(stored)) + bytes(sum(stored)))


def damage(source: random.Random, data: bytearray) -> None:
    """Change fields of any size; most of the time the checksum of the head is made good again."""
    for _ in range(source.randrange(3)):
        name = source.choice(("<B", "<I", "<Q"))
        place = source.randrange(4, 56 - struct.calcsize(name))
        struct.pack_into(name, data, place, source.choice(SIZES) % 256 ** struct.calcsize(name))
    length = struct.unpack_from("<4sBBBBBBBBIIIQQQ", data)
    check_at = 48 + length[8] + 12 * length[10]
    if source.random() < 0.8 and check_at + 8 <= len(data):
        struct.pack_into("<Q", data, check_at, xxh3_64_intdigest(bytes(data[:check_at])))
    if source.random() < 0.1:
        del data[source.randrange(len(data)) :]


def test_row_26_ten_thousand_fuzzed_heads_of_chunks() -> None:
    source = random.Random(26)
    accepted = refused = 0
    for _ in range(10_000):
        data = head(source)
        damage(source, data)
        try:
            frame = Frame.find(bytes(data), 0, len(data))
        except (CorruptionError, UnsupportedVersionError):
            refused += 1
            continue
        accepted += 1
        content = frame.content
        # What is allocated is bounded by a chunk, or by as many as are there.
        assert content.nbytes <= content.pieces * MAX_PIECE_BYTES
        assert frame.length <= len(data)
        assert [stop - start for start, stop in map(content.span, range(content.pieces))].count(0) == 0
        assert int(frame.starts[-1] + frame.stored[-1]) == frame.length
    assert accepted > 1_000
    assert refused > 1_000
