"""Cache files below ``.hangar/cache`` that nobody of us wrote: not used, not followed, not removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from hangar import Repository, limits
from hangar.columns import tablefile
from hangar.columns.tablefile import CacheFiles

COUNT = 600
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), np.uint8)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setattr(limits, "SAVED_TABLE_ENTRIES", 100)
    (tmp_path / "repo").mkdir()
    made = Repository(tmp_path / "repo", exists=False)
    made.init("Ada", "ada@example.org")
    writer = made.checkout(write=True)
    writer.add_ndarray_column("x", (28, 28), np.uint8, backend="10").write(range(COUNT), IMAGES)
    writer.add_ndarray_column("label", (), np.int64).write(range(0, 3 * COUNT, 3), np.arange(COUNT))
    writer.commit("all")
    writer.close()
    yield made
    made.close()


def read_often(repo: Repository) -> None:
    """As a process does that has not opened the repository yet."""
    repo.close()
    reader = Repository(repo.path).checkout()
    for _ in range(40):
        assert np.array_equal(reader["x"].read(positions=[5, 9]), IMAGES[[5, 9]])
        assert np.array_equal(reader["x"][7], IMAGES[7])
        assert reader["label"].read([0, 21]).tolist() == [0, 7]
        assert int(reader["label"][3 * 11]) == 11


def cached(repo: Repository, name: str) -> tuple[CacheFiles, bytes, dict[str, Any]]:
    """The cache, the tree of a column, and the arrays that are kept of it."""
    cache = CacheFiles(Path(repo.path, ".hangar"))
    root = repo.checkout()[name]._source.root().digest
    file = cache.load(root, mapped=False)
    assert file is not None
    return cache, root, dict(file.arrays)


def test_arrays_that_are_no_table_are_not_used(repo: Repository) -> None:
    """With checksums that are right, as only a program makes them."""
    read_often(repo)
    cache, root, good = cached(repo, "x")
    bad: list[dict[str, Any]] = [
        {name: array for name, array in good.items() if name != "where"},
        good | {"more": np.zeros(3)},
        good | {"where": good["where"][:-1]},
        good | {"where": good["where"].astype(np.uint32)},
        good | {"where": good["where"].reshape(-1, 2)},
        good | {"checks": good["checks"][:5]},
        good | {"checks": good["checks"].astype(np.float64)},
        good | {"extents": good["extents"][:0]},
        good | {"extents": good["extents"][:, :3]},
        good | {"extents": np.repeat(good["extents"], 2, axis=0)},
        good
        | {
            "extents": np.repeat(good["extents"], 2, axis=0),
            "chunked": np.repeat(good["chunked"], 2),
            "extent_of": np.full(COUNT, 7, np.uint32),
        },
        good | {"chunked": np.zeros(0, np.bool_)},
        good | {"least": np.zeros(0, np.int64)},
        good | {"keys": np.arange(5, dtype=np.uint32)},
        good | {"keys": np.arange(COUNT, dtype=np.float64)},
        {},
    ]
    for arrays in bad:
        cache.save(root, arrays)
        read_often(repo)
    cache, root, good = cached(repo, "label")
    for arrays in (
        good | {"rows": good["rows"][:, :4]},
        good | {"rows": good["rows"].reshape(-1)},
        good | {"rows": good["rows"].view(np.uint64)},
        good | {"rows": good["rows"][:-1]},
        good | {"keys": good["keys"][:-1]},
    ):
        cache.save(root, arrays)
        read_often(repo)


@pytest.mark.parametrize(
    "part",
    [
        ("where", "|O", (COUNT,), 0),
        ("where", "<M8[ns]", (COUNT,), 0),
        ("where", "nothing", (COUNT,), 0),
        ("where", "<u8", (-1,), 0),
        ("where", "<u8", (COUNT,), -64),
        ("where", "<u8", (2**62,), 0),
        ("where", "<u8", (2**40, 2**40), 0),
        ("where", "<u8", (COUNT,), 2**70 // 2**8),
        ("where", 5, (COUNT,), 0),
        "nothing",
    ],
)
def test_descriptions_that_no_writer_makes_are_refused(repo: Repository, part: Any) -> None:
    read_often(repo)
    cache, root, _ = cached(repo, "x")
    described = msgspec.msgpack.encode([part])
    body = bytes(8 * COUNT)
    check = xxh3_64_intdigest(body, 0)
    head = tablefile._HEADER.pack(
        b"HANGARTB", 0, len(described), tablefile._head_check(root, described, check), check, root
    )
    start = tablefile._start(len(described))
    path = cache._path(root)
    path.write_bytes((head + described).ljust(start, b"\0") + body)
    assert cache.load(root, mapped=False) is None
    assert not path.exists()
    read_often(repo)


def test_files_of_others_stay(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """However old they are, and however full the directory is."""
    place = Path(repo.path, ".hangar", "cache")
    place.mkdir()
    theirs = [place / name for name in ("notes.txt", "thesis.tex.123-456", "results.table", "00.table", "cafe")]
    for path in theirs:
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    stale = place / f"{'0' * 64}.123-456"
    stale.write_bytes(b"x")
    os.utime(stale, (0, 0))
    monkeypatch.setattr(limits, "CACHE_DIRECTORY_BYTES", 0)
    read_often(repo)
    assert all(path.read_bytes() == b"mine" for path in theirs)
    assert not stale.exists()


def test_a_link_in_place_of_the_directory_is_not_followed(repo: Repository, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    theirs = elsewhere / f"{'0' * 64}.123-456"
    theirs.write_bytes(b"mine")
    os.utime(theirs, (0, 0))
    Path(repo.path, ".hangar", "cache").symlink_to(elsewhere)
    read_often(repo)
    assert list(elsewhere.iterdir()) == [theirs]


def test_a_link_or_a_pipe_in_place_of_a_file(repo: Repository, tmp_path: Path) -> None:
    read_often(repo)
    cache, root, _ = cached(repo, "x")
    path = cache._path(root)
    theirs = tmp_path / "theirs"
    path.replace(theirs)
    before = theirs.read_bytes()
    path.symlink_to(theirs)
    assert cache.load(root, mapped=False) is None
    read_often(repo)
    assert theirs.read_bytes() == before
    path.unlink()
    os.mkfifo(path)
    read_often(repo)


def test_a_mapped_file_that_is_damaged_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of every array: what is read is right all the same, found by the tree where the table is damaged."""
    monkeypatch.setattr(limits, "SAVED_TABLE_ENTRIES", 10)
    monkeypatch.setattr(limits, "MAPPED_TABLE_BYTES", 0)
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    keys = [3 * at // 2 for at in range(24)]
    writer.add_ndarray_column("x", (28, 28), np.uint8, backend="10").write(keys[::2], IMAGES[:24:2])
    writer["x"].change_backend("00")
    writer["x"].write(keys[1::2], IMAGES[1:24:2])
    writer.commit("in two files")
    writer.close()
    for _ in range(9):
        repo.checkout()["x"].read(positions=[0] * 16)
    (path,) = Path(repo.path, ".hangar", "cache").iterdir()
    good = path.read_bytes()
    for at in range(0, len(good), 4):
        column: Any = repo.checkout()["x"]
        repo.stores.tables.clear()
        assert np.array_equal(column.read(positions=[5]), IMAGES[[5]])
        assert column._table.table.file.descriptor >= 0
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([good[at] ^ 1, *good[at + 1 : at + 3], *([good[at + 3] ^ 0x80] if at % 8 else [])]))
        assert np.array_equal(column.read(keys), IMAGES[:24])
        assert all(np.array_equal(column[key], image) for key, image in zip(keys, IMAGES, strict=False))
        path.write_bytes(good)
    repo.close()
