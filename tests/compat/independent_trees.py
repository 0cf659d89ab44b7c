"""Trees for the independent reader, written from ``docs/format.rst`` alone: their nodes, cuts, counts and keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

from xxhash import xxh3_64_intdigest

from tests.compat.independent_tables import Tables, read_record, require

Key: TypeAlias = "int | str | tuple[int | str, int | str]"


class Trees:
    """The trees of columns whose leaves have one kind and width."""

    def __init__(self, tables: Tables, kind: int, width: int, nested: bool) -> None:
        self._tables = tables
        self._kind = kind
        self._width = width
        self._nested = nested

    def entries(self, root: bytes | None, entries: int, samples: int) -> list[tuple[bytes, bytes]]:
        """Keys and cells of a whole tree, which must have as many entries and samples as a column says."""
        if root is None:
            require((entries, samples) == (0, 0), "an empty column has entries")
            return []
        found = list(self._below(root, None, ends_level=True))
        keys = [key for key, _ in found]
        require(all(a < b for a, b in pairwise(keys)), "keys do not ascend")
        require(len(found) == entries, "a column has another number of entries")
        require(samples == len(set(map(partial(sample_of, nested=self._nested), keys))), "wrong number of samples")
        require(self._node(root)[1] == 0 or len(self._node(root)[3]) > 1, "a root has a single child")
        return found

    def _node(self, digest: bytes) -> Any:
        return read_record(self._tables, "nodes", "node", digest)

    def _below(self, digest: bytes, level: int | None, *, ends_level: bool) -> Iterator[tuple[bytes, bytes]]:
        version, found_level, kind, keys, refs, sizes, counts, samples = self._node(digest)
        require(version == 0 and kind in (0, 1, 2, 3), f"node of version {version}, kind {kind}")
        require(level in (None, found_level), "a node stands on another level than its parent says")
        require(1 <= len(keys) <= 256 and max(map(len, keys)) <= 2100, "a node is beyond a limit")
        ends = cuts(keys, found_level)
        require(ends == [len(keys)] or (not ends and ends_level), "a node does not end at a cut")
        if found_level == 0:
            require((kind, counts, samples) == (self._kind, [], []), "a leaf is of another form than its column")
            yield from zip(keys, leaf_cells(kind, refs, sizes, len(keys), self._width), strict=True)
            return
        require(kind == 0 and not sizes and len(refs) == 32 * len(keys) == 32 * len(counts), "a bad inner node")
        require(bool(samples) == self._nested, "an inner node counts samples of a flat column, or none of a nested")
        before = None
        for i, last in enumerate(keys):
            ends_here = ends_level and i == len(keys) - 1
            child = refs[32 * i : 32 * i + 32]
            below = list(self._below(child, found_level - 1, ends_level=ends_here))
            require(below[-1][0] == last and len(below) == counts[i], "an inner node is wrong about a child")
            if self._nested:
                names = {sample_of(key, nested=True) for key, _ in below}
                require(samples[i] == len(names - {before}), "an inner node counts samples wrongly")
                before = sample_of(last, nested=True)
            yield from below


def cuts(keys: list[bytes], level: int) -> list[int]:
    """Ends of the complete nodes of a level."""
    ends, count, size = [], 0, 0
    for position, key in enumerate(keys, 1):
        count, size = count + 1, size + len(key)
        value = xxh3_64_intdigest(key, level)
        by_hash = count >= 16 and value < 2**60 and (count >= 64 or value < 2**56)
        if count == 256 or size > 32768 or by_hash:
            ends.append(position)
            count = size = 0
    return ends


def leaf_cells(kind: int, refs: bytes, sizes: bytes, count: int, width: int) -> list[bytes]:
    """What each entry of a leaf holds; of kind 2 with its size byte."""
    if kind != 2:
        require(sizes == (bytes((width,)) if kind == 1 else b"") and len(refs) == width * count, "a bad leaf")
        return [refs[width * i : width * (i + 1)] for i in range(count)]
    cells, at = [], 0
    for size in sizes:
        length = 32 if size == 255 else size
        require(size <= 64 or size == 255, "a leaf has a bad size")
        cells.append(bytes((size,)) + refs[at : at + length])
        at += length
    require(len(cells) == count and at == len(refs), "a bad leaf")
    return cells


def sample_of(key: bytes, *, nested: bool) -> bytes:
    """The part of a key that names the sample."""
    if not nested:
        return key
    return key[:9] if key[0] == 0x10 else key[: key.index(b"\0") + 1]


def decode_key(key: bytes, nested: bool) -> Key:
    if nested:
        first = sample_of(key, nested=True)
        sample, subsample = (
            decode_key(first.removesuffix(b"\0") if first[0] == 0x20 else first, False),
            key[len(first) :],
        )
        return sample, decode_key(subsample, False)  # type: ignore[return-value]
    if key[0] == 0x10 and len(key) == 9:
        return int.from_bytes(key[1:], "big")
    require(key[0] == 0x20, f"{key.hex()} is no key")
    return key[1:].decode()
