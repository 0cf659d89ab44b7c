"""Decoded chunks are kept for the next read: bounded, configured, and never instead of a check."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, InvalidInputError, Repository
from hangar.backends.hdf5 import codecs
from hangar.config import Config
from tests.processes import in_child

COUNT = 2_000
IMAGES = np.random.default_rng(0).integers(0, 4, (COUNT, 28, 28), np.uint8)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    made = Repository(tmp_path, exists=False)
    made.init("Ada", "ada@example.org")
    writer = made.checkout(write=True)
    for name in ("x", "y"):
        writer.add_ndarray_column(name, (28, 28), np.uint8, backend="00").write(range(COUNT), IMAGES)
    writer.add_ndarray_column("v", (28, 28), np.uint8, variable_shape=True, backend="00").write(
        range(400), [IMAGES[i, : 1 + i % 28] for i in range(400)]
    )
    writer.commit("all")
    writer.close()
    yield made
    made.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the chunks that are decoded."""
    sizes: list[int] = []
    decode = codecs.decode

    def counted(stored: Any, codec: int, shuffle: int, item: int, out: Any) -> None:
        sizes.append(len(out))
        decode(stored, codec, shuffle, item, out)

    monkeypatch.setattr("hangar.backends.hdf5.reading.decode", counted)
    return sizes


def cache(repo: Repository) -> Any:
    return repo.checkout().session.stores.blobs.files._chunks


def test_a_chunk_is_decoded_once(repo: Repository, decoded: list[int]) -> None:
    column = repo.checkout()["x"]
    chunks = -(-COUNT * 784 // 2**17) + 1
    wanted = np.random.default_rng(1).integers(0, COUNT, (50, 100))
    for chosen in wanted:
        assert np.array_equal(column.read(chosen), IMAGES[chosen])
        assert np.array_equal(column[int(chosen[0])], IMAGES[chosen[0]])
    assert len(decoded) <= chunks
    assert np.array_equal(column.read(slice(None)), IMAGES)
    # A column of the same repository with the same blobs, and single reads of another one.
    assert np.array_equal(repo.checkout()["y"].read(slice(None)), IMAGES)
    assert len(decoded) <= chunks
    variable = repo.checkout()["v"]
    for _ in range(3):
        assert all(np.array_equal(variable[i], IMAGES[i, : 1 + i % 28]) for i in range(0, 400, 7))
        assert all(map(np.array_equal, variable[[5, 33]], [IMAGES[5, :6], IMAGES[33, :6]]))
    assert len(decoded) <= chunks + 3


def test_the_cache_is_as_large_as_configured(repo: Repository, decoded: list[int]) -> None:
    Config(Path(repo.path, ".hangar")).file("repository").set("cache.chunks", "300k")
    opened = Repository(repo.path)
    column = opened.checkout()["x"]
    for at in np.random.default_rng(1).integers(0, COUNT, 200).tolist():
        assert np.array_equal(column[at], IMAGES[at])
        assert cache(opened).nbytes <= 300 * 1024
    assert cache(opened).most == 300 * 1024
    assert len(decoded) > 30
    opened.close()


def test_nothing_is_kept_where_that_is_configured(repo: Repository, decoded: list[int]) -> None:
    Config(Path(repo.path, ".hangar")).file("repository").set("cache.chunks", "0")
    opened = Repository(repo.path)
    column = opened.checkout()["x"]
    assert all(np.array_equal(column[0], IMAGES[0]) for _ in range(5))
    assert len(decoded) == 5
    opened.close()


def test_a_size_that_is_none_is_told(repo: Repository) -> None:
    with Path(repo.path, ".hangar", "config").open("a", encoding="utf-8") as file:
        file.write("[cache]\nchunks = huge\n")
    opened = Repository(repo.path)
    with pytest.raises(InvalidInputError, match=r"cache\.chunks is a number of bytes"):
        opened.checkout()["x"][0]
    opened.close()


def test_values_that_a_user_changes_change_nothing_in_the_cache(repo: Repository) -> None:
    column = repo.checkout()["x"]
    for _ in range(3):
        column[7][...] = 9
        column.read([7, 8])[...] = 9
        column.read(slice(5, 60))[...] = 9
    assert np.array_equal(column.read(slice(5, 60)), IMAGES[5:60])


def test_what_is_checked_is_read_from_disk(repo: Repository) -> None:
    column = repo.checkout()["x"]
    column.read(slice(None))
    for path in Path(repo.path, ".hangar", "blobs").glob("*.00"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    assert not repo.fsck(data=True).sound
    opened = Repository(repo.path)
    with pytest.raises(CorruptionError):
        opened.checkout()["x"].read(slice(None))
    opened.close()


def test_a_batch_that_was_dropped_leaves_nothing_in_the_cache(repo: Repository) -> None:
    """What is written next lies where it lay."""
    writer = repo.checkout(write=True)
    column: Any = writer["x"]
    for seed in (5, 6, 7):
        images = np.random.default_rng(seed).integers(0, 4, (300, 28, 28), np.uint8)
        with contextlib.suppress(KeyboardInterrupt), writer:
            column.write(range(5_000, 5_300), images)
            assert np.array_equal(column.read(range(5_000, 5_300)), images)
            assert np.array_equal(column[5_007], images[7])
            raise KeyboardInterrupt
        assert 5_007 not in column
    writer.close()
    assert repo.fsck(data=True).sound


def test_threads_and_forks(repo: Repository) -> None:
    Config(Path(repo.path, ".hangar")).file("repository").set("cache.chunks", "500k")
    opened = Repository(repo.path)
    column = opened.checkout()["x"]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(60):
                wanted = rng.integers(0, COUNT, 20)
                assert np.array_equal(column.read(wanted), IMAGES[wanted])
                assert np.array_equal(column[int(wanted[0])], IMAGES[wanted[0]])
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert in_child(lambda: bool(np.array_equal(column.read(slice(None)), IMAGES)))
    opened.close()
