"""The baseline: one file for each column, written in one go, synced, read through a memory map. No names, checksums or history."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.contract import Peer
from benchmarks.workloads import Array, Column

__all__ = ["Memmap"]


class Memmap(Peer):
    how = "one write a column, one fsync; a batch is one gather of numpy. Strings lie end to end, with their offsets in a second file."
    syncs = True

    def ingest(self) -> None:
        for name, column in self.workload.columns.items():
            if isinstance(column, np.ndarray):
                self._write(name, np.ascontiguousarray(column))
                continue
            parts = [value.encode() if isinstance(value, str) else value for value in column]
            self._write(name, np.frombuffer(b"".join(parts), np.uint8))
            offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
            self._write(name + ".offsets", offsets)

    def _write(self, name: str, array: Array) -> None:
        view = memoryview(array).cast("B")  # type: ignore[arg-type]
        descriptor = os.open(self.path / name, os.O_CREAT | os.O_WRONLY | os.O_EXCL)
        done = 0
        while done < len(view):
            done += os.write(descriptor, view[done:])
        os.fsync(descriptor)
        os.close(descriptor)

    def open(self) -> None:
        column: Column = self.workload.main
        file = self.path / self.workload.main_name
        if isinstance(column, np.ndarray):
            self._map: Array = np.memmap(file, column.dtype, "r", shape=column.shape)
        else:
            self._map = np.memmap(file, np.uint8, "r")
            self._offsets = np.fromfile(file.with_name(file.name + ".offsets"), np.int64)
            self.get, self.batch, self.span = self._text, self._texts, self._text_span  # type: ignore[method-assign]

    def loader(self, workers: int) -> Iterable[Any]:
        from benchmarks import loaders

        return loaders.batches(partial(_maps, self), len(self.workload.main), self.workload.batch, workers)

    def plain_loader(self) -> Iterable[Any]:
        from benchmarks import loaders

        return loaders.plain(partial(_maps, self), len(self.workload.main), self.workload.batch)

    def get(self, index: int) -> Any:
        return np.array(self._map[index])

    def batch(self, indices: Array) -> Any:
        return self._map[indices]

    def positions(self, indices: Array) -> Any:
        return self.batch(indices)

    def listed(self, keys: list[Any]) -> Any:
        # The baseline has no keys; a list of keys is the same gather as a batch.
        return self.batch(self._number_of(keys))

    def _number_of(self, keys: list[Any]) -> Array:
        numbers = [int(key[1:]) for key in keys] if self.workload.text_keys else keys
        return np.asarray(numbers)

    def span(self, start: int, stop: int) -> Any:
        return np.array(self._map[start:stop])

    def _text(self, index: int) -> bytes:
        return self._map[self._offsets[index] : self._offsets[index + 1]].tobytes()

    def _texts(self, indices: Array) -> list[bytes]:
        return [self._text(index) for index in indices.tolist()]

    def _text_span(self, start: int, stop: int) -> list[bytes]:
        offsets = self._offsets[start : stop + 1]
        whole, offsets = self._map[offsets[0] : offsets[-1]].tobytes(), (offsets - offsets[0]).tolist()
        return [whole[a:b] for a, b in pairwise(offsets)]


def _maps(peer: Memmap) -> Callable[[Array], tuple[Any, ...]]:
    """A gather of all columns."""
    columns = peer.workload.columns.items()
    maps = [np.memmap(peer.path / name, array.dtype, "r", shape=array.shape) for name, array in columns]  # type: ignore[union-attr]
    return lambda numbers: tuple([array[numbers] for array in maps])
