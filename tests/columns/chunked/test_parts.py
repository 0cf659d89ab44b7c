"""Parts of chunks that were read before: only they are read, and they are verified every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, Repository, limits
from hangar.columns.chunked.table import ChunkReader

CHUNKS = (4, 256, 256)
"""1 MiB: two HDF5 chunks in backend 01."""


@pytest.fixture(params=["10", "01", "00"])
def noise(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An array of noise, which is stored uncompressed; the array as a reader has it, and its blob file. No chunk stays in memory."""
    monkeypatch.setattr(limits, "CHUNK_CACHE_BYTES", 0)
    values = np.random.default_rng(3).integers(0, 2**32, (10, 256, 300), np.uint32)
    with Repository(tmp_path, exists=False) as repo:
        repo.init("Test", "test@example.org")
        writer = repo.checkout(write=True)
        writer.add_chunked_column("a", np.uint32, CHUNKS, backend=request.param)["x"] = values
        writer.commit("noise")
        writer.close()
        (path,) = (path for path in (tmp_path / ".hangar").rglob(f"*.{request.param}*") if path.is_file())
        yield values, repo.checkout()["a"]["x"], path, request.param


BOXES = [
    np.s_[1:3, 30:40, 50:60],
    np.s_[2, 250, 255],
    np.s_[0:4:3, 0:256:200, 3:250:90],
    np.s_[3:9, 100:140, 250:270],
    np.s_[:, 7, ::-1],
    np.s_[9, -1, -1],
]


def test_boxes(noise: Any) -> None:
    values, array, _, _ = noise
    for _ in range(3):
        for box in BOXES:
            np.testing.assert_array_equal(array[box], values[box])
    np.testing.assert_array_equal(array[...], values)


def test_damage_is_found_in_the_parts_that_are_read(noise: Any) -> None:
    values, array, path, backend = noise
    np.testing.assert_array_equal(array[...], values)
    at = path.read_bytes().index(values[2, 100, :256].tobytes())
    with path.open("r+b") as file:
        file.seek(at + 40)
        file.write(bytes([int(values[2, 100, 10]) & 0xFF ^ 4]))
    if backend != "00":
        # A read that needs no damaged part does not see it.
        np.testing.assert_array_equal(array[0, :60, :256], values[0, :60, :256])
    with pytest.raises(CorruptionError):
        array[2, 100, 10]
    with pytest.raises(CorruptionError):
        array[1:3, 90:110, 5:40]
    with pytest.raises(CorruptionError):
        array[...]
    with pytest.raises(CorruptionError):
        array[2, 100, 11]


def test_a_file_that_was_cut(noise: Any) -> None:
    values, array, path, _ = noise
    np.testing.assert_array_equal(array[...], values)
    with path.open("r+b") as file:
        file.truncate(2**20)
    with pytest.raises(CorruptionError):
        array[9, 250, 299]


def test_a_slice_that_is_read_in_the_middle_of_another_gets_other_memory() -> None:
    """As a signal handler may do: between the read of a box and its copy."""
    reader = ChunkReader.__new__(ChunkReader)
    reader._nbytes = 100
    first = reader._scratch()
    second = reader._scratch()
    assert not np.shares_memory(first, second)
    reader.give_back()
    reader.give_back()
    third = reader._scratch()
    assert np.shares_memory(second, third)
    assert not np.shares_memory(first, third)
