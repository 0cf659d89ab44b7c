"""Cells of a mixed tree by position, through a directory of its leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, InvalidInputError, Repository, limits
from hangar.columns.positions import PositionReader
from hangar.dataset.selection import select
from hangar.objects.leafcells import LeafCells
from hangar.objects.node import Node, Root
from hangar.objects.order import select_cells
from hangar.objects.store import NodeStore
from tests.counting import calls_of

COUNT = 5_000
TEXTS = [f"{'ä' * (at % 90)}{at}" for at in range(COUNT)]
"""Some are inline, some are blobs."""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    made = Repository(tmp_path_factory.mktemp("leafcells"), exists=False)
    made.init("Ada", "ada@example.org")
    writer = made.checkout(write=True)
    writer.add_str_column("text").write(range(COUNT), TEXTS)
    writer.add_str_column("few").write(["a", "b", 3], TEXTS[:3])
    writer.add_bytes_column("bytes").write([f"k{at:06}" for at in range(COUNT)], [one.encode() for one in TEXTS])
    writer.add_str_column("nested", contains_subsamples=True).write([(at // 7, at % 7) for at in range(COUNT)], TEXTS)
    writer.commit("all")
    writer.close()
    yield made
    made.close()


@pytest.mark.parametrize("cache", [0, 20_000, 2**26])
@pytest.mark.parametrize("name", ["text", "few", "bytes", "nested"])
def test_they_are_what_the_tree_gives(repo: Repository, name: str, cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEAF_CACHE_BYTES", cache)
    column: Any = repo.checkout()[name]
    root = column._source.root()
    cells = LeafCells(column._nodes, root)
    for seed in range(3):
        wanted = np.random.default_rng(seed).integers(0, root.entries, 300)
        assert cells.at(wanted) == select_cells(column._nodes, root.digest, wanted)
    assert cells.at(range(root.entries)) == select_cells(column._nodes, root.digest, np.arange(root.entries))
    assert cells.at(range(0)) == []
    assert cells._cache.nbytes <= cache
    for wrong in (-1, root.entries):
        with pytest.raises(InvalidInputError):
            cells.at(np.array([0, wrong]))


def test_a_data_set_reads_texts_through_it(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = select(repo.checkout()["text"])
    items = np.random.default_rng(1).permutation(COUNT)[:400]
    for _ in range(3):
        assert chosen.gather(items)[0] == [TEXTS[at] for at in items]
    whole = select(repo.checkout()["nested"])
    for _ in range(3):
        assert whole.gather(np.array([1, 0]))[0] == [dict(enumerate(TEXTS[7:14])), dict(enumerate(TEXTS[:7]))]
    monkeypatch.setattr(NodeStore, "load", lambda *_: pytest.fail("a node was loaded"))
    monkeypatch.setattr(NodeStore, "load_many", lambda *_: pytest.fail("nodes were loaded"))
    assert chosen.gather(items)[0] == [TEXTS[at] for at in items]
    short = items[[at % 90 < 20 for at in items]]
    few, many = (calls_of(lambda: chosen.gather(part)) for part in (short[:10], short))  # noqa: B023
    assert many["call"] <= few["call"] + 2 * len(short)


def test_a_wrong_count_or_form_is_refused(repo: Repository) -> None:
    column: Any = repo.checkout()["few"]
    root = column._source.root()
    with pytest.raises(CorruptionError, match="counts entries"):
        LeafCells(column._nodes, Root(root.digest, 4, 4)).at(range(4))
    large: Any = repo.checkout()["text"]
    with pytest.raises(CorruptionError, match="counts entries"):
        LeafCells(large._nodes, Root(large._source.root().digest, COUNT + 1, COUNT + 1))
    node = column._nodes.load(root.digest)
    for changed in (
        Node(0, 0, 0, node.keys, bytes(96), b"", [], []),
        Node(0, 0, 2, node.keys, node.refs + b"x", node.sizes, [], []),
    ):
        digest = column._nodes.add(changed)
        with pytest.raises(CorruptionError):
            LeafCells(column._nodes, Root(digest, 3, 3)).at(range(3))
        column._nodes.drop(digest)


def test_a_lost_leaf_is_an_error_of_the_batches_that_need_it(repo: Repository) -> None:
    column: Any = repo.checkout()["text"]
    reader = PositionReader(column)
    reader.prepare()
    assert reader._cells is not None
    digest = bytes(32)
    reader._cells._digests[0] = digest
    assert reader.read(np.array([COUNT - 1])) == [TEXTS[-1]]
    with pytest.raises(CorruptionError, match="missing"):
        reader.read(np.array([0]))
