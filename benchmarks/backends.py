"""Costs of each backend by size and content of a sample: the table behind the choice in ``hangar/backends/heuristic.py``.

    python benchmarks/backends.py [--megabytes 32] [--repeats 3] [--only WORD]... [--backend NAME]... [--rst]

Each measurement writes new files, and every write ends with a sync; reads have a warm page cache. The backends take turns
within one run, and the least of ``--repeats`` counts. The baseline is one file that is written in one go and synced, and a ``numpy.memmap`` of it.
All other figures are ratios to it: time and processor time of a durable write; speed of a random single get and of a random batch (1 is
as fast as the baseline); size on disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar import Repository

Array: TypeAlias = npt.NDArray[Any]

SIZES = {
    "64 B": 64,
    "1 KB": 1024,
    "16 KB": 16 * 1024,
    "150 KB": 3 * 224 * 224,
    "1 MB": 2**20,
    "4 MB": 2**22,
    "16 MB": 2**24,
}
BATCH = 256
SINGLES = 300
_CHUNK_BYTES = 16 * 1024

BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "10": ("10", {}),
    "00 lz4": ("00", {}),
    "00 lz4 bit": ("00", {"complib": "blosc:lz4", "shuffle": "bit"}),
    "00 zstd": ("00", {"complib": "blosc:zstd", "complevel": 1}),
    "01 lz4": ("01", {}),
    "01 zstd": ("01", {"complib": "blosc:zstd", "complevel": 1}),
    "01 none": ("01", {"complib": None}),
}
DEFAULT = ["10", "00 lz4", "00 zstd", "01 lz4"]


# ------------------------------------------------------------------------------------------------------------ content


def noise(rng: np.random.Generator, count: int, size: int) -> Array:
    """Random bytes: incompressible."""
    return rng.integers(0, 256, (count, size), np.uint8)


def picture(rng: np.random.Generator, count: int, size: int) -> Array:
    """Flat patches; a third of them has noise."""
    flat = np.repeat(rng.integers(0, 256, (count, -(-size // 64)), np.uint8), 64, axis=1)[:, :size]
    flat[:, : size // 3] ^= rng.integers(0, 32, (count, size // 3), np.uint8)
    return np.ascontiguousarray(flat)


def mask(rng: np.random.Generator, count: int, size: int) -> Array:
    """A few classes in runs of some hundred elements."""
    return np.ascontiguousarray(
        np.repeat(rng.integers(0, 4, (count, -(-size // 300)), np.uint8), 300, axis=1)[:, :size]
    )


def scan(rng: np.random.Generator, count: int, size: int) -> Array:
    """float32 like a scanner's: whole numbers, a fifth of them air (zero)."""
    floats = size // 4
    levels = np.repeat(rng.integers(0, 1200, (count, -(-floats // 16))), 16, axis=1)[:, :floats]
    values: Array = (levels + rng.integers(0, 128, (count, floats))).astype(np.float32)
    values[:, : floats // 5] = 0
    return values


def real(rng: np.random.Generator, count: int, size: int) -> Array:
    """float32 like the output of a neural network: hardly compressible."""
    return rng.standard_normal((count, size // 4), np.float32)


def coin(rng: np.random.Generator, count: int, size: int) -> Array:
    """Random bool: compressible to an eighth at best."""
    values: Array = rng.integers(0, 2, (count, size), np.uint8).view(np.bool_)
    return values


CONTENTS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "noise, uint8": noise,
    "picture, uint8": picture,
    "mask, uint8": mask,
    "scan, float32": scan,
    "normal, float32": real,
    "coin, bool": coin,
}


# -------------------------------------------------------------------------------------------------------- measurement


@contextmanager
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=os.environ.get("HANGAR_BENCHMARK_DIRECTORY")))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@dataclass(frozen=True)
class Cost:
    """Seconds of a write, its processor time, seconds of a single get and of a batch, and bytes on disk."""

    write: float
    processor: float
    single: float
    batch: float
    nbytes: float

    def over(self, baseline: Cost) -> list[float]:
        """Multiples of the baseline."""
        costs = self.write / baseline.write, self.processor / baseline.processor
        return [*costs, baseline.single / self.single, baseline.batch / self.batch, self.nbytes / baseline.nbytes]


def timed(function: Callable[[], object], times: int = 1) -> float:
    """The shortest time of a few calls, in seconds."""
    least = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - start)
    return least


def baseline(data: Array, singles: list[int], batch: Array) -> Cost:
    with place() as path:
        file = path / "raw"

        def write() -> None:
            descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
            view, done = data.data.cast("B"), 0
            while done < len(view):
                done += os.write(descriptor, view[done:])
            os.fsync(descriptor)
            os.close(descriptor)

        used = time.process_time()
        written = timed(write)
        used = time.process_time() - used
        mapped = np.memmap(file, data.dtype, "r", shape=data.shape)
        single = timed(lambda: [np.array(mapped[at]) for at in singles], 2) / len(singles)
        gathered = timed(lambda: mapped[batch], 3)
        return Cost(written, used, single, gathered, file.stat().st_size)


def hangar(data: Array, tag: str, options: dict[str, Any], singles: list[int], batch: Array) -> Cost:
    """The costs of a column of Hangar."""
    with place() as path:
        repo = Repository(path, exists=False)
        repo.init("Bench", "bench@example.org")
        writer = repo.checkout(write=True)
        column = writer.add_ndarray_column(
            "data", prototype=data[0], backend=tag, backend_options=options or None, inline=False
        )
        column["first"] = data[0]  # The files and the backend's packages are there when the clock starts.
        keys = list(range(len(data)))
        used = time.process_time()
        written = timed(lambda: column.write(keys, data))
        used = time.process_time() - used
        writer.commit("data")
        writer.close()
        reader = repo.checkout()["data"]
        reader.read(keys[:1])
        single = timed(lambda: [reader[at] for at in singles], 2) / len(singles)
        wanted = batch.tolist()
        gathered = timed(lambda: reader.read(wanted), 3)
        nbytes = sum(file.stat().st_size for file in (path / ".hangar" / "blobs").iterdir())
        repo.close()
        return Cost(written, used, single, gathered, nbytes)


def measure(content: str, size: int, megabytes: int, repeats: int, backends: Sequence[str]) -> dict[str, Cost]:
    """The least of several runs, by backend; ``raw`` is the baseline."""
    rng = np.random.default_rng(size)
    count = min(max(4, megabytes * 10**6 // size), 100_000)
    data = CONTENTS[content](rng, count, size)
    singles = rng.integers(0, count, min(SINGLES, max(8, 2**26 // size))).tolist()
    batch = rng.integers(0, count, max(4, min(BATCH, 2**26 // size)))
    found: dict[str, list[Cost]] = {}
    for _ in range(repeats):
        found.setdefault("raw", []).append(baseline(data, singles, batch))
        for name in _sensible(backends, size):
            found.setdefault(name, []).append(hangar(data, *BACKENDS[name], singles, batch))
    return {name: Cost(*map(min, zip(*map(astuple, costs), strict=True))) for name, costs in found.items()}


def _sensible(backends: Sequence[str], size: int) -> list[str]:
    """Leave out a chunk for each small sample: nobody would ask for it."""
    return [name for name in backends if size >= _CHUNK_BYTES or BACKENDS[name][0] != "01"]


# --------------------------------------------------------------------------------------------------------------- table


def cells(found: dict[str, Cost], backends: Sequence[str]) -> list[str]:
    """The five multiples of each backend."""
    return [
        "  ".join(f"{one:.2f}" for one in found[name].over(found["raw"])) if name in found else "" for name in backends
    ]


def main() -> None:
    """Measure, and print each row of the table when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=32, help="bytes of each column, in 10^6")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="samples whose label contains one of these words")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="may be given more than once")
    parser.add_argument("--rst", action="store_true", help="as a table for the documentation")
    arguments = parser.parse_args()
    backends = arguments.backend or DEFAULT
    labels = {f"{size}, {content}": (content, SIZES[size]) for size in SIZES for content in CONTENTS}
    chosen = [label for label in labels if not arguments.only or any(word in label for word in arguments.only)]
    heading = ["sample", "baseline", *backends]
    print(_row(heading, arguments.rst, first=True), flush=True)
    for label in chosen:
        found = measure(*labels[label], arguments.megabytes, arguments.repeats, backends)
        raw = found["raw"]
        rates = f"{raw.nbytes / raw.write / 1e6:,.0f} MB/s"
        print(_row([label, rates, *cells(found, backends)], arguments.rst), flush=True)


def _row(cells: Sequence[str], rst: bool, first: bool = False) -> str:
    if rst:
        head = (
            ".. list-table:: write, processor time of it, single get, batch, disk\n   :header-rows: 1\n\n"
            if first
            else ""
        )
        return head + "   * - " + "\n     - ".join(cells)
    return "".join(cell.ljust(32 if at != 1 else 12) for at, cell in enumerate(cells)).rstrip()


if __name__ == "__main__":
    main()
