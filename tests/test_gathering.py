"""The compiled kernel and the package give the same checksums, and copy the same bytes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from hangar import gathering
from hangar.gathering import checksum_rows, gather_checked, gather_entries

try:
    from hangar import _gather as kernel
except ImportError:
    WIDTHS: list[str] = []
else:
    WIDTHS = kernel.widths()

POOL = np.random.default_rng(10).integers(0, 256, 200_000, dtype=np.uint8)
SEEDS = (0, 1, 0x9E3779B97F4A7C15, 2**64 - 1)

needs_kernel = pytest.mark.skipif(not WIDTHS, reason="the kernel was not built here")


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> Iterator[str]:
    kernel.choose(request.param)
    yield request.param
    kernel.choose(WIDTHS[0])


@pytest.fixture
def source(tmp_path: Path) -> mmap.mmap:
    path = tmp_path / "file"
    path.write_bytes(POOL.tobytes())
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@pytest.fixture(params=["kernel", "numpy"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(gathering, "KERNEL", False)
    return str(request.param)


def test_the_kernel_is_used_where_it_was_built_and_not_where_it_is_unwanted() -> None:
    code = "from hangar import gathering; print(gathering.KERNEL)"
    for unwanted in ("", "1"):
        environment = {**os.environ, "HANGAR_NO_KERNEL": unwanted, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(bool(WIDTHS) and not unwanted)


@needs_kernel
def test_every_size_at_every_width(width: str) -> None:
    for size in (*range(1_300), 2_047, 2_048, 2_049, 4_096, 65_537):
        rows = np.stack([POOL[:size], POOL[7 : 7 + size]])
        for seed in SEEDS:
            sums = np.empty(2, np.uint64)
            kernel.checksums(rows, sums, seed)
            assert sums.tolist() == [xxh3_64_intdigest(row.tobytes(), seed) for row in rows], (size, seed)


@needs_kernel
@given(data=st.binary(max_size=3_000), seed=st.integers(0, 2**64 - 1))
def test_any_bytes(data: bytes, seed: int) -> None:
    sums = np.empty(1, np.uint64)
    kernel.checksums(np.frombuffer(data, np.uint8), sums, seed)
    assert sums[0] == xxh3_64_intdigest(data, seed)


@pytest.mark.parametrize("size", [0, 1, 5, 16, 100, 240, 784, 5_000, 20_000])
@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_what_is_copied_is_what_lies_there(source: mmap.mmap, either: str, size: int, count: int) -> None:
    offsets = np.random.default_rng(size).integers(0, len(POOL) - size + 1, count).astype(np.uint64)
    expected = np.array([POOL[at : at + size] for at in offsets.tolist()], np.uint8).reshape(count, size)
    checks = checksum_rows(expected, 5)
    assert checks.tolist() == [xxh3_64_intdigest(row.tobytes(), 5) for row in expected]
    rows = np.full((count, size), 7, np.uint8)
    assert gather_checked(source, offsets, checks, rows, 5) == -1
    assert np.array_equal(rows, expected)
    wide = np.zeros((count, 3), np.uint64)
    wide[:, 1] = offsets
    assert gather_checked(source, wide[:, 1], checks, rows, 5) == -1
    for wrong in range(0, count, 77):
        bad = checks.copy()
        bad[wrong] ^= np.uint64(1 << 40)
        assert gather_checked(source, offsets, bad, rows, 5) == wrong
        assert gather_checked(source, offsets, checks, rows, 6) == 0 if size else True


@pytest.mark.parametrize("size", [0, 5, 100, 784, 5_000])
def test_entries_of_a_table(source: mmap.mmap, either: str, size: int) -> None:
    """Each checksum stands in the table combined with its position, so an entry at another one fails."""
    rng = np.random.default_rng(size)
    offsets = np.sort(rng.integers(0, len(POOL) - size + 1, 200).astype(np.uint64))
    offsets[50:60] = offsets[50] + np.arange(10, dtype=np.uint64) * np.uint64(size)
    whole = np.array([POOL[at : at + size] for at in offsets.tolist()], np.uint8).reshape(200, size)
    checks = checksum_rows(whole, 5) ^ np.arange(200, dtype=np.uint64)
    for positions in (range(0), range(200), range(45, 70), rng.integers(0, 200, 300), np.empty(0, np.int64)):
        rows = np.full((len(positions), size), 7, np.uint8)
        assert gather_entries(source, offsets, checks, positions, rows, 5) == -1
        assert np.array_equal(rows, whole[np.array(positions, np.int64)])
    rows = np.empty((2, size), np.uint8)
    checks[[3, 4]], offsets[[3, 4]] = checks[[4, 3]], offsets[[4, 3]]
    assert gather_entries(source, offsets, checks, np.array([2, 3]), rows, 5) == 1
    if size:
        offsets[9] = 2**63
        assert gather_entries(source, offsets, checks, np.array([9, 2]), rows, 5) == 0
        assert gather_entries(source, offsets, checks, range(8, 10), rows, 5) == 1


@needs_kernel
def test_a_position_that_the_table_does_not_have(source: mmap.mmap) -> None:
    offsets, rows = np.zeros(3, np.uint64), np.empty((1, 9), np.uint8)
    checks = np.full(3, xxh3_64_intdigest(POOL[:9].tobytes(), 0), np.uint64) ^ np.arange(3, dtype=np.uint64)
    assert kernel.gather_table(source, offsets, checks, np.array([2]), 1, rows, 0) == -1
    for far in (3, -1, 2**62, -(2**63)):
        assert kernel.gather_table(source, offsets, checks, np.array([far]), 1, rows, 0) == 0
        assert kernel.gather_table(source, offsets, checks, far, 1, rows, 0) == 0
    two: Any = np.array([1, 2])
    for some, positions, count in ((offsets[:2], 0, 1), (offsets, two, 1), (offsets, 0, -1)):
        with pytest.raises(ValueError, match="do not match"):
            kernel.gather_table(source, some, checks, positions, count, rows, 0)
    # Eight times the count is beyond 64 bits, and comes out as the length of no positions at all.
    with pytest.raises(ValueError, match="do not match"):
        kernel.gather_table(source, offsets, checks, np.empty(0, np.int64), 2**61, np.empty(0, np.uint8), 0)


@needs_kernel
def test_nothing_is_read_behind_the_end(source: mmap.mmap) -> None:
    rows, checks = np.empty((2, 100), np.uint8), np.zeros(2, np.uint64)
    checks[0] = xxh3_64_intdigest(POOL[:100].tobytes(), 0)
    for far in (len(POOL) - 99, len(POOL), 2**40, 2**64 - 1):
        assert kernel.gather(source, np.array([0, far], np.uint64), checks, rows, 0) == 1
    with pytest.raises(ValueError, match="do not match"):
        kernel.gather(source, np.zeros(3, np.uint64), checks, rows, 0)
    with pytest.raises(ValueError, match="do not match"):
        kernel.gather(POOL[:50], np.zeros(2, np.uint64), checks, rows, 0)
    with pytest.raises(ValueError, match="do not match"):
        kernel.checksums(rows, np.empty(3, np.uint64), 0)
    with pytest.raises(ValueError, match="no 'abacus'"):
        kernel.choose("abacus")


@needs_kernel
def test_other_threads_run_while_it_copies(source: mmap.mmap) -> None:
    offsets = np.random.default_rng(0).integers(0, len(POOL) - 4_000, 8_000).astype(np.uint64)
    rows = np.empty((8_000, 4_000), np.uint8)
    checks = np.zeros(8_000, np.uint64)
    failures: list[int] = []

    def work() -> None:
        mine = np.empty((500, 784), np.uint8)
        expected = checksum_rows(POOL[: 784 * 500 // 4].repeat(4).reshape(500, 784), 3)
        for _ in range(20):
            mine[:] = POOL[: 784 * 500 // 4].repeat(4).reshape(500, 784)
            failures.extend(np.flatnonzero(checksum_rows(mine, 3) != expected).tolist())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for at in range(0, 8_000, 1_000):
        checks[at : at + 1_000] = checksum_rows(
            np.stack([POOL[o : o + 4_000] for o in offsets[at : at + 1_000].tolist()]), 1
        )
    assert gather_checked(source, offsets, checks, rows, 1) == -1
    for thread in threads:
        thread.join()
    assert not failures


@needs_kernel
def test_a_kernel_that_does_not_agree_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_checksums", kernel.checksums, raising=False)
    assert gathering._agrees()

    def wrong(rows: np.ndarray, sums: np.ndarray, seed: int) -> None:
        kernel.checksums(rows, sums, seed)
        sums[-1] ^= np.uint64(rows.shape[1] == 241)

    monkeypatch.setattr(gathering, "_checksums", wrong)
    assert not gathering._agrees()
