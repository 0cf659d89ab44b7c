"""Time commits, diffs, branches and the opening of old commits on a data set that was just ingested."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contract import Cannot, Peer
from benchmarks.files import disk_bytes, sync_new
from benchmarks.outcome import Outcome, Settings, attempt, same

__all__ = ["History"]


class History:
    """Medians of ``settings.commits`` turns of each; every turn changes other samples."""

    def __init__(self, peer: Peer, outcome: Outcome, settings: Settings) -> None:
        self._peer, self._outcome, self._turns = peer, outcome, settings.commits
        self._labels = np.asarray(peer.workload.main)
        self._rng = np.random.default_rng(10)

    def measure(self) -> None:
        """Measure everything; stop early for a peer that cannot commit."""
        outcome, peer = self._outcome, self._peer
        disk, nodes = disk_bytes(peer.path), self._bookkeeping()
        self._run("commit", self._change)
        if isinstance(outcome["commit"], str):
            return
        outcome["commit disk"] = (disk_bytes(peer.path) - disk) / self._turns
        if nodes is not None:
            outcome["commit bytes"] = (peer.bookkeeping() - nodes) / self._turns
        self._run("diff", self._diff)
        self._run("merge", self._merge)
        self._run("open", self._open)
        self._run("branch", lambda turn: self._timed(lambda: peer.branch(f"b{turn}"))[0])
        nodes = self._bookkeeping()
        self._run("append", self._append)
        if nodes is not None:
            outcome["append bytes a key"] = (peer.bookkeeping() - nodes) / self._turns / 100

    def _run(self, name: str, turn: Callable[[int], float]) -> None:
        attempt(self._outcome, name, lambda: statistics.median([turn(i) for i in range(self._turns)]))

    def _timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        since = time.time_ns()
        start = time.perf_counter()
        found = work()
        if not self._peer.syncs:
            sync_new(self._peer.path, since)
        return time.perf_counter() - start, found

    def _change(self, turn: int) -> float:
        where, values = self._rng.choice(len(self._labels), 100, replace=False), self._rng.integers(10, 2**40, 100)
        return self._timed(lambda: self._peer.change(where, values))[0]

    def _append(self, turn: int) -> float:
        where = np.arange(100) + len(self._labels) + 100 * turn
        values = self._rng.integers(0, 10, 100)
        return self._timed(lambda: self._peer.change(where, values))[0]

    def _diff(self, turn: int) -> float:
        seconds, found = self._timed(self._peer.diff)
        if found not in (None, 100):
            raise ValueError(f"{found} changes found, not 100")
        return seconds

    def _merge(self, turn: int) -> float:
        where, values = self._rng.choice(len(self._labels), 200, replace=False), self._rng.integers(10, 2**40, 100)
        self._peer.diverge(where[:100], where[100:], values)
        return self._timed(self._peer.merge)[0]

    def _open(self, turn: int) -> float:
        index = len(self._labels) // 2 + turn
        seconds, found = self._timed(lambda: self._peer.open_first(index))
        same(np.asarray(found), self._labels[index])
        return seconds

    def _bookkeeping(self) -> int | None:
        try:
            return self._peer.bookkeeping()
        except Cannot:
            return None
