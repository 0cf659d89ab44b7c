"""Trees: one content, one root, whatever the order and the batches it came in; and what a change costs."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.errors import InvalidInputError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.node import MIXED, Root, TreeForm
from hangar.objects.read import leaves, scan
from hangar.objects.samples import sample_of
from hangar.objects.store import NodeStore
from hangar.objects.verify import verify
from hangar.objects.walk import walk
from tests.objects.memory import (
    FORMS,
    MemoryDatabase,
    cell_of,
    int_key,
    memory_store,
    nested_key,
    text_key,
    write_out,
)

Model = dict[bytes, bytes]


def built(form: TreeForm, model: Model, store: NodeStore | None = None) -> Root | None:
    keys = sorted(model)
    return build(store or memory_store(), form, keys, [model[key] for key in keys])


def applied(store: NodeStore, form: TreeForm, root: Root | None, changes: dict[bytes, bytes | None]) -> Root | None:
    keys = sorted(changes)
    return apply(store, form, root, keys, [changes[key] for key in keys])


def changed(model: Model, changes: dict[bytes, bytes | None]) -> Model:
    merged = {**model, **changes}
    return {key: cell for key, cell in merged.items() if cell is not None}


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.kind != MIXED and not form.nested])
def test_cells_that_come_as_an_array(name: str) -> None:
    form, keys = FORMS[name], [int_key(number) for number in range(3_000)]
    cells = [cell_of(form, number) for number in range(3_000)]
    rows = np.frombuffer(b"".join(cells), np.uint8).reshape(3_000, form.width)
    store = memory_store()
    expected = build(memory_store(), form, keys, cells)
    assert build(store, form, keys, rows) == apply(store, form, None, keys, rows) == expected
    half = build(store, form, keys[:1_500], rows[:1_500])
    assert apply(store, form, half, keys[1_000:], rows[1_000:]) == expected
    assert apply(store, form, half, keys[1_500:], np.asfortranarray(rows[1_500:])) == expected
    for wrong in (np.zeros((3_000, form.width + 1), np.uint8), np.zeros((2_999, form.width), np.uint8)):
        with pytest.raises(InvalidInputError):
            build(store, form, keys, wrong)


def test_a_mixed_tree_takes_no_array_of_cells() -> None:
    form = next(form for form in FORMS.values() if form.kind == MIXED and not form.nested)
    with pytest.raises(InvalidInputError, match="not of the form"):
        build(memory_store(), form, [int_key(1)], np.zeros((1, 2), np.uint8))


class History:
    """A random history of batches on one tree: appends, scattered changes, deletions of few, many and all entries."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.form = self.random.choice(list(FORMS.values()))
        self.space = self.random.choice([20, 200, 2_000, 20_000])
        self.deleting = self.random.choice([0, 0.2, 0.9])
        self.texts = self.random.random() < 0.5

    def key(self, number: int) -> bytes:
        if self.form.nested:
            sample = number // 7 % 3 if self.texts and number % 1_000 < 500 else number // 40
            return nested_key(f"s{sample}" if self.texts else sample, number)
        return text_key(f"{number:06d}") if self.texts and number % 2 else int_key(number)

    def batches(self) -> Iterator[dict[bytes, bytes | None]]:
        end = 0
        for _ in range(self.random.randint(1, 6)):
            size = self.random.choice([1, 2, 30, 300, 3_000])
            kind = self.random.random()
            if kind < 0.3:
                numbers = list(range(end, end + size))
                end += size
            elif kind < 0.4:
                first = self.random.randrange(self.space)
                numbers = list(range(first, first + size))
            else:
                numbers = [self.random.randrange(self.space) for _ in range(size)]
            deleting = 1.0 if self.random.random() < 0.15 else self.deleting
            yield {
                self.key(number): None
                if self.random.random() < deleting
                else cell_of(self.form, self.random.randrange(2_000))
                for number in numbers
            }


