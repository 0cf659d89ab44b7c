"""What reading and committing cost, counted: calls, nodes, bytes. Counts are exact on any machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hangar import Repository
from hangar.blobs.locator import Locator
from hangar.checkout import ReaderCheckout
from hangar.columns import FlatSampleReader, NestedSampleReader
from hangar.columns.tables import ColumnTable
from hangar.objects.apply import apply
from hangar.objects.lookup import find_ints
from hangar.objects.store import NodeStore
from hangar.objects.walk import walk
from hangar.schema.keys import encode_int_array
from tests.counting import calls_of

COUNT = 20_000
SMALL, LARGE = 256, 2_048


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ReaderCheckout:
    repo = Repository(tmp_path_factory.mktemp("counts"), exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, 28, 28), np.uint8)
    writer.add_ndarray_column("image", (28, 28), np.uint8).write(range(COUNT), images)
    writer.add_ndarray_column("named", (28, 28), np.uint8).write([f"s{i:05}" for i in range(COUNT)], images)
    writer.add_ndarray_column("label", (), np.int64).write(range(COUNT), rng.integers(0, 10, COUNT))
    writer.add_ndarray_column("odd", (28, 28), np.uint8).write(np.arange(COUNT) * 3 + 11, images)
    pairs = np.stack([np.arange(COUNT) // 8, np.arange(COUNT) % 8], axis=1)
    writer.add_ndarray_column("nested", (28, 28), np.uint8, contains_subsamples=True).write(pairs, images)
    writer.add_ndarray_column("marks", (), np.int64, contains_subsamples=True).write(
        [(f"s{i // 8:05}", i % 8) for i in range(COUNT)], np.arange(COUNT)
    )
    writer.commit("all")
    writer.close()
    return repo.checkout()


def events(function: Callable[[], Any]) -> Counter[str]:
    """Calls that ``function`` makes once everything it needs is in memory: of Python functions, and of C functions."""
    function()
    function()
    return calls_of(function)


def leaves_of(column: FlatSampleReader | NestedSampleReader, positions: npt.NDArray[np.int64]) -> int:
    """Distinct leaves that hold the samples at ``positions``."""
    root = column._source.root()
    assert root is not None
    sizes = [len(node.keys) for _, node in walk(column._nodes, root.digest) if not node.level]
    return len(np.unique(np.searchsorted(np.cumsum(sizes), positions, side="right")))


@pytest.fixture
def _by_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first reads of a column, before there is a table of where its samples lie."""
    monkeypatch.setattr(ColumnTable, "ready", lambda table, count: None)


@pytest.mark.usefixtures("_by_tree")
@pytest.mark.parametrize("how", ["array", "list", "positions"])
@pytest.mark.parametrize("name", ["image", "label", "named"])
def test_a_batch_costs_no_call_for_each_sample(reader: ReaderCheckout, name: str, how: str) -> None:
    column = reader[name]
    found = {}
    for number in (SMALL, LARGE):
        chosen = np.random.default_rng(number).permutation(COUNT)[:number]
        keys: Any = chosen if how == "array" else chosen.tolist()
        if name == "named":
            keys = [f"s{i:05}" for i in chosen]
        read = (lambda: column.read(positions=chosen)) if how == "positions" else (lambda: column.read(keys))  # noqa: B023
        seen = events(read)
        leaves = leaves_of(column, chosen)
        calls = seen["call"] + seen["c_call"]
        bound = 3 * leaves + 50
        if how == "list" or name == "named":
            bound = 3 * leaves + 2 * number
        assert calls <= bound, (seen, leaves, number)
        found[number] = seen["call"]
    assert abs(found[SMALL] - found[LARGE]) <= 5, found


def resolve(column: Any) -> None:
    """Read until the column has its table."""
    for _ in range(100):
        column.read(positions=[0, 1]) if not column.contains_subsamples else column.read([column.at(0)])
        if column._table.table is not None:
            return
    raise AssertionError("the column has no table")


