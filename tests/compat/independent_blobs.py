"""Blob files, runs and locations for the independent reader, written from ``docs/format.rst`` alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from blake3 import blake3
from xxhash import xxh3_64_intdigest

from tests.compat.independent_hdf5 import ITEM_BYTES, read_hdf5
from tests.compat.independent_tables import Tables, decode, require

NDARRAY, STR, BYTES, SPARSE = 1, 2, 3, 5


def read_sparse(dtype: int, shape: tuple[int, ...], data: bytes) -> dict[tuple[int, ...], bytes]:
    """The elements of a sparse array: their values, by coordinates; refuses what is not canonical."""
    require(1 <= len(shape) <= 31 and (1 <= dtype <= 9 or 11 <= dtype <= 14), "a sparse array of impossible form")
    widths = [next(width for width in (1, 2, 4, 8) if extent <= 2 ** (8 * width)) for extent in shape]
    count, rest = divmod(len(data), sum(widths) + ITEM_BYTES[dtype])
    require(rest == 0, "a sparse array has part of an element")
    axes, at = [], 0
    for width, extent in zip(widths, shape, strict=True):
        axes.append([int.from_bytes(data[at + i * width : at + (i + 1) * width], "little") for i in range(count)])
        require(all(one < extent for one in axes[-1]), "a coordinate lies outside of a sparse array")
        at += count * width
    where = list(zip(*axes, strict=True))
    require(all(a < b for a, b in pairwise(where)), "the elements of a sparse array do not ascend")
    size = ITEM_BYTES[dtype]
    values = [data[at + i * size : at + (i + 1) * size] for i in range(count)]
    for value in values:
        # The bits of a number are those of zero, but for a sign of a float.
        bits = int.from_bytes(value, "little")
        halves = [bits] if dtype < 13 else [bits & (1 << 4 * size) - 1, bits >> 4 * size]
        signless = 8 * size // len(halves) - 1
        zero = all(half & ((1 << signless) - 1) == 0 for half in halves) if dtype > 10 else not bits
        require(not zero and (dtype != 1 or bits == 1), "a sparse array stores a zero")
    return dict(zip(where, values, strict=True))


@dataclass(frozen=True)
class Value:
    """One sample: the header's kind, dtype code and shape, and the logical bytes."""

    kind: int
    dtype: int
    shape: tuple[int, ...]
    data: bytes


PURGED = -1


@dataclass(frozen=True)
class Purged:
    """A tombstone: who erased a blob, when and why."""

    name: str
    email: str
    time_ns: int
    tz: int
    reason: str
    samples: list[list[Any]]
    state: int


