"""Hangar beside a raw numpy memmap and raw LMDB, on the same data in one run: one table.

    python benchmarks/foundation.py [--quick]

Reads have a warm page cache; every write ends with a sync of every file written, and makes new files each time. Figures are medians. ``small`` is 100,000
samples (28, 28) uint8, compressible about twofold, with 100,000 int64 labels; ``labels`` is 1,000,000 int64 scalars.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from hangar import Repository

Rows = list[tuple[str, str, str, str, str]]


def clock(function: Callable[[], object], repeats: int) -> float:
    """Median seconds of ``function``."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@contextmanager
def directory() -> Any:
    path = Path(tempfile.mkdtemp(dir=os.environ.get("HANGAR_BENCHMARK_DIRECTORY")))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def small_data(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 16, (count, 28, 28), np.uint8) * 16, rng.integers(0, 10, count)


class Memmap:
    """The floor: one file of rows, written at once and synced, read by a map. No names, no checks, no history."""

    name = "memmap"

    def write(self, path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        for name, array in (("images", images), ("labels", labels)):
            descriptor = os.open(path / name, os.O_CREAT | os.O_WRONLY | os.O_EXCL)
            view = memoryview(array).cast("B")
            done = 0
            while done < len(view):
                done += os.write(descriptor, view[done:])
            os.fsync(descriptor)
            os.close(descriptor)
        self._shape = images.shape

    def open(self, path: Path) -> None:
        self._map = np.memmap(path / "images", np.uint8, "r", shape=self._shape)

    def get(self, key: int) -> Any:
        return np.array(self._map[key])

    def batch(self, keys: np.ndarray[Any, Any]) -> Any:
        return self._map[keys]


class Lmdb:
    """One row a sample, in one synced transaction."""

    name = "LMDB"

    def write(self, path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        environment = lmdb.open(str(path / "db"), map_size=2**32, max_dbs=2)
        tables = [environment.open_db(name) for name in (b"images", b"labels")]
        with environment.begin(write=True) as transaction:
            for table, array in zip(tables, (images, labels), strict=True):
                rows = array.reshape(len(array), -1).view(np.uint8)
                items = [(i.to_bytes(8, "big"), row.tobytes()) for i, row in enumerate(rows)]
                transaction.cursor(table).putmulti(items, append=True)
        environment.close()
        self._shape = images.shape[1:]

    def open(self, path: Path) -> None:
        self._environment = lmdb.open(str(path / "db"), map_size=2**32, max_dbs=2, readonly=True)
        self._table = self._environment.open_db(b"images", create=False)

    def get(self, key: int) -> Any:
        with self._environment.begin(self._table) as transaction:
            return np.frombuffer(bytearray(transaction.get(key.to_bytes(8, "big"))), np.uint8).reshape(self._shape)

    def batch(self, keys: np.ndarray[Any, Any]) -> Any:
        with self._environment.begin(self._table) as transaction:
            rows = [transaction.get(key.to_bytes(8, "big")) for key in keys.tolist()]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(keys), *self._shape)


class Hangar:
    """Hashed, deduplicated, checksummed, committed."""

    name = "hangar"

    def write(self, path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        writer = self._prepared.pop(path)
        with writer:
            writer["images"].write(range(len(images)), images)
            writer["labels"].write(range(len(labels)), labels)
            writer.commit("all")
        writer.close()

    def __init__(self) -> None:
        self._prepared: dict[Path, Any] = {}

    def prepare(self, path: Path) -> None:
        repo = Repository(path, exists=False)
        repo.init("bench", "bench@example.org")
        writer = repo.checkout(write=True)
        writer.add_ndarray_column("images", (28, 28), np.uint8)
        writer.add_ndarray_column("labels", (), np.int64)
        self._prepared[path] = writer

    def open(self, path: Path) -> None:
        self._column = Repository(path).checkout()["images"]

    def get(self, key: int) -> Any:
        return self._column[key]

    def batch(self, keys: np.ndarray[Any, Any]) -> Any:
        return self._column.read(keys)


def small(count: int, repeats: int) -> Rows:
    images, labels = small_data(count)
    rng = np.random.default_rng(1)
    singles = rng.permutation(count)[:20_000].tolist()
    batches = [rng.permutation(count)[:256] for _ in range(200)]
    ingest: dict[str, list[float]] = {}
    figures: dict[str, dict[str, float]] = {}
    peers: list[Any] = [Memmap(), Lmdb(), Hangar()]
    for turn in range(repeats):
        for peer in peers:
            with directory() as path:
                if hasattr(peer, "prepare"):
                    peer.prepare(path)
                start = time.perf_counter()
                peer.write(path, images, labels)
                ingest.setdefault(peer.name, []).append(time.perf_counter() - start)
                if turn == repeats - 1:
                    figures[peer.name] = read(peer, path, images, singles, batches)
    rows: Rows = []
    floor = statistics.median(ingest["memmap"])
    row = [f"{statistics.median(ingest[peer.name]) * 1e3:.0f} ms" for peer in peers]
    rows.append(("small: durable ingest", *row, f"{statistics.median(ingest['hangar']) / floor:.1f}x floor"))  # type: ignore[arg-type]
    for what, unit in (("single get", "k/s"), ("batch of 256", "k/s"), ("disk", "MB")):
        values = [figures[peer.name][what] for peer in peers]
        row = [f"{value:,.0f} {unit}" for value in values]
        rows.append((f"small: {what}", *row, f"{values[2] / values[0]:.2f}x floor"))  # type: ignore[arg-type]
    return rows


def read(
    peer: Any, path: Path, images: np.ndarray[Any, Any], singles: list[int], batches: list[np.ndarray[Any, Any]]
) -> dict[str, float]:
    peer.open(path)
    assert np.array_equal(peer.batch(batches[0]), images[batches[0]])
    assert np.array_equal(peer.get(singles[0]), images[singles[0]])

    def get_all() -> None:
        for key in singles:
            peer.get(key)

    def read_all() -> None:
        for keys in batches:
            peer.batch(keys)

    get_all()
    read_all()
    return {
        "single get": len(singles) / clock(get_all, 5) / 1e3,
        "batch of 256": 256 * len(batches) / clock(read_all, 5) / 1e3,
        "disk": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6,
    }


def labels(count: int, name: str) -> Rows:
    rng = np.random.default_rng(2)
    with directory() as path:
        repo = Repository(path, exists=False)
        repo.init("bench", "bench@example.org")
        writer = repo.checkout(write=True)
        column = writer.add_ndarray_column("n", (), np.int64)
        start = time.perf_counter()
        column.write(range(count), rng.integers(0, 10, count))
        first = writer.commit("all")
        filled = time.perf_counter() - start
        size = repo.size_nbytes

        def change() -> None:
            with writer:
                column.write(rng.choice(count, 100, replace=False), rng.integers(0, 2**40, 100))
                writer.commit("100 changed")

        commit = clock(change, 31)
        grown = (repo.size_nbytes - size) / 31
        writer.close()
        names = iter(f"b{i}" for i in range(100))
        branch = clock(lambda: repo.create_branch(next(names)), 31)
        opened = clock(lambda: repo.checkout(commit=first)["n"][count // 2], 31)
        empty = ("", "")
        return [
            (f"{name}: fill", *empty, f"{filled * 1e3:,.0f} ms", ""),
            (f"{name}: commit 100 random changes", *empty, f"{commit * 1e3:.1f} ms", f"{grown / 1e6:.2f} MB on disk"),
            (f"{name}: branch", *empty, f"{branch * 1e3:.2f} ms", ""),
            (f"{name}: open an old commit, read a sample", *empty, f"{opened * 1e3:.2f} ms", ""),
        ]


def start_up() -> Rows:
    with directory() as path:
        Repository(path, exists=False).init("bench", "bench@example.org")

        def run(*command: str) -> Callable[[], object]:
            return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=path)

        bare = clock(run("-c", "pass"), 15)
        base = clock(run("-c", "import numpy"), 15)
        package = clock(run("-c", "import hangar"), 15)
        status = clock(run("-m", "hangar", "status"), 15)
    rows: Rows = [("start: python alone", "", "", f"{bare * 1e3:.0f} ms", "")]
    for name, seconds in (("import numpy", base), ("import hangar", package), ("hangar status", status)):
        rows.append((f"start: {name}", "", "", f"{seconds * 1e3:.0f} ms", f"{seconds / base:.2f}x import numpy"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the data: to see that it runs")
    quick = parser.parse_args().quick
    scale = 10 if quick else 1
    rows: Rows = [("", "memmap", "LMDB", "hangar", "")]
    rows += small(100_000 // scale, 2 if quick else 7)
    rows += labels(10_000, "labels-10k") + labels(1_000_000 // scale, "labels-1M")
    rows += start_up()
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
