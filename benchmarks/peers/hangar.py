"""Hangar: hashed, deduplicated, checksummed, committed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.contract import Peer
from benchmarks.workloads import Array, column_type
from hangar import Repository

__all__ = ["Hangar"]


class Hangar(Peer):
    how = (
        "one `with` block, one `write` a column and one commit; reads from a checkout of it: `column[key]`, `column.read(keys)`. Reads are timed "
        "when the column has been read a few times, so that its offset table is there; what that takes is a row of its own."
    )
    syncs = True
    backend: str | None = None
    """Of array columns; None lets the schema decide."""

    def prepare(self) -> None:
        repo = self._repo = Repository(self.path, exists=False)
        repo.init("bench", "bench@example.org")
        writer = self._writer = repo.checkout(write=True)
        for name, column in self.workload.columns.items():
            kind = column_type(column)
            if kind is np.ndarray:
                main = name == self.workload.main_name and not self.workload.history
                backend = self.backend if main else None
                assert isinstance(column, np.ndarray)
                writer.add_ndarray_column(name, column.shape[1:], column.dtype, backend=backend)
            elif kind is str:
                writer.add_str_column(name)
            else:
                writer.add_bytes_column(name)

    def ingest(self) -> None:
        with self._writer as writer:
            for name, column in self.workload.columns.items():
                writer[name].write(self.workload.keys, column)
            writer.commit("all")
        writer.close()

    def ingest_copies(self) -> None:
        workload, count = self.workload, len(self.workload.main)
        with self._repo.checkout(write=True) as writer:
            writer[workload.main_name].write(workload.names(count, 2 * count), workload.main)
            writer.commit("copies")
        writer.close()

    def open(self) -> None:
        self._repo.close()
        self._repo = Repository(self.path)
        self._reader = self._repo.checkout()
        self._column = self._reader[self.workload.main_name]
        self._keys = np.asarray(self.workload.keys, object) if self.workload.text_keys else None
        self._first = self._reader.commit_hash

    def settle(self) -> None:
        table = self._column._table
        while table.table is None and table.ready(self.workload.batch) is None and self.workload.reads:
            self.get(0)
            if not table.possible:
                return

    def get(self, index: int) -> Any:
        return self._column[index if self._keys is None else self._keys[index]]

    def batch(self, indices: Array) -> Any:
        return self._column.read(indices if self._keys is None else self._keys[indices].tolist())

    def positions(self, indices: Array) -> Any:
        return self._column.read(positions=indices)

    def listed(self, keys: list[Any]) -> Any:
        return self._column.read(keys)

    def span(self, start: int, stop: int) -> Any:
        return self._column.read(slice(start, stop))

    def loader(self, workers: int) -> Iterable[Any]:
        from hangar import make_torch_dataset
        from hangar.dataset import Loader

        data = make_torch_dataset([self._reader[name] for name in self.workload.columns])
        options: dict[str, Any] = {"persistent_workers": True} if workers else {}
        return Loader(data, batch_size=self.workload.batch, shuffle=True, num_workers=workers, **options)

    def plain_loader(self) -> Iterable[Any]:
        from torch.utils.data import DataLoader

        from hangar import make_torch_dataset

        data = make_torch_dataset([self._reader[name] for name in self.workload.columns])
        loader: Iterable[Any] = DataLoader(data, batch_size=self.workload.batch, shuffle=True)
        return loader

    def close(self) -> None:
        self._repo.close()

    # ------------------------------------------------------------------ history

    def change(self, indices: Array, values: Array) -> None:
        if not self._repo.writer_lock_held:
            self._writer = self._repo.checkout(write=True)
        with self._writer as writer:
            writer[self.workload.main_name].write(indices, values)
            self._last = writer.commit("changed")

    def diff(self) -> int | None:
        found = self._repo.diff(f"{self._last}~1", self._last).diff
        return sum(len(changes.samples) for changes in (found.added, found.deleted, found.mutated))

    def diverge(self, ours: Array, theirs: Array, values: Array) -> None:
        if self._repo.writer_lock_held:
            self._writer.close()
        if "theirs" in self._repo.list_branches():
            self._repo.merge("the same again", "theirs", "master")
        else:
            self._repo.create_branch("theirs")
        for branch, indices in (("theirs", theirs), ("master", ours)):
            with self._repo.checkout(write=True, branch=branch) as writer:
                writer[self.workload.main_name].write(indices, values)
                writer.commit("changed")
            writer.close()

    def merge(self) -> None:
        self._repo.merge("merged", "master", "theirs")

    def open_first(self, index: int) -> Any:
        return self._repo.checkout(commit=self._first)[self.workload.main_name][index]

    def branch(self, name: str) -> None:
        self._repo.create_branch(name)

    def bookkeeping(self) -> int:
        from hangar.db import Database
        from hangar.db.tables import NODES

        database: Database = self._reader.session.stores.db
        with database.read() as transaction:
            return sum(len(key) + len(value) for key, value in transaction.scan(NODES))
