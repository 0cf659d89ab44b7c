"""Costs of writing values that are stored already: hashing them, and verifying the stored bytes.

    python benchmarks/duplicates.py [--scale 1] [--repeats 5]

Every kind of data is written once and then again under other keys, by the same writer and by one that is opened anew. Each figure ends with the
acknowledged write, and is the best of ``--repeats``. The baseline is hashing alone: finding a duplicate cannot cost less.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hangar import Repository
from hangar.digest import NDARRAY, Header, blob_digests

KINDS = {
    "100,000 x 784 bytes": (100_000, (784,)),
    "2,000 x 150 KB": (2_000, (150_000,)),
    "24 x 16 MB": (24, (16, 2**20)),
}
TAGS = {"100,000 x 784 bytes": ("10", "00"), "2,000 x 150 KB": ("10", "00"), "24 x 16 MB": ("10", "00", "01")}


def values(count: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Numbers that lz4 compresses to about half."""
    rng = np.random.default_rng(0)
    made: npt.NDArray[np.uint8] = rng.integers(0, 256, (count, *shape), np.uint8)
    np.bitwise_and(made, rng.choice(np.array([3, 15, 255], np.uint8), made.shape), out=made)
    return made


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(directory: Path, tag: str, batch: npt.NDArray[np.uint8]) -> tuple[float, float, float]:
    """Seconds to write a batch, to write it again, and to write it again by a writer that was just opened."""
    directory.mkdir()
    repo = Repository(directory, exists=False)
    repo.init("Ann", "ann@example.org")
    count = len(batch)

    def write(column: Any, turn: int) -> float:
        return timed(lambda: column.write(range(turn * count, (turn + 1) * count), batch))

    with closing(repo.checkout(write=True)) as writer:
        column = writer.add_ndarray_column("data", batch.shape[1:], np.uint8, backend=tag)
        first, again = write(column, 0), write(column, 1)
        writer.commit("values")
    with closing(Repository(directory).checkout(write=True)) as writer:
        other = write(writer["data"], 2)
    return first, again, other


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1, help="fraction of the values")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'values':22} {'backend':8} {'hash':>8} {'first':>8} {'again':>8} {'reopened':>9}   seconds")
    for name, (count, shape) in KINDS.items():
        batch = values(max(1, int(count * options.scale)), shape)
        rows = batch.reshape(len(batch), -1)
        header = Header(NDARRAY, 6, batch.shape[1:])
        hashing = min(timed(lambda: blob_digests(header, rows)) for _ in range(options.repeats))  # noqa: B023
        for tag in TAGS[name]:
            best = [float("inf")] * 3
            for _ in range(options.repeats):
                where = Path(tempfile.mkdtemp())
                try:
                    best = list(map(min, best, measure(where / "r", tag, batch)))
                finally:
                    shutil.rmtree(where)
            print(f"{name:22} {tag:8} {hashing:8.3f} {best[0]:8.3f} {best[1]:8.3f} {best[2]:9.3f}", flush=True)


if __name__ == "__main__":
    main()
