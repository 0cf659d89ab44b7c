"""Time epochs of shuffled training batches: in the training process, with two worker processes, and with torch's own collate.

The first epoch of each loader is not timed: it starts the workers, and its samples are compared with the written ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.contract import Peer
from benchmarks.outcome import Outcome, Settings, attempt
from benchmarks.workloads import Workload

__all__ = ["MEASURES", "measure_epochs"]

MEASURES = {
    "epoch": "epoch, 0 workers /s",
    "epoch, 2 workers": "2 workers /s",
    "epoch, plain": "0 workers, torch's collate /s",
}


def measure_epochs(peer: Peer, outcome: Outcome, settings: Settings) -> None:
    try:
        peer.open()
    except Exception as error:  # noqa: BLE001 - whatever a peer raises
        outcome["epoch"] = f"{type(error).__name__}: {error}"[:200]
        return
    attempt(outcome, "epoch", lambda: _rate(peer.workload, peer.loader(0), settings))
    attempt(outcome, "epoch, plain", lambda: _rate(peer.workload, peer.plain_loader(), settings))
    attempt(outcome, "epoch, 2 workers", lambda: _rate(peer.workload, peer.loader(2), settings))


def _rate(workload: Workload, loader: Iterable[Any], settings: Settings) -> float:
    """Samples a second of the best epoch; several are timed, if they are short."""
    _verify(workload, loader)
    best = 0.0
    end = time.perf_counter() + 3 * settings.seconds
    while True:
        samples = 0
        start = time.perf_counter()
        for batch in loader:
            samples += len(batch[0] if isinstance(batch, (tuple, list)) else batch)
        now = time.perf_counter()
        best = max(best, samples / (now - start))
        if now >= end:
            return best


def _verify(workload: Workload, loader: Iterable[Any]) -> None:
    """Each sample once, in another order than it was written in, in batches of tensors."""
    first = workload.main
    assert isinstance(first, np.ndarray)
    marks = _marks(first)
    found = []
    for batch in loader:
        columns = batch if isinstance(batch, (tuple, list)) else [batch]
        images = columns[0].numpy()
        if images.shape[1:] != first.shape[1:] or images.dtype != first.dtype or len(images) > workload.batch:
            raise ValueError(f"batches are {images.dtype} {images.shape}")
        if len(columns) != len(workload.columns):
            raise ValueError("a column is missing")
        found.append(_marks(images))
    seen = np.concatenate(found)
    if len(seen) == len(marks) and np.array_equal(seen, marks):
        raise ValueError("the order is not shuffled")
    if not np.array_equal(np.sort(seen), np.sort(marks)):
        raise ValueError("the samples of an epoch are not those that were written")


def _marks(images: Any) -> Any:
    """A number for each sample that is hardly ever equal for two."""
    flat = images.reshape(len(images), -1)
    picked = flat[:, :: max(1, flat.shape[1] // 1024)]
    # Of integers, for the sum of floats depends on how many rows are multiplied together.
    return picked.astype(np.uint64) @ np.random.default_rng(8).integers(1, 2**63, picked.shape[1], np.uint64)