def check_history(seed: int) -> None:
    history = History(seed)
    store = memory_store()
    root: Root | None = None
    model: Model = {}
    for batch in history.batches():
        if history.random.random() < 0.1:
            batch.update(dict.fromkeys(model))
        root = applied(store, history.form, root, batch)
        model = changed(model, batch)
        assert root == built(history.form, model)
        if history.random.random() < 0.5:
            write_out(store)
    if root is not None:
        assert dict(scan(store, root.digest)) == model
        assert root.entries == len(model)
        assert root.samples == (len({sample_of(key) for key in model}) if history.form.nested else len(model))
        assert list(verify(store, history.form, root)) == []


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_histories(block: int) -> None:
    for seed in range(20 * block, 20 * block + 20):
        check_history(seed)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_two_thousand_histories() -> None:
    for seed in range(1_000, 3_000):
        check_history(seed)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, int, int, int | None]]:
    """Batches as ranges of numbers: first, length, step, and the salt of the new cells (None: deleted)."""
    one = st.tuples(
        st.integers(0, 1_500), st.integers(1, 400), st.integers(1, 9), st.one_of(st.none(), st.integers(0, 3))
    )
    return draw(st.lists(one, min_size=1, max_size=8))


@given(st.sampled_from(sorted(FORMS)), changes(), st.randoms(use_true_random=False))
def test_any_order_of_any_batches(
    name: str, batches: list[tuple[int, int, int, int | None]], order: random.Random
) -> None:
    form = FORMS[name]
    model: Model = {}
    store = memory_store()
    root: Root | None = None
    for first, length, step, salt in batches:
        numbers = range(first, first + length * step, step)
        keys = [nested_key(number // 30, number) if form.nested else int_key(number) for number in numbers]
        batch = {key: None if salt is None else cell_of(form, number + salt) for key, number in zip(keys, numbers)}  # noqa: B905
        root = applied(store, form, root, batch)
        model = changed(model, batch)
    assert root == built(form, model)
    # The same content in other batches and in another order.
    items = list(model.items())
    order.shuffle(items)
    root = None
    while items:
        size = order.randint(1, 200)
        root = applied(store, form, root, dict(items[:size]))
        del items[:size]
    assert root == built(form, model)


def test_what_changes_nothing_gives_the_same_root_and_makes_no_node() -> None:
    form = FORMS["label"]
    store = memory_store()
    model = {int_key(i): cell_of(form, i) for i in range(5_000)}
    root = built(form, model, store)
    write_out(store)
    same = {int_key(i): model[int_key(i)] for i in range(0, 5_000, 50)}
    assert applied(store, form, root, {**same, int_key(9_999): None}) is root
    assert applied(store, form, root, {}) is root
    assert applied(store, form, root, {**model, int_key(9_999): None}) is root
    assert not store.pending


@pytest.mark.parametrize("subsamples", [5, 100, 700])
def test_samples_are_counted_right_when_the_neighbours_of_a_node_change(subsamples: int) -> None:
    form = FORMS["nested label"]
    store = memory_store()
    model = {nested_key(i // subsamples, i): cell_of(form, i) for i in range(5_000)}
    root = built(form, model, store)
    assert root is not None
    ranges = [(leaf.keys[first], leaf.keys[last - 1]) for leaf, first, last in leaves(store, root.digest)]
    rng = random.Random(subsamples)
    for low, high in rng.sample(ranges, 15):
        # A leaf goes, or the part of it that belongs to its last sample, which the next leaf may continue.
        sample = sample_of(high)
        whole = rng.random() < 0.5
        gone = [key for key in model if low <= key <= high and (whole or key.startswith(sample))]
        assert applied(store, form, root, dict.fromkeys(gone)) == built(form, changed(model, dict.fromkeys(gone)))
        # The leaf before it gets a last sample of its own.
        more: dict[bytes, bytes | None] = {sample_of(low) + b"\x00": b"abc"}
        assert applied(store, form, root, more) == built(form, changed(model, more))
    # Leaf after leaf goes, so that on every level other nodes come first.
    for start in (0, 20):
        gone = [key for low, high in ranges[start : start + 40] for key in model if low <= key <= high]
        assert applied(store, form, root, dict.fromkeys(gone)) == built(form, changed(model, dict.fromkeys(gone)))


def test_an_empty_tree_has_no_root() -> None:
    form = FORMS["digest"]
    store = memory_store()
    assert build(store, form, [], []) is None
    assert apply(store, form, None, [], []) is None
    assert apply(store, form, None, [int_key(1)], [None]) is None
    root = built(form, {int_key(i): cell_of(form, i) for i in range(1_000)}, store)
    assert applied(store, form, root, {int_key(i): None for i in range(1_000)}) is None


def test_a_tree_that_shrinks_leaves_no_node_pending_that_it_does_not_need() -> None:
    form = FORMS["digest"]
    store = memory_store()
    root = built(form, {int_key(i): cell_of(form, i) for i in range(20_000)}, store)
    write_out(store)
    small = applied(store, form, root, {int_key(i): None for i in range(10, 20_000)})
    assert small is not None
    assert set(store.pending) == {small.digest}
    # The leaf that is left was the last child of every node above it.
    last = applied(store, form, root, {int_key(i): None for i in range(19_990)})
    assert last is not None
    needed = {digest for digest, _ in walk(store, last.digest)}
    assert set(store.pending) - {small.digest} <= needed


@pytest.mark.parametrize(
    ("keys", "cells"),
    [
        ([int_key(2), int_key(1)], [b"a" * 32] * 2),
        ([int_key(1), int_key(1)], [b"a" * 32] * 2),
        ([int_key(1)], [b"a" * 31]),
        ([int_key(1), int_key(2)], [b"a" * 32]),
        ([b"\x20" + b"x" * 2_100], [b"a" * 32]),
    ],
)
def test_bad_batches_are_refused(keys: list[bytes], cells: list[bytes]) -> None:
    form = FORMS["digest"]
    store = memory_store()
    with pytest.raises(InvalidInputError):
        build(store, form, keys, cells)
    root = built(form, {int_key(5): b"b" * 32}, store)
    with pytest.raises(InvalidInputError):
        apply(store, form, root, keys, cells)


def test_the_shape_of_trees() -> None:
    form = FORMS["digest"]
    store = memory_store()
    root = built(form, {int_key(i): cell_of(form, i) for i in range(60_000)}, store)
    assert root is not None
    levels: dict[int, list[int]] = {}
    for _, node in walk(store, root.digest):
        levels.setdefault(node.level, []).append(len(node.keys))
    assert sorted(levels) == [0, 1, 2]
    assert len(levels[2]) == 1
    for level, sizes in levels.items():
        assert max(sizes) <= 256
        assert sum(size < 16 for size in sizes) <= 1
        if level == 0:
            assert sum(sizes) == 60_000
            assert 60 <= sum(sizes) / len(sizes) <= 85
        else:
            assert sum(sizes) == len(levels[level - 1])


@pytest.fixture(scope="module")
def million() -> tuple[MemoryDatabase, Root]:
    """A million labels, stored."""
    database = MemoryDatabase()
    store = memory_store(database)
    keys = [int_key(i) for i in range(1_000_000)]
    root = build(store, FORMS["label"], keys, [key[1:] for key in keys])
    write_out(store)
    assert root is not None
    return database, root


def test_one_change_in_a_million_costs_little(million: tuple[MemoryDatabase, Root]) -> None:
    database, root = million
    rng = random.Random(9)
    for number in [*rng.sample(range(1_000_000), 40), 0, 999_999, 1_000_000]:
        store = memory_store(database)
        after = applied(store, FORMS["label"], root, {int_key(number): b"changed!"})
        assert after is not None
        assert after.digest != root.digest
        assert len(store.pending) <= 8
        assert store.pending_bytes <= 24_000
        assert store.loads <= 8


def test_a_hundred_changes_in_a_million_write_less_than_a_megabyte(million: tuple[MemoryDatabase, Root]) -> None:
    database, root = million
    store = memory_store(database)
    picked = random.Random(1).sample(range(1_000_000), 100)
    reads = database.reads
    applied(store, FORMS["label"], root, {int_key(number): b"changed!" for number in picked})
    assert store.pending_bytes <= 1_000_000
    # The paths to all of them are loaded together, a level at a time; only a node that follows may be loaded alone.
    assert database.reads - reads <= 20


def test_appends_cost_little_a_key(million: tuple[MemoryDatabase, Root]) -> None:
    database, root = million
    store = memory_store(database)
    applied(store, FORMS["label"], root, {int_key(number): b"appended" for number in range(1_000_000, 1_001_000)})
    assert store.pending_bytes <= 150 * 1_000


def test_the_number_of_entries_needs_no_leaf(million: tuple[MemoryDatabase, Root]) -> None:
    database, root = million
    store = memory_store(database)
    assert store.load(root.digest).entries == root.entries == 1_000_000
    assert store.loads == 1