class Blobs:
    """Blobs by digest: every location, of the table and of each run."""

    def __init__(self, directory: Path, tables: Tables) -> None:
        self._files: dict[int, tuple[str, bytes]] = {}
        self.locations: dict[bytes, list[bytes]] = {}
        self.runs: list[int] = []
        self._headers = {int.from_bytes(key, "big"): data for key, data in tables["headers"].items()}
        for number, header in self._headers.items():
            require(xxh3_64_intdigest(header) == number, "a header has another number")
        for key, row in tables["files"].items():
            number = int.from_bytes(key[1:], "big")
            if key[:1] == b"b":
                tag, end, _owner, _sealed = decode(row, "a blob file row")
                path = directory / "blobs" / f"{number:08x}.{tag}"
                self._files[number] = tag, _read_blob_file(path, number, tag, end)
            else:
                require(key[:1] == b"r", "a row of `files` of unknown kind")
                self.runs.append(number)
                self._read_run(directory / "runs" / f"{number:08x}.run", number, *decode(row, "a run row"))
        next_id = int.from_bytes(tables["meta"].get(b"next file id", b"\0\0\0\1"), "big")
        require(max([0, *self._files, *self.runs]) < next_id, "a file has an id that was never given")
        for digest, location in tables["locations"].items():
            self.locations.setdefault(digest, []).append(location)
        self.purged = {digest: Purged(*decode(row, "a tombstone")) for digest, row in tables["tombstones"].items()}
        unfinished = b"purge" in tables["meta"]
        in_effect = {digest for digest, one in self.purged.items() if one.state == 1}
        require(all(one.state in (0, 1, 2) for one in self.purged.values()), "a tombstone of unknown state")
        require(unfinished or not self.locations.keys() & in_effect, "a purged blob has a location")
        for digest in self.locations:
            self.read(digest)

    def _read_run(self, path: Path, run_id: int, count: int) -> None:
        data = path.read_bytes()
        magic, version, found_id, found_count, sum_1, sum_2, zeros, check = struct.unpack("<8sIIQQQ16sQ", data[:64])
        require((magic, version, found_id, found_count) == (b"HANGARRN", 0, run_id, count), "a run has a bad header")
        require(zeros == bytes(16) and check == xxh3_64_intdigest(data[:56]), "a run has a damaged header")
        prefixes, entries = data[64 : 64 + 8 * count], data[64 + 8 * count :]
        require(len(entries) == 64 * count, "a run has the wrong size")
        require((xxh3_64_intdigest(prefixes), xxh3_64_intdigest(entries)) == (sum_1, sum_2), "a run is damaged")
        before = b""
        for i in range(count):
            (prefix,) = struct.unpack_from("<Q", prefixes, 8 * i)
            rest, offset, check, *words = struct.unpack_from("<24s5Q", entries, 64 * i)
            digest = prefix.to_bytes(8, "big") + rest
            require(before < digest, "the digests of a run do not ascend")
            before = digest
            check ^= int.from_bytes(digest[8:16], "little")
            self.locations.setdefault(digest, []).append(struct.pack("<5Q", offset, check, *words))

    def read(self, digest: bytes) -> Value:
        """The blob of this digest, as each of its locations gives it; of kind :data:`PURGED` where its bytes were erased."""
        if digest not in self.locations and digest in self.purged and self.purged[digest].state:
            return Value(PURGED, 0, (), digest)
        require(digest in self.locations, f"blob {digest.hex()} has no location")
        found = {self._read_at(digest, location) for location in self.locations[digest]}
        require(len(found) == 1, f"the locations of {digest.hex()} differ")
        return found.pop()

    def _read_at(self, digest: bytes, location: bytes) -> Value:
        offset, check, stored, number, place = struct.unpack("<5Q", location)
        codec, length, row, file_id = stored >> 56, stored & (1 << 56) - 1, place >> 32, place & 0xFFFFFFFF
        tag, file = self._files[file_id]
        stored_bytes = file[offset : offset + length]
        require(offset >= 64 and len(stored_bytes) == length, f"blob {digest.hex()} lies outside its file")
        header = self._headers[number]
        if tag in ("00", "01"):
            data = read_hdf5(stored_bytes, codec, row, header) if length else b""
        else:
            require((codec, row) == (0, 0), "raw backends encode nothing")
            data = stored_bytes
        require(xxh3_64_intdigest(data, number) == check, f"blob {digest.hex()} has another checksum")
        key = blake3(header, derive_key_context="hangar 0 blob header").digest()
        require(blake3(data, key=key).digest() == digest, f"blob {digest.hex()} has another digest")
        kind, dtype, rank, *shape = struct.unpack(f"<BBB{header[2]}Q", header)
        if kind == NDARRAY:
            size = ITEM_BYTES[dtype]
            for extent in shape:
                size *= extent
            require(size == len(data) and rank <= 31, f"blob {digest.hex()} has a size that is not its shape's")
        elif kind == SPARSE:
            read_sparse(dtype, tuple(shape), data)
        else:
            require(kind in (STR, BYTES) and (dtype, rank) == (0, 0), "a header of unknown kind")
        return Value(kind, dtype, tuple(shape), data)


def _read_blob_file(path: Path, file_id: int, tag: str, end: int) -> bytes:
    data = path.read_bytes()
    magic, version, found_id, found_tag, zeros, check = struct.unpack("<8sII8s32sQ", data[:64])
    require((magic, version, found_id) == (b"HANGARBF", 0, file_id), f"{path.name} has a bad header")
    require(found_tag == tag.encode().ljust(8, b"\0") and zeros == bytes(32), f"{path.name} has a bad header")
    require(check == xxh3_64_intdigest(data[:56]), f"{path.name} has a damaged header")
    require(tag in ("00", "01", "10", "30", "31"), f"{path.name} is of an unknown backend")
    require(64 <= end <= len(data), f"{path.name} is shorter than recorded")
    return data[:end]
