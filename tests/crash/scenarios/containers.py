"""HDF5 files: batches appended and synced, the end set back, a writer that goes on.

What was acknowledged reads back by location; h5py opens the file whatever happened, and reads every chunk that it finds listed; the next writer
goes on at the recorded end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hdf5plugin  # noqa: F401 - makes the filters known to h5py
import numpy as np

from hangar import _fs
from hangar.backends import Backend, BlobFile, Locations, Payload, get_backend
from hangar.digest import NDARRAY, Header
from tests.crash.harness import Acknowledge, Scenario, State

NAME = "00000007.00"
HEADER = Header(NDARRAY, 6, (40, 50))
STEPS = 6


def rows_of(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(
        0, 256, (number % 3 + 1 if number < 98 else 159 - number, 2000), np.uint8
    )


def run(directory: Path, acknowledge: Acknowledge) -> None:
    backend = get_backend("00")
    options = backend.check_options({})
    writer = backend.open_writer(directory / NAME, 7, None)
    for number in range(STEPS):
        start = writer.end
        if number in (1, 4):
            writer.write(Payload.of_rows(rows_of(99), HEADER), options)
            writer.sync()
            # The superblock is on disk with the second one.
            writer.sync()
            writer.end = start
            # Over the listing of what was dropped.
            writer.write(Payload.of_rows(rows_of(98), HEADER), options)
            writer.end = start
        locations = writer.write(Payload.of_rows(rows_of(number), HEADER), options)
        if number == STEPS - 1:
            writer.seal()
        writer.sync()
        _fs.sync_directory(directory)
        acknowledge((writer.end, locations.to_rows()))
        if number == 3:
            end = writer.end
            writer.close()
            writer = backend.open_writer(directory / NAME, 7, end)
    writer.close()


def check(state: State) -> None:
    if not state.acknowledged:
        return
    backend, path = get_backend("00"), state.directory / NAME
    read(backend, path, state.acknowledged)
    listed = shown(path)
    if state.finished:
        assert listed == sum(len(rows_of(number)) for number in range(STEPS))
    end = state.acknowledged[-1][0]
    assert os.path.getsize(path) >= end
    writer = backend.open_writer(path, 7, end)
    locations = writer.write(Payload.of_rows(rows_of(50), HEADER), backend.check_options({}))
    writer.seal()
    writer.sync()
    writer.close()
    found = np.empty_like(rows_of(50))
    backend.read_rows(BlobFile(path, 7, "00"), locations, HEADER, found)
    assert np.array_equal(found, rows_of(50))
    read(backend, path, state.acknowledged)
    assert shown(path) == sum(len(rows_of(number)) for number in (*range(len(state.acknowledged)), 50))


def read(backend: Backend, path: Path, acknowledged: Any) -> None:
    file = BlobFile(path, 7, "00")
    for number, (_, places) in enumerate(acknowledged):
        found = np.empty_like(rows_of(number))
        backend.read_rows(file, Locations.from_rows(places), HEADER, found)
        assert np.array_equal(found, rows_of(number))


def shown(path: Path) -> int:
    """How many samples HDF5 reads."""
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        return sum(len(dataset[()]) for group in file.values() for dataset in group.values())


SCENARIOS = (Scenario("containers", run, check, variants=8),)
