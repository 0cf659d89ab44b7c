"""Raw LMDB: one row a sample, in one synced transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lmdb
import numpy as np

from benchmarks.contract import Peer, rows
from benchmarks.workloads import Array

__all__ = ["Lmdb"]


class Lmdb(Peer):
    how = "sorted keys appended by putmulti in one transaction, the fastest way it documents; a batch is gets in one transaction; its own sync."
    syncs = True

    def _open(self, **options: Any) -> None:
        room = self.workload.nbytes * 2 + 2**28
        self._environment = lmdb.open(str(self.path / "db"), map_size=room, max_dbs=4, **options)

    def prepare(self) -> None:
        self._open()
        self._tables = {name: self._environment.open_db(name.encode()) for name in self.workload.columns}

    def _key(self, index: int) -> bytes:
        return self.workload.keys[index].encode() if self.workload.text_keys else index.to_bytes(8, "big")

    def ingest(self) -> None:
        keys = [self._key(i) for i in range(len(self.workload.main))]
        with self._environment.begin(write=True) as transaction:
            for name, column in self.workload.columns.items():
                values: Iterator[Any]
                if isinstance(column, np.ndarray):
                    values = map(memoryview, rows(column))
                else:
                    values = (value.encode() if isinstance(value, str) else value for value in column)
                with transaction.cursor(self._tables[name]) as cursor:
                    cursor.putmulti(zip(keys, values, strict=True), append=True)
        self._environment.close()

    def open(self) -> None:
        self._open(readonly=True)
        self._table = self._environment.open_db(self.workload.main_name.encode(), create=False)

    def _value(self, buffer: Any) -> Any:
        main = self.workload.main
        if isinstance(main, np.ndarray):
            return np.frombuffer(bytearray(buffer), main.dtype).reshape(main.shape[1:])
        return bytes(buffer)

    def _stack(self, buffers: list[Any]) -> Any:
        main = self.workload.main
        if isinstance(main, np.ndarray):
            return np.frombuffer(b"".join(buffers), main.dtype).reshape(-1, *main.shape[1:])
        return list(map(bytes, buffers))

    def get(self, index: int) -> Any:
        with self._environment.begin(self._table, buffers=True) as transaction:
            return self._value(transaction.get(self._key(index)))

    def batch(self, indices: Array) -> Any:
        with self._environment.begin(self._table, buffers=True) as transaction:
            return self._stack([transaction.get(self._key(index)) for index in indices.tolist()])

    def scan(self) -> Iterator[Any]:
        with self._environment.begin(self._table, buffers=True) as transaction, transaction.cursor() as cursor:
            found = []
            for value in cursor.iternext(keys=False, values=True):
                found.append(value)
                if len(found) == self.workload.batch:
                    yield self._stack(found)
                    found = []
            if found:
                yield self._stack(found)

    def close(self) -> None:
        self._environment.close()
