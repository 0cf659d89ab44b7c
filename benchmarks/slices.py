"""Chunked arrays beside raw h5py with the same chunks and codec: ``python -m benchmarks.slices [VOLUMES]``.

Volumes (64, 256, 256) of float32 as in the workload ``large``: whole volumes written and read, random slices of 2 x 64 x 64 read,
and one slice of one volume changed and committed. Each figure is the best of several rounds, in seconds of the clock and of the
processor: on a busy machine only the latter can be compared.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from benchmarks.workloads import _large
from hangar import Repository

SLICES = 2_000
ROUNDS = 3
CACHE_BYTES = 64 * 2**20
"""Chunk cache of HDF5, as large as Hangar's."""
CODECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({"backend": "10"}, {}),
    "blosc:lz4": (
        {"backend": "01", "backend_options": {"complib": "blosc:lz4", "complevel": 5, "shuffle": "byte"}},
        dict(hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)),
    ),
}
CHUNKS = ((4, 256, 256), (8, 64, 64))

Seconds = tuple[float, float]


def best(run: Callable[[], object], rounds: int = ROUNDS) -> Seconds:
    """The least seconds of the clock and of the processor."""
    found: list[Seconds] = []
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(clock for clock, _ in found), min(processor for _, processor in found)


def name_of(measure: str, chunks: tuple[int, ...], codec: str) -> str:
    """Name of a measure in the table of figures."""
    return f"chunks {chunks} {codec}: {measure}, to h5py"


def compare(volumes: np.ndarray[Any, Any], chunks: tuple[int, int, int], codec: str, place: Path) -> dict[str, float]:
    """Measure one shape of chunks with one codec, print a line for each measure, and return the ratios by the clock."""
    found: dict[str, float] = {}
    ours, theirs = CODECS[codec]
    count = len(volumes)
    repo = Repository(place, exists=False)
    repo.init("Benchmark", "benchmark@example.org")
    writer = repo.checkout(write=True)
    column = writer.add_chunked_column("volumes", np.float32, chunks, **ours)
    column[count] = volumes[0, :8] + 1  # what is imported on first use is no part of a measure

    def write() -> None:
        with writer:
            for i, volume in enumerate(volumes):
                column[i] = volume
        writer.commit("volumes")

    def write_h5py() -> None:
        with h5py.File(place / "data.h5", "w") as file:
            data = file.create_dataset("v", volumes.shape, np.float32, chunks=(1, *chunks), **theirs)
            for i, volume in enumerate(volumes):
                data[i] = volume
            file.flush()
            os.fsync(file.id.get_vfd_handle())

    row(found, "whole volumes written", best(write, 1), best(write_h5py, 1), chunks, codec)
    numbers = iter(range(1, 100))

    def change() -> None:
        column[0][10, 5:20, 5:20] = next(numbers) + 0.5
        writer.commit("one slice")

    print(
        f"{chunks} {codec}: one changed slice, written and committed: {best(change, 10)[0] * 1e3:.1f} ms",
        file=sys.stderr,
    )
    writer.close()
    reader = repo.checkout()["volumes"]
    arrays = [reader[i] for i in range(count)]
    data = h5py.File(place / "data.h5", "r", rdcc_nbytes=CACHE_BYTES, rdcc_nslots=20_011)["v"]
    random = np.random.default_rng(0)
    places = [tuple(map(int, random.integers(0, (count, 62, 192, 192)))) for _ in range(SLICES)]
    row(
        found,
        "slices of 2 x 64 x 64",
        best(lambda: [arrays[n][a : a + 2, b : b + 64, c : c + 64] for n, a, b, c in places]),
        best(lambda: [data[n, a : a + 2, b : b + 64, c : c + 64] for n, a, b, c in places]),
        chunks,
        codec,
    )
    row(
        found,
        "whole volumes read",
        best(lambda: [array[...] for array in arrays[:16]]),
        best(lambda: [data[i] for i in range(min(16, count))]),
        chunks,
        codec,
    )
    repo.close()
    return found


def row(
    found: dict[str, float], what: str, hangar: Seconds, other: Seconds, chunks: tuple[int, ...], codec: str
) -> None:
    """Print one comparison: how many times as fast as h5py."""
    ratios = found[name_of(what, chunks, codec)], _ = [
        theirs / ours for ours, theirs in zip(hangar, other, strict=True)
    ]
    print(
        f"{chunks} {codec}: {what}: hangar {hangar[0]:.3f} s, h5py {other[0]:.3f} s; "
        f"{ratios[0]:.2f}x of h5py by the clock, {ratios[1]:.2f}x by processor time",
        file=sys.stderr,
    )


def figures(count: int) -> dict[str, float | str]:
    """All comparisons with so many volumes: how many times as fast as h5py by the clock."""
    volumes: Any = _large(64 // count).columns["volumes"]
    found: dict[str, float | str] = {}
    for chunks in CHUNKS:
        for codec in CODECS:
            with tempfile.TemporaryDirectory() as place:
                found |= compare(volumes, chunks, codec, Path(place))
    return found


def main() -> None:
    """Run all comparisons."""
    figures(int(sys.argv[1]) if len(sys.argv) > 1 else 64)


if __name__ == "__main__":
    main()
