"""Loaders: order, state that counts what was delivered, reading ahead, and figures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from hangar import Repository, make_torch_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Loader, Sampler
from hangar.dataset.torch import TorchDataset
from hangar.errors import InvalidInputError, InvalidTypeError
from tests.counting import calls_of
from tests.dataset.content import COUNT, FLAT, same, value

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def slowly(item: Any) -> Any:
    time.sleep(0.0005)
    return item


@pytest.fixture
def dataset(reader: ReaderCheckout) -> TorchDataset:
    return make_torch_dataset([reader.columns["image"], reader.columns["label"]])


@pytest.fixture
def slow(reader: ReaderCheckout) -> TorchDataset:
    """A data set whose batches take long enough that a thread reads them ahead."""
    return make_torch_dataset([reader.columns["image"], reader.columns["label"]], transform=slowly)


def keys(batch: Any) -> list[int]:
    found: list[int] = batch[0][:, 0, 0].tolist()
    assert batch[1].tolist() == [key % 7 for key in found]
    return found


def expected(sampler: Sampler, epoch: int) -> list[list[int]]:
    return [(100 + items).tolist() for items in sampler.batches(epoch)]


def prefetchers() -> int:
    return sum(thread.name == "hangar-prefetch" for thread in threading.enumerate())


def soon(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("prefetch", [0, 1, 2, 5, 100])
def test_epochs_in_order_with_a_thread_and_without(prefetch: int, slow: TorchDataset, dataset: TorchDataset) -> None:
    for data in (dataset, slow):
        loader = Loader(data, Sampler(data, 4, seed=3), prefetch=prefetch)
        for epoch in range(2):
            assert list(map(keys, loader)) == expected(loader.sampler, epoch)
        assert len(loader) == 15
    assert soon(lambda: not prefetchers())


def test_a_thread_reads_ahead_as_many_batches_as_it_may(reader: ReaderCheckout) -> None:
    read: list[int] = []

    def noted(image: Any) -> Any:
        time.sleep(0.001)
        read.append(int(image[0, 0]))
        return image

    loader = Loader(
        make_torch_dataset(reader.columns["image"], transform=noted), Sampler(COUNT, 1, shuffle=False), prefetch=4
    )
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    assert soon(lambda: len(read) >= 6)
    time.sleep(0.05)
    assert len(read) <= 3 + 4
    assert read == list(range(100, 100 + len(read)))


def test_quick_batches_are_read_without_a_thread(dataset: TorchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.dataset.torch.loader._FAST_READ_SECONDS", 60)
    for _ in Loader(dataset, batch_size=4):
        assert not prefetchers()


@pytest.mark.parametrize("loader_of", [{}, {"prefetch": 0}, {"prefetch": 4}])
def test_it_resumes_at_every_position(loader_of: dict[str, int], slow: TorchDataset) -> None:
    resumes_everywhere(lambda: Loader(slow, Sampler(slow, 9, seed=1), **loader_of), stops=8)  # type: ignore[arg-type]


def resumes_everywhere(make: Callable[[], Loader], stops: int) -> None:
    before, after = make(), make()
    for stop in range(stops):
        before.load_state_dict({**before.state_dict(), "epoch": 2, "position": 0})
        whole = expected(before.sampler, 2)
        batches = iter(before)
        assert [keys(next(batches)) for _ in range(stop)] == whole[:stop]
        state = json.loads(json.dumps(before.state_dict()))
        # Nothing that was read ahead counts.
        assert (state["epoch"], state["position"]) == ((2, 9 * stop) if stop < len(whole) else (3, 0))
        batches.close()  # type: ignore[attr-defined]
        after.load_state_dict(state)
        assert list(map(keys, after)) == (whole[stop:] if stop < len(whole) else expected(after.sampler, 3))


def test_it_resumes_at_every_position_with_three_workers_and_a_prefetch_of_four(dataset: TorchDataset) -> None:
    resumes_everywhere(
        lambda: Loader(dataset, Sampler(dataset, 9, seed=1), num_workers=3, prefetch=4, persistent_workers=True),
        stops=8,
    )


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_ranks_and_workers_interleave_to_one_global_order(workers: int, dataset: TorchDataset) -> None:
    order = (100 + Sampler(COUNT, 4, seed=9).items(0, 0, COUNT)).tolist()
    for world in (1, 2, 4):
        found = [0] * COUNT
        for rank in range(world):
            sampler = Sampler(dataset, 4, seed=9, rank=rank, world_size=world)
            loader = Loader(dataset, sampler, num_workers=workers)
            found[rank::world] = [key for batch in loader for key in keys(batch)]
        assert found == order


def test_it_resumes_with_another_number_of_workers(dataset: TorchDataset) -> None:
    one = Loader(dataset, Sampler(dataset, 4, seed=9), num_workers=2)
    batches = iter(one)
    seen = [keys(next(batches)) for _ in range(5)]
    state = one.state_dict()
    batches.close()  # type: ignore[attr-defined]
    other = Loader(dataset, Sampler(dataset, 4, seed=9))
    other.load_state_dict(state)
    assert seen + list(map(keys, other)) == expected(other.sampler, 0)


def test_an_error_comes_in_its_place_and_ends_the_epoch(reader: ReaderCheckout) -> None:
    def failing(image: Any) -> Any:
        time.sleep(0.0005)
        if image[0, 0] == 130:
            raise ZeroDivisionError
        return image

    loader = Loader(make_torch_dataset(reader.columns["image"], transform=failing), batch_size=4)
    batches = iter(loader)
    for _ in range(7):
        next(batches)
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert list(batches) == []
    assert soon(lambda: not prefetchers())
    assert loader.state_dict()["position"] == 28
    assert next(iter(loader))[0, 0, 0] == 100


def failing_loop(loader: Loader) -> None:
    for index, _ in enumerate(loader):
        if index == 4:
            raise ZeroDivisionError


@pytest.mark.parametrize("end", ["break", "error", "abandoned", "closed"])
def test_a_loop_that_ends_early_leaves_no_thread(end: str, slow: TorchDataset) -> None:
    loader = Loader(slow, Sampler(slow, 4, seed=1))
    if end == "break":
        for index, _ in enumerate(loader):
            if index == 4:
                break
    elif end == "error":
        with pytest.raises(ZeroDivisionError):
            failing_loop(loader)
    else:
        batches = iter(loader)
        for _ in range(5):
            next(batches)
        if end == "closed":
            batches.close()  # type: ignore[attr-defined]
        else:
            del batches
    assert soon(lambda: not prefetchers())
    assert loader.state_dict()["position"] == 20
    assert list(map(keys, loader)) == expected(loader.sampler, 1)


def test_two_loaders_over_two_commits(repo: Repository, reader: ReaderCheckout) -> None:
    with repo.checkout(write=True) as writer:
        writer.columns["image"].write(np.arange(100, 160), np.full((60, 4, 5), 7, np.uint8))
        writer.commit("sevens")
    datasets = [make_torch_dataset(co.columns["image"], transform=slowly) for co in (reader, repo.checkout())]
    for old, new in zip(*(Loader(data, Sampler(data, 4, seed=4)) for data in datasets), strict=True):
        assert (new == 7).all()
        assert (old > 99).all()


def test_a_batch_lies_in_memory_of_its_own(dataset: TorchDataset) -> None:
    batches = [images for images, _ in Loader(dataset, batch_size=30)]
    batches[0].zero_()
    assert batches[1][0, 0, 0] == 130
    assert batches[0].untyped_storage().nbytes() == 30 * 20


def test_a_batch_at_the_end_of_an_epoch_costs_what_one_at_its_beginning_costs(dataset: TorchDataset) -> None:
    loader = Loader(dataset, Sampler(dataset, 2, seed=1), prefetch=0)
    list(loader)
    batches = iter(loader)
    next(batches)
    costs = [calls_of(lambda: next(batches)) for _ in range(28)]
    assert all(cost == costs[0] for cost in costs)


def test_collate_functions_of_users(dataset: TorchDataset) -> None:
    loader = Loader(dataset, batch_size=4, collate_fn=lambda batch: [int(label) for _, label in batch])
    assert next(iter(loader)) == [key % 7 for key in range(100, 104)]
    other = torch.utils.data.TensorDataset(torch.arange(10))
    assert [batch[0].tolist() for batch in Loader(other, batch_size=4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_figures(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns[name] for name in FLAT])
    loader = Loader(dataset, batch_size=25)
    assert loader.stats().samples_per_second == loader.stats().wait_share == 0
    for _ in loader:
        time.sleep(0.01)
    stats = loader.stats()
    assert (stats.batches, stats.samples) == (3, COUNT)
    assert stats.bytes_read == sum(
        one.nbytes if isinstance(one, np.ndarray) else len(one)
        for key in range(100, 160)
        for one in (value(name, key) for name in FLAT)
    )
    assert 0.02 < stats.seconds < 10
    assert 0 < stats.waited < stats.seconds - 0.02
    assert 0 < stats.wait_share < 1
    assert stats.samples_per_second == COUNT / stats.seconds
    assert "60 samples in" in str(stats)
    assert "of the time waiting for data" in repr(stats)
    next(iter(loader))
    assert loader.stats().samples == 25


def test_the_share_that_waits_is_measured(dataset: TorchDataset, slow: TorchDataset) -> None:
    waiting, working = Loader(slow, batch_size=20, prefetch=0), Loader(dataset, batch_size=20)
    for _ in waiting:
        pass
    for _ in working:
        time.sleep(0.05)
    assert working.stats().wait_share < 0.5 < waiting.stats().wait_share


def test_arguments_that_do_not_fit(dataset: TorchDataset) -> None:
    sampler = Sampler(dataset, 4)
    wrong: Iterator[tuple[dict[str, Any], str]] = iter(
        [
            ({"sampler": sampler, "batch_size": 4}, "those of the sampler"),
            ({"sampler": Sampler(dataset)}, "a batch_size"),
            ({"sampler": [1, 2]}, "a batch_size"),
            ({"num_workers": -1}, "num_workers is at least 0"),
            ({"num_workers": True}, "num_workers is an int"),
            ({"prefetch": -1}, "prefetch is at least 0"),
            ({"prefetch": 1.5}, "prefetch is an int"),
            ({"pin_memory": "no"}, "pin_memory"),
            ({"batch_size": 0}, "batch_size is at least 1"),
            ({"collate_fn": 3}, "collate_fn is a function"),
            ({"sampler": Sampler(COUNT - 1, 4)}, f"made for {COUNT - 1} items, and the data set has {COUNT}"),
            ({"sampler": Sampler(COUNT + 1, 4)}, f"made for {COUNT + 1} items"),
            ({"num_workers": 1, "prefetch_factor": 2}, "no argument 'prefetch_factor': prefetch="),
            ({"num_workers": 1, "in_order": False}, "always come in order"),
            ({"workers": 1}, "no argument 'workers'$"),
            ({"persistent_workers": True}, "only for worker processes"),
        ]
    )
    for options, error in wrong:
        with pytest.raises((InvalidInputError, InvalidTypeError), match=error):
            Loader(dataset, **options)
    with pytest.raises(InvalidInputError, match="belongs to another order"):
        Loader(dataset, sampler).load_state_dict(Sampler(3, 4).state_dict())


def test_a_sampler_of_some_items_is_one_of_the_data_set(dataset: TorchDataset) -> None:
    some = Loader(dataset, Sampler(dataset, 4, where=np.arange(COUNT) < 10))
    assert sorted(key for batch in some for key in keys(batch)) == list(range(100, 110))


def test_options_of_workers_that_ask_for_nothing_go_without_workers(dataset: TorchDataset) -> None:
    assert len(list(Loader(dataset, batch_size=30, persistent_workers=False, multiprocessing_context=None))) == 2


def test_a_data_set_without_a_length() -> None:
    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    with pytest.raises(InvalidTypeError, match="a data set that has a length, or a number of items, not Stream"):
        Loader(Stream(), batch_size=2)


def test_values_are_those_of_the_columns(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns[name] for name in FLAT])
    for batch, start in zip(Loader(dataset, batch_size=20), range(100, 160, 20), strict=True):
        for name, values in zip(FLAT, batch, strict=True):
            for key, one in zip(range(start, start + 20), values, strict=True):
                assert same(value(name, key), one.numpy() if isinstance(one, torch.Tensor) else one)
