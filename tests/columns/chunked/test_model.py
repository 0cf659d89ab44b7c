"""Chunked arrays against numpy arrays: random slices, broadcasting, resizing, batches, commits, reopening, branches."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hangar import Repository, limits
from hangar.columns.chunked import buffer, content, table
from hangar.errors import NothingToDoError
from tests.columns.chunked.test_selection import indices

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

KEYS = st.sampled_from(["a", "b"])
SHAPES = st.tuples(st.integers(0, 9), st.integers(0, 7))
CHUNKS = st.sampled_from([(2, 3), (4, 4), (1, 5), (3, 16)])
DTYPES = st.sampled_from(["uint8", "float32", "bool", "int16"])


LOW_LIMITS: list[tuple[Any, str, int]] = [
    (limits, "CHUNK_BUFFER_BYTES", 100),
    (buffer, "_DIRECT_BYTES", 40),
    (buffer, "_HELD_BYTES", 100),
    (buffer, "_TOGETHER_BYTES", 60),
    (content, "_PIECES", 3),
    (table, "_TABLE_CHUNKS", 4),
    (table, "_THREADED_BYTES", 30),
    (table, "_BATCH_BYTES", 60),
]
"""Small arrays go the way of large ones: chunks stored before the end of a batch or without it, no tables, batches of few chunks."""


class _DropError(Exception):
    """Ends a batch that is dropped."""


class ChunkedArrays(RuleBasedStateMachine):
    """One chunked column; the model is a dict of numpy arrays for the staging area and for each branch."""

    @initialize(
        dtype=DTYPES,
        chunks=CHUNKS,
        fill=st.sampled_from([0, 1]),
        backend=st.sampled_from(["10", "01", None]),
        low=st.booleans(),
    )
    def begin(self, dtype: str, chunks: tuple[int, int], fill: int, backend: str | None, low: bool) -> None:
        self.patch = pytest.MonkeyPatch()
        for module, name, value in LOW_LIMITS if low else ():
            self.patch.setattr(module, name, value)
        self.folder = tempfile.TemporaryDirectory()
        self.repo = Repository(self.folder.name, exists=False)
        self.repo.init("Ada", "ada@example.org")
        self.dtype, self.chunks, self.fill = np.dtype(dtype), chunks, np.dtype(dtype).type(fill)
        self.writer: Any = self.repo.checkout(write=True)
        self.writer.add_chunked_column("x", dtype, chunks, fill_value=fill, backend=backend)
        self.writer.commit("begin")
        self.staged: Arrays = {}
        self.branches: dict[str, Arrays] = {"master": {}}
        self.here = "master"
        self.batch: list[Callable[[], object]] | None = None
        self.number = 0

    @property
    def column(self) -> Any:
        return self.writer.columns["x"]

    def values(self, shape: tuple[int, ...]) -> Array:
        """Other values each time; some of them are the fill value."""
        self.number += 1
        return ((np.arange(int(np.zeros(shape).size)) * 7 + self.number) % 5 % 3).reshape(shape).astype(self.dtype)

    # ------------------------------------------------------------------ writing

    @rule(key=KEYS, shape=SHAPES)
    def write_whole(self, key: str, shape: tuple[int, int]) -> None:
        value = self.values(shape)
        self.column[key] = value
        self.staged[key] = value

    @rule(key=KEYS, shape=SHAPES)
    def create(self, key: str, shape: tuple[int, int]) -> None:
        if key in self.staged:
            with pytest.raises(ValueError, match="already"):
                self.column.create(key, shape)
            return
        self.column.create(key, shape)
        self.staged[key] = np.full(shape, self.fill)

    @precondition(lambda self: self.staged)
    @rule(data=st.data())
    def write_part(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.staged)))
        array, model = self.column[key], self.staged[key].copy()
        index = data.draw(indices(model.shape))
        try:
            wanted = np.shape(model[index])
        except IndexError:
            with pytest.raises(IndexError):
                array[index] = 0
            return
        cut = data.draw(st.integers(0, len(wanted)))
        value = self.values(tuple(1 if data.draw(st.booleans()) else n for n in wanted[cut:]))
        model[index] = value
        array[index] = value
        self.staged[key] = model

    @precondition(lambda self: self.staged)
    @rule(data=st.data(), shape=SHAPES)
    def resize(self, data: st.DataObject, shape: tuple[int, int]) -> None:
        key = data.draw(st.sampled_from(sorted(self.staged)))
        before = self.staged[key]
        after = np.full(shape, self.fill)
        kept = tuple(slice(0, min(old, new)) for old, new in zip(before.shape, shape, strict=True))
        after[kept] = before[kept]
        self.column[key].resize(shape)
        self.staged[key] = after

    @precondition(lambda self: self.staged)
    @rule(data=st.data(), axis=st.integers(-2, 1), count=st.integers(0, 4))
    def append(self, data: st.DataObject, axis: int, count: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.staged)))
        before = self.staged[key]
        shape = list(before.shape)
        shape[axis] = count
        value = self.values(tuple(shape))
        assert self.column[key].append(value, axis) == np.concatenate([before, value], axis).shape
        self.staged[key] = np.concatenate([before, value], axis)

    @precondition(lambda self: self.staged)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.staged)))
        del self.column[key]
        del self.staged[key]

    @precondition(lambda self: self.staged)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.staged)))
        self.column["c"] = self.column[key]
        self.staged["c"] = self.staged[key]

    @rule(data=st.data(), keep=st.booleans())
    def batch_of_writes(self, data: st.DataObject, keep: bool) -> None:
        before = deepcopy(self.staged)

        def write() -> None:
            with self.writer:
                for _ in range(data.draw(st.integers(1, 5))):
                    step = data.draw(st.sampled_from(["whole", "part", "resize", "append", "delete"]))
                    if step == "whole":
                        self.write_whole(data.draw(KEYS), data.draw(SHAPES))
                    elif self.staged and step == "part":
                        self.write_part(data)
                    elif self.staged and step == "resize":
                        self.resize(data, data.draw(SHAPES))
                    elif self.staged and step == "append":
                        self.append(data, 0, 2)
                    elif self.staged:
                        self.delete(data)
                    if data.draw(st.booleans()):
                        self.same()
                if not keep:
                    raise _DropError

        if keep:
            write()
        else:
            with pytest.raises(_DropError):
                write()
            self.staged = before

    # ------------------------------------------------------------------ history

    @rule()
    def commit(self) -> None:
        try:
            self.writer.commit("more")
        except NothingToDoError:
            assert same_arrays(self.staged, self.branches[self.here])
        self.branches[self.here] = dict(self.staged)

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.repo.close()
        self.repo = Repository(self.folder.name)
        self.writer = self.repo.checkout(write=True)

    @rule()
    def branch(self) -> None:
        self.commit()
        self.writer.close()
        name = (
            f"b{len(self.branches)}"
            if len(self.branches) < 3
            else min(self.branches, key=lambda one: (one == self.here, one))
        )
        if name not in self.branches:
            self.repo.create_branch(name)
            self.branches[name] = dict(self.branches[self.here])
        self.here = name
        self.writer = self.repo.checkout(write=True, branch=name)
        self.staged = dict(self.branches[name])

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "writer"):
            return
        assert list(self.column) == sorted(self.staged)
        for key, model in self.staged.items():
            array = self.column[key]
            assert array.shape == model.shape
            assert np.array_equal(array[...], model)
            assert np.array_equal(array[::-2, 1:], model[::-2, 1:])

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            self.finish()
        if hasattr(self, "patch"):
            self.patch.undo()

    def finish(self) -> None:
        for key, model in list(self.staged.items()):
            # Equal content has an equal digest, whatever was done before.
            self.column["fresh"] = model
            assert self.column["fresh"].digest == self.column[key].digest
        for name, arrays in self.branches.items():
            committed: Any = self.repo.checkout(branch=name).columns["x"]
            assert same_arrays({key: array[...] for key, array in committed.items()}, arrays)
        self.writer.close()
        assert self.repo.fsck(data=True).problems == ()
        self.repo.close()
        self.folder.cleanup()


def same_arrays(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(array, other[key]) for key, array in one.items())


def test_chunked_arrays_follow_numpy() -> None:
    quick = settings().max_examples < 1_000
    run_state_machine_as_test(
        ChunkedArrays,
        settings=settings(max_examples=12 if quick else 2_000, stateful_step_count=25),
    )
