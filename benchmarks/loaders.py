"""Loaders of torch over the peers: shuffled batches of all columns, as tensors.

*Batches* is the fastest way: the data set gets the numbers of a whole batch, and the batch becomes tensors without work for each
sample. *Plain* is the loop that users write: ``DataLoader(data, batch_size, shuffle=True)`` with torch's own collate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.workloads import Array

__all__ = ["Gather", "as_tensors", "batches", "plain"]

Gather = Callable[[Array], tuple[Any, ...]]
"""From the numbers of a batch to its columns."""


class _Opened(Dataset):  # type: ignore[misc]
    """A data set that each process opens itself."""

    def __init__(self, opener: Callable[[], Gather], count: int) -> None:
        self._opener, self._count = opener, count
        self._gather: Gather | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_gather": None}

    def __len__(self) -> int:
        return self._count

    def gather(self, numbers: Array) -> tuple[Any, ...]:
        if self._gather is None:
            self._gather = self._opener()
        return self._gather(numbers)


class _Batches(_Opened):
    def __getitem__(self, numbers: Array) -> tuple[Any, ...]:
        return self.gather(numbers)


class _Items(_Opened):
    def __getitem__(self, number: int) -> Any:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        found = self.gather(np.asarray(numbers))
        return list(zip(*found, strict=True)) if len(found) > 1 else list(found[0])


class _Shuffled:
    """The numbers of each batch, shuffled by numpy: cheaper than torch's sampler, which makes lists of integers."""

    def __init__(self, count: int, batch: int) -> None:
        self._count, self._batch, self._epoch = count, batch, 0

    def __len__(self) -> int:
        return (self._count + self._batch - 1) // self._batch

    def __iter__(self) -> Iterator[Array]:
        self._epoch += 1
        order = np.random.default_rng(self._epoch).permutation(self._count)
        return (order[start : start + self._batch] for start in range(0, self._count, self._batch))


def as_tensors(columns: Sequence[Any]) -> tuple[Any, ...]:
    """Columns of a batch as tensors, without a copy of arrays."""
    return tuple(torch.as_tensor(column) for column in columns)


def batches(opener: Callable[[], Gather], count: int, batch: int, workers: int, context: str = "fork") -> Iterable[Any]:
    loader: Iterable[Any] = DataLoader(
        _Batches(opener, count),
        sampler=_Shuffled(count, batch),
        batch_size=None,
        collate_fn=as_tensors,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=context if workers else None,
    )
    return loader


def plain(opener: Callable[[], Gather], count: int, batch: int) -> Iterable[Any]:
    loader: Iterable[Any] = DataLoader(_Items(opener, count), batch_size=batch, shuffle=True)
    return loader
