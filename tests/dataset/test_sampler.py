"""Samplers: the global order, its division among ranks, the state, and draws with weights."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hangar.checkout import ReaderCheckout
from hangar.dataset import Sampler
from hangar.dataset.selection import select
from hangar.errors import InvalidInputError, InvalidTypeError

COUNT = 101

Make = Callable[..., Sampler]
KINDS: dict[str, dict[str, Any]] = {
    "sequential": {"shuffle": False},
    "shuffled": {"seed": 7},
    "blocks": {"block_size": 8, "window": 3, "seed": 7},
    "weighted": {"weights": np.arange(COUNT), "seed": 7},
    "balanced": {"balance": np.arange(COUNT) % 3, "seed": 7},
    "filtered": {"where": np.arange(COUNT) % 2 == 0, "seed": 7},
}


def make(kind: str, batch_size: int | None = 4, **options: Any) -> Sampler:
    return Sampler(
        COUNT,
        batch_size,
        rank=options.pop("rank", 0),
        world_size=options.pop("world_size", 1),
        **KINDS[kind],
        **options,
    )


def drawn(sampler: Sampler) -> list[int]:
    return [int(item) for batch in sampler for item in np.atleast_1d(batch)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_its_global_order(kind: str) -> None:
    sampler = make(kind)
    epochs = [drawn(sampler) for _ in range(3)]
    assert epochs == [make(kind).items(epoch, 0, COUNT).tolist() for epoch in range(3)]
    assert all(0 <= item < COUNT for item in epochs[0])
    if kind in ("shuffled", "blocks", "sequential"):
        assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    if kind == "filtered":
        assert all(sorted(epoch) == list(range(0, COUNT, 2)) for epoch in epochs)
    assert (epochs[0] == epochs[1]) == (kind == "sequential")


GOLDEN = {
    "shuffled": [5471, 87696, 32956, 37935, 86873, 4531, 16564, 11523, 1174, 99070],
    "blocks": [19522, 89816, 76583, 19558, 52498, 89823, 19528, 64734, 92630, 42355],
    "weighted": [36077, 19858, 97963, 99522, 76574, 40999, 94944, 289, 71863, 67516],
    "balanced": [13502, 18812, 44694, 49221, 10239, 35441, 31509, 288, 17198, 60803],
}
"""Ten items in the middle of epoch 3."""


@pytest.mark.parametrize("kind", ["shuffled", "blocks", "weighted", "balanced"])
def test_orders_never_change(kind: str) -> None:
    count = 100_000
    options: dict[str, dict[str, Any]] = {
        "shuffled": {},
        "blocks": {"block_size": 64},
        "weighted": {"weights": np.arange(count) % 5},
        "balanced": {"balance": np.arange(count) % 7},
    }
    assert Sampler(count, 4, seed=11, **options[kind]).items(3, 50_000, 50_010).tolist() == GOLDEN[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_ranks_interleave_to_the_global_order(kind: str, world: int, size: int) -> None:
    count = make(kind).order.count
    order = make(kind).items(0, 0, count).tolist()
    for pad in (False, True):
        ranks = [drawn(make(kind, size, rank=rank, world_size=world, pad=pad)) for rank in range(world)]
        for rank, mine in enumerate(ranks):
            expected = order[rank::world]
            assert mine[: len(expected)] == expected
            if pad:
                assert len(mine) == -(-count // world)
                # Padding is the beginning of the epoch.
                assert mine[len(expected) :] == (
                    [order[(count + (rank - count) % world) % count]] if len(mine) > len(expected) else []
                )
            else:
                assert mine == expected
        dropped = [drawn(make(kind, size, rank=rank, world_size=world, drop_last=True)) for rank in range(world)]
        whole = count // (size * world) * size
        assert dropped == [order[rank::world][:whole] for rank in range(world)]


@pytest.mark.parametrize("world", [1, 2, 3, 200])
@pytest.mark.parametrize("size", [None, 1, 7, 101, 200])
@pytest.mark.parametrize("options", [{}, {"pad": False}, {"drop_last": True}])
def test_its_length_is_the_number_of_batches(world: int, size: int | None, options: dict[str, bool]) -> None:
    for rank in {0, world // 2, world - 1}:
        sampler = make("shuffled", size, rank=rank, world_size=world, **options)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        position = 0
        for batch in batches:
            assert sampler.length_at(position) == np.size(batch)
            position += (size or 1) * world


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drop_last", [False, True])
def test_it_resumes_at_every_batch(kind: str, drop_last: bool) -> None:
    whole = make(kind, drop_last=drop_last)
    expected = [[batch.tolist() for batch in whole] for _ in range(2)]
    for stop in range(len(expected[0]) + 1):
        sampler = make(kind, drop_last=drop_last)
        batches = iter(sampler)
        seen = [next(batches).tolist() for _ in range(stop)]
        state = json.loads(json.dumps(sampler.state_dict()))
        resumed = make(kind, drop_last=drop_last).load_state_dict(state)
        assert len(json.dumps(state)) < 200
        if stop < len(expected[0]):
            assert seen + [batch.tolist() for batch in resumed] == expected[0]
            assert resumed.epoch == 0
        assert [batch.tolist() for batch in resumed] == expected[1]
        assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize(("world", "size"), [(1, 4), (2, 4), (2, 1), (3, 5)])
def test_it_resumes_with_another_number_of_ranks(world: int, size: int) -> None:
    """Two ranks of batches of 4 deliver 5 batches each; the rest is divided anew."""
    before = [make("shuffled", 4, rank=rank, world_size=2, pad=False) for rank in range(2)]
    for sampler in before:
        batches = iter(sampler)
        for _ in range(5):
            next(batches)
    assert before[0].state_dict() == before[1].state_dict()
    after = [
        drawn(make("shuffled", size, rank=rank, world_size=world, pad=False).load_state_dict(before[0].state_dict()))
        for rank in range(world)
    ]
    rest = make("shuffled").items(0, 40, COUNT).tolist()
    assert after == [rest[rank::world] for rank in range(world)]


def test_each_iteration_is_the_next_epoch_also_after_a_break() -> None:
    sampler = make("shuffled")
    first = [batch.tolist() for batch in sampler]
    for batch in sampler:
        assert batch.tolist() == make("shuffled").batch(1, 0).tolist()
        break
    iter(sampler)  # which draws nothing, counts for nothing
    assert drawn(sampler) == sampler.items(2, 0, COUNT).tolist()
    assert first == [make("shuffled").batch(0, index).tolist() for index in range(26)]
    assert make("shuffled").batch(0, 26).tolist() == []


def test_epochs_are_set() -> None:
    sampler = make("shuffled")
    drawn(sampler)
    sampler.set_epoch(5)
    assert drawn(sampler) == sampler.items(5, 0, COUNT).tolist()
    sampler.set_epoch(5)
    assert drawn(sampler) == sampler.items(5, 0, COUNT).tolist()
    # The usual loop: `for epoch in range(sampler.epoch, ...): sampler.set_epoch(epoch)`.
    resumed = make("shuffled").load_state_dict({**sampler.state_dict(), "epoch": 5, "position": 8})
    resumed.set_epoch(5)
    assert drawn(resumed) == sampler.items(5, 8, COUNT).tolist()
    resumed.set_epoch(6)
    assert drawn(resumed) == sampler.items(6, 0, COUNT).tolist()


def test_what_was_drawn_ahead_is_not_delivered() -> None:
    sampler = make("shuffled")
    batches = iter(sampler)
    seen = [next(batches).tolist() for _ in range(9)]
    rest = make("shuffled").load_state_dict(sampler.state_dict(delivered=3))
    assert [batch.tolist() for batch in rest][:6] == seen[3:]
    # Of the current iteration, which began in the middle.
    batches = iter(resumed := make("shuffled").load_state_dict(sampler.state_dict(delivered=3)))
    for _ in range(5):
        next(batches)
    assert resumed.state_dict(delivered=2)["position"] == 5 * 4


def test_single_items() -> None:
    sampler = make("shuffled", None)
    items = list(sampler)
    assert {type(item) for item in items} == {int}
    assert items == sampler.items(0, 0, COUNT).tolist()


def test_a_million_items_start_at_once_and_take_no_memory() -> None:
    sampler = Sampler(2**31, 256, seed=3)
    sampler.load_state_dict({**sampler.state_dict(), "position": 2**30})
    assert next(iter(sampler)).tolist() == sampler.items(0, 2**30, 2**30 + 256).tolist()
    assert len(pickle.dumps(sampler)) < 2_000


def test_it_pickles() -> None:
    for kind in KINDS:
        sampler = make(kind)
        batches = iter(sampler)
        next(batches)
        again = pickle.loads(pickle.dumps(sampler))
        assert again.state_dict() == sampler.state_dict()
        assert again.items(3, 0, COUNT).tolist() == sampler.items(3, 0, COUNT).tolist()


# ---------------------------------------------------------------------- kinds


def test_blocks_are_read_in_long_runs() -> None:
    sampler = Sampler(1_000, 100, block_size=50, window=2)
    blocks = [np.unique(sampler.items(0, start, start + 100) // 50) for start in range(0, 1_000, 100)]
    assert all(len(some) == 2 for some in blocks)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(20))
    # Inside of a window items are shuffled over both blocks.
    assert np.abs(np.diff(sampler.items(0, 0, 100) // 50)).sum() > 25


@pytest.mark.parametrize("count", [1, 5, 49, 50, 51, 999])
def test_blocks_of_every_size(count: int) -> None:
    for block, window in ((1, 1), (7, 3), (50, 1), (50, 2), (2_000, 4)):
        sampler = Sampler(count, 13, block_size=block, window=window, seed=5)
        assert sorted(drawn(sampler)) == list(range(count))


def test_weights() -> None:
    weights = np.array([0, 1, 2, 0, 5, 0.0])
    sampler = Sampler(6, 10, weights=weights, num_samples=80_000, seed=3)
    counts = np.bincount(sampler.items(0, 0, 80_000), minlength=6)
    assert counts[[0, 3, 5]].tolist() == [0, 0, 0]
    assert np.abs(counts / 10_000 - weights).max() < 0.1
    assert len(sampler) == 8_000


def test_balanced_classes() -> None:
    labels = np.array(["a"] * 90 + ["b"] * 9 + ["c"])
    sampler = Sampler(100, 3, balance=labels, num_samples=900)
    items = sampler.items(0, 0, 900)
    # Every cycle has each class once.
    assert (np.sort(labels[items].reshape(-1, 3), axis=1) == ["a", "b", "c"]).all()
    assert len(np.unique(items)) > 90
    assert len({tuple(cycle) for cycle in labels[items].reshape(-1, 3).tolist()}) == 6


def test_balanced_by_a_column(reader: ReaderCheckout) -> None:
    selection = select([reader.columns["image"], reader.columns["label"]])
    sampler = Sampler(selection, 7, balance="label", where=np.arange(60) < 21)
    (labels,) = select(reader.columns["label"]).gather(sampler.items(0, 0, 7))
    assert sorted(labels.tolist()) == list(range(7))
    assert sampler.items(0, 0, 700).max() < 21
    with pytest.raises(InvalidInputError, match="names a column of the data set"):
        Sampler(selection, 7, balance="text")


def test_filters() -> None:
    assert drawn(Sampler(10, 2, where=[9, 2, 5], shuffle=False)) == [9, 2, 5]
    weighted = Sampler(10, 2, where=[9, 2, 5], weights=[0] * 9 + [1])
    assert drawn(weighted) == [9, 9, 9]


# ---------------------------------------------------------------------- ranks and errors


def test_ranks_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    sampler = Sampler(10, 2, shuffle=False)
    assert (sampler.rank, sampler.world_size) == (2, 3)
    assert drawn(Sampler(10, 2, shuffle=False, rank=0, world_size=1)) == list(range(10))
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(InvalidInputError, match="rank is from 0 to 2, not 3"):
        Sampler(10, 2)
    monkeypatch.setenv("RANK", "-1")
    with pytest.raises(InvalidInputError, match="RANK is no number"):
        Sampler(10, 2)


def test_ranks_of_torch_come_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    state = {"initialized": True}
    fake = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: state["initialized"],
        get_rank=lambda: 1,
        get_world_size=lambda: 4,
    )
    monkeypatch.setitem(sys.modules, "torch.distributed", fake)
    assert drawn(Sampler(10, 2, shuffle=False, pad=False)) == [1, 5, 9]
    state["initialized"] = False
    assert Sampler(10, 2).world_size == 8


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"data": 0}, "the number of items is at least 1"),
        ({"data": None}, "a number of items, not NoneType"),
        ({"data": True}, "a number of items, not bool"),
        ({"data": 2.0}, "a number of items, not float"),
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"batch_size": 2.5}, "batch_size is an int"),
        ({"batch_size": True}, "batch_size is an int"),
        ({"seed": -1}, "seed is from 0"),
        ({"seed": 2**64}, "seed is from 0"),
        ({"shuffle": "no"}, "shuffle"),
        ({"rank": 0}, "together"),
        ({"rank": 2, "world_size": 2}, "rank is from 0 to 1"),
        ({"weights": [1, 2]}, "weights has one value for each of the 10 items"),
        ({"weights": [-1] * 10}, "finite numbers from 0 on"),
        ({"weights": [0] * 10}, "not all 0"),
        ({"weights": [float("nan")] * 10}, "finite"),
        ({"balance": [1, 2]}, "balance has one value"),
        ({"balance": "label"}, "names a column"),
        ({"where": []}, "selects no item"),
        ({"where": [10]}, "from 0 to 9"),
        ({"where": [1, 1]}, "more than once"),
        ({"where": [True]}, "where has one value"),
        ({"where": [0.5]}, "boolean mask"),
        ({"block_size": 0}, "block_size is at least 1"),
        ({"block_size": 2, "window": 0}, "window is at least 1"),
        ({"block_size": 2, "weights": [1] * 10}, "not several"),
        ({"shuffle": False, "weights": [1] * 10}, "not several"),
        ({"num_samples": 5}, "with replacement"),
        ({"weights": [1] * 10, "num_samples": 0}, "num_samples is at least 1"),
    ],
)
def test_arguments_that_do_not_fit(options: dict[str, Any], error: str) -> None:
    with pytest.raises((InvalidInputError, InvalidTypeError), match=error):
        Sampler(**{"data": 10, "batch_size": 2, **options})


def test_a_number_of_items_of_numpy() -> None:
    sampler = Sampler(np.int64(10), 2)
    assert (len(sampler), sampler.data_count) == (5, 10)
    assert Sampler(np.uint8(10), 2, where=[1, 2]).data_count == 10


def test_states_that_do_not_fit() -> None:
    state = make("shuffled").state_dict()
    for wrong, error in (
        (None, "not the state of a sampler"),
        ({}, "not the state of a sampler"),
        ({**state, "version": 2}, "needs a newer Hangar"),
        ({**state, "position": -1}, "position is from 0"),
        ({**state, "position": COUNT + 1}, "position is from 0"),
        ({**state, "epoch": "1"}, "epoch is an int"),
        (Sampler(COUNT, 4, seed=8).state_dict(), "belongs to another order"),
        (Sampler(COUNT + 1, 4, seed=7).state_dict(), "belongs to another order"),
        (make("filtered").state_dict(), "belongs to another order"),
    ):
        with pytest.raises((InvalidInputError, InvalidTypeError), match=error):
            make("shuffled").load_state_dict(wrong)  # type: ignore[arg-type]
