"""The data of the workloads, made from fixed seeds: the same bytes on every machine and in every run.

Images and volumes are about as compressible as real ones (lz4 after a shuffle of bytes brings ``small`` to about a half, ``medium`` and
``large`` to about a third). ``dup`` variants have one sample in ten replaced by an exact copy of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["DEFAULT", "MAKERS", "Column", "Workload", "column_type", "make"]

Array: TypeAlias = npt.NDArray[Any]
Column: TypeAlias = "Array | list[str] | list[bytes]"


@dataclass(frozen=True)
class Workload:
    """The data that every peer stores and reads.

    Parameters
    ----------
    columns
        All are ingested; the first is the one that is read back.
    batch
        Samples of a random batch, and of a step of the scan.
    history
        Whether commits, diffs and branches are measured too.
    reads
        Whether reading is measured too.
    text_keys
        Whether samples are named by strings (``s0000042``) or by their number.
    copies
        Whether what a copy takes of the disk is measured too.
    epochs
        Whether epochs of shuffled training batches are measured, instead of reading.
    """

    name: str
    columns: dict[str, Column]
    batch: int = 256
    history: bool = False
    reads: bool = True
    text_keys: bool = False
    copies: bool = False
    epochs: bool = False
    keys: Sequence[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", self.names(0, len(self.main)))

    def names(self, start: int, stop: int) -> Sequence[Any]:
        """The keys of the samples from ``start`` to ``stop``, of which there may be fewer."""
        return [f"s{i:07d}" for i in range(start, stop)] if self.text_keys else range(start, stop)

    @property
    def main(self) -> Column:
        """The column that is read back."""
        return next(iter(self.columns.values()))

    @property
    def main_name(self) -> str:
        return next(iter(self.columns))

    @property
    def main_bytes(self) -> int:
        """Approximate bytes of one value of the column that is read back."""
        return column_bytes(self.main) // len(self.main)

    @property
    def nbytes(self) -> int:
        """Bytes of all values, without keys."""
        return sum(column_bytes(column) for column in self.columns.values())


def column_bytes(column: Column) -> int:
    return int(column.nbytes) if isinstance(column, np.ndarray) else sum(map(len, column))


def column_type(column: Column) -> type:
    """``numpy.ndarray``, ``str`` or ``bytes``."""
    return np.ndarray if isinstance(column, np.ndarray) else type(column[0])


def _small(scale: int) -> Workload:
    """100,000 images (28, 28) uint8, a spot of noise on black, and their labels."""
    count = 100_000 // scale
    rng = np.random.default_rng(0)
    images = rng.integers(64, 128, (count, 28, 28), np.uint8) * np.uint8(2)
    rows, columns = np.ogrid[:28, :28]
    spots = np.stack([(rows - 8 - i) ** 2 + (columns - 19 + i) ** 2 < 112 for i in range(12)])
    images *= spots[rng.integers(0, 12, count)]
    return Workload("small", {"images": images, "labels": rng.integers(0, 10, count)})


def _medium(scale: int) -> Workload:
    """2,000 images (224, 224, 3) uint8: flat patches, of which a part has noise."""
    count = 2_000 // scale
    rng = np.random.default_rng(1)
    patches = rng.integers(0, 256, (count, 14, 14, 3), np.uint8)
    images = np.repeat(np.repeat(patches, 16, axis=1), 16, axis=2)
    images[:, 64:144] ^= rng.integers(0, 32, (count, 80, 224, 3), np.uint8)
    return Workload("medium", {"images": images})


def _large(scale: int) -> Workload:
    """64 volumes (64, 256, 256) float32, like a scanner's: whole numbers in a body, air around it."""
    count = max(2, 64 // scale)
    rng = np.random.default_rng(2)
    rows, columns = np.ogrid[:256, :256]
    body = ((rows - 128) ** 2 + (columns - 128) ** 2 < 105**2).astype(np.float32)
    volumes = np.empty((count, 64, 256, 256), np.float32)
    for i in range(count):
        level = rng.integers(0, 1200, (64, 16, 16)).repeat(16, axis=1).repeat(16, axis=2)
        volumes[i] = (level + rng.integers(0, 128, (64, 256, 256), np.uint8)) * body
    return Workload("large", {"volumes": volumes}, batch=8 if count >= 32 else 2)


def _labels(name: str, count: int) -> Workload:
    """int64 scalars: measures bookkeeping only."""
    return Workload(name, {"labels": np.random.default_rng(3).integers(0, 10, count)}, history=True)


def _text(scale: int) -> Workload:
    """200,000 short strings and 200,000 byte strings of 100 B to 4 KB (small ones are more frequent), string keys."""
    count = 200_000 // scale
    rng = np.random.default_rng(4)
    lengths = np.exp(rng.uniform(np.log(100), np.log(4096), count)).astype(int)
    pool = rng.integers(0, 256, 16 * 2**20, np.uint8).tobytes()
    starts = rng.integers(0, len(pool) - 4096, count)
    payloads = [pool[start : start + n] for start, n in zip(starts.tolist(), lengths.tolist(), strict=True)]
    letters = rng.integers(97, 123, 2**20, np.uint8).tobytes().decode()
    sizes = rng.integers(5, 60, count).tolist()
    strings = [letters[s : s + n] for s, n in zip(rng.integers(0, 2**20 - 60, count).tolist(), sizes, strict=True)]
    return Workload("text", {"payloads": payloads, "strings": strings}, text_keys=True)


def _trained(workload: Workload) -> Workload:
    """The same data for epochs of training batches, of 256 small or 64 larger samples."""
    batch = 256 if workload.name == "small" else 64
    return replace(workload, name=f"epochs-{workload.name}", epochs=True, reads=False, batch=batch)


def _duplicated(workload: Workload) -> Workload:
    """One sample in ten becomes a copy of another; labels stay."""
    rng = np.random.default_rng(5)
    count = len(workload.main)
    to, origin = rng.permutation(count)[: count // 5].reshape(2, -1) if count >= 10 else np.array([[0], [1]])
    main = workload.main.copy()
    if isinstance(main, np.ndarray):
        main[to] = main[origin]
    else:
        for one, other in zip(to.tolist(), origin.tolist(), strict=True):
            main[one] = main[other]
    columns = {**workload.columns, workload.main_name: main}
    # Of a few copies the disk shows the pages of a file and not what each takes.
    return replace(workload, name=f"{workload.name}-dup", columns=columns, reads=False, copies=count >= 1000)


_PLAIN: dict[str, Callable[[int], Workload]] = {
    "small": _small,
    "medium": _medium,
    "large": _large,
    "text": _text,
}
MAKERS: dict[str, Callable[[int], Workload]] = {
    **_PLAIN,
    "labels-10k": lambda scale: _labels("labels-10k", 10_000),
    "labels-1M": lambda scale: _labels("labels-1M", 1_000_000 // scale),
    **{f"epochs-{name}": lambda scale, maker=_PLAIN[name]: _trained(maker(scale)) for name in ("small", "medium")},  # type: ignore[misc]
    **{f"{name}-dup": lambda scale, maker=maker: _duplicated(maker(scale)) for name, maker in _PLAIN.items()},  # type: ignore[misc]
}
DEFAULT = [
    "small",
    "medium",
    "large",
    "text",
    "labels-10k",
    "labels-1M",
    "epochs-small",
    "epochs-medium",
    *(f"{name}-dup" for name in _PLAIN),
]


def make(name: str, scale: int = 1) -> Workload:
    """Make the workload of this name, with 1/``scale`` of its samples."""
    return MAKERS[name](scale)
