"""Worker processes: each way to start them, and each backend, gives the batches of the process itself."""

from __future__ import annotations

import multiprocessing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hangar import Repository, make_torch_dataset
from hangar.dataset import Sampler, collate
from hangar.dataset.torch import TorchDataset
from tests.dataset.content import FLAT, NESTED, filled

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

EPOCHS = 3


def into(digest: Any, value: Any) -> None:
    """Add all values of a batch to a digest."""
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    elif isinstance(value, dict):
        into(digest, list(value.items()))
    elif isinstance(value, (list, tuple)):
        digest.update(b"%d" % len(value))
        for one in value:
            into(digest, one)
    else:
        digest.update(repr(value).encode())


def epochs(dataset: TorchDataset, number: int = EPOCHS, **options: Any) -> list[str]:
    """Digest of the batches of each epoch."""
    loader = DataLoader(dataset, batch_sampler=Sampler(dataset, 16, seed=5), collate_fn=collate, **options)
    found = []
    for _ in range(number):
        digest = blake2b(digest_size=8)
        for batch in loader:
            into(digest, batch)
        found.append(digest.hexdigest())
    return found


def whole(repo: Repository, backend: str | None) -> TorchDataset:
    """A data set of all columns, flat and nested."""
    columns = filled(repo, backend=backend).columns
    keys = [(*[key] * len(FLAT), *[(key, ...)] * len(NESTED)) for key in columns["image"]]
    return make_torch_dataset([columns[name] for name in FLAT + NESTED], keys)


@pytest.mark.parametrize(
    ("method", "backend", "workers", "persistent"),
    [
        ("fork", "00", 2, True),
        ("fork", "01", 1, False),
        ("fork", "10", 1, True),
        ("spawn", None, 1, True),
        ("forkserver", "00", 1, True),
    ],
)
def test_batches_are_those_of_one_process(
    method: str, backend: str | None, workers: int, persistent: bool, repo: Repository
) -> None:
    dataset = whole(repo, backend)
    expected = epochs(dataset)
    assert len(set(expected)) == EPOCHS
    assert (
        epochs(dataset, num_workers=workers, multiprocessing_context=method, persistent_workers=persistent) == expected
    )
    # The process itself goes on.
    assert epochs(dataset) == expected
    assert multiprocessing.active_children() == []


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("backend", [None, "00", "01", "10"])
@pytest.mark.parametrize("workers", [1, 4])
def test_all_ways_to_start_workers(method: str, backend: str | None, workers: int, repo: Repository) -> None:
    """Row 10 of the page on reliability: 0, 1 and 4 workers, each start method, all backends, 3 epochs."""
    dataset = whole(repo, backend)
    # Workers are started before and after the data set was read in this process.
    found = epochs(dataset, num_workers=workers, multiprocessing_context=method, persistent_workers=True)
    expected = epochs(dataset)
    assert found == expected
    assert len(set(found)) == EPOCHS
    assert epochs(dataset, 1, num_workers=workers, multiprocessing_context=method) == expected[:1]
    assert multiprocessing.active_children() == []


def test_batches_of_workers_are_shared_memory_already(repo: Repository) -> None:
    dataset = make_torch_dataset(filled(repo).columns["image"])
    loader = DataLoader(dataset, batch_size=30, num_workers=1, multiprocessing_context="fork", collate_fn=shared)
    assert list(loader) == [True, True]
    direct = DataLoader(dataset, batch_size=30, num_workers=1, multiprocessing_context="fork", collate_fn=collate)
    first, second = list(direct)
    assert first[:, 0, 0].tolist() == list(range(100, 130))
    first.zero_()
    assert second[0, 0, 0] == 130


def shared(batch: Any) -> bool:
    tensor = collate(batch)
    return bool(tensor.is_shared() and tensor.shape == (30, 4, 5))


def test_workers_leave_nothing_in_shared_memory(repo: Repository) -> None:
    before = set(Path("/dev/shm").iterdir())
    dataset = whole(repo, None)
    epochs(dataset, 1, num_workers=2, multiprocessing_context="fork")
    assert {path for path in set(Path("/dev/shm").iterdir()) - before if path.name.startswith("torch")} == set()
