"""Trees against a second, plain implementation of the format: no code is shared but the hash functions and MessagePack."""

from __future__ import annotations

import random

import msgspec
import pytest
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from hangar.objects.build import build
from tests.objects.golden import TREES
from tests.objects.memory import FORMS, cell_of, memory_store, nested_key

NODE_KEY = blake3(b"node", derive_key_context="hangar 0 record class").digest()
Entry = tuple[bytes, bytes, list[bytes]]
"""Last key, digest, and all the keys below."""


def sample(key: bytes) -> bytes:
    return key[:9] if key[0] == 0x10 else key[: key.index(b"\x00") + 1]


def groups(keys: list[bytes], level: int) -> list[tuple[int, int]]:
    """The boundary rule, word for word."""
    ranges: list[tuple[int, int]] = []
    start = key_bytes = 0
    for i, key in enumerate(keys):
        count = i + 1 - start
        key_bytes += len(key)
        h = xxh3_64_intdigest(key, seed=level)
        lucky = count >= 16 and h < 2**64 // 16 and (count >= 64 or h < 2**64 // 256)
        if count == 256 or key_bytes > 32 * 1024 or lucky:
            ranges.append((start, i + 1))
            start, key_bytes = i + 1, 0
    return [*ranges, (start, len(keys))] if start < len(keys) else ranges


def digest_of(parts: list[object]) -> bytes:
    return blake3(msgspec.msgpack.encode(parts), key=NODE_KEY).digest()


def plain_root(form: str, keys: list[bytes], cells: list[bytes]) -> str:
    kind, width, nested = FORMS[form].kind, FORMS[form].width, FORMS[form].nested
    level: list[Entry] = []
    for start, end in groups(keys, 0):
        some = cells[start:end]
        if kind == 2:
            sizes, refs = bytes(cell[0] for cell in some), b"".join(cell[1:] for cell in some)
        else:
            sizes, refs = (bytes([width]) if kind == 1 else b""), b"".join(some)
        below = keys[start:end]
        level.append((below[-1], digest_of([0, 0, kind, below, refs, sizes, [], []]), below))
    height = 0
    while len(level) > 1:
        height += 1
        above: list[Entry] = []
        for start, end in groups([last for last, _, _ in level], height):
            children = level[start:end]
            counts = [len(below) for _, _, below in children]
            samples = []
            before: bytes | None = None
            for _, _, below in children if nested else []:
                samples.append(len({sample(key) for key in below} - {before}))
                before = sample(below[-1])
            lasts = [last for last, _, _ in children]
            refs = b"".join(digest for _, digest, _ in children)
            digest = digest_of([0, height, 0, lasts, refs, b"", counts, samples])
            above.append((lasts[-1], digest, [key for _, _, below in children for key in below]))
        level = above
    distinct = len({sample(key) for key in keys}) if nested else len(keys)
    return f"{level[0][1].hex()} {len(keys)} {distinct}"


def built_root(form: str, keys: list[bytes], cells: list[bytes]) -> str:
    root = build(memory_store(), FORMS[form], keys, cells)
    assert root is not None
    return f"{root.digest.hex()} {root.entries} {root.samples}"


@pytest.mark.parametrize("name", sorted(TREES))
def test_two_implementations_agree(name: str) -> None:
    form, keys = TREES[name]
    keys = sorted(keys)
    cells = [cell_of(FORMS[form], i) for i in range(len(keys))]
    assert built_root(form, keys, cells) == plain_root(form, keys, cells)


@pytest.mark.parametrize("seed", range(12))
def test_they_agree_on_samples_that_span_nodes(seed: int) -> None:
    rng = random.Random(seed)
    keys: set[bytes] = set()
    for number in range(rng.choice([3, 40, 900])):
        name: int | str = number if rng.random() < 0.5 else f"s{number}"
        keys.update(nested_key(name, i) for i in range(rng.choice([1, 2, 20, 300])))
    ordered = sorted(keys)
    cells = [cell_of(FORMS["nested digest"], i) for i in range(len(ordered))]
    assert built_root("nested digest", ordered, cells) == plain_root("nested digest", ordered, cells)
