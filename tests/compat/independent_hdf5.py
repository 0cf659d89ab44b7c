"""Frames of HDF5 files for the independent reader, written from ``docs/format.rst`` alone."""

from __future__ import annotations

import struct
import zlib

from numcodecs import blosc
from xxhash import xxh3_64_intdigest

from tests.compat.independent_tables import require

ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 2, 11: 4, 12: 8, 13: 8, 14: 16, 32: 2}
ITEM_BYTES |= dict.fromkeys(range(33, 41), 1)


def read_hdf5(frame: bytes, codec: int, row: int, header: bytes) -> bytes:
    """The blob of a header that lies at a row of a frame."""
    magic, version, role, found, _level, shuffle, item, axis, header_bytes = struct.unpack("<4s8B", frame[:12])
    samples, chunks, zero, chunk_bytes, slab_bytes, total = struct.unpack("<3I3Q", frame[12:48])
    require((magic, version, found, zero, total) == (b"HGCK", 0, codec, 0, len(frame)), "a frame has a bad head")
    require(role in (0, 1) and chunk_bytes <= 2**26, "a location names no frame of samples")
    at = 48 + header_bytes
    own, table = frame[48:at], list(struct.iter_unpack("<IQ", frame[at : at + 12 * chunks]))
    at += 12 * chunks
    require(int.from_bytes(frame[at : at + 8], "little") == xxh3_64_intdigest(frame[:at]), "the head is damaged")
    at += 8
    parts = []
    for stored, check in table:
        chunk = frame[at : at + stored]
        require(len(chunk) == stored and xxh3_64_intdigest(chunk) == check, "a stored chunk is damaged")
        at += stored
        parts.append(decode(chunk, codec, shuffle, item, chunk_bytes))
        require(len(parts[-1]) == chunk_bytes, "a chunk decodes to another size")
    require(at == len(frame), "a frame has another size than its chunks")
    size = ITEM_BYTES[header[1]]
    for extent in struct.unpack(f"<{header[2]}Q", header[3:]):
        size *= extent
    require(item == ITEM_BYTES[header[1]] and header[:2] == own[:2], "a frame has another element type")
    if role == 0:
        require(own == header and row % size == 0 and row // size < samples, "a frame has other samples")
    if chunks > 1:
        require((row, samples) == (0, 1), "a frame of several chunks has one sample")
        extents = struct.unpack(f"<{header[2]}Q", header[3:])[axis:]
        slab = item
        for extent in extents:
            slab *= extent
        require(slab == slab_bytes, "a frame has other slabs")
        each = -(-slab // chunk_bytes)
        data = b"".join(b"".join(parts[first : first + each])[:slab] for first in range(0, chunks, each))
    else:
        require(slab_bytes == chunk_bytes, "a frame of one chunk is one slab")
        data = parts[0][row : row + size]
    require(len(data) == size, "a frame does not hold a blob")
    return data


def decode(chunk: bytes, codec: int, shuffle: int, item: int, size: int) -> bytes:
    """A chunk as it was before it was encoded."""
    if codec == 0:
        return chunk
    require(codec <= 7, "a chunk has an unknown codec")
    if codec <= 5:
        if len(chunk) == size:
            return chunk
        data: bytes = bytes(blosc.decompress(chunk))
        return data
    plain = chunk if len(chunk) == size else zlib.decompress(chunk) if codec == 6 else unpack_lzf(chunk)
    if not shuffle:
        return plain
    elements = len(plain) // item
    unshuffled = bytearray(len(plain))
    for at in range(item):
        unshuffled[at::item] = plain[at * elements : (at + 1) * elements]
    return bytes(unshuffled)


def unpack_lzf(data: bytes) -> bytes:
    """LZF: runs of 1 to 32 literals (a byte below 32), or copies of what came before (three bits of length, 13 of distance)."""
    out = bytearray()
    at = 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        for place in range(start, start + length + 2):
            out.append(out[place])
    return bytes(out)
