"""Lance: one table, arrays as lists of fixed size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.contract import Peer
from benchmarks.workloads import Array, Column, column_type

__all__ = ["Lance"]


class Lance(Peer):
    how = (
        "one write_dataset of an Arrow table made without a copy; take for samples and batches, to_batches for the scan; changes are one "
        "merge_insert on an indexed key, and their diff the rows of delta."
    )

    def _uri(self) -> str:
        return str(self.path / "data.lance")

    def ingest(self) -> None:
        columns = {name: _arrow(column) for name, column in self.workload.columns.items()}
        if self.workload.history:
            columns["key"] = pa.array(np.arange(len(self.workload.main)))
        elif self.workload.text_keys:
            columns["key"] = pa.array(self.workload.keys)
        table = pa.table(columns)
        data = lance.write_dataset(table, self._uri(), enable_stable_row_ids=self.workload.history)
        if self.workload.history:
            data.create_scalar_index("key", "BTREE")

    def open(self) -> None:
        self._data = lance.dataset(self._uri())
        self._columns = [self.workload.main_name]
        self._first = self._data.version

    def _plain(self, column: Any) -> Any:
        main = self.workload.main
        if not isinstance(main, np.ndarray):
            return column.to_pylist()
        found = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        values = found.flatten() if main.ndim > 1 else found
        return values.to_numpy(zero_copy_only=False).reshape(len(found), *main.shape[1:])

    def get(self, index: int) -> Any:
        return self._plain(self._data.take([index], columns=self._columns).column(0))[0]

    def batch(self, indices: Array) -> Any:
        return self._plain(self._data.take(pa.array(indices), columns=self._columns).column(0))

    def loader(self, workers: int) -> Iterable[Any]:
        from benchmarks import loaders

        # Lance's own advice: no fork, its runtime has threads.
        shapes = {name: column.shape[1:] for name, column in self.workload.columns.items()}  # type: ignore[union-attr]
        opener = partial(_take, self._uri(), shapes)
        return loaders.batches(opener, len(self.workload.main), self.workload.batch, workers, context="spawn")

    def scan(self) -> Iterator[Any]:
        for batch in self._data.to_batches(columns=self._columns, batch_size=self.workload.batch):
            yield self._plain(batch.column(0))

    # ------------------------------------------------------------------ history

    def change(self, indices: Array, values: Array) -> None:
        rows = pa.table({self.workload.main_name: values, "key": indices})
        if indices[-1] >= len(self.workload.main):
            self._data = lance.write_dataset(rows, self._uri(), mode="append")
        else:
            self._data.merge_insert("key").when_matched_update_all().execute(rows)

    def diff(self) -> int | None:
        found = self._data.delta(compared_against=self._data.version - 1)
        return int(sum(batch.num_rows for batch in found.get_updated_rows()))

    def open_first(self, index: int) -> Any:
        data = lance.dataset(self._uri(), version=self._first)
        return self._plain(data.take([index], columns=self._columns).column(0))[0]

    def branch(self, name: str) -> None:
        self._data.create_branch(name)


def _arrow(column: Column) -> Any:
    if not isinstance(column, np.ndarray):
        return pa.array(column, pa.string() if column_type(column) is str else pa.large_binary())
    if column.ndim == 1:
        return pa.array(column)
    size = int(np.prod(column.shape[1:]))
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), size)


def _take(uri: str, shapes: dict[str, tuple[int, ...]]) -> Callable[[Array], tuple[Any, ...]]:
    """A gather of all columns."""
    data = lance.dataset(uri)

    def gather(numbers: Array) -> tuple[Any, ...]:
        table = data.take(pa.array(numbers), columns=list(shapes))
        columns = (table.column(name).combine_chunks() for name in shapes)
        flat = (column.flatten() if shape else column for column, shape in zip(columns, shapes.values(), strict=True))
        # A copy, for the memory of Arrow is not writable.
        return tuple(
            np.array(values.to_numpy(zero_copy_only=False)).reshape(-1, *shape)
            for values, shape in zip(flat, shapes.values(), strict=True)
        )

    return gather
