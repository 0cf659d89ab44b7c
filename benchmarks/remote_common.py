"""What the benchmarks of remotes share: processes that serve, and a repository with the data of a workload."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.workloads import make
from hangar import Repository


@contextmanager
def started(*words: str) -> Iterator[tuple[str, int]]:
    """A server in another process, its address and the id of the process."""
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            yield running.stdout.readline().split()[-1].removeprefix("grpc://"), running.pid
        finally:
            running.terminate()
            running.wait()


def server(path: Path) -> AbstractContextManager[tuple[str, int]]:
    """`hangar server` of a repository."""
    return started("hangar", "-C", str(path), "server", "--port", "0", "--ip", "127.0.0.1")


def fill(path: Path, name: str, scale: int) -> tuple[int, int]:
    """A repository with the first column of a workload; number of samples and bytes."""
    column = make(name, scale).main
    assert isinstance(column, np.ndarray)
    path.mkdir()
    with Repository(path, exists=False) as repository:
        repository.init("Ann", "ann@example.org")
        with closing(repository.checkout(write=True)) as writer:
            kept = writer.add_ndarray_column("data", column.shape[1:], column.dtype)
            step = max(1, 2**28 // max(1, column[0].nbytes))
            for start in range(0, len(column), step):
                kept.write(range(start, min(start + step, len(column))), column[start : start + step])
            writer.commit("All")
    return len(column), column.nbytes
