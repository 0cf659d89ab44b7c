"""An interrupt at each place leaves the state before or after, no lock taken, and what is written next is durable when it returns."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.interrupts import sweeping
from tests.interrupts.operations import OPERATIONS
from tests.interrupts.sweep import Operation

PARTS = 6
LEAST_PLACES = 30_000
LEAST_TRIED = 600


@pytest.fixture(scope="module")
def swept() -> Iterator[ProcessPoolExecutor]:
    """A process that has prepared the sweep."""
    # In memory where possible: nothing here depends on what a disk does.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=memory) as directory,
        ProcessPoolExecutor(1, spawn, sweeping.begin, (Path(directory),)) as process,
    ):
        yield process


def test_the_sweep_is_wide(swept: ProcessPoolExecutor) -> None:
    counts = swept.submit(sweeping.counts).result()
    for operation in OPERATIONS:
        assert counts[operation.name][0] >= operation.least
    assert sum(reached for reached, _ in counts.values()) >= LEAST_PLACES
    assert sum(tried for _, tried in counts.values()) >= LEAST_TRIED


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_lines_of_an_operation(swept: ProcessPoolExecutor, operation: Operation, part: int) -> None:
    """Each line that holds something once, in the first operation that reaches it."""
    assert swept.submit(sweeping.problems_of_lines, operation.name, part, PARTS).result() == []


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_line_and_entry_of_an_operation(swept: ProcessPoolExecutor, operation: Operation) -> None:
    """Each line and each entry that the operation reaches, once; and every 10th time that it is reached again."""
    assert swept.submit(sweeping.problems_of_all, operation.name).result() == []
