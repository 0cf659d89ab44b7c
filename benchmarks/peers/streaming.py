"""MosaicML Streaming: MDS shards, read from a local directory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.contract import Peer
from benchmarks.workloads import Array, Column, column_type


def _stand_in() -> None:
    """Make the package importable without a working torchvision: nothing here uses it."""
    names = {"torchvision": "", "torchvision.datasets": "VisionDataset", "torchvision.transforms": ""}
    for name, wanted in {**names, "torchvision.transforms.functional": "to_tensor"}.items():
        module = sys.modules[name] = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__path__ = []
        if wanted:
            setattr(module, wanted, type(wanted, (), {}))


try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    _stand_in()

from streaming import LocalDataset, MDSWriter, StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

__all__ = ["Streaming"]


class Streaming(Peer):
    how = "MDSWriter with fixed shapes, no compression and no hashes; LocalDataset, its reader for data on this disk; a batch is samples one by one, as its data sets give them."

    def ingest(self) -> None:
        columns = {name: _encoding(column) for name, column in self.workload.columns.items()}
        names = list(columns)
        # Scalars of fixed width are written as numpy's, all else as it is.
        values = zip(*self.workload.columns.values(), strict=True)
        with MDSWriter(columns=columns, out=str(self.path / "data")) as writer:
            for row in values:
                writer.write(dict(zip(names, row, strict=True)))

    def open(self) -> None:
        self._data = LocalDataset(str(self.path / "data"))
        self._name = self.workload.main_name

    def get(self, index: int) -> Any:
        return self._data[index][self._name]

    def batch(self, indices: Array) -> Any:
        name, data = self._name, self._data
        return self._stack([data[index][name] for index in indices.tolist()])

    def loader(self, workers: int) -> Iterable[Any]:
        from torch.utils.data import DataLoader

        clean_stale_shared_memory()
        batch = self.workload.batch
        data = StreamingDataset(local=str(self.path / "data"), shuffle=True, batch_size=batch)
        loader: Iterable[Any] = DataLoader(
            data,
            batch_size=batch,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=partial(_collated, list(self.workload.columns)),
        )
        return loader

    def _stack(self, found: list[Any]) -> Any:
        return np.stack(found) if isinstance(self.workload.main, np.ndarray) else found

    def scan(self) -> Iterator[Any]:
        rows = (row[self._name] for row in self._data)
        while found := list(islice(rows, self.workload.batch)):
            yield self._stack(found)


def _encoding(column: Column) -> str:
    if isinstance(column, np.ndarray):
        return (
            str(column.dtype) if column.ndim == 1 else f"ndarray:{column.dtype}:{','.join(map(str, column.shape[1:]))}"
        )
    return column_type(column).__name__


def _collated(names: list[str], rows: list[dict[str, Any]]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(np.stack([row[name] for row in rows])) for name in names)