@pytest.mark.parametrize("how", ["array", "list", "positions", "slice", "one", "keys of the tree"])
@pytest.mark.parametrize("name", ["image", "label", "odd"])
def test_what_is_resolved_loads_no_node_and_searches_no_index(
    reader: ReaderCheckout, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    column: Any = reader[name]
    resolve(column)
    keys = np.fromiter(column.keys(), np.int64)
    monkeypatch.setattr(NodeStore, "load", lambda *_: pytest.fail("a node was loaded"))
    monkeypatch.setattr(NodeStore, "load_many", lambda *_: pytest.fail("nodes were loaded"))
    monkeypatch.setattr(Locator, "locate", lambda *_: pytest.fail("an index was searched"))
    monkeypatch.setattr(Locator, "locate_one", lambda *_: pytest.fail("an index was searched"))
    found = {}
    for number in (SMALL, LARGE):
        at = np.random.default_rng(number).permutation(COUNT)[:number]
        given: Any = {"array": keys[at], "list": keys[at].tolist()}.get(how, at)
        reads = {
            "positions": lambda at=at: column.read(positions=at),
            "slice": lambda number=number: column.read(slice(7, 7 + number)),
            "one": lambda at=at: column[int(keys[at[0]])],
            "keys of the tree": lambda at=at: column[keys[at[:3]].tolist()],
        }
        seen = events(reads.get(how, lambda given=given: column.read(given)))
        found[number] = seen["call"] + seen["c_call"]
        assert found[number] <= 90, seen
    assert found[SMALL] == found[LARGE]


@pytest.mark.parametrize("name", ["named", "nested", "marks"])
def test_text_keys_and_pairs_search_no_index_once_resolved(
    reader: ReaderCheckout, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    column: Any = reader[name]
    at = np.random.default_rng(0).permutation(COUNT)[:SMALL].tolist()
    samples = [f"s{i // 8:05}" if name == "marks" else i // 8 for i in at]
    keys: Any = [f"s{i:05}" for i in at] if name == "named" else list(zip(samples, [i % 8 for i in at], strict=True))
    expected = column.read(keys)
    for _ in range(100):
        column.read(keys[:2])
    assert column._table.table is not None
    monkeypatch.setattr(Locator, "locate", lambda *_: pytest.fail("an index was searched"))
    assert np.array_equal(column.read(keys), expected)
    assert all(map(np.array_equal, column[keys[:20]], expected))
    if name != "named":
        whole = column.read(samples[:30])
        assert all(np.array_equal(one[key[1]], value) for one, key, value in zip(whole, keys, expected, strict=False))


@pytest.mark.usefixtures("_by_tree")
@pytest.mark.parametrize("how", ["array", "list"])
@pytest.mark.parametrize("name", ["nested", "marks"])
def test_a_batch_of_subsamples_costs_no_call_for_each(reader: ReaderCheckout, name: str, how: str) -> None:
    column: Any = reader[name]
    found = {}
    for number in (SMALL, LARGE):
        chosen = np.random.default_rng(number).permutation(COUNT)[:number]
        keys: Any = np.stack([chosen // 8, chosen % 8], axis=1)
        if how == "list":
            keys = [tuple(pair) for pair in keys.tolist()]
        if name == "marks":
            keys = [(f"s{i // 8:05}", i % 8) for i in chosen.tolist()]
        seen = events(lambda: column.read(keys))  # noqa: B023
        bound = 3 * leaves_of(column, chosen) + (50 if how == "array" and name == "nested" else 6 * number)
        assert seen["call"] + seen["c_call"] <= bound, (seen, number)
        found[number] = seen["call"]
    assert abs(found[SMALL] - found[LARGE]) <= 5, found


@pytest.mark.parametrize("how", ["keys", "pairs", "positions", "slice"])
@pytest.mark.parametrize("name", ["nested", "marks"])
def test_whole_samples_go_down_the_tree_together(
    reader: ReaderCheckout, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each level one look for nodes, whatever the number of samples."""
    column: Any = reader[name]
    looks: list[int] = []
    load_many = NodeStore.load_many

    def counted(store: NodeStore, digests: Any) -> Any:
        looks.append(len(digests))
        return load_many(store, digests)

    samples = list(column)
    at = np.random.default_rng(0).permutation(len(samples))[:200].tolist()
    chosen = [samples[i] for i in at]
    expected = [dict(column[sample].items()) for sample in chosen]
    monkeypatch.setattr(NodeStore, "load_many", counted)
    if how == "keys":
        found = column.read(chosen)
    elif how == "pairs":
        found = column[[(sample, ...) for sample in chosen]]
    elif how == "positions":
        found = column.read(positions=at)
    else:
        found, expected = column.read(slice(5, 205)), [dict(column[sample].items()) for sample in samples[5:205]]
        looks = looks[:40]
    assert [list(one) for one in found] == [list(one) for one in expected]
    assert all(
        np.array_equal(a, b)
        for x, y in zip(found, expected, strict=True)
        for a, b in zip(x.values(), y.values(), strict=True)
    )
    assert len(looks) <= 40 if how == "slice" else len(looks) <= 8


@pytest.mark.parametrize("name", ["nested", "marks"])
def test_iterating_over_samples_reads_them_in_batches(reader: ReaderCheckout, name: str) -> None:
    column: Any = reader[name]
    read = []
    many = column._values.many

    class Counted:
        def many(self, cells: Any) -> Any:
            read.append(len(cells))
            return many(cells)

    column._values, kept = Counted(), column._values
    try:
        values = [value for view in column.values() for value in view.values()]
    finally:
        column._values = kept
    assert len(values) == COUNT
    assert len(read) <= COUNT // 900
    seen = events(lambda: [view.data for view in column.values()])
    assert seen["call"] <= 9 * COUNT // 8
    assert events(lambda: list(column))["call"] <= 4 * COUNT // 8


def test_a_nested_column_opens_and_counts_without_a_leaf(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("n", (), np.int64, contains_subsamples=True)
    pairs = np.stack([np.arange(100_000) // 10, np.arange(100_000) % 10], axis=1)
    column.write(pairs, np.arange(100_000))
    writer.commit("all")
    writer.close()
    found: Any = Repository(repo.path).checkout()["n"]
    stores = found._session.stores
    assert (len(found), found.num_subsamples) == (10_000, 100_000)
    assert stores.nodes.loads == 0
    view = found[7_777]
    assert stores.nodes.loads <= 4
    assert view[3] == 77_773
    assert found.at(5_000) == 5_000
    assert len(found[7_777, ...]) == len(found[7_778]) == 10
    assert stores.nodes.loads <= 10
    assert list(found.read(slice(-2, None))[1]) == list(range(10))
    assert stores.nodes.loads <= 15


def test_what_lies_in_the_middle_of_a_long_sample_is_not_loaded(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("n", (), np.int64, contains_subsamples=True)
    column.write([("long", i) for i in range(30_000)], np.arange(30_000))
    column.update({"a": {1: np.array(1)}, "z": {1: np.array(2)}})
    writer.commit("all")
    writer.close()
    found: Any = Repository(repo.path).checkout()["n"]
    assert list(found) == ["a", "long", "z"]
    assert found._session.stores.nodes.loads <= 12
    assert [len(view) for view in found.values()] == [1, 30_000, 1]
    assert found._session.stores.nodes.loads <= 40


def test_one_changed_sample_in_a_million(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("n", (), np.int64)
    column.write(range(1_000_000), np.arange(1_000_000))
    first = writer.commit("a million")

    def nodes(rev: str) -> dict[bytes, int]:
        stores = repo.checkout(commit=rev).session.stores
        root = repo.checkout(commit=rev)["n"]._source.root()
        assert root is not None
        digests = [digest for digest, _ in walk(stores.nodes, root.digest)]
        with stores.db.read() as transaction:
            from hangar.db.tables import NODES

            rows = transaction.get_many(NODES, digests)
        return {digest: len(row or b"") for digest, row in zip(digests, rows, strict=True)}

    before = nodes(first)
    column[777_777] = np.int64(-1)
    second = writer.commit("one changed")
    fresh = {digest: size for digest, size in nodes(second).items() if digest not in before}
    assert 1 <= len(fresh) <= 8
    assert sum(fresh.values()) <= 24 * 1024
    writer.close()

    again = Repository(repo.path)
    reader = again.checkout(commit=first)
    stores = reader.session.stores
    assert len(reader["n"]) == 1_000_000
    assert stores.nodes.loads == 0
    assert reader["n"][777_777] == 777_777
    assert stores.nodes.loads <= 4
    assert again.checkout()["n"][777_777] == -1


def test_the_helpers_above_measure_something(reader: ReaderCheckout) -> None:
    column = reader["image"]
    seen = events(lambda: [column[i] for i in range(100)])
    assert seen["call"] >= 100
    root = column._source.root()
    assert root is not None
    found, refs = find_ints(column._nodes, column._schema.form, root.digest, np.arange(5, dtype=np.uint64))
    assert found.all()
    assert len(refs) == len(encode_int_array(np.arange(5, dtype=np.uint64))) == 5


def merges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of changes of every merge of an overlay into a tree from now on."""
    merged: list[int] = []

    def counted(store: Any, form: Any, root: Any, keys: Any, cells: Any) -> Any:
        merged.append(len(keys))
        return apply(store, form, root, keys, cells)

    monkeypatch.setattr("hangar.staging.column.apply", counted)
    return merged


def test_asking_for_the_length_after_each_write_costs_what_changed(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not what merging the whole overlay of changes takes, which would make a loop quadratic."""
    merged = merges(monkeypatch)
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (), np.int64)
    with writer:
        for i in range(300):
            column[i] = np.array(i)
            assert len(column) == i + 1
        column.write(range(290, 310), np.arange(20))
        del column[5]
        assert len(column) == 309
    assert sum(merged) <= 330
    assert [int(v) for v in column.values()] == [*range(5), *range(6, 290), *range(20)]
    writer.commit("all")
    assert repo.fsck().sound


def filled(repo: Repository, nested: bool, committed: bool) -> Any:
    """A column of 20,000 integers, 10 to a sample where it is nested, and newly opened."""
    writer = repo.checkout(write=True)
    numbers = np.arange(COUNT)
    keys: Any = np.stack([numbers // 10, numbers % 10], axis=1) if nested else numbers
    writer.add_ndarray_column("x", (), np.int64, contains_subsamples=nested).write(keys, numbers)
    if committed:
        writer.commit("all")
    writer.close()
    return Repository(repo.path).checkout(write=True)["x"]


@pytest.mark.parametrize("committed", [True, False])
def test_deleting_in_a_block_merges_no_tree(repo: Repository, monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    """A merge for each would make a delete twenty times as slow as a write."""
    column = filled(repo, False, committed)
    merged = merges(monkeypatch)
    with column:
        for i in range(1_000):
            column[COUNT + i] = np.int64(i)
            del column[i]
            del column[COUNT + i]
            if i % 50 == 0:
                assert column.pop(10_000 + i) == 10_000 + i
                with pytest.raises(KeyError):
                    del column[i]
        column.delete(range(1_000, 2_000))
        assert merged == []
        assert column._nodes.loads <= 250
        assert len(column) == COUNT - 2_020
    assert list(column.keys())[:3] == [2_000, 2_001, 2_002]


@pytest.mark.parametrize("committed", [True, False])
def test_deleting_subsamples_in_a_block_merges_no_tree(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    column = filled(repo, True, committed)
    merged = merges(monkeypatch)
    with column:
        for sample in range(300):
            del column[sample, 0]
            view = column[sample]
            view[77] = np.int64(sample)
            del view[1]
            column[sample + 5_000] = {0: np.int64(1), 1: np.int64(2)}
            del column[sample + 5_000]
            del column[sample + 1_000]
            assert sample + 1_000 not in column
            assert column.pop(sample + 300)[0] == 10 * (sample + 300)
            with pytest.raises(KeyError):
                del column[sample + 1_000]
        column.delete([(600, i) for i in range(10)])
        column.delete(range(601, 700))
        assert merged == []
        assert column._nodes.loads <= 250
        assert len(column) == 2_000 - 700
    assert [len(view) for view in column.values()] == [9] * 300 + [10] * 1_000
    assert (sorted(column[5, ...]), 1_299 in column, 1_300 in column) == ([2, 3, 4, 5, 6, 7, 8, 9, 77], False, True)


@pytest.mark.parametrize("nested", [False, True])
def test_deleting_a_batch_loads_each_node_once(repo: Repository, monkeypatch: pytest.MonkeyPatch, nested: bool) -> None:
    column = filled(repo, nested, committed=True)
    merged = merges(monkeypatch)
    reader = repo.checkout()
    nodes = len(list(walk(reader.session.nodes, column._source.root().digest)))
    keys = [(i // 10, i % 10) for i in range(10_000)] if nested else range(10_000)
    column.delete(keys)
    assert column._nodes.loads <= nodes
    assert merged == [10_000]
    assert len(column) == (1_000 if nested else 10_000)
