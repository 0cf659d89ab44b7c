"""Deep Lake 4: typed columns in a local directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import deeplake
import numpy as np

from benchmarks.contract import Cannot, Peer
from benchmarks.workloads import Array, Column, column_type

__all__ = ["DeepLake"]


class DeepLake(Peer):
    how = "one append of whole columns and one commit, arrays uncompressed as by default; a batch is a column indexed with a list; changes are set one by one, for it has no batch of them, and committed once."

    def prepare(self) -> None:
        self._data = deeplake.create(str(self.path / "data"))
        for name, column in self.workload.columns.items():
            self._data.add_column(name, _type(column))
        self._data.commit()

    def ingest(self) -> None:
        self._data.append(dict(self.workload.columns))
        self._data.commit("all")
        self._first = self._data.version

    def open(self) -> None:
        self._data = deeplake.open(str(self.path / "data"))
        self._column = self._data[self.workload.main_name]

    def get(self, index: int) -> Any:
        return self._column[index]

    def batch(self, indices: Array) -> Any:
        return self._column[indices.tolist()]

    def loader(self, workers: int) -> Iterable[Any]:
        from benchmarks import loaders

        opener = partial(_columns, str(self.path / "data"), list(self.workload.columns))
        return loaders.batches(opener, len(self.workload.main), self.workload.batch, workers, context="spawn")

    def span(self, start: int, stop: int) -> Any:
        return self._column[start:stop]

    # ------------------------------------------------------------------ history

    def change(self, indices: Array, values: Array) -> None:
        if indices[-1] >= len(self.workload.main):
            self._data.append({self.workload.main_name: values})
        else:
            column = self._data[self.workload.main_name]
            for index, value in zip(indices.tolist(), values.tolist(), strict=True):
                column[index] = value
        self._data.commit("changed")

    def diff(self) -> int | None:
        raise Cannot("has no diff")

    def open_first(self, index: int) -> Any:
        history = self._data.history  # each of these dies with what it came from
        version = history[self._first]
        data = version.open()
        return data[self.workload.main_name][index]

    def branch(self, name: str) -> None:
        self._data.branch(name)


def _type(column: Column) -> Any:
    if isinstance(column, np.ndarray):
        if column.ndim == 1:
            return str(column.dtype)
        return deeplake.types.Array(str(column.dtype), shape=list(column.shape[1:]))
    return deeplake.types.Text() if column_type(column) is str else deeplake.types.Bytes()


def _columns(path: str, names: list[str]) -> Callable[[Array], tuple[Any, ...]]:
    """A gather of all columns."""
    data = deeplake.open_read_only(path)
    columns = [data[name] for name in names]

    def gather(numbers: Array) -> tuple[Any, ...]:
        assert data is not None  # a column dies with its data set
        return tuple(np.asarray(column[numbers.tolist()]) for column in columns)

    return gather
