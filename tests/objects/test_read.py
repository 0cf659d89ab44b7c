"""Reads of every kind, against a plain dictionary; and how few calls a batch takes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, Node, Root, TreeForm
from hangar.objects.read import (
    find_ints,
    find_keys,
    get,
    get_many,
    leaves,
    leaves_at,
    rank,
    scan,
    select,
    select_cells,
    select_keys,
    select_refs,
    select_sample,
    slice_refs,
)
from hangar.objects.samples import sample_of
from hangar.objects.store import NodeStore
from tests.counting import calls_of
from tests.objects.memory import FORMS, MemoryDatabase, cell_of, int_key, memory_store, nested_key, text_key, write_out

SIZES = [1, 10, 300, 20_000]
FIXED = ["digest", "label", "empty"]


class Tree:
    """A tree and what it should hold."""

    def __init__(self, form: TreeForm, keys: list[bytes], cache_bytes: int = 2**26) -> None:
        self.form = form
        self.keys = sorted(keys)
        self.cells = [cell_of(form, i) for i in range(len(keys))]
        self.model = dict(zip(self.keys, self.cells, strict=True))
        self.database = MemoryDatabase()
        writer = memory_store(self.database)
        root = build(writer, form, self.keys, self.cells)
        write_out(writer)
        assert root is not None
        self.root = root.digest
        self.entries = root.entries
        self.samples = root.samples
        self.store: NodeStore = memory_store(self.database, cache_bytes=cache_bytes)


def int_tree(name: str, size: int, **options: int) -> Tree:
    return Tree(FORMS[name], [int_key(3 * i) for i in range(size)], **options)


def mixed_keys(size: int) -> list[bytes]:
    return [int_key(3 * i) for i in range(size // 2)] + [text_key(f"k{i:06d}") for i in range(size - size // 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["digest", "label", "empty", "text"])
def test_single_keys(name: str, size: int) -> None:
    tree = Tree(FORMS[name], mixed_keys(size))
    rng = random.Random(size)
    for key in rng.sample(tree.keys, min(size, 200)):
        assert get(tree.store, tree.root, key) == tree.model[key]
        assert get(tree.store, tree.root, key + b"\x00") is None
    for absent in (b"", b"\x10", int_key(1), int_key(2**64 - 1), text_key("a"), text_key("z")):
        assert get(tree.store, tree.root, absent) is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["digest", "label", "empty", "text"])
def test_many_keys_in_any_order(name: str, size: int) -> None:
    tree = Tree(FORMS[name], mixed_keys(size))
    rng = random.Random(size)
    wanted = [rng.choice([*tree.keys, int_key(1), int_key(10**9), text_key("a"), text_key("z")]) for _ in range(500)]
    expected = [tree.model.get(key) for key in wanted]
    assert get_many(tree.store, tree.form, tree.root, wanted) == expected
    assert get_many(tree.store, tree.form, tree.root, []) == []
    present = [key for key in wanted if key in tree.model]
    assert get_many(tree.store, tree.form, tree.root, present) == [tree.model[key] for key in present]
    if name == "text":
        return
    found, rows = find_keys(tree.store, tree.form, tree.root, wanted)
    assert found.tolist() == [cell is not None for cell in expected]
    assert rows.shape == (500, tree.form.width)
    assert [row.tobytes() for row in rows] == [cell or bytes(tree.form.width) for cell in expected]


@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FIXED)
def test_many_integers_in_any_order(name: str, size: int, strings: bool) -> None:
    tree = Tree(FORMS[name], mixed_keys(size)) if strings else int_tree(name, size)
    rng = np.random.default_rng(size)
    for high in (3 * size, 10 * size + 5):
        for count in (0, 1, 700, 2_500):
            wanted = rng.integers(0, high, count, dtype=np.uint64)
            if count > 1:
                wanted[::3] -= wanted[::3] % np.uint64(3)
                wanted[5] = 2**64 - 1
            found, rows = find_ints(tree.store, tree.form, tree.root, wanted)
            expected = [tree.model.get(int_key(int(number))) for number in wanted]
            assert found.tolist() == [cell is not None for cell in expected]
            assert rows.shape == (count, tree.form.width)
            assert [row.tobytes() for row in rows] == [cell or bytes(tree.form.width) for cell in expected]
    there = np.arange(0, 3 * (size // 2), 3, dtype=np.uint64)
    found, rows = find_ints(tree.store, tree.form, tree.root, there)
    assert found.all()
    assert rows.tobytes() == b"".join(tree.cells[: len(there)])


def test_integers_in_a_tree_of_strings() -> None:
    tree = Tree(FORMS["label"], [text_key(f"{i:05d}") for i in range(5_000)])
    found, rows = find_ints(tree.store, tree.form, tree.root, np.arange(10, dtype=np.uint64))
    assert not found.any()
    assert rows.shape == (10, 8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["digest", "empty", "text", "nested text"])
def test_positions(name: str, size: int) -> None:
    form = FORMS[name]
    tree = Tree(form, [nested_key(i // 3, i) for i in range(size)] if form.nested else mixed_keys(size))
    rng = random.Random(size)
    positions = [rng.randrange(size) for _ in range(300)]
    for position in positions[:60]:
        assert select(tree.store, tree.root, position) == (tree.keys[position], tree.cells[position])
        assert rank(tree.store, tree.root, tree.keys[position]) == position
        assert rank(tree.store, tree.root, tree.keys[position] + b"\x00") == position + 1
    assert rank(tree.store, tree.root, b"") == 0
    assert rank(tree.store, tree.root, b"\xff") == size
    assert select_keys(tree.store, tree.root, positions) == [tree.keys[i] for i in positions]
    assert select_cells(tree.store, tree.root, np.array(positions)) == [tree.cells[i] for i in positions]
    assert select_keys(tree.store, tree.root, []) == []
    if not name.endswith("text"):
        rows = select_refs(tree.store, form, tree.root, np.array(positions))
        assert rows.shape == (300, form.width)
        assert rows.tobytes() == b"".join([tree.cells[i] for i in positions])
        many = np.random.default_rng(0).integers(0, size, 2_500)
        assert select_refs(tree.store, form, tree.root, many).tobytes() == b"".join([tree.cells[i] for i in many])
        everything = select_refs(tree.store, form, tree.root, range(size))
        assert everything.tobytes() == b"".join(tree.cells)


@pytest.mark.parametrize("position", [-1, 300, 10**12, -(2**60)])
def test_positions_that_are_not_there(position: int) -> None:
    tree = int_tree("label", 300)
    with pytest.raises(InvalidInputError):
        select(tree.store, tree.root, position)
    with pytest.raises(InvalidInputError):
        select_keys(tree.store, tree.root, [0, position])
    with pytest.raises(InvalidInputError):
        slice_refs(tree.store, tree.form, tree.root, min(position, 0), max(position, 0) + 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FIXED)
def test_slices(name: str, size: int) -> None:
    tree = int_tree(name, size)
    rng = random.Random(size)
    bounds = [(0, size), (0, 0), (size, size), (0, 1), (size - 1, size)]
    bounds += [(start, rng.randint(start, size)) for start in (rng.randrange(size) for _ in range(30))]
    for start, stop in bounds:
        rows = slice_refs(tree.store, tree.form, tree.root, start, stop)
        assert rows.shape == (stop - start, tree.form.width)
        assert rows.tobytes() == b"".join(tree.cells[start:stop])
        parts = leaves_at(tree.store, tree.root, start, stop)
        assert [key for leaf, first, last in parts for key in leaf.keys[first:last]] == tree.keys[start:stop]


@pytest.mark.parametrize("size", SIZES)
def test_scans(size: int) -> None:
    tree = Tree(FORMS["text"], mixed_keys(size))
    rng = random.Random(size)
    assert list(scan(tree.store, tree.root)) == list(tree.model.items())
    for _ in range(30):
        start, stop = sorted((rng.choice(tree.keys) + rng.choice([b"", b"\x00"]), rng.choice(tree.keys)))
        expected = [(key, cell) for key, cell in tree.model.items() if start <= key < stop]
        assert list(scan(tree.store, tree.root, start=start, stop=stop)) == expected
    assert list(scan(tree.store, tree.root, start=b"\xff")) == []
    assert list(scan(tree.store, tree.root, stop=b"")) == []
    assert list(scan(tree.store, tree.root, start=b"\x20", stop=b"\x10")) == []


def test_a_scan_that_is_given_up_has_read_little() -> None:
    tree = int_tree("digest", 20_000)
    next(leaves(tree.store, tree.root))
    assert tree.store.loads <= 4
    list(scan(tree.store, tree.root))
    assert tree.database.reads < 30


@pytest.mark.parametrize("subsamples", [1, 2, 30, 500])
def test_samples_of_nested_columns(subsamples: int) -> None:
    for name in (0, "s"):
        keys = [
            nested_key(i if name == 0 else f"s{i:04d}", j)
            for i in range(6_000 // subsamples)
            for j in range(subsamples)
        ]
        tree = Tree(FORMS["nested label"], keys)
        samples = sorted({sample_of(key) for key in keys})
        assert tree.samples == len(samples)
        for position in {
            0,
            1,
            len(samples) // 2,
            len(samples) - 1,
            *random.Random(0).choices(range(len(samples)), k=100),
        }:
            assert select_sample(tree.store, tree.root, position) == samples[position]
        with pytest.raises(InvalidInputError):
            select_sample(tree.store, tree.root, len(samples))


def test_a_tiny_cache_changes_nothing_but_the_time() -> None:
    tree = int_tree("digest", 20_000, cache_bytes=20_000)
    assert list(scan(tree.store, tree.root)) == list(tree.model.items())
    found, rows = find_ints(tree.store, tree.form, tree.root, np.arange(0, 60_000, 3, dtype=np.uint64))
    assert found.all()
    assert rows.tobytes() == b"".join(tree.cells)
    assert get_many(tree.store, tree.form, tree.root, tree.keys[::-1]) == tree.cells[::-1]


def test_a_large_batch_keeps_few_leaves_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = int_tree("digest", 60_000, cache_bytes=20_000)
    most = 0
    load_many = NodeStore.load_many

    def counting(store: NodeStore, digests: Any) -> Any:
        nonlocal most
        most = max(most, len(set(digests)))
        return load_many(store, digests)

    monkeypatch.setattr(NodeStore, "load_many", counting)
    numbers = np.random.default_rng(0).permutation(60_000)
    keys = [tree.keys[i] for i in numbers]
    cells = [tree.cells[i] for i in numbers]
    found, rows = find_ints(tree.store, tree.form, tree.root, (3 * numbers).astype(np.uint64))
    assert found.all()
    assert rows.tobytes() == b"".join(cells)
    found, rows = find_keys(tree.store, tree.form, tree.root, [*keys, int_key(1)])
    assert found.tolist() == [True] * 60_000 + [False]
    assert rows.tobytes() == b"".join(cells) + bytes(32)
    assert get_many(tree.store, tree.form, tree.root, [*keys, int_key(1)]) == [*cells, None]
    assert select_refs(tree.store, tree.form, tree.root, numbers).tobytes() == b"".join(cells)
    assert select_keys(tree.store, tree.root, numbers) == keys
    assert slice_refs(tree.store, tree.form, tree.root, 0, 60_000).tobytes() == b"".join(tree.cells)
    assert most < 350


def test_a_batch_is_one_look_into_the_database_a_level() -> None:
    tree = int_tree("digest", 20_000)
    find_ints(tree.store, tree.form, tree.root, np.arange(0, 60_000, 60, dtype=np.uint64))
    assert tree.database.reads == 3
    tree.store = memory_store(tree.database)
    tree.database.reads = 0
    get_many(tree.store, tree.form, tree.root, tree.keys[::20])
    assert tree.database.reads == 3
    tree.store = memory_store(tree.database)
    tree.database.reads = 0
    select_refs(tree.store, tree.form, tree.root, range(0, 20_000, 20))
    assert tree.database.reads == 3


def test_leaves_of_another_form_are_refused() -> None:
    tree = int_tree("digest", 100)
    form = TreeForm(FIXED_INLINE, 16, False)
    with pytest.raises(CorruptionError):
        find_ints(tree.store, form, tree.root, np.arange(3, dtype=np.uint64))
    with pytest.raises(CorruptionError):
        get_many(tree.store, form, tree.root, tree.keys[:3])


def test_a_tree_whose_levels_do_not_follow_each_other_is_an_error_of_ours() -> None:
    store = memory_store()
    leaf = store.add(Node(0, 0, BY_DIGEST, [int_key(1), int_key(2)], b"d" * 64, b"", [], []))
    for level in (2, 3):
        root = store.add(Node(0, level, BY_DIGEST, [int_key(2)], leaf, b"", [2], []))
        nested = store.add(Node(0, level, BY_DIGEST, [nested_key(1, 2)], leaf, b"", [2], [1]))
        form = FORMS["digest"]
        reads: list[Callable[..., Any]] = [
            get,
            rank,
            select,
            select_keys,
            leaves_at,
            scan,
            get_many,
            find_keys,
            find_ints,
            apply,
            select_sample,
        ]
        arguments: list[tuple[Any, ...]] = [
            (root, int_key(1)),
            (root, int_key(1)),
            (root, 0),
            (root, [0]),
            (root, 0, 1),
            (root,),
            (form, root, [int_key(1)]),
            (form, root, [int_key(1)]),
            (form, root, np.ones(1, np.uint64)),
            (form, Root(root, 2, 2), [int_key(1)], [b"x" * 32]),
            (nested, 0),
        ]
        for read, given in zip(reads, arguments, strict=True):
            with pytest.raises(CorruptionError):
                pytest.fail(f"{read.__name__} at level {level} gave {list(read(store, *given))}")


def test_counts_that_are_wrong_are_an_error_of_ours() -> None:
    store = memory_store()
    leaf = store.add(Node(0, 0, BY_DIGEST, [int_key(1), int_key(2)], b"d" * 64, b"", [], []))
    for counts in ([9], [2**53]):
        root = store.add(Node(0, 1, BY_DIGEST, [int_key(2)], leaf, b"", counts, []))
        for read in (
            lambda root=root: select(store, root, 5),
            lambda root=root: select_keys(store, root, [5]),
            lambda root=root: select_refs(store, FORMS["digest"], root, [0, 5]),
            lambda root=root: slice_refs(store, FORMS["digest"], root, 0, 6),
        ):
            with pytest.raises(CorruptionError):
                read()


# ---------------------------------------------------------------------- calls


@pytest.fixture(scope="module")
def warm() -> Tree:
    tree = int_tree("digest", 100_000)
    list(leaves(tree.store, tree.root))
    find_ints(tree.store, tree.form, tree.root, np.arange(0, 300_000, 3, dtype=np.uint64))
    select_refs(tree.store, tree.form, tree.root, range(100_000))
    return tree


def distinct_leaves(tree: Tree, positions: Any) -> int:
    ends = np.cumsum([last for _, _, last in leaves(tree.store, tree.root)])
    return len(set(np.searchsorted(ends, positions, side="right").tolist()))


@pytest.mark.parametrize("size", [1, 256, 2_048, 16_000])
def test_a_batch_of_integers_takes_a_constant_number_of_calls(warm: Tree, size: int) -> None:
    positions = np.random.default_rng(size).integers(0, 100_000, size)
    keys = (3 * positions).astype(np.uint64)
    for read in (
        lambda: find_ints(warm.store, warm.form, warm.root, keys),
        lambda: select_refs(warm.store, warm.form, warm.root, positions),
    ):
        events = calls_of(read)
        # Nothing is called once a leaf or once a key: well below the 3 calls a leaf and 50 that a whole batch read may take.
        assert events["call"] <= 34  # two of them check the form of all leaves
        assert events["c_call"] <= 50


@pytest.mark.parametrize("size", [1, 256, 2_048])
def test_a_batch_of_keys_takes_a_constant_number_of_calls(warm: Tree, size: int) -> None:
    keys = random.Random(size).choices(warm.keys, k=size)
    for read in (
        lambda: find_keys(warm.store, warm.form, warm.root, keys),
        lambda: get_many(warm.store, warm.form, warm.root, keys),
    ):
        events = calls_of(read)
        assert events["call"] <= 40
        assert events["c_call"] <= 60


def test_a_slice_takes_few_calls_a_leaf(warm: Tree) -> None:
    events = calls_of(lambda: slice_refs(warm.store, warm.form, warm.root, 1_000, 90_000))
    assert events["call"] + events["c_call"] <= 3 * distinct_leaves(warm, np.arange(1_000, 90_000)) + 50
