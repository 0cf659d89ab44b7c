"""A batch that cannot be stored leaves its column as it was, although its tree was made while the bytes were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hangar import Repository, _fs
from hangar.errors import DiskFullError


@pytest.mark.parametrize("count", [10, 9_000])
@pytest.mark.parametrize("block", [False, True])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, block: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    keys = list(range(count))
    original = _fs.write_at

    def full(descriptor: int, buffers: list[bytes], offset: int, path: str) -> int:
        if offset:  # The header of a new file has room.
            raise DiskFullError("no space")
        return original(descriptor, buffers, offset, path)

    repo = Repository(tmp_path, exists=False)
    repo.init("Ann", "ann@example.org")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("images", (28, 28), np.uint8)
    writer["images"].write([7], images[1:2])
    with monkeypatch.context() as patch:
        patch.setattr(_fs, "write_at", full)
        if block:
            with writer, pytest.raises(DiskFullError):
                writer["images"].write(keys, images)
        else:
            with pytest.raises(DiskFullError):
                writer["images"].write(keys, images)
    assert list(writer["images"].keys()) == [7]
    assert np.array_equal(writer["images"][7], images[1])
    writer["images"].write(keys, images)
    writer.commit("all")
    assert np.array_equal(writer["images"].read(keys), images)
    writer.close()
    assert repo.verify_repo_integrity()
