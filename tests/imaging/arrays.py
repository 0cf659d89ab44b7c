"""Arrays to make images of, and what is the same in every test of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hangar import external

Array = np.ndarray[Any, Any]
HEIGHT, WIDTH = 5, 13  # no multiple of the pixels in a byte


def samples(bits: int, channels: int = 1, kind: str = "u") -> Array:
    """Values over the whole range, its ends among them."""
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    random = np.random.default_rng(bits * 10 + channels)
    if kind == "f":
        return random.normal(0, 1e4, shape).astype(f"f{bits // 8}")
    low, high = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    values = random.integers(low, high, shape, dtype=np.int64 if bits < 64 or kind == "i" else np.uint64, endpoint=True)
    values.reshape(-1)[:4] = (low, high, high - 1, low + 1 if bits > 1 else low)
    return values.astype(f"{kind}{size}")


def few(bits: int, count: int) -> Array:
    """Indices into a palette of ``count`` colours."""
    return (samples(bits).astype(np.int64) % count).astype(np.uint8)


def load(folder: Path, data: bytes, suffix: str, **options: Any) -> Array:
    path = folder / f"x.{suffix}"
    path.write_bytes(data)
    array: Array = external.load(path, **options)[0]
    return array


def same(got: Array, wanted: Array) -> None:
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


GRAYS = bytes(value for index in range(256) for value in (index, index, index))
COLOURS = bytes((37 * at) % 256 for at in range(768))
BLACK_WHITE = bytes((0, 0, 0, 255, 255, 255))
