"""A writer reads by the offset table of the tree beneath its staged changes: as fast as a reader, and never a stale value."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository, limits
from hangar.blobs.locator import Locator
from hangar.checkout import WriterCheckout
from hangar.columns import tables
from hangar.columns.sampletable import SampleTable
from hangar.columns.tables import ColumnTable
from hangar.objects.store import NodeStore

COUNT = 2_000
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 9, 9), np.uint8)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is made at the first read, and batches of more than a few rows go straight into the tree."""
    monkeypatch.setattr(tables, "_PAYS", 10**9)
    monkeypatch.setattr(limits, "STAGED_ROWS", 8)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[SampleTable]:
    """The tables that were read from."""
    given: list[SampleTable] = []
    ready = ColumnTable.ready

    def noted(holder: ColumnTable, count: int) -> SampleTable | None:
        table = ready(holder, count)
        if table is not None:
            given.append(table)
        return table

    monkeypatch.setattr(ColumnTable, "ready", noted)
    return given


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[WriterCheckout]:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    made = repo.checkout(write=True)
    yield made
    if not made.session.closed:
        made.close()
    assert repo.fsck(data=True).sound
    repo.close()


def no_searching(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in [
        (NodeStore, "load"),
        (NodeStore, "load_many"),
        (Locator, "locate"),
        (Locator, "locate_one"),
    ]:
        monkeypatch.setattr(owner, name, lambda *_, name=name: pytest.fail(f"{name} was called"))


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("kind", ["image", "label"])
def test_what_is_resolved_loads_no_node_and_searches_no_index(
    writer: WriterCheckout, kind: str, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: Any = IMAGES if kind == "image" else np.arange(COUNT) * 7
    column: Any = writer.add_ndarray_column("x", values.shape[1:], values.dtype)
    column.write(range(COUNT), values)
    if committed:
        writer.commit("all")
        column = writer["x"]
    assert np.array_equal(column.read(positions=[3, 1]), values[[3, 1]])
    at = np.random.default_rng(1).permutation(COUNT)[:300]
    with monkeypatch.context() as patch:
        no_searching(patch)
        assert np.array_equal(column.read(positions=at), values[at])
        assert np.array_equal(column.read(at), values[at])
        assert np.array_equal(column.read(slice(7, 90)), values[7:90])
        assert all(np.array_equal(column[int(i)], values[i]) for i in at[:20])
        assert all(map(np.array_equal, column[at[:20].tolist()], values[at[:20]]))
    column[5] = values[6]
    with monkeypatch.context() as patch:
        # Keys that were not changed go by the table as before.
        no_searching(patch)
        rest = at[at != 5]
        assert np.array_equal(column.read(rest), values[rest])
        assert all(np.array_equal(column[int(i)], values[i]) for i in rest[:20])
    assert np.array_equal(column[5], values[6])
    assert np.array_equal(column.read([4, 5, 6]), values[[4, 6, 6]])
    assert np.array_equal(column.read(positions=[4, 5, 6]), values[[4, 6, 6]])
    assert np.array_equal(column.read(slice(None))[5], values[6])
    assert np.array_equal(list(column.values())[5], values[6])


class Follower:
    """A column and the dict that it follows, through random writes, deletes, blocks and commits."""

    def __init__(self, writer: WriterCheckout, nested: bool, text: bool) -> None:
        self.writer, self.nested = writer, nested
        self.random = np.random.default_rng(nested + 2 * text)
        self.text = text
        self.model: dict[Any, bytes] = {}
        writer.add_ndarray_column("x", (9, 9), np.uint8, contains_subsamples=nested)

    def key(self, number: int) -> Any:
        if self.nested:
            return (f"s{number // 7}" if self.text else number // 7), number % 7
        return f"s{number:02}" if self.text else number

    @property
    def column(self) -> Any:
        return self.writer["x"]

    def write(self, count: int) -> None:
        keys = [self.key(int(at)) for at in self.random.choice(70, count, replace=False)]
        chosen = self.random.integers(0, COUNT, count)
        self.column.write(keys, IMAGES[chosen])
        self.model.update((key, IMAGES[at].tobytes()) for key, at in zip(keys, chosen, strict=True))

    def delete(self, count: int) -> None:
        keys = list(self.model)[: min(count, len(self.model) // 2)]
        self.column.delete(keys)
        for key in keys:
            del self.model[key]

    def drop(self) -> None:
        kept = dict(self.model)
        with pytest.raises(ZeroDivisionError):
            self._drop()
        self.model = kept

    def _drop(self) -> None:
        with self.column:
            self.write(20)
            self.expect()
            self.delete(5)
            self.expect()
            raise ZeroDivisionError

    def step(self) -> None:
        what = self.random.integers(0, 8)
        if what < 3:
            self.write([1, 5, 30][what])
        elif what < 5:
            self.delete([1, 12][what - 3])
        elif what == 5:
            self.drop()
        elif what == 6:
            with self.column:
                self.write(3)
                self.expect()
                self.write(20)
                self.expect()
        elif self.writer.diff.status() == "DIRTY":
            self.writer.commit("more")

    def expect(self) -> None:
        column, model = self.column, self.model
        ordered = sorted(model)
        wanted = b"".join(model[key] for key in ordered)
        assert column.read(ordered).tobytes() == wanted
        assert b"".join(value.tobytes() for value in column[ordered]) == wanted
        assert all(column[key].tobytes() == model[key] for key in ordered[:10])
        if self.nested:
            samples = list(dict.fromkeys(sample for sample, _ in ordered))
            assert b"".join(v.tobytes() for one in column.read(slice(None)) for v in one.values()) == wanted
            for sample in samples[:3]:
                subs = [sub for one, sub in ordered if one == sample]
                assert column[sample].read(slice(None)).tobytes() == b"".join(model[sample, sub] for sub in subs)
                assert [value.tobytes() for value in column[sample].values()] == [model[sample, sub] for sub in subs]
        else:
            assert column.read(slice(None)).tobytes() == wanted
            assert column.read(positions=range(len(model))[::-1]).tobytes() == b"".join(
                model[key] for key in ordered[::-1]
            )
            assert b"".join(value.tobytes() for value in column.values()) == wanted
        absent = self.key(99)
        with pytest.raises(KeyError):
            column.read([absent])
        with pytest.raises(KeyError):
            column[absent]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_writer_follows_a_dict(writer: WriterCheckout, nested: bool, text: bool, used: list[SampleTable]) -> None:
    follower = Follower(writer, nested, text)
    for _ in range(40):
        follower.step()
        follower.expect()
        # Once more, with the table that the first time made.
        follower.expect()
    assert len(set(map(id, used))) >= 8
    assert len(used) >= 100


def test_nothing_of_an_unpublished_tree_is_kept(writer: WriterCheckout, used: list[SampleTable]) -> None:
    column = writer.add_ndarray_column("x", (9, 9), np.uint8)
    column.write(range(50), IMAGES[:50])
    stores = writer.session.stores

    def write_and_fail() -> None:
        with column:
            column.write(range(40), IMAGES[100:140])
            assert np.array_equal(column.read(slice(0, 40)), IMAGES[100:140])
            assert np.array_equal(column[39], IMAGES[139])
            assert used == []
            assert len(stores.tables) == 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert np.array_equal(column.read(slice(None)), IMAGES[:50])
    assert len(stores.tables) == 1
    assert used


def test_threads_beside_commits_see_no_stale_value(writer: WriterCheckout, used: list[SampleTable]) -> None:
    """A value read is at least as new as the last write that had returned before, in whatever way it is read."""
    column: Any = writer.add_ndarray_column("x", (64,), np.int64)
    column.write(range(60), np.zeros((60, 64), np.int64))
    returned, begun = [0], [0]
    wrong: list[str] = []
    stop = threading.Event()

    def read(how: int) -> None:
        reads: list[Any] = [
            lambda: column[7],
            lambda: column.read([7, 30])[0],
            lambda: column.read(positions=[-1]),
            lambda: next(iter(column.values())),
        ]
        try:
            while not stop.is_set():
                least = returned[0]
                value = np.unique(reads[how]())
                most = begun[0]
                if len(value) != 1 or not least <= value[0] <= most:
                    wrong.append(f"{how}: {value} is not from {least} to {most}")
        except BaseException as error:  # noqa: BLE001 - told below
            wrong.append(f"{how}: {error!r}")

    threads = [threading.Thread(target=read, args=(how,)) for how in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in range(1, 41):
            begun[0] = version
            column.write(range(60), np.full((60, 64), version))
            returned[0] = version
            if version % 3 == 0:
                writer.commit("more")
            elif version % 3 == 1:
                column[7] = np.full(64, version)
            stop.wait(0.005)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert used


def test_a_widened_column_is_read_with_its_new_schema(writer: WriterCheckout, used: list[SampleTable]) -> None:
    column: Any = writer.add_ndarray_column("x", (9, 9), np.uint8, variable_shape=True)
    column.write(range(20), IMAGES[:20])
    assert np.array_equal(column[3], IMAGES[3])
    column.widen((20, 20))
    assert np.array_equal(column[3], IMAGES[3])
    column[3] = np.ones((20, 20), np.uint8)
    assert column[3].shape == (20, 20)
    assert np.array_equal(column[4], IMAGES[4])
    assert used
