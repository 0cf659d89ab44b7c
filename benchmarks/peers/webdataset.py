"""WebDataset: tar files of members, read in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import webdataset

from benchmarks.contract import Peer
from benchmarks.workloads import Column, column_type

__all__ = ["WebDataset"]


class WebDataset(Peer):
    how = "ShardWriter with arrays as .npy, labels as .cls, strings as .txt and bytes as .bin, its own handlers; decoded by its own reader. Tar files have no access by number."

    def ingest(self) -> None:
        names = [f"{name}.{_suffix(column)}" for name, column in self.workload.columns.items()]
        pattern = str(self.path / "%06d.tar")
        # Workers share out whole shards.
        count = -(-len(self.workload.main) // 4) if self.workload.epochs else 10**9
        with webdataset.ShardWriter(pattern, maxcount=count, maxsize=2.5e8, verbose=0) as writer:
            for i, row in enumerate(zip(*self.workload.columns.values(), strict=True)):
                writer.write({"__key__": f"{i:08d}", **dict(zip(names, row, strict=True))})

    def open(self) -> None:
        shards = sorted(str(file) for file in self.path.glob("*.tar"))
        main = self.workload.main
        name = f"{self.workload.main_name}.{_suffix(main)}"
        wanted = webdataset.WebDataset(shards, shardshuffle=False, select_files=lambda file: file.endswith(name))
        self._data = wanted.decode().to_tuple(name)

    def loader(self, workers: int) -> Iterable[Any]:
        from benchmarks.loaders import as_tensors

        shards = sorted(str(file) for file in self.path.glob("*.tar"))
        names = [f"{name}.{_suffix(column)}" for name, column in self.workload.columns.items()]
        data = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=7)
        data = data.shuffle(1000).decode().to_tuple(*names).batched(self.workload.batch, collation_fn=_stacked)
        loader: Iterable[Any] = webdataset.WebLoader(
            data.map(as_tensors), batch_size=None, num_workers=workers, persistent_workers=workers > 0
        )
        return loader

    def scan(self) -> Iterator[Any]:
        rows = (row for (row,) in self._data)
        stack = isinstance(self.workload.main, np.ndarray)
        while found := list(islice(rows, self.workload.batch)):
            yield np.stack(found) if stack else found


def _suffix(column: Column) -> str:
    if isinstance(column, np.ndarray):
        return "cls" if column.ndim == 1 else "npy"
    return "txt" if column_type(column) is str else "bin"


def _stacked(items: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(np.stack(column) for column in zip(*items, strict=True))
