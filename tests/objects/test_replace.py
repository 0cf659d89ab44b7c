"""Where values change and keys do not, nodes are written over: with the result of building anew, and without a cut."""

from __future__ import annotations

import random

import pytest

from hangar.errors import InvalidInputError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, MIXED, Node, TreeForm
from hangar.objects.replace import replaced
from tests.objects.memory import FORMS, cell_of, int_key, memory_store, nested_key

COUNT = 8_000


def key_of(form: TreeForm, number: int) -> bytes:
    return nested_key(number // 7, number) if form.nested else int_key(number)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("changed", [1, 50, 5_000])
def test_other_values_under_the_same_keys(name: str, changed: int) -> None:
    form, store = FORMS[name], memory_store()
    keys = [key_of(form, number) for number in range(COUNT)]
    cells = [cell_of(form, number) for number in range(COUNT)]
    root = build(store, form, keys, cells)
    chosen = sorted(random.Random(changed).sample(range(COUNT), changed))
    for number in chosen:
        cells[number] = cell_of(form, number + 12_345)
    found = apply(store, form, root, [keys[number] for number in chosen], [cells[number] for number in chosen])
    assert found == build(memory_store(), form, keys, cells)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.kind != MIXED and not form.nested])
def test_nothing_is_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form, store = FORMS[name], memory_store()
    keys = [int_key(number) for number in range(COUNT)]
    root = build(store, form, keys, [cell_of(form, number) for number in range(COUNT)])

    def fail(*arguments: object) -> bytes:
        raise AssertionError("keys were looked at for cuts")

    monkeypatch.setattr("hangar.objects.apply.marks", fail)
    pending = dict(store.pending)
    assert apply(store, form, root, keys[::97], [cell_of(form, number) for number in range(0, COUNT, 97)]) == root
    assert store.pending == pending
    assert (apply(store, form, root, keys[5:6], [cell_of(form, 6)]) == root) is (form.width == 0)
    with pytest.raises(AssertionError):
        apply(store, form, root, keys[5:6], [None])
    with pytest.raises(AssertionError):
        apply(store, form, root, [int_key(COUNT)], [cell_of(form, 6)])


@pytest.mark.parametrize("cell", [b"", b"1234567", b"123456789"])
def test_values_of_another_width_are_refused(cell: bytes) -> None:
    form, store = TreeForm(FIXED_INLINE, 8, False), memory_store()
    root = build(store, form, [int_key(1), int_key(2)], [b"a" * 8, b"b" * 8])
    with pytest.raises(InvalidInputError, match="not of the form"):
        apply(store, form, root, [int_key(2)], [cell])


def test_what_is_not_a_change_of_values_alone() -> None:
    form = TreeForm(BY_DIGEST, 32, False)
    keys = [int_key(number) for number in (1, 3, 5)]
    leaf = Node(0, 0, BY_DIGEST, keys, bytes(96), b"", [], [])
    assert replaced(leaf, form, keys[1:2], [bytes(32)]) is leaf
    for key in (0, 2, 4, 6):
        assert replaced(leaf, form, [int_key(key)], [bytes(32)]) is None
    assert replaced(leaf, form, keys, [bytes(32), None, bytes(32)]) is None
    assert replaced(leaf, TreeForm(FIXED_INLINE, 8, False), keys[:1], [bytes(8)]) is None
    assert replaced(leaf, TreeForm(MIXED, 0, False), keys[:1], [b"\xff" + bytes(32)]) is None
    inner = Node(0, 1, BY_DIGEST, keys, bytes(96), b"", [2, 2, 1], [1, 1, 1])
    assert replaced(inner, TreeForm(BY_DIGEST, 32, True), keys[:1], [(bytes(32), 2, 1, None)]) is None
    flat = Node(0, 1, BY_DIGEST, keys, bytes(96), b"", [2, 2, 1], [])
    new = replaced(flat, form, keys[1:], [(b"a" * 32, 7, 0, None), (b"b" * 32, 9, 0, None)])
    assert new is not None
    assert (new.refs, new.counts, new.keys, flat.counts) == (
        bytes(32) + b"a" * 32 + b"b" * 32,
        [2, 7, 9],
        keys,
        [2, 2, 1],
    )
