"""``keys()``, ``values()`` and ``items()`` are views, as those of a dict; they and their iterators end with the checkout."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.errors import ClosedError, InvalidInputError

COUNT = 2_500
"""More than two of the chunks that iteration reads ahead."""
KEYS: list[Any] = [*range(COUNT), "a", "b"]


def number(key: Any) -> int:
    return key if isinstance(key, int) else COUNT + ord(key)


def fill(writer: WriterCheckout) -> None:
    flat = writer.add_ndarray_column("flat", (), np.int64)
    flat.write(KEYS, [number(key) for key in KEYS])
    big = writer.add_ndarray_column("big", (200,), np.int64)
    big.write(KEYS, np.stack([np.full(200, number(key)) for key in KEYS]))
    nested = writer.add_ndarray_column("nested", (), np.int64, contains_subsamples=True)
    pairs = [(key, sub) for key in KEYS for sub in (0, "x")]
    nested.write(pairs, [number(key) for key, _ in pairs])
    one = writer.add_ndarray_column("one", (), np.int64, contains_subsamples=True)
    one["s"] = {key: number(key) for key in KEYS}
    writer.add_str_column("text").update({"k": "v", "l": "w"})
    writer.commit("filled")


@pytest.fixture(params=["reader", "writer"])
def checkout(request: pytest.FixtureRequest, repo: Repository) -> Iterator[Any]:
    writer = repo.checkout(write=True)
    fill(writer)
    if request.param == "reader":
        writer.close()
        yield repo.checkout()
    else:
        yield writer


def mappings(checkout: Any) -> dict[str, tuple[Any, Callable[[Any], int]]]:
    """Everything that has keys of :data:`KEYS`, and how a value says which number it holds."""
    return {
        "flat": (checkout["flat"], int),
        "big": (checkout["big"], lambda value: int(value[7])),
        "nested": (checkout["nested"], lambda view: int(view["x"])),
        "accessor": (checkout["one"]["s"], int),
    }


def test_they_are_as_those_of_a_dict(checkout: Any) -> None:
    expected = [number(key) for key in KEYS]
    for name, (mapping, told) in mappings(checkout).items():
        keys, values, items = mapping.keys(), mapping.values(), mapping.items()
        assert isinstance(keys, KeysView), name
        assert isinstance(values, ValuesView)
        assert isinstance(items, ItemsView)
        for _ in range(2):  # as often as one likes
            assert list(keys) == KEYS
            assert [told(value) for value in values] == expected
            assert [(key, told(value)) for key, value in items] == list(zip(KEYS, expected, strict=True))
        assert len(keys) == len(values) == len(items) == len(KEYS)
        assert 5 in keys
        assert "b" in keys
        assert COUNT not in keys
        assert None not in keys
        assert name.lower() not in repr(keys) or repr(keys).startswith("SampleKeys(<")
        assert list(mapping.keys(local=True)) == KEYS


def test_backwards(checkout: Any) -> None:
    expected = [number(key) for key in KEYS][::-1]
    for name, (mapping, told) in mappings(checkout).items():
        assert list(reversed(mapping)) == KEYS[::-1], name
        assert list(reversed(mapping.keys())) == KEYS[::-1]
        assert [told(value) for value in reversed(mapping.values())] == expected
        assert [(key, told(value)) for key, value in reversed(mapping.items())] == list(zip(KEYS[::-1], expected, strict=True))  # fmt: skip


def test_keys_are_a_set(checkout: Any) -> None:
    everything = set(KEYS)
    for mapping, _ in mappings(checkout).values():
        keys = mapping.keys()
        assert keys & {5, "a", "z"} == {5, "a", "z"} & keys == {5, "a"}
        assert keys & [5, "z"] == {5}
        assert keys | {"z"} == {"z"} | keys == everything | {"z"}
        assert keys - {5} == everything - {5}
        assert {5, "z"} - keys == {"z"}
        assert keys ^ {5, "z"} == {5, "z"} ^ keys == (everything - {5}) | {"z"}
        assert keys == everything
        assert everything == keys
        assert keys == dict.fromkeys(KEYS).keys()
        assert keys != everything - {5}
        assert keys == mapping.keys()
        assert keys <= everything | {"z"}
        assert keys > {5}
        assert not keys < everything
        assert keys >= everything
        assert keys.isdisjoint(["z"])
        assert not keys.isdisjoint([5])
        assert keys != KEYS
    left, right = checkout["flat"].keys(), checkout["big"].keys()
    assert left & right == everything
    assert left - right == set()


def test_membership_of_values_and_items(checkout: Any) -> None:
    flat, big, text = checkout["flat"], checkout["big"], checkout["text"]
    assert np.array(7) in flat.values()
    assert np.array(COUNT) not in flat.values()
    assert np.full(200, 7) in big.values()
    assert 7 not in big.values()
    assert (7, np.full(200, 7)) in big.items()
    assert (8, np.full(200, 7)) not in big.items()
    assert ("z", np.full(200, 7)) not in big.items()
    assert "v" in text.values()
    assert "z" not in text.values()
    assert ("k", "v") in text.items()
    assert ("k", "w") not in text.items()
    assert "k" not in text.items()


def test_a_view_shows_what_is_there_now(writer: WriterCheckout) -> None:
    column = writer.add_str_column("t")
    keys, values = column.keys(), column.values()
    assert (list(keys), list(values), len(keys)) == ([], [], 0)
    column.update({"a": "1", "b": "2"})
    assert (list(keys), list(values), len(keys)) == (["a", "b"], ["1", "2"], 2)
    for key in keys:
        del column[key]  # safe while iterating
    assert list(keys) == []
    column.update({"c": "3"})
    for key in reversed(keys):
        column[f"{key}x"] = "4"
    assert list(keys) == ["c", "cx"]


@pytest.mark.parametrize("name", ["flat", "big", "nested", "accessor"])
@pytest.mark.parametrize("kind", ["keys", "values", "items", "iter", "reversed"])
def test_everything_ends_with_the_checkout(kind: str, name: str, checkout: Any) -> None:
    mapping = mappings(checkout)[name][0]
    view = mapping if kind in ("iter", "reversed") else getattr(mapping, kind)()
    start = reversed if kind == "reversed" else iter
    iterators = [start(view) for _ in range(4)]
    for iterator, taken in zip(iterators, (0, 1, 1_500, len(KEYS) - 1), strict=True):
        for _ in range(taken):
            next(iterator)
    checkout.close()
    for iterator in iterators:
        with pytest.raises(ClosedError):
            next(iterator)
    for action in (
        lambda: len(view),
        lambda: list(view),
        lambda: ((5, None) if kind == "items" else 5) in view,
        lambda: repr(view),
        lambda: list(reversed(view)),
    ):
        with pytest.raises(ClosedError):
            action()
    with pytest.raises(ClosedError):
        mapping.keys()


def test_iterators_end_with_the_repository_too(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    reader = repo.checkout()
    iterators = [iter(writer["flat"]), iter(reader["flat"])]
    for iterator in iterators:
        next(iterator)
    repo.close()
    for iterator in iterators:
        with pytest.raises(ClosedError):
            next(iterator)


def test_local_is_a_yes_or_no(writer: WriterCheckout) -> None:
    column = writer.add_str_column("t")
    for method in (column.keys, column.values, column.items):
        with pytest.raises(InvalidInputError, match="local must be True or False"):
            method(local="no")  # type: ignore[arg-type]
