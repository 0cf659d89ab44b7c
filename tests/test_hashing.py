"""The compiled kernel and the package give the same digests, whatever the sizes, numbers and places of the inputs."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from hangar import hashing
from hangar.hashing import hash_list, hash_rows

try:
    from hangar import _kernel as kernel
except ImportError:
    WIDTHS: list[str] = []
else:
    WIDTHS = kernel.widths()

KEY = bytes(range(32))
POOL = np.random.default_rng(10).integers(0, 256, 200_000, dtype=np.uint8)

needs_kernel = pytest.mark.skipif(not WIDTHS, reason="the kernel was not built here")


def expected(inputs: Any) -> list[bytes]:
    return [blake3(one, key=KEY).digest() for one in inputs]


def in_lanes(rows: npt.NDArray[np.uint8], threads: int = 1) -> list[bytes]:
    digests = np.full((len(rows), 32), 7, np.uint8)
    kernel.hash_rows(KEY, rows, digests, threads)
    return [digest.tobytes() for digest in digests]


def list_in_lanes(inputs: list[bytes], threads: int = 1) -> tuple[list[bytes], list[int]]:
    joined, left = kernel.hash_list(KEY, inputs, threads)
    return [joined[at : at + 32] for at in range(0, len(joined), 32)], left


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> Iterator[str]:
    kernel.choose(request.param)
    yield request.param
    kernel.choose(WIDTHS[0])


def test_the_kernel_is_used_where_it_was_built_and_not_where_it_is_unwanted() -> None:
    code = "from hangar import hashing; print(hashing.KERNEL)"
    for unwanted in ("", "1"):
        environment = {**os.environ, "HANGAR_NO_KERNEL": unwanted, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(bool(WIDTHS) and not unwanted)
    assert (bool(WIDTHS) and not os.environ.get("HANGAR_NO_KERNEL")) == hashing.KERNEL


@pytest.mark.skipif(
    not os.environ.get("HANGAR_TEST_WHEEL") or not shutil.which("cc"), reason="no wheel of a machine with a compiler"
)
def test_the_kernel_is_built_where_a_compiler_is() -> None:
    assert WIDTHS


@pytest.mark.parametrize("count", [0, 1, 3, 4, 15, 16, 17, 100])
@pytest.mark.parametrize("size", [0, 1, 784, 1_024, 1_025, 16_384, 16_385])
def test_rows(size: int, count: int) -> None:
    rows = np.resize(POOL, (count, size))
    digests = hash_rows(KEY, rows)
    assert digests.shape == (count, 32)
    assert digests.dtype == np.uint8
    assert [digest.tobytes() for digest in digests] == expected(row.tobytes() for row in rows)


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_500])
def test_lists(count: int) -> None:
    rng = random.Random(count)
    inputs = [rng.randbytes(rng.choice([0, 1, 63, 64, 65, rng.randrange(5_000)])) for _ in range(count)]
    if count > 1_000:
        inputs[7], inputs[1_001] = rng.randbytes(65_537), rng.randbytes(100_000)
    assert hash_list(KEY, inputs) == expected(inputs)
    assert hash_list(KEY, [memoryview(one) for one in inputs]) == expected(inputs)
    assert hash_list(KEY, [*inputs, bytearray(b"other")]) == expected([*inputs, b"other"])


def test_work_for_several_threads() -> None:
    rows = np.resize(POOL, (5_001, 777))
    assert [digest.tobytes() for digest in hash_rows(KEY, rows)] == expected(row.tobytes() for row in rows)
    inputs = [row.tobytes()[at % 700 :] for at, row in enumerate(rows)]
    assert hash_list(KEY, inputs) == expected(inputs)


@needs_kernel
def test_every_size_up_to_a_chunk_and_those_around_the_steps_of_the_tree(width: str) -> None:
    steps = [base + off for base in range(0, 8_193, 64) for off in (-1, 0, 1)]
    sizes = {*range(1_101), *(size for size in steps if size >= 0), 3 * 16_384 + 1, 65_535, 65_536}
    for size in sorted(sizes):
        rows = np.lib.stride_tricks.as_strided(POOL, (3, size), (1_001, 1))
        assert in_lanes(rows) == expected(row.tobytes() for row in rows), size


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_any_number_of_rows_over_any_number_of_threads(width: str, threads: int) -> None:
    for count in [*range(70), 127, 128, 129, 1_023, 1_025]:
        rows = np.resize(POOL, (count, 65))
        assert in_lanes(rows, threads) == expected(row.tobytes() for row in rows), count


@needs_kernel
def test_rows_at_any_address_and_distance(width: str) -> None:
    for start in range(17):
        rows = POOL[start : start + 18 * 200].reshape(18, 200)
        assert in_lanes(rows) == expected(row.tobytes() for row in rows)
    square = POOL[:10_000].reshape(100, 100)
    for rows in (square[::3, 5:70], square[::-1], np.broadcast_to(square[0], (20, 100)), square[:, :1], square[:, :0]):
        assert in_lanes(rows) == expected(row.tobytes() for row in rows)
    for rows in (square[:, ::2], square[:, ::-1], np.asfortranarray(square)):
        assert [digest.tobytes() for digest in hash_rows(KEY, rows)] == expected(row.tobytes() for row in rows)


@needs_kernel
@given(data=st.data())
def test_random_lists(data: st.DataObject) -> None:
    kernel.choose(data.draw(st.sampled_from(WIDTHS)))
    sizes = data.draw(st.lists(st.integers(0, 300) | st.integers(0, 9_000), max_size=60))
    inputs = [POOL[at : at + size].tobytes() for at, size in enumerate(sizes)]
    digests, left = list_in_lanes(inputs, data.draw(st.integers(1, 5)))
    kernel.choose(WIDTHS[0])
    assert left == []
    assert digests == expected(inputs)


@needs_kernel
def test_what_is_too_long_is_left_to_the_caller() -> None:
    inputs = [bytes(65_537), b"short", bytes(kernel.MAX_BYTES), bytes(10**6)]
    digests, left = list_in_lanes(inputs)
    assert left == [0, 3]
    assert [digests[1], digests[2]] == expected([inputs[1], inputs[2]])
    with pytest.raises(ValueError, match="at most 65536"):
        in_lanes(np.zeros((2, 65_537), np.uint8))


@needs_kernel
def test_what_is_not_right_is_refused() -> None:
    rows, digests = np.zeros((4, 8), np.uint8), np.zeros((4, 32), np.uint8)
    wrong: list[tuple[Any, ...]] = [
        (KEY[:31], rows, digests, 1),
        (KEY, rows, digests, 0),
        (KEY, rows, digests, 65),
        (KEY, rows[0], digests, 1),
        (KEY, rows.view(np.uint16), digests, 1),
        (KEY, rows[:, ::2], digests, 1),
        (KEY, rows, digests[:3], 1),
        (KEY, rows, np.zeros((4, 31), np.uint8), 1),
        (KEY, rows, np.zeros((4, 64), np.uint8)[:, ::2], 1),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"."):
            kernel.hash_rows(*arguments)
    digests.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernel.hash_rows(KEY, rows, digests, 1)
    for inputs in (["text"], [bytearray(3)], 5):
        with pytest.raises(TypeError):
            kernel.hash_list(KEY, inputs, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no 'abacus'"):
        kernel.choose("abacus")


@needs_kernel
def test_a_kernel_that_does_not_agree_is_not_used() -> None:
    assert hashing._agrees(kernel.hash_list)

    def wrong(key: bytes, inputs: Any, threads: int) -> tuple[bytes, list[int]]:
        joined, left = kernel.hash_list(key, inputs, threads)
        return bytes(32) + joined[32:], left

    assert not hashing._agrees(wrong)


@needs_kernel
def test_other_threads_run_meanwhile() -> None:
    """The interpreter's lock is released: two calls at once, and each is right."""
    rows = np.resize(POOL, (3_000, 1_000))
    results: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: results.append(in_lanes(rows))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected(row.tobytes() for row in rows)] * 4
