"""Time one round of one peer on one workload, in the calling process.

A round creates the data set again, so writes go to new files, and reads have a warm page cache. Reads run for a fixed time, not for
a fixed number of samples, so that a slow peer does not make the run long. Some results are compared with the written data, untimed.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract import Cannot, Peer
from benchmarks.epochs import measure_epochs
from benchmarks.files import disk_bytes, sync_new
from benchmarks.history import History
from benchmarks.outcome import Outcome, Settings, attempt, same
from benchmarks.workloads import Workload, column_type

__all__ = ["one_round"]


def one_round(make: Callable[[Path, Workload], Peer], workload: Workload, settings: Settings) -> Outcome:
    """Measure a peer on a workload once."""
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=settings.directory))
    outcome: Outcome = {}
    try:
        peer = make(path, workload)
        _ingest(peer, outcome)
        if not isinstance(outcome["ingest"], str):
            if workload.epochs:
                measure_epochs(peer, outcome, settings)
            elif workload.reads:
                _read(peer, outcome, settings)
            if workload.copies:
                _copies(peer, outcome)
            if workload.history:
                History(peer, outcome, settings).measure()
            peer.close()
    finally:
        shutil.rmtree(path, ignore_errors=True)
    return outcome


def _ingest(peer: Peer, outcome: Outcome) -> None:
    def ingest() -> float:
        peer.prepare()
        since = time.time_ns()
        start = time.perf_counter()
        peer.ingest()
        if not peer.syncs:
            sync_new(peer.path, since)
        return time.perf_counter() - start

    attempt(outcome, "ingest", ingest)
    attempt(outcome, "disk", lambda: float(disk_bytes(peer.path)))


def _copies(peer: Peer, outcome: Outcome) -> None:
    """Growth of the files for one duplicate under a new key, as the mean over all values."""

    def copy() -> float:
        before = disk_bytes(peer.path)
        peer.ingest_copies()
        return (disk_bytes(peer.path) - before) / len(peer.workload.main)

    attempt(outcome, "disk of a copy", copy)


def _read(peer: Peer, outcome: Outcome, settings: Settings) -> None:
    workload = peer.workload
    count = len(workload.main)
    rng = np.random.default_rng(9)
    singles = rng.permutation(count)[:20_000].tolist()
    step = min(1 if workload.main_bytes > 2**20 else 100, len(singles))
    batches = [rng.permutation(count)[: workload.batch] for _ in range(200)]
    scans: list[Iterator[Any]] = []

    def get(turn: int) -> int:
        at = turn * step % (len(singles) - step + 1)
        one = peer.get
        for index in singles[at : at + step]:
            one(index)
        return step

    def batch(turn: int) -> int:
        return len(peer.batch(batches[turn % len(batches)]))

    keys = [[workload.keys[index] for index in indices.tolist()] for indices in batches]

    def positions(turn: int) -> int:
        return len(peer.positions(batches[turn % len(batches)]))

    def listed(turn: int) -> int:
        return len(peer.listed(keys[turn % len(keys)]))

    def scan(turn: int) -> int:
        while True:
            if not scans:
                scans.append(iter(peer.scan()))
            for found in scans[0]:
                return len(found)
            scans.clear()

    def checked(name: str, work: Callable[[int], int]) -> None:
        def timed() -> float:
            rate(work, settings.seconds / 3)
            return rate(work, settings.seconds)

        attempt(outcome, name, timed)

    try:
        start = time.perf_counter()
        peer.open()
        attempt(outcome, "first", lambda: _first(peer, singles[0], start))
        _verify(peer, singles, batches[0])
        start = time.perf_counter()
        peer.settle()
        outcome["settle"] = time.perf_counter() - start
    except Exception as error:  # noqa: BLE001 - whatever a peer raises
        outcome["get"] = outcome["batch"] = outcome["scan"] = f"{type(error).__name__}: {error}"[:200]
        return
    checked("get", get)
    checked("batch", batch)
    checked("positions", positions)
    checked("list", listed)
    checked("scan", scan)
    scans.clear()


def _first(peer: Peer, index: int, start: float) -> float:
    """Seconds from opening to the first value."""
    peer.get(index)
    return time.perf_counter() - start


def _verify(peer: Peer, singles: list[int], batch: Any) -> None:
    """Compare some values that were read with the written ones."""
    main = peer.workload.main
    try:
        same(peer.get(singles[0]), main[singles[0]])
        same(peer.batch(batch), main[batch] if isinstance(main, np.ndarray) else [main[i] for i in batch.tolist()])
    except Cannot:
        pass
    scan = iter(peer.scan())
    found = next(scan)
    if column_type(main) is np.ndarray:
        same(found, main[: len(found)])
    else:
        same(list(found), list(main[: len(found)]))


def rate(work: Callable[[int], int], seconds: float) -> float:
    """Samples a second; ``work(i)`` reads the i-th piece and returns its number of samples."""
    done = turn = 0
    start = time.perf_counter()
    while True:
        done += work(turn)
        turn += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed
