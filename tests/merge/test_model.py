"""Row 12: three-way merges of random edits of real repositories, against a merge of dicts that knows nothing of trees.

The model holds a column as a dict: name, maximum shape, attributes, samples. Columns are told apart as Hangar does, by
the name and schema they were made with. Clocks are random; a merge in the other direction has the same tree digest.
"""

from __future__ import annotations

import copy
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar import MergeConflictError, Repository
from hangar.diff import Conflicts
from tests.merge.maker import plain, tree

State = dict[str, Any]
"""``columns``: id -> column; ``attributes``: of the commit."""
Place = tuple[Any, ...]

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Nothing here depends on what a disk does."""
KINDS = ("flat", "nested", "images", "text")
KEYS = st.sampled_from([0, 1, 2, "a"])
EDITS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3), KEYS, st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.integers(0, 3), KEYS, st.integers(0, 2), st.booleans()),
    st.tuples(st.just("add"), st.sampled_from(KINDS), st.sampled_from(["n", "m", "flat"])),
    st.tuples(st.just("remove"), st.integers(0, 3)),
    st.tuples(st.just("rename"), st.integers(0, 3), st.sampled_from(["n", "x", "y"])),
    st.tuples(st.just("widen"), st.integers(0, 3), st.integers(0, 1)),
    st.tuples(st.just("note"), st.none() | st.integers(0, 3), st.sampled_from("uv"), st.none() | st.integers(0, 2)),
)


def value(kind: str, number: int) -> Any:
    if kind == "text":
        return f"{number} " * (40 if number % 2 else 1)
    if kind == "images":
        return np.full((number % 3 + 1, 2), number, np.uint8)
    return np.full((), number, np.int64)


def add(writer: Any, kind: str, name: str) -> None:
    if kind == "text":
        writer.add_str_column(name)
    elif kind == "images":
        writer.add_ndarray_column(name, shape=(4, 4), dtype=np.uint8, variable_shape=True)
    else:
        writer.add_ndarray_column(name, shape=(), dtype=np.int64, contains_subsamples=kind == "nested")


def new_column(state: State, kind: str, name: str) -> None:
    number = next(n for n in range(99) if (name, kind, n) not in state["columns"])
    column = {"name": name, "kind": kind, "shape": (4, 4), "attributes": {}, "samples": {}}
    state["columns"][name, kind, number] = column


def edit(writer: Any, state: State, change: tuple[Any, ...]) -> None:
    """Do one edit to a repository and to the model, if it is possible."""
    what, which, *rest = change
    names = sorted(column["name"] for column in state["columns"].values())
    if what == "add":
        if rest[0] not in names:
            add(writer, which, rest[0])
            new_column(state, which, rest[0])
    elif what == "note" and which is None:
        note(writer.attributes, state["attributes"], *rest)
    elif which < len(names) and (what != "rename" or rest[0] not in names):
        one = next(one for one, column in state["columns"].items() if column["name"] == names[which])
        if what == "remove":
            writer.columns.delete(names[which])
            del state["columns"][one]
        else:
            DO[what](writer, state["columns"][one], *rest)


def put(writer: Any, column: dict[str, Any], sample: Any, subsample: int, number: int) -> None:
    key = (sample, subsample) if column["kind"] == "nested" else sample
    writer[(column["name"], *key) if isinstance(key, tuple) else (column["name"], key)] = value(column["kind"], number)
    column["samples"][key] = number


def delete(writer: Any, column: dict[str, Any], sample: Any, subsample: int, whole: bool) -> None:
    for key in list(column["samples"]):
        if not isinstance(key, tuple) and key == sample:
            del writer[column["name"]][key], column["samples"][key]
        elif isinstance(key, tuple) and key[0] == sample and (whole or key[1] == subsample):
            writer[column["name"]][sample].pop(key[1])
            del column["samples"][key]


def rename(writer: Any, column: dict[str, Any], name: str) -> None:
    writer.rename_column(column["name"], name)
    column["name"] = name


def widen(writer: Any, column: dict[str, Any], wider: int) -> None:
    if column["kind"] == "images":
        column["shape"] = tuple(size + (3 if axis == wider else 0) for axis, size in enumerate(column["shape"]))
        writer[column["name"]].widen(column["shape"])


DO: dict[str, Callable[..., None]] = {
    "put": put,
    "delete": delete,
    "rename": rename,
    "widen": widen,
    "note": lambda writer, column, *rest: note(writer[column["name"]].attributes, column["attributes"], *rest),
}


def note(attributes: Any, model: dict[str, int], key: str, number: int | None) -> None:
    if number is not None:
        attributes[key] = model[key] = number
    elif key in model:
        del attributes[key], model[key]


# ---------------------------------------------------------------------------------------------------- the model


def merge_maps(base: Any, ours: Any, theirs: Any) -> tuple[dict[Any, Any], set[Any]]:
    merged, conflicts = dict(ours), set()
    for key in {*base, *ours, *theirs}:
        old, here, there = base.get(key), ours.get(key), theirs.get(key)
        if here != there and here != old != there:
            conflicts.add(key)
        elif here != there and here == old:
            merged.pop(key, None)
            if there is not None:
                merged[key] = there
    return merged, conflicts


def merge_samples(base: Any, ours: Any, theirs: Any, nested: bool) -> tuple[dict[Any, Any], set[Any]]:
    merged, conflicts = merge_maps(base, ours, theirs)
    for sample in {key[0] for key in base} if nested else ():
        before, here, there = ({k: v for k, v in one.items() if k[0] == sample} for one in (base, ours, theirs))
        if here != before != there and here != there and not (here and there):
            for key in {*here, *there}:
                conflicts.add(key)
                merged.pop(key, None)
            merged.update(here)
    return merged, conflicts


def merge_states(base: State, ours: State, theirs: State) -> tuple[State, set[Place]]:
    """The merge, and places in conflict."""
    attributes, found = merge_maps(base["attributes"], ours["attributes"], theirs["attributes"])
    conflicts: set[Place] = {("attribute", None, key) for key in found}
    columns: dict[Any, Any] = {}
    nothing: dict[str, Any] = {"name": None, "shape": (0, 0), "attributes": {}, "samples": {}}
    for one in {**base["columns"], **ours["columns"], **theirs["columns"]}:
        before, here, there = (side["columns"].get(one) for side in (base, ours, theirs))
        if here is None or there is None:
            kept = there if here is None else here
            if before is None or kept is None:
                if kept is not None:
                    columns[one] = kept
            elif kept != before:
                conflicts.add(("column", one))
            continue
        old = before or nothing
        column = dict(here)
        if here["name"] != there["name"]:
            if before is None or here["name"] != old["name"] != there["name"]:
                conflicts.add(("column", one))
            elif here["name"] == old["name"]:
                column["name"] = there["name"]
        column["shape"] = tuple(map(max, here["shape"], there["shape"]))
        column["attributes"], found = merge_maps(old["attributes"], here["attributes"], there["attributes"])
        conflicts |= {("attribute", one, key) for key in found}
        column["samples"], found = merge_samples(old["samples"], here["samples"], there["samples"], one[1] == "nested")
        conflicts |= {("sample", one, key) for key in found}
        columns[one] = column
    names = [column["name"] for column in columns.values()]
    if len(set(names)) < len(names):
        conflicts.add(("clash",))
    return {"columns": columns, "attributes": attributes}, conflicts


# ---------------------------------------------------------------------------------------------------- what there is


def expected(state: State) -> dict[str, Any]:
    columns = {}
    for column in state["columns"].values():
        samples: dict[Any, Any] = {}
        for key, number in column["samples"].items():
            found = plain(value(column["kind"], number))
            if isinstance(key, tuple):
                samples.setdefault(key[0], {})[key[1]] = found
            else:
                samples[key] = found
        shape = column["shape"] if column["kind"] == "images" else None
        columns[column["name"]] = (column["kind"], shape, column["attributes"], samples)
    return {"columns": columns, "attributes": state["attributes"]}


def found(repo: Repository, commit: str) -> dict[str, Any]:
    checkout = repo.checkout(commit=commit)
    columns = {}
    for name, column in checkout.items():
        kind = "text" if column.column_type == "str" else "images" if column.shape else "flat"
        kind = "nested" if column.contains_subsamples else kind
        samples = {key: plain(one) for key, one in column.items()}
        columns[name] = (kind, column.shape if kind == "images" else None, dict(column.attributes), samples)
    return {"columns": columns, "attributes": dict(checkout.attributes)}


def samples_in(conflicts: Conflicts) -> set[tuple[Any, ...]]:
    parts = (conflicts.t1, conflicts.t21, conflicts.t22, conflicts.t3)
    return {tuple(key) for part in parts for key in part.samples}


def samples_of_model(conflicts: set[Place], merged: State) -> set[tuple[Any, ...]]:
    names = {one: column["name"] for one, column in merged["columns"].items()}
    return {
        (names[place[1]], *(place[2] if isinstance(place[2], tuple) else (place[2],)))
        for place in conflicts
        if place[0] == "sample"
    }


def apply(repo: Repository, branch: str, state: State, edits: list[Any]) -> State:
    state = copy.deepcopy(state)
    with closing(repo.checkout(write=True, branch=branch)) as writer:
        for change in edits:
            edit(writer, state, change)
        if writer.diff.status() == "DIRTY":
            writer.commit(f"work on {branch}")
    return state


@pytest.mark.timeout(3_600)
@settings(max_examples=max(settings().max_examples // 3, 20) if settings().max_examples < 2_000 else 2_000)
@given(st.lists(EDITS, max_size=8), st.lists(EDITS, max_size=6), st.lists(EDITS, max_size=6), st.integers(0, 2**16))
def test_merges_are_those_of_the_model(first: list[Any], left: list[Any], right: list[Any], seed: int) -> None:
    clock = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as place,
        mock.patch.object(time, "time_ns", side_effect=lambda: clock.randrange(10**18)),
        Repository(place, exists=False) as repo,
    ):
        repo.init("Ada", "ada@example.org")
        base: State = {"columns": {}, "attributes": {}}
        with closing(repo.checkout(write=True)) as writer:
            for kind in KINDS:
                add(writer, kind, kind)
                new_column(base, kind, kind)
            for change in first:
                edit(writer, base, change)
            writer.commit("base")
        repo.create_branch("dev")
        ours, theirs = apply(repo, "master", base, left), apply(repo, "dev", base, right)
        for name, state in (("master", ours), ("dev", theirs)):
            assert found(repo, name) == expected(state)
        repo.create_branch("other", "dev")
        compare(repo, *merge_states(base, ours, theirs))


def merged_or_refused(repo: Repository) -> tuple[str | None, Conflicts]:
    """The merge commit, None if it was refused; and the conflicts."""
    try:
        return repo.merge("m", "master", "dev"), Conflicts.none()
    except MergeConflictError as error:
        return None, error.conflicts


def compare(repo: Repository, merged: State, conflicts: set[Place]) -> None:
    head = repo.rev_parse("master")
    difference = repo.diff(head, "dev")
    commit, refused = merged_or_refused(repo)
    assert (commit is None, refused.conflict) == (bool(conflicts),) * 2
    assert difference.conflict == refused
    if commit is not None:
        assert found(repo, commit) == expected(merged)
        assert tree(repo, commit) == tree(repo, repo.merge("m", "other", head))
        assert repo.fsck().problems == ()
        return
    if {"clash", "column"}.isdisjoint(place[0] for place in conflicts):
        assert samples_in(refused) == samples_of_model(conflicts, merged)
        assert refused.total() == len(conflicts)
        assert found(repo, repo.merge("m", "master", "dev", strategy="ours")) == expected(merged)
        return
    assert repo.merge("m", "master", "dev", keep_conflicts=True) == head
    assert repo.conflicts() == refused
    assert repo.merge_abort() == head
