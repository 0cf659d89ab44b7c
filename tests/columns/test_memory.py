"""A large sample takes its own size to read, and not twice as much: measured as the peak of a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository

MIB = 2**20
SIZE = 96 * MIB

_READ = """
import sys
from hangar import Repository

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024

column = Repository(sys.argv[1]).checkout()[sys.argv[2]]
column[0]
before = peak()
found = column[1] if sys.argv[3] == "one" else column.read([1])
print(peak() - before, found.nbytes, int(found.reshape(-1)[-1]))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("large")
    repo = Repository(made, exists=False)
    repo.init("Ada", "ada@example.org")
    large = np.random.default_rng(0).integers(0, 256, (SIZE,), np.uint8)
    writer = repo.checkout(write=True)
    for tag in ("10", "00", "01"):
        column = writer.add_ndarray_column(f"x{tag}", (SIZE,), np.uint8, variable_shape=tag != "01", backend=tag)
        column[0] = large[:1000] if tag != "01" else np.zeros(SIZE, np.uint8)
        column[1] = large
    writer.commit("large")
    writer.close()
    repo.close()
    return made


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("how", ["one", "batch"])
@pytest.mark.parametrize("tag", ["10", "00", "01"])
def test_a_large_sample_is_read_into_its_result(path: Path, tag: str, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path), f"x{tag}", how], capture_output=True, text=True, check=True
    )
    taken, size, last = map(int, done.stdout.split())
    assert size == SIZE
    assert last == np.random.default_rng(0).integers(0, 256, (SIZE,), np.uint8)[-1]
    assert taken <= 1.25 * SIZE, f"{taken / MIB:.0f} MiB for {SIZE / MIB:.0f}"
