"""icechunk: zarr arrays in a store that has commits and branches."""

from __future__ import annotations

from typing import Any

import icechunk
import numpy as np
import zarr

from benchmarks.peers.zarr import Zarr
from benchmarks.workloads import Array

__all__ = ["Icechunk"]


class Icechunk(Zarr):
    how = "as zarr, in one session and one commit, on its storage for a local file system; changes are one coordinate selection and one commit."

    def _storage(self) -> Any:
        return icechunk.local_filesystem_storage(str(self.path / "repository"))

    def store(self) -> Any:
        self._repository = icechunk.Repository.create(self._storage())
        self._session = self._repository.writable_session("main")
        return self._session.store

    def finish(self) -> None:
        self._first = self._last = self._session.commit("all")

    def opened(self) -> Any:
        self._repository = icechunk.Repository.open(self._storage())
        return self._repository.readonly_session("main").store

    # ------------------------------------------------------------------ history

    def change(self, indices: Array, values: Array) -> None:
        session = self._repository.writable_session("main")
        array: Any = zarr.open_group(session.store)[self.workload.main_name]
        if indices[-1] >= array.shape[0]:
            array.resize((int(indices[-1]) + 1,))
            array[int(indices[0]) :] = values
        else:
            order = np.argsort(indices)
            array.set_coordinate_selection(indices[order], values[order])
        self._before, self._last = self._last, session.commit("changed")

    def diff(self) -> int | None:
        found = self._repository.diff(from_snapshot_id=self._before, to_snapshot_id=self._last)
        if not found.updated_chunks:
            raise ValueError("the diff is empty")
        return None

    def open_first(self, index: int) -> Any:
        store = self._repository.readonly_session(snapshot_id=self._first).store
        array: Any = zarr.open_group(store, mode="r")[self.workload.main_name]
        return array[index]

    def branch(self, name: str) -> None:
        self._repository.create_branch(name, self._last)
