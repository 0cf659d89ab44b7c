"""The interface of a peer.

One object is one data set in one new directory. ``ingest`` (from arrays in memory to everything on disk, synced) and the reads are timed;
``prepare`` and ``open`` are done once for a data set and are not. A method that the peer does not support raises :class:`Cannot`, which
becomes a dash in the table with the reason below it. Values come back as numpy arrays in memory, or as str and bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.workloads import Array, Column, Workload

__all__ = ["Cannot", "Peer", "chunk_shape", "rows"]


class Cannot(Exception):  # noqa: N818
    """The peer does not support this operation."""


class Peer:
    """One library (or configuration) that stores a data set.

    Parameters
    ----------
    path
        An empty directory for this peer alone.
    """

    how: ClassVar[str] = ""
    """How the peer is used, and why that is fair to it."""
    syncs: ClassVar[bool] = False
    """Whether the peer syncs its files itself. If not, the benchmark syncs every file at the end of each write, inside the timing."""

    def __init__(self, path: Path, workload: Workload) -> None:
        self.path = path
        self.workload = workload

    def prepare(self) -> None:
        """Create the data set with its schema, without samples."""

    def ingest(self) -> None:
        """Write all samples of all columns."""
        raise NotImplementedError

    def open(self) -> None:
        """Open the data set for reading."""
        raise NotImplementedError

    def settle(self) -> None:
        """Read until reading is as fast as it gets; untimed, after the first reads."""

    def get(self, index: int) -> Any:
        """One value of the first column."""
        raise Cannot("no access by number or key")

    def batch(self, indices: Array) -> Any:
        """Values of the first column, stacked where they are arrays."""
        raise Cannot("no access by number or key")

    def positions(self, indices: Array) -> Any:
        """As :meth:`batch`, by position in the order of keys."""
        raise Cannot("not asked: only Hangar's goals name it")

    def listed(self, keys: list[Any]) -> Any:
        """As :meth:`batch`, by a list of keys."""
        raise Cannot("not asked: only Hangar's goals name it")

    def scan(self) -> Iterator[Any]:
        """All values of the first column, in batches of about ``workload.batch``, in any order that is the fastest."""
        count, step = len(self.workload.main), self.workload.batch
        return (self.span(start, min(count, start + step)) for start in range(0, count, step))

    def span(self, start: int, stop: int) -> Any:
        """Values of the first column from ``start`` to ``stop``."""
        raise NotImplementedError

    def loader(self, workers: int) -> Iterable[Any]:
        """Shuffled batches of all columns as tensors of torch, tuples; a new order in each iteration. The fastest way."""
        raise Cannot("not asked: the page names the peers that training is compared with")

    def plain_loader(self) -> Iterable[Any]:
        """The same with ``DataLoader(data, batch_size, shuffle=True)`` and torch's own collate."""
        raise Cannot("not asked: only Hangar's goals name it")

    def close(self) -> None:
        """Close all files."""

    def ingest_copies(self) -> None:
        """Write each value of the first column once more, under another key."""
        raise Cannot("not asked: only Hangar's goals name what a copy takes")

    # ------------------------------------------------------------------ history; the workload has one column of scalars

    def change(self, indices: Array, values: Array) -> None:
        """Change the values of some samples, in one commit. Samples beyond the last are appended."""
        raise Cannot("keeps no history")

    def diff(self) -> int | None:
        """Diff of the last commit with its parent: the number of changed samples, if the peer gives it."""
        raise Cannot("keeps no history")

    def diverge(self, ours: Array, theirs: Array, values: Array) -> None:
        """Change some samples in a commit, and others in a commit of a branch that begins at the same parent; untimed."""
        raise Cannot("keeps no history")

    def merge(self) -> None:
        """Merge that branch, with a check for conflicts."""
        raise Cannot("does not merge, or detects no conflicts")

    def open_first(self, index: int) -> Any:
        """Open the first commit of all samples and read one."""
        raise Cannot("keeps no history")

    def branch(self, name: str) -> None:
        """Create a branch at the last commit."""
        raise Cannot("keeps no history")

    def bookkeeping(self) -> int:
        """Bytes of the bookkeeping, without the overhead of the surrounding file format."""
        raise Cannot("not counted")


def rows(column: Column) -> Array:
    """An array column as (n, bytes of a sample) uint8."""
    assert isinstance(column, np.ndarray)
    return np.ascontiguousarray(column).reshape(len(column), -1).view(np.uint8)


def chunk_shape(column: Array, nbytes: int) -> tuple[int, ...]:
    """Chunk shape: as many whole samples as fit into ``nbytes``; for samples of more than a MiB, as many planes as fit."""
    sample = column.nbytes // len(column)
    if sample > 2**20:
        return (1, max(1, column.shape[1] * 2**20 // sample), *column.shape[2:])
    return (min(len(column), max(1, nbytes // sample)), *column.shape[1:])
