"""dask, xarray and viewers take a chunked array as it is, and read only the chunks that they show."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.columns.chunked.table import ChunkTable

SHAPE, CHUNKS = (12, 60, 80), (2, 20, 20)


def volume() -> Any:
    return np.random.default_rng(0).integers(0, 60_000, SHAPE).astype(np.uint16)


@pytest.fixture
def array(tmp_path: Path) -> Iterator[Any]:
    with Repository(tmp_path, exists=False) as repo:
        repo.init("Ada", "ada@example.com")
        with closing(repo.checkout(write=True)) as writer:
            writer.add_chunked_column("scan", np.uint16, CHUNKS)["a"] = volume()
            writer.commit("scan")
        yield repo.checkout()["scan"]["a"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, ...]]:
    """The chunks that were read."""
    found: set[tuple[int, ...]] = set()
    original = ChunkTable.find

    def counted(self: Any, index: Any) -> Any:
        found.add(index)
        return original(self, index)

    monkeypatch.setattr(ChunkTable, "find", counted)
    return found


def dask_config() -> Any:
    return pytest.importorskip("dask").config


def test_dask(array: Any, read: set[tuple[int, ...]]) -> None:
    dask = pytest.importorskip("dask.array")
    lazy = dask.from_array(array)
    assert (lazy.shape, lazy.dtype) == (SHAPE, np.uint16)
    with dask_config().set({"array.chunk-size": "4 kB"}):
        # Blocks of dask are made of whole chunks.
        assert all(size % chunk == 0 for size, chunk in zip(dask.from_array(array).chunksize, CHUNKS, strict=True))
    lazy = dask.from_array(array, chunks=array.chunks)
    assert lazy.chunksize == CHUNKS
    assert read == set()
    np.testing.assert_array_equal(lazy[3, 25:55:2, ::-1].compute(scheduler="threads"), volume()[3, 25:55:2, ::-1])
    assert len(read) == 2 * 4
    assert float(lazy.astype(float).mean().compute(scheduler="threads")) == pytest.approx(volume().mean())
    np.testing.assert_array_equal(lazy.max(axis=0).compute(scheduler="threads"), volume().max(axis=0))
    # Tasks can go to other processes.
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy))[0, 0].compute(scheduler="threads"), volume()[0, 0])


def test_dask_stores_into_an_array_of_a_writer(array: Any, tmp_path: Path) -> None:
    dask = pytest.importorskip("dask.array")
    with Repository(tmp_path) as repo, closing(repo.checkout(write=True)) as writer:
        column = writer["scan"]
        made = column.create("b", SHAPE)
        target = column["b"] if made is None else made
        with writer:
            dask.store(dask.from_array(array, chunks=CHUNKS) // 2, target, lock=True, scheduler="synchronous")
        np.testing.assert_array_equal(target[...], volume() // 2)


def test_xarray(array: Any, read: set[tuple[int, ...]]) -> None:
    dask, xarray = pytest.importorskip("dask.array"), pytest.importorskip("xarray")
    scan = xarray.DataArray(
        dask.from_array(array, chunks=CHUNKS), dims=("z", "y", "x"), coords={"z": np.arange(12) * 0.5}, name="scan"
    )
    part = scan.sel(z=1.5).isel(y=slice(0, 10))
    assert read == set()
    np.testing.assert_array_equal(part.load(scheduler="threads"), volume()[3, :10])
    assert len(read) == 4
    assert int(scan.max("x")[0, 0].compute(scheduler="threads")) == int(volume()[0, 0].max())


def test_a_viewer_that_shows_slices(array: Any, read: set[tuple[int, ...]]) -> None:
    """What napari and others do with a layer: look at shape, dtype and ndim, then ask for the planes that are shown."""
    assert (array.ndim, array.shape, array.dtype, array.size) == (3, SHAPE, np.uint16, volume().size)
    for axis, at, chunks in ((0, 7, 12), (1, 59, 24), (2, 0, 18)):
        read.clear()
        index = tuple(at if i == axis else slice(None) for i in range(3))
        plane = np.asarray(array[index])
        np.testing.assert_array_equal(plane, volume()[index])
        assert len(read) == chunks
    read.clear()
    thumbnail = np.asarray(array[SHAPE[0] // 2, ::8, ::8])
    np.testing.assert_array_equal(thumbnail, volume()[6, ::8, ::8])
    assert len(read) == 12
