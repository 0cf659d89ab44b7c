"""Columns, keys and values of the model of a repository, and the comparison of a checkout with it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

Samples = dict[Any, Any]
Content = dict[str, Samples]
"""Of a nested column the keys are pairs of sample and subsample."""

COLUMNS: dict[str, dict[str, Any]] = {
    "label": {"shape": (), "dtype": np.int16},
    "image": {"shape": (3, 15), "dtype": np.uint8},
    "ragged": {"shape": (4, 30), "dtype": np.float32, "variable_shape": True},
    "away": {"shape": (2,), "dtype": np.float64, "inline": False},
    "text": {},
    "raw": {},
    "boxes": {"shape": (3, 15), "dtype": np.uint8, "contains_subsamples": True},
    "notes": {"contains_subsamples": True},
}
RENAMED = ".b"
FLAT = [name for name, how in COLUMNS.items() if "contains_subsamples" not in how]
NESTED = {name + suffix for name in COLUMNS.keys() - set(FLAT) for suffix in ("", RENAMED)}
BASE_NAMES = st.sampled_from(sorted(COLUMNS))
NAMES = st.sampled_from(sorted([*FLAT, *(name + RENAMED for name in FLAT)]))
NESTED_NAMES = st.sampled_from(sorted(NESTED))
ALL_NAMES = NAMES | NESTED_NAMES
Rest = dict[str, dict[str, Any]]
"""What there is of columns besides samples, by name: identity, attributes (of the whole under ''), and how often each was widened."""
KEYS = st.one_of(
    st.integers(0, 40), st.integers(0, 40).map(lambda i: f"k{i}"), st.sampled_from(["ü/" * 100, 2**64 - 1])
)
PAIRS = st.tuples(st.integers(0, 3) | st.sampled_from(["a", "a/b", 2**64 - 1]), KEYS)
NUMBERS = st.integers(0, 30)
FEW_KEYS = st.sampled_from([0, 1, "a"])
EDITS = st.tuples(st.integers(0, 9), FEW_KEYS, FEW_KEYS, NUMBERS | st.none())
"""Changes of one sample: which column, its key, in a nested column the key of the subsample, and the number to write (None:
delete it). The keys are few, so that two sides often change the same one."""


def make(name: str, number: int) -> Any:
    """One of some thirty values of a column, equal for equal numbers."""
    name = name.removesuffix(RENAMED)
    if name == "label":
        return np.array(number, np.int16)
    if name in ("image", "boxes"):
        return np.random.default_rng(number).integers(0, 256, (3, 15), np.uint8)
    if name == "ragged":
        return np.full((number % 5, number), number, np.float32)
    if name == "away":
        return np.array([number, np.nan])
    return "ä" * (number * 5) if name in ("text", "notes") else b"\xff" * (number * 5)


def plain(value: Any) -> Any:
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


@cache
def wanted_value(name: str, number: int) -> Any:
    return plain(make(name, number))


def order(key: int | str) -> tuple[int, int, str]:
    return (0, key, "") if isinstance(key, int) else (1, 0, key)


def expect(checkout: Any, content: Content, rest: Rest) -> None:
    """``checkout`` holds ``content``, seen through every way to read it, and says what ``rest`` does."""
    assert list(checkout) == sorted(content)
    assert dict(checkout.attributes) == rest["about"].get("", {})
    for name, column in checkout.items():
        assert dict(column.attributes) == rest["about"].get(name, {})
        if name.removesuffix(RENAMED) == "ragged":
            assert column.shape == (4 + rest["widened"].get(name, 0), 30)
    for name, samples in content.items():
        column = checkout[name]
        if name in NESTED:
            expect_nested(column, name, samples)
            continue
        keys = sorted(samples, key=order)
        wanted = [wanted_value(name, samples[key]) for key in keys]
        assert list(column) == keys
        assert len(column) == len(keys)
        assert [plain(value) for value in column.values()] == wanted
        assert [plain(value) for value in column[keys[::-1]]] == wanted[::-1]
        assert [plain(column[key]) for key in keys[:3]] == wanted[:3]
        if keys:
            assert column.at(-1) == keys[-1]
        if keys and name.removesuffix(RENAMED) in ("label", "image", "away"):
            stacked = np.stack([make(name, samples[key]) for key in keys])
            assert column.read(slice(1, None)).tobytes() == stacked[1:].tobytes()
            assert column.read(keys[::-1]).tobytes() == stacked[::-1].tobytes()


def expect_nested(column: Any, name: str, pairs: Samples) -> None:
    ordered = sorted(pairs, key=lambda pair: (order(pair[0]), order(pair[1])))
    samples: dict[Any, dict[Any, Any]] = {}
    for sample, sub in ordered:
        samples.setdefault(sample, {})[sub] = wanted_value(name, pairs[sample, sub])
    assert list(column) == list(samples)
    assert (len(column), column.num_subsamples) == (len(samples), len(pairs))
    for sample, view in column.items():
        assert {sub: plain(value) for sub, value in view.data.items()} == samples[sample]
    for sample in list(samples)[:3]:
        assert list(column[sample]) == list(samples[sample])
    wanted = [samples[sample][sub] for sample, sub in ordered[::-1]]
    assert [plain(value) for value in column[ordered[::-1]]] == wanted
    if ordered:
        assert column.at(-1) == ordered[-1][0]
        assert plain(column[ordered[0]]) == wanted[-1]
        assert len(column[ordered[0][0]]) == len(samples[ordered[0][0]])


def deletes_whole_sample(base: Content, one: Content, other: Content) -> bool:
    """Whether ``one`` has no subsample left of a sample of a nested column that ``other`` changed."""
    for name in base.keys() & NESTED:
        for sample in {key[0] for key in base[name]}:
            before, mine, changed = (
                {key: number for key, number in content[name].items() if key[0] == sample}
                for content in (base, one, other)
            )
            if not mine and changed != before:
                return True
    return False


def merge_contents(base: Content, ours: Content, theirs: Content, side: str) -> tuple[Content, set[tuple[str, Any]]]:
    """A three-way merge of contents with equal columns, with conflicts resolved to ``side``; and the conflicts.

    The unit is the sample, or the subsample; see also :func:`deletes_whole_sample`.
    """
    merged: Content = {}
    conflicts: set[tuple[str, Any]] = set()
    sides = {"base": base, "ours": ours, "theirs": theirs}
    for name in base:
        merged[name] = {}
        before, mine, other = base[name], ours[name], theirs[name]
        for key in {**before, **mine, **other}:
            b, m, o = before.get(key), mine.get(key), other.get(key)
            chosen = o if m == b else m
            if m != b and o != b and m != o:
                conflicts.add((name, key))
                chosen = sides[side][name].get(key)
            if chosen is not None:
                merged[name][key] = chosen
    return merged, conflicts
