"""zarr 3 in a directory: one array a column, in its default codec."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import zarr

from benchmarks.contract import Peer, chunk_shape
from benchmarks.workloads import Array, Column, column_type

__all__ = ["Zarr"]

warnings.simplefilter("ignore")


class Zarr(Peer):
    how = (
        "one assignment a column into chunks of 256 KiB (a sample, or a MiB of it, where that is larger), codec by default (zstd); a batch is one "
        "orthogonal selection."
    )

    def store(self) -> Any:
        """The store for writing arrays."""
        return zarr.storage.LocalStore(self.path / "data.zarr")

    def opened(self) -> Any:
        """The store for reading."""
        return zarr.storage.LocalStore(self.path / "data.zarr", read_only=True)

    def prepare(self) -> None:
        store = self._store = self.store()
        zarr.create_group(store)
        for name, column in self.workload.columns.items():
            self._create(store, name, column)

    def _create(self, store: Any, name: str, column: Column) -> None:
        if isinstance(column, np.ndarray):
            zarr.create_array(
                store, name=name, shape=column.shape, dtype=column.dtype, chunks=chunk_shape(column, 256 * 1024)
            )
        else:
            kind = zarr.dtype.VariableLengthUTF8() if column_type(column) is str else zarr.dtype.VariableLengthBytes()
            zarr.create_array(store, name=name, shape=(len(column),), dtype=kind, chunks=(256,))

    def ingest(self) -> None:
        group = zarr.open_group(self._store)
        for name, column in self.workload.columns.items():
            if isinstance(column, np.ndarray):
                group[name][...] = column
            else:
                rows = np.empty(len(column), object)
                rows[:] = column
                group[name][...] = rows
        self.finish()

    def finish(self) -> None:
        """Commit, if the store has commits."""

    def open(self) -> None:
        self._data: Any = zarr.open_group(self.opened(), mode="r")[self.workload.main_name]
        self._text = not isinstance(self.workload.main, np.ndarray)

    def get(self, index: int) -> Any:
        found = self._data[index]
        while self._text and isinstance(found, np.ndarray):  # one wrapped in another
            found = found.item()
        return found

    def batch(self, indices: Array) -> Any:
        found = self._data.oindex[indices]
        return list(found) if self._text else found

    def span(self, start: int, stop: int) -> Any:
        found = self._data[start:stop]
        return list(found) if self._text else found
