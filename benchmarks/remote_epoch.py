"""An epoch of a data set over a fresh partial clone: fetched for each batch, fetched ahead, or fetched before the epoch.

    python -m benchmarks.remote_epoch [--samples 20000] [--rounds 3]

The samples are arrays of 784 bytes, read in random order in batches of 256. The server is a process of its own, over loopback.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

from benchmarks.remote_common import fill, server
from hangar import Repository, make_numpy_dataset
from hangar.dataset.selection import Selection

SCALE_SAMPLES = 100_000


def epoch(path: Path, *, ahead: bool = True) -> None:
    """One pass, through a checkout that is closed at its end."""
    with Repository(path) as repository, closing(repository.checkout(branch="master", fetch_on_read=True)) as reader:
        data = make_numpy_dataset(reader["data"], batch_size=256)
        # A selection that says that nothing is missing is not fetched ahead.
        with mock.patch.object(Selection, "begin", Selection.begin if ahead else lambda _: False):
            for _ in data:
                pass


def fetch_first(path: Path) -> None:
    with Repository(path) as repository:
        repository.remote.fetch_data("origin", branch="origin/master")
    epoch(path)


WAYS: dict[str, Callable[[Path], None]] = {
    "fetched for each batch": lambda path: epoch(path, ahead=False),
    "fetched ahead": epoch,
    "fetch-data, then an epoch": fetch_first,
}


def clones(directory: Path, address: str) -> Iterator[Path]:
    """Fresh partial clones."""
    number = 0
    while True:
        path = directory / f"clone-{number}"
        path.mkdir()
        with Repository(path, exists=False) as repository:
            repository.clone("Bob", "bob@example.org", address)
        yield path
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
        count, _ = fill(Path(directory) / "source", "small", SCALE_SAMPLES // options.samples)
        with server(Path(directory) / "source") as (address, _):
            fresh = clones(Path(directory), address)
            for _ in range(options.rounds):
                for name, run in WAYS.items():
                    path = next(fresh)
                    cpu, begun = time.process_time(), time.perf_counter()
                    run(path)
                    seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
                    begun = time.perf_counter()
                    epoch(path)
                    again = time.perf_counter() - begun
                    print(
                        f"{name:26} {count / seconds:9,.0f} samples/s, CPU of the client {spent:5.2f} s; "
                        f"a second epoch {count / again:9,.0f} samples/s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
