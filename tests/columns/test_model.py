"""A flat and a nested column follow a dict of values, for every backend, through commits and reopenings.

Hypothesis makes up what is written, deleted, dropped with its batch, committed and reopened; after each step the column equals the dict, seen
through every way to read it, and at the end every commit does.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar import Repository
from hangar.backends.registry import backend_tags, get_backend

Pair = tuple[int | str, int | str]
Model = dict[Pair, int]

SCHEMAS: dict[str, dict[str, Any]] = {
    "fixed": {"shape": (3, 15), "dtype": np.uint8},
    "variable": {"shape": (4, 30), "dtype": np.float32, "variable_shape": True},
    "str": {},
    "bytes": {},
}
KINDS = {"fixed": 1, "variable": 1, "str": 2, "bytes": 3}
CASES = [
    (tag, kind)
    for tag in sorted(backend_tags())
    for kind in SCHEMAS
    if get_backend(tag).holds(KINDS[kind], variable=kind != "fixed")
]

SAMPLES = st.one_of(st.integers(0, 6), st.sampled_from(["a", "a/", "b", "ü" * 20, 2**64 - 1, 2**53 + 1]))
NUMBERS = st.integers(0, 30)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SAMPLES, SAMPLES, NUMBERS),
        st.tuples(st.just("update"), st.dictionaries(st.tuples(SAMPLES, SAMPLES), NUMBERS, max_size=12)),
        st.tuples(st.just("many"), st.integers(0, 50), st.integers(1, 60)),
        st.tuples(st.just("drop"), st.dictionaries(st.tuples(SAMPLES, SAMPLES), NUMBERS, max_size=4)),
        st.tuples(st.just("delete"), st.integers(0, 100)),
        st.tuples(st.just("delete sample"), st.integers(0, 100)),
        st.tuples(st.just("commit")),
        st.tuples(st.just("reopen")),
    ),
    max_size=14,
)


def make(kind: str, number: int) -> Any:
    """One of some thirty values, equal for equal numbers."""
    if kind == "fixed":
        return np.random.default_rng(number).integers(0, 256, (3, 15), np.uint8)
    if kind == "variable":
        return np.full((number % 5, number), number, np.float32)
    return "ä" * (number * 5) if kind == "str" else b"\xff" * (number * 5)


def plain(value: Any) -> Any:
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def order(key: int | str) -> tuple[int, int, str]:
    return (0, key, "") if isinstance(key, int) else (1, 0, key)


def expect_values(found: Any, keys: list[Any], wanted: list[Any], kind: str) -> None:
    """A mapping from keys to values (a flat column, or one sample) holds these, in this order."""
    assert list(found) == keys
    assert len(found) == len(keys)
    assert [plain(value) for value in found.values()] == wanted
    assert [(key, plain(value)) for key, value in found.items()] == list(zip(keys, wanted, strict=True))
    assert [plain(value) for value in found[keys[::-1]]] == wanted[::-1]
    assert [plain(found[key]) for key in keys[:2]] == wanted[:2]
    if keys:
        assert (found.at(0), found.at(-1)) == (keys[0], keys[-1])
        assert keys[-1] in found
    if kind in ("str", "bytes"):
        assert found.read(slice(1, None)) == wanted[1:]
    elif kind == "fixed":
        assert found.read(slice(1, None)).tobytes() == b"".join(data for _, _, data in wanted[1:])
        assert found.read(keys[::-1]).tobytes() == b"".join(data for _, _, data in wanted[::-1])


def expect_flat(column: Any, model: Model, kind: str) -> None:
    # The model's pairs are flattened to keys of their own.
    keys = sorted({flat_key(pair) for pair in model}, key=order)
    numbers = {flat_key(pair): number for pair, number in model.items()}
    expect_values(column, keys, [plain(make(kind, numbers[key])) for key in keys], kind)


def expect_nested(column: Any, model: Model, kind: str) -> None:
    samples: dict[int | str, dict[int | str, Any]] = {}
    for sample, sub in sorted(model, key=lambda pair: (order(pair[0]), order(pair[1]))):
        samples.setdefault(sample, {})[sub] = plain(make(kind, model[sample, sub]))
    assert list(column) == list(samples)
    assert (len(column), column.num_subsamples) == (len(samples), len(model))
    for view, (sample, subs) in zip(column.values(), samples.items(), strict=True):
        assert view.sample == sample
        assert {sub: plain(value) for sub, value in view.data.items()} == subs
    assert [[plain(v) for v in found.values()] for found in column.read(slice(None))] == [
        list(subs.values()) for subs in samples.values()
    ]
    for position, sample in list(enumerate(samples))[:2]:
        assert column.at(position) == sample
        expect_values(column[sample], list(samples[sample]), list(samples[sample].values()), kind)
    pairs = [(sample, sub) for sample, subs in samples.items() for sub in subs][::-1]
    wanted = [samples[sample][sub] for sample, sub in pairs]
    assert [plain(value) for value in column[pairs]] == wanted
    if kind == "fixed":
        assert column.read(pairs).tobytes() == b"".join(data for _, _, data in wanted)
    if pairs:
        assert plain(column[pairs[0]]) == wanted[0]


def flat_key(pair: Pair) -> int | str:
    sample, sub = pair
    small = isinstance(sample, int) and isinstance(sub, int) and max(sample, sub) < 100
    return 100 * sample + sub if small else f"{sample}+{sub}"  # type: ignore[operator]


class Follower:
    """A repository with one column, and the dict that it follows."""

    def __init__(self, directory: str, tag: str, kind: str, nested: bool) -> None:
        self.kind, self.nested = kind, nested
        self.repo = Repository(directory, exists=False)
        self.repo.init("Ada", "ada@example.org")
        self.writer = self.repo.checkout(write=True)
        how: dict[str, Any] = {**SCHEMAS[kind], "contains_subsamples": nested, "backend": tag}
        add = {"str": self.writer.add_str_column, "bytes": self.writer.add_bytes_column}
        add.get(kind, self.writer.add_ndarray_column)("x", **how)
        self.model: Model = {}
        self.commits: dict[str, Model] = {}

    @property
    def column(self) -> Any:
        return self.writer["x"]

    def key(self, pair: Pair) -> Any:
        return pair if self.nested else flat_key(pair)

    def step(self, what: str, *arguments: Any) -> None:
        getattr(self, what.replace(" ", "_"))(*arguments)

    def put(self, sample: Any, sub: Any, number: int) -> None:
        self.column[self.key((sample, sub))] = make(self.kind, number)
        self.model[sample, sub] = number

    def update(self, pairs: Model) -> None:
        self._update(pairs)
        self.model.update(pairs)

    def _update(self, pairs: Model) -> None:
        if not self.nested:
            self.column.update({flat_key(pair): make(self.kind, number) for pair, number in pairs.items()})
            return
        grouped: dict[Any, dict[Any, Any]] = {}
        for (sample, sub), number in pairs.items():
            grouped.setdefault(sample, {})[sub] = make(self.kind, number)
        self.column.update(grouped)

    def many(self, first: int, count: int) -> None:
        pairs: list[Pair] = [(i // 7, i % 7) for i in range(first, first + count)]
        self.column.write(list(map(self.key, pairs)), [make(self.kind, i % 31) for i in range(count)])
        self.model.update((pair, i % 31) for i, pair in enumerate(pairs))

    def drop(self, pairs: Model) -> None:
        with pytest.raises(ZeroDivisionError):
            self._drop(pairs)

    def _drop(self, pairs: Model) -> None:
        with self.column as column:
            self._update(pairs)
            assert all(self.key(pair) in column for pair in pairs)
            raise ZeroDivisionError

    def delete(self, index: int) -> None:
        if self.model:
            pair = list(self.model)[index % len(self.model)]
            del self.column[self.key(pair)]
            del self.model[pair]

    def delete_sample(self, index: int) -> None:
        if not self.model:
            return
        sample = list(self.model)[index % len(self.model)][0]
        gone = [pair for pair in self.model if pair[0] == sample]
        if self.nested:
            assert set(self.column.pop(sample)) == {sub for _, sub in gone}
        else:
            self.column.delete([flat_key(pair) for pair in gone])
        for pair in gone:
            del self.model[pair]

    def commit(self) -> None:
        if self.writer.diff.status() == "DIRTY":
            self.commits[self.writer.commit("more")] = dict(self.model)

    def reopen(self) -> None:
        self.writer.close()
        self.repo.close()
        self.repo = Repository(self.repo.path)
        self.writer = self.repo.checkout(write=True)

    def expect(self, column: Any, model: Model) -> None:
        (expect_nested if self.nested else expect_flat)(column, model, self.kind)

    def finish(self) -> None:
        for digest, model in self.commits.items():
            self.expect(self.repo.checkout(commit=digest)["x"], model)
        self.writer.close()
        assert self.repo.verify_repo_integrity()
        self.repo.close()


@pytest.mark.parametrize("layout", ["flat", "nested"])
@pytest.mark.parametrize(("tag", "kind"), CASES)
def test_a_column_follows_a_dict(tag: str, kind: str, layout: str) -> None:
    @settings(max_examples=max(4, settings().max_examples // 12))
    @given(steps=STEPS)
    def follow(steps: list[tuple[Any, ...]]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            follower = Follower(directory, tag, kind, layout == "nested")
            for step in steps:
                follower.step(*step)
                follower.expect(follower.column, follower.model)
            follower.finish()

    follow()


def test_every_kind_has_a_backend() -> None:
    assert {kind for _, kind in CASES} == set(SCHEMAS)
    assert {"10", "30", "31"} <= {tag for tag, _ in CASES}
