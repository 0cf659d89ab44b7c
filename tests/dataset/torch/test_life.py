"""Loaders that are killed, interrupted or kept for long: no lock, process, thread or shared memory is left, and nothing grows."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import zip_longest
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.utils.data._utils
from torch.utils.data import DataLoader

from hangar import Repository, make_torch_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Loader, Sampler, collate
from hangar.dataset.torch import TorchDataset
from tests.alive import hangar_threads
from tests.dataset.torch.test_loader import slowly, soon
from tests.processes import Child

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*exited unexpectedly"),
]


@pytest.fixture
def dataset(reader: ReaderCheckout) -> TorchDataset:
    return make_torch_dataset([reader.columns["image"], reader.columns["label"]], transform=slowly)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def workers() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid is not None]


def usable(repo: Repository) -> bool:
    """Whether another process can write, and sees what it should."""
    with repo.checkout(write=True) as writer:
        writer.columns["label"][100] = 5
        writer.commit("after")
    writer.close()
    return int(repo.checkout().columns["label"][100]) == 5


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith("torch")}


def loop(dataset: TorchDataset, number: int) -> Callable[[Connection], Any]:
    """A process that tells its workers in the middle of an epoch, and goes on without an end."""

    def run(talk: Connection) -> Any:
        # Workers look for their parent this often; 5 s by default.
        torch.utils.data._utils.worker.MP_STATUS_CHECK_INTERVAL = 0.2
        signal.signal(signal.SIGINT, signal.default_int_handler)
        loader = Loader(dataset, Sampler(dataset, 2), num_workers=number)
        told = False
        try:
            while True:
                for _ in loader:
                    if not told:
                        talk.send(workers())
                        told = True
        except KeyboardInterrupt:
            gc.collect()
            time.sleep(0.1)
            return workers(), [thread.name for thread in threading.enumerate() if thread.name == "hangar-prefetch"]

    return run


@pytest.mark.parametrize("number", [0, 2])
def test_a_killed_process_leaves_nothing(number: int, dataset: TorchDataset, repo: Repository) -> None:
    before = shared_memory()
    child = Child(loop(dataset, number))
    pids = child.receive()
    assert len(pids) == number
    child.kill()
    assert soon(lambda: not any(map(alive, pids)), 30)
    assert usable(repo)
    assert soon(lambda: shared_memory() <= before)


@pytest.mark.parametrize("number", [0, 2])
def test_an_interrupted_process_leaves_nothing(number: int, dataset: TorchDataset, repo: Repository) -> None:
    child = Child(loop(dataset, number))
    pids = child.receive()
    os.kill(child.pid, signal.SIGINT)
    assert child.result() == ([], [])
    assert soon(lambda: not any(map(alive, pids)), 30)
    assert usable(repo)


def test_a_killed_worker_is_an_error_and_leaves_nothing(dataset: TorchDataset, repo: Repository) -> None:
    loader = Loader(dataset, Sampler(dataset, 2), num_workers=2)
    batches = iter(loader)
    next(batches)
    pids = workers()
    os.kill(pids[0], signal.SIGKILL)
    # Which of them depends on what it was doing.
    with pytest.raises((RuntimeError, OSError, EOFError)):
        for _ in batches:
            pass
    del batches
    gc.collect()
    assert soon(lambda: not any(map(alive, pids)), 30)
    assert usable(repo)
    assert len(list(loader)) == 30


def failing_loop(loader: Loader) -> None:
    for _ in loader:
        raise ZeroDivisionError


@pytest.mark.parametrize("end", ["break", "error", "abandoned"])
def test_a_loop_that_ends_early_leaves_no_process(end: str, dataset: TorchDataset) -> None:
    loader = Loader(dataset, Sampler(dataset, 4), num_workers=2)
    if end == "break":
        for _ in loader:
            break
    elif end == "error":
        with pytest.raises(ZeroDivisionError):
            failing_loop(loader)
    else:
        batches = iter(loader)
        next(batches)
        del batches
    gc.collect()
    assert soon(lambda: not workers(), 30)


def counts() -> tuple[int, int, int]:
    """File descriptors, threads, and resident memory in bytes."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), resident


def test_fifty_epochs_hold_files_threads_and_memory_level(repo: Repository, reader: ReaderCheckout) -> None:
    with repo.checkout(write=True) as writer:
        writer.columns["image"].write(np.arange(100, 160), np.full((60, 4, 5), 7, np.uint8))
        writer.commit("sevens")

    def measured() -> list[tuple[int, int, int]]:
        loaders = []
        for checkout in (reader, repo.checkout()):
            columns = [checkout.columns[name] for name in ("image", "label", "text")]
            data = make_torch_dataset(columns)
            loaders.append(Loader(data, Sampler(data, 8, seed=1)))
            slow = make_torch_dataset(columns, index_range=slice(0, 12), transform=slowly)
            loaders.append(Loader(slow, batch_size=3))
        found = []
        for epoch in range(50):
            for _ in zip_longest(*loaders):
                pass
            if epoch % 10:
                continue
            # Threads end by themselves, a moment after their last batch.
            hangar_threads()
            found.append(counts())
        return found

    child = Child(lambda _: measured())
    found = child.result(110)
    files, threads, memory = zip(*found[1:], strict=True)
    assert len(set(files)) == 1
    assert len(set(threads)) == 1
    assert max(memory) - memory[0] < 2**21


def test_epochs_with_workers_hold_files_and_processes_level(dataset: TorchDataset) -> None:
    loader = Loader(dataset, Sampler(dataset, 20), num_workers=2, persistent_workers=True)
    list(loader)
    pids, (files, threads, _) = workers(), counts()
    for _ in range(10):
        list(loader)
    assert workers() == pids
    assert counts()[0] <= files
    assert counts()[1] <= threads
    del loader
    gc.collect()
    assert soon(lambda: not workers(), 30)


def test_a_data_set_is_read_in_a_forked_process_and_in_threads_at_once(dataset: TorchDataset) -> None:
    whole = [labels.tolist() for _, labels in DataLoader(dataset, batch_size=20, collate_fn=collate)]
    child = Child(lambda _: [labels.tolist() for _, labels in DataLoader(dataset, batch_size=20, collate_fn=collate)])
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append([labels.tolist() for _, labels in Loader(dataset, batch_size=20)]))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [*found, child.result()] == [whole] * 4
