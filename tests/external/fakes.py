"""A column in memory, and files of every kind, for the tests of importers and exporters."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class FakeColumn:
    """Holds what is written to it; counts the batches."""

    def __init__(
        self,
        column_type: str = "ndarray",
        dtype: Any = "uint8",
        shape: tuple[int, ...] | None = (4, 5),
        *,
        variable: bool = False,
        nested: bool = False,
        name: str = "images",
    ) -> None:
        self.column = name
        self.column_type = column_type
        self.schema_type = "variable_shape" if variable or column_type != "ndarray" else "fixed_shape"
        self.dtype: Any = np.dtype(dtype) if column_type == "ndarray" else column_type
        self.shape: Any = shape if column_type == "ndarray" else None
        self.contains_subsamples = nested
        self.samples: dict[Any, Any] = {}
        self.batches: list[int] = []

    def write(self, keys: Sequence[Any], values: Any) -> None:
        self.batches.append(len(keys))
        self.samples.update(
            zip(keys, [one.copy() if isinstance(one, np.ndarray) else one for one in values], strict=True)
        )

    def __contains__(self, key: object) -> bool:
        return key in self.samples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Any) -> Any:
        return [self.samples[one] for one in key] if isinstance(key, list) else self.samples[key]


def picture(seed: int, shape: tuple[int, ...] = (4, 5), dtype: str = "uint8") -> np.ndarray[Any, Any]:
    """Noise that is the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


def write_png(path: Path, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def deep_png(path: Path, colour_type: int, channels: int) -> None:
    """A PNG of 16 bits a channel, written by hand: pillow writes none in colour."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    rows = b"".join(b"\0" + bytes(range(5 * channels * 2)) for _ in range(4))
    header = struct.pack(">IIBBBBB", 5, 4, 16, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
