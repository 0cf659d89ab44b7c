"""What a peer has to do.

One object is one data set in one fresh directory. Timed are ``ingest`` (from arrays in memory to everything on disk, synced) and the reads;
``prepare`` and ``open`` are not: they are what is done once for a data set. What a peer cannot do raises :class:`Cannot`, which
becomes a dash in the table with its reason below it. Values come back as numpy arrays in memory, or as str and bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.workloads import Array, Column, Workload

__all__ = ["Cannot", "Peer", "chunk_shape", "rows"]


class Cannot(Exception):  # noqa: N818
    """The peer has no such thing."""


class Peer:
    """One way to keep a data set.

    Parameters
    ----------
    path
        A directory of its own, empty.
    """

    how: ClassVar[str] = ""
    """How the peer is used, and why that is fair to it."""
    syncs: ClassVar[bool] = False
    """Whether it syncs its files itself. Else every file is synced for it at the end of each write, inside the timing."""

    def __init__(self, path: Path, workload: Workload) -> None:
        self.path = path
        self.workload = workload

    def prepare(self) -> None:
        """Make the data set with its schema, without samples."""

    def ingest(self) -> None:
        """Write all samples of all columns."""
        raise NotImplementedError

    def open(self) -> None:
        """Open what was written, for reading."""
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

    def close(self) -> None:
        """Let go of files."""

    def ingest_copies(self) -> None:
        """Write each value of the first column once more, under another key."""
        raise Cannot("not asked: only Hangar's goals name what a copy takes")

    # ------------------------------------------------------------------ history; the workload has one column of scalars

    def change(self, indices: Array, values: Array) -> None:
        """Give some samples other values, in one commit. Samples beyond the last are appended."""
        raise Cannot("keeps no history")

    def diff(self) -> int | None:
        """Which samples the last commit changed: their number where the peer says it."""
        raise Cannot("keeps no history")

    def open_first(self, index: int) -> Any:
        """Open the first commit of all samples and read one."""
        raise Cannot("keeps no history")

    def branch(self, name: str) -> None:
        """Make a branch at the last commit."""
        raise Cannot("keeps no history")

    def bookkeeping(self) -> int:
        """Bytes of the bookkeeping, without what the format of the file around it adds."""
        raise Cannot("not counted")


def rows(column: Column) -> Array:
    """An array column as (n, bytes of a sample) uint8."""
    assert isinstance(column, np.ndarray)
    return np.ascontiguousarray(column).reshape(len(column), -1).view(np.uint8)


def chunk_shape(column: Array, nbytes: int) -> tuple[int, ...]:
    """As many whole samples as ``nbytes`` hold; of a sample of more than a MiB as many of its planes as that holds."""
    sample = column.nbytes // len(column)
    if sample > 2**20:
        return (1, max(1, column.shape[1] * 2**20 // sample), *column.shape[2:])
    return (min(len(column), max(1, nbytes // sample)), *column.shape[1:])
