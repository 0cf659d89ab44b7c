"""A column of the staging area beside a dict: what it says by key, below a prefix, and as a tree, in whatever order it is asked."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hangar import limits
from hangar.objects.commit import NESTED, ColumnEntry
from hangar.objects.scan import scan
from hangar.schema import BytesSchema
from hangar.schema.keys import encode_nested_key
from hangar.staging import WorkingColumn
from hangar.staging.overlay import Overlay
from tests.objects.memory import memory_store

SAMPLES: list[int | str] = [0, 1, 255, 2**40, "a", "aa", "b", "b.c"]


def make_column() -> WorkingColumn:
    schema = BytesSchema(nested=True)
    entry = ColumnEntry("x", bytes(16), schema.digest, None, NESTED, None, 0, 0)
    return WorkingColumn(memory_store(), entry, schema)


def prefix_of(sample: Any) -> bytes:
    return encode_nested_key(sample, 0)[:-9]


def cell_of(number: int) -> bytes:
    return bytes((1, number % 251))


def check(column: WorkingColumn, model: dict[bytes, bytes], rng: random.Random) -> None:
    keys = [encode_nested_key(sample, rng.randrange(12)) for sample in rng.choices(SAMPLES, k=20)]
    assert column.cells(keys) == [model.get(key) for key in keys]
    assert column.cell(keys[0]) == model.get(keys[0])
    prefix = prefix_of(rng.choice(SAMPLES))
    below = {key: model[key] for key in sorted(model) if key.startswith(prefix)}
    found = column.below(prefix)
    assert found == below
    assert list(found) == list(below)
    assert column.starts_with(prefix) == bool(below)
    if rng.random() < 0.3:
        root = column.merged_tree()
        assert ([] if root is None else list(scan(column._nodes, root.digest))) == sorted(model.items())
        assert (0 if root is None else root.entries) == len(model)


@pytest.mark.parametrize("seed", range(12))
def test_beside_a_dict(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STAGED_ROWS", 20)
    monkeypatch.setattr("hangar.staging.column._MOST_ROWS", 50)
    rng = random.Random(seed)
    column, model = make_column(), dict[bytes, bytes]()
    for step in range(120):
        count = rng.choice([1, 1, 1, 2, 10, 40])
        keys = [encode_nested_key(rng.choice(SAMPLES), rng.randrange(12)) for _ in range(count)]
        cells = [None if rng.random() < 0.4 else cell_of(step + i) for i in range(count)]
        if count == 1:
            column.set(keys[0], cells[0])
        else:
            column.set_many(keys, cells)
        for key, cell in zip(keys, cells, strict=True):
            if cell is None:
                model.pop(key, None)
            else:
                model[key] = cell
        if rng.random() < 0.1:
            column.replace_tree()
            assert not column.overlay
        if rng.random() < 0.1:
            column.forget_merged()
        check(column, model, rng)


def test_an_overlay_says_each_key_once() -> None:
    overlay = Overlay()
    overlay.set(b"b", b"1")
    overlay.update({b"a": b"2", b"b": None})
    assert overlay.cells == {b"b": None, b"a": b"2"}
    assert overlay.unsaved_rows() == overlay.cells
    overlay.unsaved = set()
    overlay.set(b"b", b"3")
    assert overlay.unsaved_rows() == {b"b": b"3"}
    assert overlay.unmerged == {b"a", b"b"}


@pytest.mark.parametrize("at_once", [1, 5, 100])
def test_an_overlay_finds_what_begins_with_a_prefix(at_once: int) -> None:
    overlay = Overlay()
    keys = [prefix_of(sample) + bytes((sub,)) for sample in SAMPLES for sub in range(20)]
    random.Random(1).shuffle(keys)
    for start in range(0, len(keys), at_once):
        overlay.update(dict.fromkeys(keys[start : start + at_once], b""))
        for sample in SAMPLES:
            prefix = prefix_of(sample)
            assert overlay.below(prefix) == sorted(key for key in overlay.cells if key.startswith(prefix))
