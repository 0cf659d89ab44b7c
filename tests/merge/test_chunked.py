"""Merges of chunked arrays, chunk by chunk: against a model of padded numpy arrays, and with conflicts that are resolved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar import MergeConflictError, Repository
from hangar.db.tables import NODES
from hangar.diff import FlatColumnDataKey, NestedColumnDataKey
from hangar.merge.state import read_state
from tests.merge.maker import tree, write

Array = npt.NDArray[np.int16]
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
CHUNKS = (3, 2)
KEY = FlatColumnDataKey("volume", "a")


def repository(path: Path | str) -> Repository:
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.com")
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """A 6 x 6 array in chunks of 3 x 2, on the branches master and dev."""
    found = repository(tmp_path)
    write(found, "master", begin)
    found.create_branch("dev")
    yield found
    found.close()


def begin(writer: Any) -> None:
    writer.add_chunked_column("volume", np.int16, CHUNKS)
    writer["volume"]["a"] = np.arange(36, dtype=np.int16).reshape(6, 6)


def put(region: Any, value: int, key: Any = "a") -> Any:
    return lambda writer: writer["volume"][key].__setitem__(region, value)


def at(repo: Repository, rev: str, key: Any = "a") -> Array:
    with closing(repo.checkout(commit=rev)) as reader:
        found: Array = reader["volume"][key][...]
        return found


# ---------------------------------------------------------------------------------------------------- the model

EDIT = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 8), st.integers(0, 8), st.integers(1, 4), st.integers(0, 2)),
    st.tuples(st.just("resize"), st.integers(2, 9), st.integers(2, 9)),
)
EDITS = st.lists(EDIT, max_size=3)


def edit(array: Any, change: tuple[Any, ...]) -> None:
    if change[0] == "resize":
        array.resize(change[1:])
        return
    _, row, column, size, value = change
    region = np.s_[row : row + size, column : column + size]
    if 0 not in array[region].shape:
        array[region] = value


class Model:
    """A numpy array with the methods of a chunked one that :func:`edit` uses."""

    def __init__(self, array: Array) -> None:
        self.array = array.copy()

    def resize(self, shape: tuple[int, int]) -> None:
        found = np.zeros(shape, np.int16)
        common = tuple(slice(min(sizes)) for sizes in zip(shape, self.array.shape, strict=True))
        found[common] = self.array[common]
        self.array = found

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[index] = value


def chunk(array: Array, index: tuple[int, int]) -> bytes:
    """A chunk, padded with zeros."""
    padded = np.zeros((12, 12), np.int16)
    padded[: array.shape[0], : array.shape[1]] = array
    (i, j), (a, b) = index, CHUNKS
    return padded[i * a : (i + 1) * a, j * b : (j + 1) * b].tobytes()


def merged(base: Array, ours: Array, theirs: Array) -> Array | None:
    """The merge of arrays of two sides; None for a conflict."""
    if np.array_equal(ours, theirs):
        return ours
    if np.array_equal(ours, base) or np.array_equal(theirs, base):
        return theirs if np.array_equal(ours, base) else ours
    resized = [one.shape != base.shape for one in (ours, theirs)]
    if all(resized) and ours.shape != theirs.shape:
        return None
    result = np.zeros((12, 12), np.int16)
    for index in product(range(4), range(6)):
        was, mine, other = (chunk(one, index) for one in (base, ours, theirs))

        def within(one: Array, index: tuple[int, int] = index) -> bool:
            return all((i + 1) * c <= n for i, c, n in zip(index, CHUNKS, one.shape, strict=True))

        def shrank(one: Array) -> bool:
            return any(new < old for new, old in zip(one.shape, base.shape, strict=True))

        if mine != other:
            if was not in (mine, other) or (all(resized) and not within(base)):
                return None
            still = theirs if mine != was else ours
            if shrank(still) and not within(still):
                return None
        (i, j), (a, b) = index, CHUNKS
        taken = other if mine == was else mine
        result[i * a : (i + 1) * a, j * b : (j + 1) * b] = np.frombuffer(taken, np.int16).reshape(CHUNKS)
    shape = theirs.shape if resized[1] else ours.shape
    return result[: shape[0], : shape[1]]


@settings(deadline=None, max_examples=35)
@given(EDITS, EDITS)
def test_merges_are_those_of_the_model(ours: list[Any], theirs: list[Any]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        check(folder, ours, theirs)


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@settings(deadline=None, max_examples=2_000)
@given(EDITS, EDITS)
def test_many_merges_are_those_of_the_model(ours: list[Any], theirs: list[Any]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        check(folder, ours, theirs)


def check(folder: str, ours: list[Any], theirs: list[Any]) -> None:
    base = np.arange(36, dtype=np.int16).reshape(6, 6)
    models = []
    with repository(folder) as repo:
        write(repo, "master", begin)
        repo.create_branch("dev")
        heads = []
        for branch, edits in (("master", ours), ("dev", theirs)):
            model = Model(base)
            with closing(repo.checkout(write=True, branch=branch)) as writer:
                for change in edits:
                    edit(writer["volume"]["a"], change)
                    edit(model, change)
                heads.append(writer.commit("edits") if writer.diff.status() == "DIRTY" else writer.commit_hash)
            models.append(model.array)
            np.testing.assert_array_equal(at(repo, heads[-1]), model.array)
        expected = merged(base, *models)
        repo.create_branch("back", base_commit=heads[1])
        if expected is None:
            for into, other in (("master", "dev"), ("back", "master")):
                with pytest.raises(MergeConflictError) as error:
                    repo.merge("merge", into, other)
                assert error.value.conflicts.t3.samples == (KEY,)
                assert error.value.conflicts.regions.get(KEY) or models[0].shape != models[1].shape
            return
        head = repo.merge("merge", "master", "dev")
        np.testing.assert_array_equal(at(repo, head), expected)
        assert tree(repo, repo.merge("merge", "back", heads[0])) == tree(repo, head)
        # What was merged is what would be written: equal content has equal digests.
        with closing(repo.checkout(write=True, branch="master")) as writer:
            writer["volume"]["a"] = expected
            assert writer.diff.status() == "CLEAN"
        assert repo.fsck(data=True).problems == ()


# ---------------------------------------------------------------------------------------------------- conflicts


def apart(repo: Repository) -> None:
    """Both sides change the chunks (0, 0) and (1, 2) differently, and each one chunk alone."""
    write(repo, "master", put(np.s_[0, 0], 100), put(np.s_[5, 5], 101), put(np.s_[0, 2], 102))
    write(repo, "dev", put(np.s_[1, 1], 200), put(np.s_[5, 4], 201), put(np.s_[5, 0], 202))


def test_a_conflict_names_sample_and_regions(repo: Repository) -> None:
    apart(repo)
    with pytest.raises(MergeConflictError, match=r"volume/a \[0:3, 0:2\] and 1 more region") as error:
        repo.merge("merge", "master", "dev")
    assert error.value.conflicts.regions == {KEY: (((0, 3), (0, 2)), ((3, 6), (4, 6)))}
    assert repo.diff("master", "dev").conflict.regions[KEY] == error.value.conflicts.regions[KEY]
    assert repo.merge_preview("dev", branch="master").conflicts.regions[KEY] == error.value.conflicts.regions[KEY]
    assert len(repo.stores.nodes.pending) == 0


@pytest.mark.parametrize("side", ["ours", "theirs", "base", "value", "driver", "staged"])
def test_it_is_resolved_and_all_other_changes_of_both_stay(repo: Repository, side: str) -> None:
    apart(repo)
    repo.merge("merge", "master", "dev", keep_conflicts=True)
    repo.gc()  # what the conflict names is kept
    assert repo.fsck(data=True).problems == ()
    assert repo.conflicts().regions[KEY] == (((0, 3), (0, 2)), ((3, 6), (4, 6)))
    expected = np.arange(36, dtype=np.int16).reshape(6, 6)
    expected[0, 2], expected[5, 0] = 102, 202
    if side == "ours":
        expected[0, 0], expected[5, 5] = 100, 101
    elif side in ("theirs", "driver"):
        expected[1, 1], expected[5, 4] = 200, 201
    elif side == "value":
        expected = np.full((4, 4), 7, np.int16)
    elif side == "staged":
        with closing(repo.checkout(write=True)) as writer:
            writer["volume"]["a"][0:3, 0:2] = 8
        expected[0, 0], expected[5, 5] = 100, 101
        expected[0:3, 0:2] = 8
    chosen = {"value": expected, "driver": lambda base, ours, theirs: theirs}.get(side, side)
    assert repo.resolve(None, chosen) == 0
    head = repo.merge_continue()
    np.testing.assert_array_equal(at(repo, head), expected)
    repo.gc()
    assert repo.fsck(data=True).problems == ()


@pytest.mark.parametrize("side", ["base", "ours", "theirs"])
def test_a_lost_record_that_only_a_conflict_names_is_found(repo: Repository, side: str) -> None:
    apart(repo)
    repo.merge("merge", "master", "dev", keep_conflicts=True)
    state = read_state(repo.stores.db)
    assert state is not None
    (conflict,) = state.all_conflicts()
    cell = getattr(conflict, side)
    repo.stores.db.update(lambda transaction: transaction.delete(NODES, cell))
    with Repository(repo.path) as fresh:
        assert [one.kind for one in fresh.fsck().problems if one.digest == cell.hex()] == ["array"]


def test_giving_up_leaves_nothing(repo: Repository) -> None:
    apart(repo)
    before = at(repo, "master")
    repo.merge("merge", "master", "dev", keep_conflicts=True)
    repo.merge_abort()
    np.testing.assert_array_equal(at(repo, "master"), before)
    assert repo.gc().nodes.removed > 0
    assert repo.fsck(data=True).problems == ()


def test_deleted_against_changed_is_a_conflict_of_the_sample(repo: Repository) -> None:
    write(repo, "master", lambda writer: writer["volume"].__delitem__("a"))
    write(repo, "dev", put(np.s_[0, 0], 9))
    with pytest.raises(MergeConflictError) as error:
        repo.merge("merge", "master", "dev")
    assert error.value.conflicts.t21.samples == (KEY,)
    assert error.value.conflicts.regions == {}


def test_a_stack_grows_on_one_side_and_is_corrected_on_the_other(repo: Repository) -> None:
    write(repo, "master", lambda writer: writer["volume"]["a"].append(np.full((5, 6), 9, np.int16)))
    write(repo, "dev", put(np.s_[0, 0], 5))
    found = at(repo, repo.merge("merge", "master", "dev"))
    assert found.shape == (11, 6)
    assert (found[0, 0], found[10, 5]) == (5, 9)


def test_reverts_picks_and_stashes_keep_other_chunks(repo: Repository) -> None:
    picked = write(repo, "dev", put(np.s_[5, 0], 202))
    first = write(repo, "master", put(np.s_[0, 0], 100))
    write(repo, "master", put(np.s_[5, 5], 101))
    found = at(repo, repo.revert(first))
    assert (found[0, 0], found[5, 5]) == (0, 101)
    found = at(repo, repo.cherry_pick(picked))
    assert (found[0, 0], found[5, 0], found[5, 5]) == (0, 202, 101)
    with closing(repo.checkout(write=True, branch="master")) as writer:
        writer["volume"]["a"][0, 4] = 7
    repo.stash()
    write(repo, "master", put(np.s_[5, 3], 8))
    repo.stash_pop()
    with closing(repo.checkout(write=True, branch="master")) as writer:
        assert (writer["volume"]["a"][0, 4], writer["volume"]["a"][5, 3]) == (7, 8)
    assert repo.fsck(data=True).problems == ()


def test_criss_cross(repo: Repository) -> None:
    """Two merges of each other's heads have two merge bases; the base of the next merge is their merge."""
    ours = write(repo, "master", put(np.s_[0, 0], 100))
    theirs = write(repo, "dev", put(np.s_[0, 2], 200))
    repo.merge("cross", "master", theirs)
    repo.merge("cross", "dev", ours)
    write(repo, "master", put(np.s_[5, 0], 101))
    write(repo, "dev", put(np.s_[5, 2], 201))
    found = at(repo, repo.merge("merge", "master", "dev"))
    assert (found[0, 0], found[0, 2], found[5, 0], found[5, 2]) == (100, 200, 101, 201)
    assert repo.fsck(data=True).problems == ()


