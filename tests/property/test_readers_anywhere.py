"""Readers in other processes see what one process sees: row 10 of the list of what must hold, for plain processes.

Columns and views are handed to workers as each start method does it (inherited by a fork, pickled else), while the parent goes on
reading and committing.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import ReaderCheckout, WriterCheckout

EPOCHS = 3
SAMPLES = 60
WAIT_SECONDS = 60.0
ARRAYS = ["00", "01", "10"]

Item = tuple[str, Any]


def array(number: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def fill(writer: WriterCheckout) -> None:
    """A column for each backend, a nested one for each, and one in the tree."""
    for nested in (False, True):
        for tag in ARRAYS:
            writer.add_ndarray_column(f"a{tag}{nested:d}", (12, 12), np.uint8, backend=tag, contains_subsamples=nested)
        writer.add_ndarray_column(f"inline{nested:d}", (4,), np.uint8, contains_subsamples=nested)
        writer.add_str_column(f"text{nested:d}", backend="30", inline=False, contains_subsamples=nested)
        writer.add_bytes_column(f"raw{nested:d}", backend="31", contains_subsamples=nested)
    for name, column in writer.items():
        keys: list[Any] = [(i // 7, i) for i in range(SAMPLES)] if column.contains_subsamples else list(range(SAMPLES))
        column.write(keys, [value(name, i) for i in range(SAMPLES)])


def value(name: str, number: int) -> Any:
    if name.startswith("text"):
        return f"{name} {number} " * (number % 30)
    if name.startswith("raw"):
        return bytes(range(number)) * (1 + number % 5)
    return array(number, (4,) if name.startswith("inline") else (12, 12))


def fingerprint(found: Any) -> str:
    data = found.tobytes() if isinstance(found, np.ndarray) else found.encode() if isinstance(found, str) else found
    return hashlib.sha256(data).hexdigest()


def items_of(columns: Sequence[Any]) -> list[Item]:
    return [
        (c.column, (k, s) if c.contains_subsamples else k)
        for c in columns
        for k in c
        for s in (c[k] if c.contains_subsamples else (0,))
    ]


def read(columns: Sequence[Any], share: int, shares: int) -> list[dict[Item, str]]:
    """For each epoch the digests of this worker's part, in an order of its own, by one key or by batches."""
    by_name = {column.column: column for column in columns}
    epochs = []
    for epoch in range(EPOCHS):
        items = items_of(columns)
        random.Random(epoch).shuffle(items)
        mine = items[share::shares]
        if epoch % 2:
            found = {(name, key): fingerprint(by_name[name][key]) for name, key in mine}
        else:
            found = {}
            for name, column in by_name.items():
                keys = [key for other, key in mine if other == name]
                found |= {(name, k): fingerprint(v) for k, v in zip(keys, column[keys], strict=True)}
        epochs.append(found)
    return epochs


def work(columns: Sequence[Any], share: int, shares: int, talk: Connection) -> None:
    talk.send(read(columns, share, shares))
    talk.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anywhere")
    with Repository(path, exists=False) as repo:
        repo.init("Ada", "ada@example.org")
        writer = repo.checkout(write=True)
        fill(writer)
        writer.commit("first")
        writer.close()
    return path


def expected(columns: Sequence[Any]) -> dict[Item, str]:
    return {
        (name, key): fingerprint(value(name, key[1] if isinstance(key, tuple) else key))
        for name, key in items_of(columns)
    }


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("method", "workers"),
    [("none", 0), *((method, workers) for method in ("fork", "spawn", "forkserver") for workers in (1, 4))],
)
def test_row_10_workers_read_what_one_process_reads(method: str, workers: int, place: Path) -> None:
    repo = Repository(place)
    reader = repo.checkout()
    columns = list(reader.values())
    wanted = expected(columns)
    assert len(wanted) == 2 * (len(ARRAYS) + 3) * SAMPLES
    if not workers:
        assert read(columns, 0, 1) == [wanted] * EPOCHS
        return
    context: Any = multiprocessing.get_context(method)
    started = []
    for share in range(workers):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(columns, share, workers, there), daemon=True)
        process.start()
        there.close()
        started.append((process, here))
    # The parent is still of use: it reads, and commits what the workers must not see.
    writer = repo.checkout(write=True)
    for number in range(3):
        with writer:
            for name in writer:
                key = (0, 0) if writer[name].contains_subsamples else 0
                writer[name][key] = value(name, 1 + number)
        writer.commit(f"beside {number}")
        assert read(columns, number, 40)[0].items() <= wanted.items()
    writer.close()
    parts = []
    for process, here in started:
        assert here.poll(WAIT_SECONDS), "a worker hangs"
        parts.append(here.recv())
        process.join(WAIT_SECONDS)
        assert process.exitcode == 0
    for epoch in range(EPOCHS):
        found: dict[Item, str] = {}
        for part in parts:
            assert not found.keys() & part[epoch].keys()
            found |= part[epoch]
        assert found == wanted
    assert read(columns, 0, 1)[0] == wanted
    with repo.checkout(write=True) as writer:
        # For the next worker count the head is as it was.
        for name in writer:
            writer[name][(0, 0) if writer[name].contains_subsamples else 0] = value(name, 0)
        writer.commit("as it was")
    writer.close()
    repo.close()


def test_a_checkout_goes_to_a_worker_too(place: Path) -> None:
    with Repository(place) as repo:
        reader = repo.checkout()
        view = reader["a101", 1]
        commit, names = reader.commit_hash, list(reader)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=look, args=(reader, view, there), daemon=True)
        process.start()
        there.close()
        assert here.poll(WAIT_SECONDS)
        assert here.recv() == (commit, names, fingerprint(view[7]), fingerprint(reader["text0", 5]))
        process.join(WAIT_SECONDS)


def look(reader: ReaderCheckout, view: Any, talk: Connection) -> None:
    talk.send((reader.commit_hash, list(reader), fingerprint(view[7]), fingerprint(reader["text0", 5])))


def test_threads_read_beside_a_writer(place: Path) -> None:
    with Repository(place) as repo:
        reader = repo.checkout()
        columns = list(reader.values())
        wanted = expected(columns)
        over = threading.Event()

        def commit() -> int:
            writer, number = repo.checkout(write=True), 0
            while not over.is_set():
                number += 1
                writer["text0"]["beside"] = f"{number} " * 40
                writer.commit(f"beside {number}")
            writer.columns["text0"].pop("beside")
            writer.commit("as it was")
            writer.close()
            return number

        with ThreadPoolExecutor(5) as pool:
            committing = pool.submit(commit)
            try:
                parts = [future.result() for future in [pool.submit(read, columns, share, 4) for share in range(4)]]
            finally:
                over.set()
            assert committing.result() >= 1
        for epoch in range(EPOCHS):
            assert {item: one for part in parts for item, one in part[epoch].items()} == wanted
