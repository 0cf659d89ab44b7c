"""Digests that must never change, and that every way of making a tree gives."""

from __future__ import annotations

import json
import random

import pytest

from hangar.objects.apply import apply
from hangar.objects.node import Root
from tests.objects import golden
from tests.objects.memory import FORMS, cell_of, memory_store

EXPECTED: dict[str, str] = json.loads(golden.PATH.read_text())


def test_no_digest_has_changed() -> None:
    assert dict(golden.digests()) == EXPECTED
    assert len(EXPECTED) >= 30
    assert len(set(EXPECTED.values())) == len(EXPECTED)


@pytest.mark.parametrize("name", sorted(golden.TREES))
def test_any_batches_lead_there(name: str) -> None:
    form_name, keys = golden.TREES[name]
    form = FORMS[form_name]
    items = [(key, cell_of(form, i)) for i, key in enumerate(sorted(keys))]
    order = random.Random(name)
    order.shuffle(items)
    store = memory_store()
    root: Root | None = None
    while items:
        batch = dict(items[: order.choice([1, 70, 2_000])])
        del items[: len(batch)]
        root = apply(store, form, root, sorted(batch), [batch[key] for key in sorted(batch)])
    assert root is not None
    assert f"{root.digest.hex()} {root.entries} {root.samples}" == EXPECTED[f"tree: {name}"]