def test_nested(tmp_path: Path) -> None:
    with repository(tmp_path) as repo:

        def first(writer: Any) -> None:
            writer.add_chunked_column("scan", "float32", (4, 4), contains_subsamples=True)
            writer["scan"]["p"] = {0: np.zeros((8, 8), np.float32), 1: np.ones((8, 8), np.float32)}

        write(repo, "master", first)
        repo.create_branch("dev")
        write(repo, "master", lambda writer: writer["scan"]["p", 0].__setitem__((0, 0), 1))
        write(repo, "dev", lambda writer: writer["scan"]["p", 0].__setitem__((7, 7), 2))
        repo.merge("merge", "master", "dev")
        with closing(repo.checkout()) as reader:
            assert (reader["scan"]["p", 0][0, 0], reader["scan"]["p", 0][7, 7]) == (1, 2)
        write(repo, "master", lambda writer: writer["scan"]["p", 1].__setitem__((0, 0), 3))
        write(repo, "dev", lambda writer: writer["scan"]["p", 1].__setitem__((1, 1), 4))
        with pytest.raises(MergeConflictError) as error:
            repo.merge("merge", "master", "dev")
        assert error.value.conflicts.regions == {NestedColumnDataKey("scan", "p", 1): (((0, 4), (0, 4)),)}
