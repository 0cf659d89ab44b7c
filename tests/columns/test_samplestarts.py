"""Whole samples of a nested column by position: as the tree gives them, and without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, Repository
from hangar.columns import samplestarts
from hangar.columns.positions import PositionReader
from hangar.columns.samplestarts import build_starts
from hangar.dataset.selection import select
from hangar.objects import bulk
from hangar.objects.node import Root
from hangar.objects.store import NodeStore
from tests.counting import calls_of

SAMPLES = 300


def pairs(kind: str) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, SAMPLES).tolist()
    if kind == "counted":
        return [(i, j) for i, size in enumerate(sizes) for j in range(size)]
    if kind == "sparse":
        return [(3 * i + 2**40, 5 * j + i % 7) for i, size in enumerate(sizes) for j in range(size)]
    if kind == "named":
        return [
            (f"s{i:05}", ("left", "right", "ü", 7)[j % 4]) for i, size in enumerate(sizes) for j in range(min(size, 4))
        ]
    if kind == "many-names":
        return [(i, i * 10 + j) for i, size in enumerate(sizes) for j in range(size)]
    if kind == "long":
        return [(i // 700, i) for i in range(2_100)] + [("z", 1), ("z", 2)]
    return [(i if i % 2 else f"t{i}", j if j % 3 else f"k{j}") for i, size in enumerate(sizes) for j in range(size)]


KINDS = ["counted", "sparse", "named", "many-names", "long", "mixed"]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    made = Repository(tmp_path_factory.mktemp("starts"), exists=False)
    made.init("Ada", "ada@example.org")
    writer = made.checkout(write=True)
    for kind in KINDS:
        keys = pairs(kind)
        for name, column, values in (
            (kind, writer.add_ndarray_column(kind, (2,), np.float32, contains_subsamples=True), None),
            (f"{kind}-blobs", writer.add_ndarray_column(f"{kind}-blobs", (40,), np.uint8, contains_subsamples=True), 0),
            (f"{kind}-text", writer.add_str_column(f"{kind}-text", contains_subsamples=True), ""),
        ):
            assert column.column == name
            given: Any = np.arange(2 * len(keys), dtype=np.float32).reshape(-1, 2)
            if values == 0:
                given = np.random.default_rng(1).integers(0, 256, (len(keys), 40), np.uint8)
            elif values == "":
                given = [f"{key}" * (1 + at % 40) for at, key in enumerate(keys)]
            column.write(keys, given)
    writer.commit("all")
    writer.close()
    yield made
    made.close()


def plain(found: list[dict[Any, Any]]) -> list[list[tuple[Any, Any]]]:
    return [[(key, value if isinstance(value, str) else value.tolist()) for key, value in one.items()] for one in found]


@pytest.mark.parametrize("batch", [2, 1_024])
@pytest.mark.parametrize("what", ["", "-blobs", "-text"])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_what_the_tree_gives(
    repo: Repository, kind: str, what: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_LEAVES", batch)
    column: Any = repo.checkout()[kind + what]
    column._table._stores.tables.clear()
    reader = PositionReader(column)
    reader.prepare(whole=True)
    assert reader._starts is not None
    count = len(column)
    for positions in (np.random.default_rng(2).integers(0, count, 100), range(count), range(2, 3), range(0)):
        by_tree = column.read(positions=np.asarray(positions, np.int64))
        assert plain(reader.read_samples(positions)) == plain(by_tree)
    found = reader.read_samples(np.array([0, 0]))
    assert all(
        one is not other for one, other in zip(found[0].values(), found[1].values(), strict=True) if what != "-text"
    )


def test_the_memory_is_bounded(repo: Repository) -> None:
    for kind, most in (("counted", 0), ("named", 1), ("many-names", 2), ("long", 2)):
        column: Any = repo.checkout()[kind]
        root = column._source.root()
        starts = build_starts(column._nodes, root)
        assert starts is not None
        assert starts._codes.nbytes == most * root.entries
        assert starts._starts.nbytes == 4 * (root.samples + 1)


def test_an_epoch_of_whole_samples_loads_no_node(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("counted", "named-blobs"):
        chosen = select(repo.checkout()[name])
        items = np.random.default_rng(3).permutation(len(chosen))
        expected = plain(chosen.gather(items[:64])[0])
        chosen.gather(items[64:128])
        with monkeypatch.context() as patched:
            patched.setattr(NodeStore, "load", lambda *_: pytest.fail("a node was loaded"))
            patched.setattr(NodeStore, "load_many", lambda *_: pytest.fail("nodes were loaded"))
            assert plain(chosen.gather(items[:64])[0]) == expected
            few, many = (calls_of(lambda: chosen.gather(items[:count])) for count in (64, 512))  # noqa: B023
        assert many["call"] <= few["call"] + 2


def test_columns_of_one_tree_share_it(repo: Repository) -> None:
    first: Any = repo.checkout()["counted"]
    second: Any = repo.checkout()["counted"]
    assert first._table.sample_starts() is second._table.sample_starts()
    flat = [name for name in repo.checkout().columns if not repo.checkout()[name].contains_subsamples]
    assert not flat


def test_too_many_names_are_left_to_the_tree(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplestarts, "_MOST_NAMES", 100)
    column: Any = repo.checkout()["many-names"]
    column._table._stores.tables.clear()
    reader = PositionReader(column)
    reader.prepare(whole=True)
    assert reader._starts is None
    assert plain(reader.read_samples(np.array([3, 1]))) == plain(column.read(positions=[3, 1]))


def test_a_tree_that_counts_wrongly_is_refused(repo: Repository) -> None:
    column: Any = repo.checkout()["counted"]
    root = column._source.root()
    for wrong in (Root(root.digest, root.entries, root.samples + 1), Root(root.digest, root.entries + 1, root.samples)):
        with pytest.raises(CorruptionError, match="counts samples"):
            build_starts(column._nodes, wrong)
