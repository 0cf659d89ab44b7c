"""Whole samples found together are those found one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hangar.errors import InvalidInputError
from hangar.objects.build import build
from hangar.objects.lookup import key_positions, pair_positions
from hangar.objects.node import FIXED_INLINE, TreeForm
from hangar.objects.order import rank, select_sample
from hangar.objects.ranges import entries_of_samples, select_samples
from hangar.objects.samples import sample_of
from hangar.objects.scan import entries_below, scan_samples
from hangar.schema.keys import encode_nested_key
from tests.objects.memory import MemoryDatabase, memory_store, write_out

FORM = TreeForm(FIXED_INLINE, 4, True)


@pytest.mark.parametrize("seed", range(6))
def test_samples_of_any_size_and_kind(seed: int) -> None:
    source = random.Random(seed)
    keys: list[bytes] = []
    for sample in range(source.choice([1, 3, 400])):
        name: int | str = sample * 3 if source.random() < 0.5 else f"s{sample:04}"
        size = source.choice([1, 1, 2, 7, 90, 700 if sample % 50 == 0 else 3])
        keys += [encode_nested_key(name, part if source.random() < 0.7 else f"p{part}") for part in range(size)]
    keys = sorted(set(keys))
    database = MemoryDatabase()
    store = memory_store(database)
    root = build(store, FORM, keys, [index.to_bytes(4, "little") for index in range(len(keys))])
    assert root is not None
    write_out(store)
    prefixes = [prefix for some in scan_samples(store, root.digest) for prefix in some]
    absent = [sample_of(encode_nested_key(name, 0)) for name in (1, 10**9, "s", "t", "s00001")]
    wanted = source.choices([*prefixes, *absent], k=300)
    fresh = memory_store(database)
    database.reads = 0
    found = entries_of_samples(fresh, root.digest, wanted)
    assert database.reads <= 1 + fresh.load(root.digest).level * 2
    for prefix, (start, own, cells) in zip(wanted, found, strict=True):
        assert (own, cells) == entries_below(store, root.digest, prefix)
        if own:
            assert start == rank(store, root.digest, prefix)
    assert entries_of_samples(store, root.digest, []) == []
    positions = source.choices(range(len(prefixes)), k=100)
    fresh = memory_store(database)
    database.reads = 0
    assert select_samples(fresh, root.digest, positions) == [prefixes[at] for at in positions]
    assert database.reads <= 1 + fresh.load(root.digest).level
    assert [select_sample(store, root.digest, at) for at in positions] == [prefixes[at] for at in positions]
    for beyond in (-1, len(prefixes)):
        with pytest.raises(InvalidInputError):
            select_samples(store, root.digest, [0, beyond])


@pytest.mark.parametrize("seed", range(4))
def test_positions_of_keys(seed: int) -> None:
    source = random.Random(seed)
    ints = seed % 2 == 0
    pairs = sorted({(source.randrange(900), source.randrange(9)) for _ in range(source.choice([1, 5, 6_000]))})
    keys = sorted(encode_nested_key(one, other if ints else f"p{other}") for one, other in pairs)
    store = memory_store(MemoryDatabase())
    root = build(store, FORM, keys, [index.to_bytes(4, "little") for index in range(len(keys))])
    assert root is not None
    chosen = source.choices(range(len(keys)), k=2_000)
    found = key_positions(store, root.digest, [keys[at] for at in chosen])
    assert found is not None
    assert found.tolist() == chosen
    for absent in (b"", encode_nested_key(1_000, 0), encode_nested_key(0, 10), b"\xff"):
        assert key_positions(store, root.digest, [keys[0], absent]) is None
    for count in (1, 500, 2_000):
        numbers = np.array([complex(*pairs[at]) for at in chosen[:count]])
        by_number = pair_positions(store, root.digest, numbers)
        if ints:
            assert by_number is not None
            assert by_number.tolist() == chosen[:count]
            assert pair_positions(store, root.digest, np.append(numbers, complex(1_000, 0))) is None
            assert pair_positions(store, root.digest, np.append(numbers, complex(0, 10))) is None
        else:
            assert by_number is None
