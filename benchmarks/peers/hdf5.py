"""Raw h5py with blosc:lz4: one data set of rows a column."""

from __future__ import annotations

import os
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from benchmarks.contract import Peer, chunk_shape
from benchmarks.workloads import Array, Column, column_type

__all__ = ["Hdf5"]


class Hdf5(Peer):
    how = (
        "one assignment a column into chunks of 64 KiB (a sample, or a MiB of it, where that is larger), lz4 after a shuffle of bytes, newest "
        "format; chunk cache of 64 MiB, as large as Hangar's; a batch is read row by row (one selection of many rows, or read_direct, is several times slower); strings are of variable length."
    )

    def prepare(self) -> None:
        self._file = h5py.File(self.path / "data.h5", "w", libver="latest")
        for name, column in self.workload.columns.items():
            self._create(name, column)

    def _create(self, name: str, column: Column) -> None:
        if isinstance(column, np.ndarray):
            codec = hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
            chunks = chunk_shape(column, 64 * 1024)
            self._file.create_dataset(name, column.shape, column.dtype, chunks=chunks, compression=codec)
        else:
            kind = h5py.string_dtype() if column_type(column) is str else h5py.vlen_dtype(np.uint8)
            self._file.create_dataset(name, (len(column),), kind)

    def ingest(self) -> None:
        for name, column in self.workload.columns.items():
            if isinstance(column, np.ndarray):
                self._file[name][...] = column
            elif column_type(column) is str:
                self._file[name][...] = np.array(column, object)
            else:
                rows = np.empty(len(column), object)
                rows[:] = [np.frombuffer(value, np.uint8) for value in column]  # type: ignore[arg-type]
                self._file[name][...] = rows
        self._file.close()

    def open(self) -> None:
        # Twice as many slots as chunks, so that two chunks seldom want one.
        self._file = h5py.File(self.path / "data.h5", "r", rdcc_nbytes=64 * 2**20, rdcc_nslots=20_011)
        self._data = self._file[self.workload.main_name]
        if not isinstance(self.workload.main, np.ndarray):
            self.get = self._text  # type: ignore[method-assign]

    def get(self, index: int) -> Any:
        return self._data[index]

    def _text(self, index: int) -> bytes:
        return self._data[index].tobytes()  # type: ignore[no-any-return]

    def batch(self, indices: Array) -> Any:
        data, main = self._data, self.workload.main
        if not isinstance(main, np.ndarray):
            return [data[index].tobytes() for index in indices.tolist()]
        found = np.empty((len(indices), *main.shape[1:]), main.dtype)
        for i, index in enumerate(indices.tolist()):
            found[i] = data[index]
        return found

    def span(self, start: int, stop: int) -> Any:
        return self._plain(self._data[start:stop])

    def _plain(self, found: Array) -> Any:
        return found if isinstance(self.workload.main, np.ndarray) else [value.tobytes() for value in found]

    def close(self) -> None:
        self._file.close()


os.environ.setdefault("BLOSC_NTHREADS", str(os.cpu_count()))
