"""Differences between trees, against dictionaries; and what is read to find them."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.diff import diff
from hangar.objects.node import BY_DIGEST, Node, Root
from hangar.objects.store import NodeStore
from hangar.objects.walk import walk
from tests.objects.memory import FORMS, MemoryDatabase, cell_of, int_key, memory_store, text_key, write_out

FORM = FORMS["label"]
Model = dict[bytes, bytes]


def tree_of(store: NodeStore, model: Model, name: str = "label") -> Digest | None:
    keys = sorted(model)
    root = build(store, FORMS[name], keys, [model[key] for key in keys])
    return None if root is None else root.digest


def expected(first: Model, second: Model) -> list[tuple[bytes, bytes | None, bytes | None]]:
    keys = sorted(first.keys() | second.keys())
    return [(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


def labels(numbers: range, salt: int = 0) -> Model:
    return {int_key(i): cell_of(FORM, i + salt) for i in numbers}


PAIRS = {
    "equal": (labels(range(3_000)), labels(range(3_000))),
    "both empty": ({}, {}),
    "from nothing": ({}, labels(range(20_000))),
    "to nothing": (labels(range(20_000)), {}),
    "a leaf and a tall tree": (labels(range(5)), labels(range(20_000))),
    "appended": (labels(range(5_000)), labels(range(20_000))),
    "the front cut off": (labels(range(9_000)), labels(range(4_321, 9_000))),
    "nothing in common": (labels(range(0, 9_000, 2)), labels(range(1, 9_000, 2))),
    "apart": (labels(range(5_000)), labels(range(50_000, 58_000))),
    "every value": (labels(range(9_000)), labels(range(9_000), salt=1)),
    "strings behind": (labels(range(900)), {**labels(range(900)), text_key("a"): b"12345678"}),
}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_differences(name: str) -> None:
    first, second = PAIRS[name]
    store = memory_store()
    a, b = tree_of(store, first), tree_of(store, second)
    assert list(diff(store, a, b)) == expected(first, second)
    assert list(diff(store, b, a)) == expected(second, first)


@pytest.mark.parametrize("seed", range(60))
def test_random_changes(seed: int) -> None:
    rng = random.Random(seed)
    form = FORMS[rng.choice(["digest", "label", "empty", "text"])]
    store = memory_store()
    model = {
        int_key(rng.randrange(40_000)): cell_of(form, rng.randrange(99)) for _ in range(rng.choice([5, 500, 9_000]))
    }
    keys = sorted(model)
    root = build(store, form, keys, [model[key] for key in keys])
    other = root
    changed = dict(model)
    for _ in range(rng.randint(1, 3)):
        batch: dict[bytes, bytes | None] = {}
        for _ in range(rng.choice([1, 20, 900])):
            key = rng.choice(keys) if rng.random() < 0.6 else int_key(rng.randrange(40_000))
            batch[key] = None if rng.random() < 0.3 else cell_of(form, rng.randrange(99))
        other = apply(store, form, other, sorted(batch), [batch[key] for key in sorted(batch)])
        changed = {key: cell for key, cell in {**changed, **batch}.items() if cell is not None}
    a, b = (None if root is None else root.digest for root in (root, other))
    assert list(diff(store, a, b)) == expected(model, changed)


@given(
    st.dictionaries(st.integers(0, 3_000), st.integers(0, 2), max_size=60),
    st.dictionaries(st.integers(0, 3_000), st.integers(0, 2), max_size=60),
    st.integers(0, 3_000),
)
def test_any_two_trees(first: dict[int, int], second: dict[int, int], shared: int) -> None:
    common = labels(range(shared))
    a = {**common, **{int_key(key): cell_of(FORM, value) for key, value in first.items()}}
    b = {**common, **{int_key(key): cell_of(FORM, value) for key, value in second.items()}}
    store = memory_store()
    assert list(diff(store, tree_of(store, a), tree_of(store, b))) == expected(a, b)


def stored_pair(changes: int, size: int = 200_000) -> tuple[MemoryDatabase, Root, Root]:
    database = MemoryDatabase()
    store = memory_store(database)
    keys = [int_key(i) for i in range(size)]
    root = build(store, FORM, keys, [key[1:] for key in keys])
    picked = sorted(random.Random(changes).sample(keys, changes))
    other = apply(store, FORM, root, picked, [b"changed!"] * changes)
    write_out(store)
    assert root is not None
    assert other is not None
    return database, root, other


@pytest.mark.parametrize("changes", [1, 30, 1_000])
def test_no_shared_node_is_read(changes: int) -> None:
    database, root, other = stored_pair(changes)
    everything = memory_store(database)
    first = {digest for digest, _ in walk(everything, root.digest)}
    second = {digest for digest, _ in walk(everything, other.digest)}
    store = memory_store(database)
    assert len(list(diff(store, root.digest, other.digest))) == changes
    # Exactly the nodes that one of them has and the other has not.
    assert store.loads == len(first ^ second)
    assert store.loads <= 2 * 2.5 * changes + 6


def test_a_diff_that_is_given_up_has_read_little() -> None:
    database, root, other = stored_pair(2_000)
    store = memory_store(database)
    complete = memory_store(database)
    assert len(list(diff(complete, root.digest, other.digest))) == 2_000
    assert len(list(islice(diff(store, root.digest, other.digest), 5))) == 5
    assert store.loads < complete.loads / 3


def test_a_difference_of_everything_is_read_a_few_leaves_at_a_time() -> None:
    database = MemoryDatabase()
    writer = memory_store(database)
    a, b = tree_of(writer, labels(range(40_000))), tree_of(writer, labels(range(40_000), salt=1))
    write_out(writer)
    store = memory_store(database)
    found = diff(store, a, b)
    next(found)
    assert store.loads < 200
    assert sum(1 for _ in found) == 39_999


def test_a_node_on_the_wrong_level_is_an_error_of_ours() -> None:
    store = memory_store()
    leaf = Node(0, 0, BY_DIGEST, [int_key(1)], b"d" * 32, b"", [], [])
    digest = store.add(leaf)
    high = store.add(Node(0, 2, BY_DIGEST, [int_key(1)], digest, b"", [1], []))
    low = store.add(Node(0, 1, BY_DIGEST, [int_key(2)], digest, b"", [1], []))
    for a, b in ((high, low), (low, high), (high, digest), (None, high)):
        with pytest.raises(CorruptionError):
            list(diff(store, a, b))
