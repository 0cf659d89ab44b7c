"""Build a repository of many commits over many samples, and measure fsck on it.

``python -m benchmarks.long_history DIRECTORY`` builds it: by default 1,000 commits over 1,000,000 labels and 5,000 blobs, on
several branches. ``--measure`` then runs ``hangar fsck`` and ``hangar fsck --data`` on it, each in a process of its own, and
prints their time and peak memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from hangar import Repository

__all__ = ["build", "measure"]

CHANGES = 10
"""Labels that each commit changes."""
BLOB_BYTES = 784
BRANCHES = 5


def build(directory: Path, commits: int = 1_000, samples: int = 1_000_000, blobs: int = 5_000) -> None:
    """Build the repository.

    Parameters
    ----------
    directory
        An empty directory.
    commits
        Number of commits. Each changes 10 labels, every tenth also replaces 5 blobs; they are spread over ``master`` and
        four more branches, which leave it one after another.
    samples
        Number of labels, which are values in the tree.
    blobs
        Number of arrays of 784 bytes.
    """
    source = np.random.default_rng(0)
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    label = writer.add_ndarray_column("label", (), np.int64)
    label.write(range(samples), np.arange(samples))
    image = writer.add_ndarray_column("image", (BLOB_BYTES,), np.uint8)
    image.write(range(blobs), source.integers(0, 256, (blobs, BLOB_BYTES), np.uint8))
    writer.commit("All samples")
    writer.close()
    share = (commits - 1) // BRANCHES
    for number, name in enumerate(["master", *(f"branch-{i}" for i in range(1, BRANCHES))]):
        if number:
            repo.create_branch(name, f"master~{number * 3 * share // (4 * BRANCHES)}")
        last = commits - 1 - share * (BRANCHES - 1) if not number else share
        _commit(repo, name, last, samples, blobs, source)
    repo.close()


def _commit(repo: Repository, branch: str, commits: int, samples: int, blobs: int, source: np.random.Generator) -> None:
    writer = repo.checkout(write=True, branch=branch)
    label, image = writer["label"], writer["image"]
    for number in range(commits):
        keys = source.choice(samples, min(CHANGES, samples), replace=False)
        label.write(keys.tolist(), source.integers(0, 2**40, len(keys)))
        if number % 10 == 0 and blobs:
            some = source.choice(blobs, min(5, blobs), replace=False)
            image.write(some.tolist(), source.integers(0, 256, (len(some), BLOB_BYTES), np.uint8))
        writer.commit(f"Change {number} of {branch}")
    writer.close()


def measure(directory: Path, *words: str) -> tuple[float, float, int]:
    """Run ``hangar`` with some words in the repository: seconds, peak memory in MiB, exit code."""
    began = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "hangar", "-C", str(directory), *words], {**os.environ})
    _, status, usage = os.wait4(pid, 0)
    return time.perf_counter() - began, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--blobs", type=int, default=5_000)
    parser.add_argument("--measure", action="store_true", help="also run hangar fsck, with and without --data")
    given = parser.parse_args()
    if not (given.directory / ".hangar").exists():
        given.directory.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        build(given.directory, given.commits, given.samples, given.blobs)
        print(f"built in {time.perf_counter() - began:.1f} s")
    if given.measure:
        for words in (["log", "--oneline"], ["fsck"], ["fsck", "--data"]):
            seconds, memory, code = measure(given.directory, *words)
            print(f"hangar {' '.join(words)}: {seconds:.1f} s, {memory:.0f} MiB, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
