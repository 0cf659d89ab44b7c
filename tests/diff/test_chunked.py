"""Differences of chunked arrays: chunks and regions are named, and only chunks that differ are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.columns.values import ValueReader
from hangar.diff import ArrayDifference, difference
from tests.merge.maker import write

SHAPE, CHUNKS = (40, 30), (10, 10)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    found = Repository(tmp_path, exists=False)
    found.init("Ada", "ada@example.com")
    yield found
    found.close()


def begin(writer: Any) -> None:
    writer.add_chunked_column("scan", np.float32, CHUNKS)["a"] = np.arange(1200, dtype=np.float32).reshape(SHAPE)


def found(repo: Repository, first: str, second: str, tolerance: float = 0) -> ArrayDifference:
    (change,) = repo.changes(first, second)
    result = change.difference(tolerance)
    assert isinstance(result, ArrayDifference)
    return result


def test_regions_of_the_chunks_that_changed(repo: Repository) -> None:
    first = write(repo, "master", begin)

    def edit(writer: Any) -> None:
        array = writer["scan"]["a"]
        array[3, 4] += 2
        array[39, 25:28] += 0.25

    second = write(repo, "master", edit)
    one = found(repo, first, second)
    assert (one.kind, one.elements, one.changed, one.largest) == ("chunked", 1200, 4, 2)
    assert (one.chunks, one.regions) == (2, (((0, 10), (0, 10)), ((30, 40), (20, 30))))
    assert one.box == ((3, 40), (4, 28))
    small = found(repo, first, second, tolerance=0.5)
    assert (small.changed, small.chunks, small.regions) == (1, 1, (((0, 10), (0, 10)),))
    assert not found(repo, first, second, tolerance=3).differs


def test_only_chunks_that_differ_are_read(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(repo, "master", begin)
    second = write(repo, "master", lambda writer: writer["scan"]["a"].__setitem__((0, 0), 5))
    read: list[int] = []
    many = ValueReader.many

    def counted(self: Any, cells: Any) -> Any:
        read.append(len(cells))
        return many(self, cells)

    monkeypatch.setattr(ValueReader, "many", counted)
    assert found(repo, first, second).changed == 1
    assert read == [1, 1]


def test_shapes_and_fill_values(repo: Repository) -> None:
    first = write(repo, "master", begin)
    second = write(repo, "master", lambda writer: writer["scan"]["a"].append(np.ones((5, 30), np.float32)))
    one = found(repo, first, second)
    assert (one.shape_before, one.shape_after, one.changed, one.chunks) == ((40, 30), (45, 30), 0, 3)
    assert one.differs
    third = write(repo, "master", lambda writer: writer["scan"]["a"].resize((20, 30)))
    assert found(repo, second, third).chunks == 9
    fourth = write(repo, "master", lambda writer: writer["scan"]["a"].__setitem__(np.s_[:10, :10], 0))
    one = found(repo, third, fourth)
    assert (one.chunks, one.changed) == (1, 99)  # the first element was 0 already


def test_staged_arrays_and_arrays_of_other_columns(repo: Repository) -> None:
    write(repo, "master", begin)
    with closing(repo.checkout(write=True)) as writer:
        array = writer["scan"]["a"]
        array[0, 0] = 9
        (change,) = writer.diff.staged_changes()
        assert change.difference().changed == 1  # type: ignore[union-attr]
        with writer:
            array[1, 1] = 9
            with closing(repo.checkout()) as reader:
                assert difference(reader["scan"]["a"], array).changed == 2  # type: ignore[union-attr]
        other = writer.add_chunked_column("other", np.float64, (7, 7))
        other["a"] = array[...].astype(np.float64)
        other["a"][39, 29] += 1
        one = difference(array, other["a"])
        assert isinstance(one, ArrayDifference)
        assert (one.changed, one.box) == (1, ((39, 40), (29, 30)))
        assert one.regions == (((35, 40), (28, 30)),)


def test_the_cost_follows_the_change(repo: Repository) -> None:
    """Of 30,000 chunks one changed: the diff reads a few nodes."""

    def large(writer: Any) -> None:
        column = writer.add_chunked_column("scan", np.uint8, (1, 64))
        column.create("a", (30_000, 64))
        column["a"][...] = np.arange(30_000, dtype=np.uint32).astype(np.uint8)[:, None] | 1

    first = write(repo, "master", large)
    second = write(repo, "master", lambda writer: writer["scan"]["a"].__setitem__((17_000, 3), 0))
    stores = repo.stores
    before = stores.nodes.loads
    one = found(repo, first, second)
    assert (one.chunks, one.regions) == (1, (((17_000, 17_001), (0, 64)),))
    assert stores.nodes.loads - before < 20
