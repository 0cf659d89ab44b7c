"""The table of where the samples of a column lie: right, bounded, and never trusted further than its checks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, Repository, SampleNotFoundError, limits
from hangar.blobs.locator import Locator
from hangar.columns.tablefile import CacheFiles
from hangar.columns.tables import ColumnTable
from tests.processes import in_child

COUNT = 3_000
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), np.uint8)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAVED_TABLE_ENTRIES", 1_000)


def make(path: Path, backend: str | None = "10") -> Repository:
    path.mkdir(exist_ok=True)
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("x", (28, 28), np.uint8, backend=backend).write(range(COUNT), IMAGES)
    writer.add_ndarray_column("label", (), np.int64).write(range(COUNT), np.arange(COUNT) * 7)
    writer.commit("all")
    writer.close()
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    made = make(tmp_path / "repo")
    yield made
    made.close()


def again(repo: Repository) -> Repository:
    """The same repository, as a process finds it that has not opened it yet."""
    repo.close()
    return Repository(repo.path)


def resolved(repo: Repository, name: str = "x") -> Any:
    """A column that has its table."""
    column: Any = repo.checkout()[name]
    for _ in range(200):
        column.read(positions=[0])
        if column._table.table is not None:
            return column
    raise AssertionError("there is no table")


def files(repo: Repository) -> list[Path]:
    return sorted(Path(repo.path, ".hangar", "cache").glob("*"))


def check(column: Any) -> None:
    wanted = np.random.default_rng(1).integers(0, COUNT, 300)
    expected = IMAGES[wanted]
    assert np.array_equal(column.read(positions=wanted), expected)
    assert np.array_equal(column.read(wanted), expected)
    assert np.array_equal(column.read(wanted.tolist()), expected)
    out = np.zeros((300, 28, 28), np.uint8)
    assert column.read(wanted, out) is out
    assert np.array_equal(out, expected)
    wide = np.zeros((300, 28, 56), np.uint8)[:, :, ::2]
    assert np.array_equal(column.read(positions=wanted - COUNT, out=wide), expected)
    assert np.array_equal(column.read(slice(10, 400)), IMAGES[10:400])
    assert np.array_equal(column.read(slice(400, 10, -7)), IMAGES[400:10:-7])
    assert all(np.array_equal(column[int(at)], IMAGES[at]) for at in wanted[:30])
    assert np.array_equal(column[np.int64(7)], IMAGES[7])
    assert all(map(np.array_equal, column[wanted[:9].tolist()], expected))
    assert all(map(np.array_equal, column.values(), IMAGES))
    assert [key for key, value in column.items() if not np.array_equal(value, IMAGES[key])] == []
    for absent in (COUNT, 2**63, 2**64 - 1, "1"):
        with pytest.raises(SampleNotFoundError):
            column[absent]
        with pytest.raises(SampleNotFoundError):
            column.read([1, absent])
        assert column.get(absent) is None
    assert column.read(slice(5, 5)).shape == (0, 28, 28)


@pytest.mark.parametrize("backend", ["10", "00", "01"])
def test_a_table_gives_what_the_tree_gives(tmp_path: Path, backend: str) -> None:
    repo = make(tmp_path / "repo", backend)
    column = resolved(repo)
    table = column._table.table
    assert table.nbytes <= 24 * COUNT + (40 * COUNT if backend == "01" else 1_000)
    check(column)
    assert column._table.table is table
    values = column.read(positions=[1, 2])
    values[...] = 0
    column[1][...] = 0
    check(column)
    repo.close()


def test_labels_are_one_array(repo: Repository) -> None:
    column = resolved(repo, "label")
    assert column._table.table.nbytes <= 24 * COUNT
    wanted = np.random.default_rng(1).permutation(COUNT)
    assert np.array_equal(column.read(positions=wanted), wanted * 7)
    assert np.array_equal(column.read(wanted.tolist()), wanted * 7)
    assert np.array_equal(column.read(slice(5, 50)), np.arange(5, 50) * 7)
    out = np.zeros(COUNT, np.int64)
    assert column.read(wanted, out) is out
    assert np.array_equal(out, wanted * 7)
    one = column[9]
    assert (type(one), one.shape, one.dtype, int(one)) == (np.ndarray, (), np.int64, 63)
    one[...] = 1
    column.read(slice(0, 20))[...] = 1
    assert int(column[9]) == 63
    assert [int(value) for value in column[[3, 1, 3]]] == [21, 7, 21]
    assert [int(value) for value in column.values()] == (np.arange(COUNT) * 7).tolist()


def test_keys_of_any_kind(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    rng = np.random.default_rng(3)
    kinds: dict[str, list[Any]] = {
        "sparse": sorted(rng.choice(10**6, 500, replace=False).tolist()),
        "far": [3 * 2**40 * i + 1 for i in range(500)],
        "farther": [2**63 - 5 + i for i in range(500)],
        "text": [f"s{i}" for i in range(500)],
        "both": [*range(250), *(f"s{i}" for i in range(250))],
        "one": [77],
    }
    writer = repo.checkout(write=True)
    for name, keys in kinds.items():
        writer.add_ndarray_column(name, (28, 28), np.uint8).write(keys, IMAGES[: len(keys)])
        writer.add_ndarray_column(f"label-{name}", (3,), np.float64).write(
            keys, np.arange(3.0 * len(keys)).reshape(-1, 3)
        )
    writer.commit("all")
    writer.close()
    for name, keys in kinds.items():
        for column in (resolved(repo, name), resolved(repo, f"label-{name}")):
            table = column._table.table
            expected = column.read(slice(None))
            assert table.nbytes <= 28 * len(keys) + 200
            order = rng.permutation(len(keys))
            wanted = [keys[at] for at in order]
            at_keys = {key: at for at, key in enumerate(column.keys())}
            places = [at_keys[key] for key in wanted]
            assert np.array_equal(column.read(wanted), expected[places])
            assert all(np.array_equal(column[key], expected[at_keys[key]]) for key in wanted[:40])
            for absent in (
                keys[0] + 1 if keys[0] == 77 else 2,
                10**6 + 1,
                2**64 - 1,
                "s1000",
                2**32 + keys[0] if type(keys[0]) is int else 3,
            ):
                if absent not in at_keys:
                    with pytest.raises(SampleNotFoundError):
                        column.read([wanted[0], absent])
                    with pytest.raises(SampleNotFoundError):
                        column[absent]
            assert column._table.table is table
    repo.close()


def test_arrays_of_variable_shape_and_long_texts(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org")
    arrays = [IMAGES[i, : 1 + i % 28] for i in range(400)]
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("x", (28, 28), np.uint8, variable_shape=True).update(enumerate(arrays))
    writer.add_bytes_column("b", inline=False).update({i: bytes(arrays[i]) for i in range(400)})
    writer.commit("all")
    writer.close()
    column = resolved(repo)
    assert all(map(np.array_equal, column[list(range(400))], arrays))
    assert np.array_equal(column.read([27, 55]), np.stack([arrays[27], arrays[55]]))
    assert np.array_equal(column[13], arrays[13])
    texts = resolved(repo, "b")
    assert texts.read([5, 3]) == [bytes(arrays[5]), bytes(arrays[3])]
    assert texts[17] == bytes(arrays[17])
    assert list(texts.values()) == list(map(bytes, arrays))
    repo.close()


# ---------------------------------------------------------------------- moved and damaged blobs


def test_a_moved_blob_is_found_again(repo: Repository) -> None:
    column = resolved(repo)
    one = repo.checkout()["x"]
    table = column._table.table
    repo.convert_backend("x", "00")
    assert not [path for path in Path(repo.path, ".hangar", "blobs").glob("*.10") if path.stat().st_size > COUNT]
    # As a process that opens the files anew: those that were open can be read on.
    column._session.stores.blobs.files.clear()
    assert np.array_equal(column.read(positions=[5, 6]), IMAGES[5:7])
    assert column._table.table is not table
    check(column)
    check(resolved(repo))
    check(one)
    assert column._table.table is not None


def test_a_damaged_blob_is_an_error_and_the_table_stays(repo: Repository) -> None:
    column = resolved(repo)
    table = column._table.table
    (path,) = Path(repo.path, ".hangar", "blobs").glob("*.10")
    with path.open("r+b") as file:
        file.seek(64 + 784 * 1_500 + 3)
        file.write(b"\xff\x00\xff")
    damaged = [at for at in range(COUNT) if not _reads(column, at)]
    assert len(damaged) == 1
    for read in (
        lambda: column.read(positions=[1, damaged[0]]),
        lambda: column.read([1, damaged[0]]),
        lambda: list(column.values()),
    ):
        with pytest.raises(CorruptionError, match="checksum"):
            read()
    assert column._table.table is table


def _reads(column: Any, at: int) -> bool:
    try:
        return bool(np.array_equal(column[at], IMAGES[at]))
    except CorruptionError:
        return False


def test_a_blob_file_that_is_cut_under_a_reader(repo: Repository) -> None:
    column = resolved(repo)
    (path,) = Path(repo.path, ".hangar", "blobs").glob("*.10")
    os.truncate(path, 5_000)
    with pytest.raises(CorruptionError):
        column[COUNT - 1]
    with pytest.raises(CorruptionError):
        column.read(positions=[3, 2_000])
    assert np.array_equal(column.read([1, 2]), IMAGES[1:3])


# ---------------------------------------------------------------------- the cache file


def test_a_saved_table_serves_the_first_read_of_another_process(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved(repo)
    resolved(repo, "label")
    assert len(files(repo)) == 2
    opened = again(repo)
    monkeypatch.setattr(Locator, "locate", lambda *_: pytest.fail("an index was searched"))
    reader = opened.checkout()
    assert np.array_equal(reader["x"].read(positions=[7, 9]), IMAGES[[7, 9]])
    assert np.array_equal(reader["x"].read([7, 9]), IMAGES[[7, 9]])
    assert reader["label"].read([8]).tolist() == [56]
    assert opened.checkout().session.stores.nodes.loads == 0
    opened.close()


@pytest.mark.parametrize("mapped", [False, True])
def test_no_flipped_byte_of_a_cache_file_is_believed(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    if mapped:
        monkeypatch.setattr(limits, "MAPPED_TABLE_BYTES", 0)
    for name in ("x", "label"):
        resolved(repo, name)
        root = repo.checkout()[name]._source.root()
        (path,) = [path for path in files(repo) if path.name.startswith(root.digest.hex())]
        good = path.read_bytes()
        cache = CacheFiles(Path(repo.path, ".hangar"))
        assert cache.load(root.digest, mapped=mapped) is not None
        for at in [*range(80), *np.random.default_rng(0).integers(80, len(good), 60).tolist(), len(good) - 1]:
            path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
            found = cache.load(root.digest, mapped=mapped)
            assert found is None or at >= len(good) - 64, at
            assert found is not None or not path.exists()
        for size in (0, 10, 71, 72, 200, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:size])
            assert cache.load(root.digest, mapped=mapped) is None
        path.write_bytes(good)


def test_a_file_of_another_tree_is_not_believed(repo: Repository) -> None:
    resolved(repo)
    resolved(repo, "label")
    one, other = files(repo)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    opened = again(repo)
    check(opened.checkout()["x"])
    check(resolved(opened))
    assert resolved(opened, "label")[9] == 63
    assert len(files(opened)) == 2
    opened.close()


def test_entries_that_change_places_fail_the_check(repo: Repository) -> None:
    """Although each of them is a good location of a good blob."""
    column = resolved(repo)
    arrays = column._table.table.offsets
    arrays.where[[3, 4]] = arrays.where[[4, 3]]
    arrays.checks[[3, 4]] = arrays.checks[[4, 3]]
    assert np.array_equal(column.read(positions=[3, 4]), IMAGES[[3, 4]])
    assert column._table.table is None


def test_a_mapped_file_that_is_cut_is_no_signal(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAPPED_TABLE_BYTES", 0)
    resolved(repo)
    opened = again(repo)
    column: Any = opened.checkout()["x"]
    check(column)
    assert column._table.table.file.descriptor >= 0
    (path,) = files(opened)
    os.truncate(path, 100)
    check(column)
    check(resolved(opened))
    opened.close()


def test_deleting_the_cache_is_safe_at_any_time(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAPPED_TABLE_BYTES", 0)
    resolved(repo)
    opened = again(repo)
    column = opened.checkout()["x"]
    check(column)
    for path in files(opened):
        path.unlink()
    Path(opened.path, ".hangar", "cache").rmdir()
    check(column)
    opened = again(opened)
    check(resolved(opened))
    assert len(files(opened)) == 1
    assert opened.fsck().sound
    opened.close()


def test_where_nothing_can_be_written_nothing_is(repo: Repository) -> None:
    # A file where the directory should be stands for a disk that refuses; the tests may run as a user whom no mode stops.
    Path(repo.path, ".hangar", "cache").write_bytes(b"")
    check(resolved(repo))


def test_the_directory_is_bounded(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(repo)
    (path,) = files(repo)
    cache = CacheFiles(Path(repo.path, ".hangar"))
    monkeypatch.setattr(limits, "CACHE_DIRECTORY_BYTES", 3 * path.stat().st_size + 1_000)
    arrays = {"a": np.zeros(path.stat().st_size - 500, np.uint8)}
    stale = path.with_name(f"{'00' * 32}.123-456")
    stale.write_bytes(b"x")
    os.utime(stale, (0, 0))
    fresh = path.with_name(f"{'00' * 32}.123-457")
    fresh.write_bytes(b"x")
    os.utime(path, (1, 1))
    for number in range(5):
        cache.save(bytes([number]) * 32, arrays)
        assert sum(file.stat().st_size for file in files(repo)) <= limits.CACHE_DIRECTORY_BYTES
    assert not stale.exists()
    assert fresh.exists()
    assert not path.exists()
    assert cache.load(bytes([4]) * 32, mapped=False) is not None
    check(resolved(repo))


def test_a_table_that_is_dropped_again_and_again_is_built_less_often(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it happens while data is fetched when it is read."""
    monkeypatch.setattr(limits, "SAVED_TABLE_ENTRIES", 10**9)
    repo.stores.tables.clear()
    column = resolved(repo)
    holder = column._table
    built = 0
    for _ in range(4 * COUNT // 16):
        column.read([0])
        if holder.table is not None:
            built += 1
            holder.discard(holder.table)
    assert 4 < built <= 14  # at a fixed distance it would be more than a hundred
    check(column)


def _write_often(path: str, barrier: Any) -> None:
    column: Any = Repository(Path(path)).checkout()["x"]
    barrier.wait()
    for _ in range(20):
        column._table.discard(column._table.table)
        for _ in range(200):
            column.read(positions=[0])
        wanted = np.random.default_rng(os.getpid()).integers(0, COUNT, 100)
        assert np.array_equal(column.read(positions=wanted), IMAGES[wanted])


def test_processes_that_write_the_same_file(repo: Repository) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    repo.close()
    processes = [context.Process(target=_write_often, args=(str(repo.path), barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    opened = Repository(repo.path)
    assert all(path.suffix == ".table" for path in files(opened))
    check(resolved(opened))
    opened.close()


# ---------------------------------------------------------------------- threads, forks, writers


def test_threads_and_forks(repo: Repository) -> None:
    column: Any = repo.checkout()["x"]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for step in range(150):
                wanted = rng.integers(0, COUNT, 50)
                assert np.array_equal(column.read(positions=wanted), IMAGES[wanted])
                assert np.array_equal(column[int(wanted[0])], IMAGES[wanted[0]])
                if step == 100 and seed == 0 and column._table.table is not None:
                    column._table.discard(column._table.table)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures

    def read() -> bool:
        check(column)
        return True

    assert in_child(read)
    check(column)


def test_what_a_writer_changes_is_seen(repo: Repository) -> None:
    before = resolved(repo)
    with repo.checkout(write=True) as writer:
        column = writer["x"]
        for _ in range(60):
            column.read(positions=[0])
        column[5] = IMAGES[6]
        assert np.array_equal(column[5], IMAGES[6])
        assert np.array_equal(column.read(positions=[5, 6]), IMAGES[[6, 6]])
        writer.commit("changed")
    writer.close()
    after = resolved(repo)
    assert np.array_equal(after[5], IMAGES[6])
    assert np.array_equal(before[5], IMAGES[5])
    check(before)


def test_the_first_reads_make_no_table(repo: Repository) -> None:
    column: Any = repo.checkout()["x"]
    column[0]
    column.read(positions=[1, 2])
    assert column._table.table is None
    assert files(repo) == []


def test_a_damaged_tree_makes_no_table(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    column: Any = repo.checkout()["x"]

    def fail(*arguments: Any) -> Any:
        raise CorruptionError("a node is damaged")

    monkeypatch.setattr("hangar.columns.tables.build_table", fail)
    for _ in range(100):
        assert np.array_equal(column.read(positions=[1, 2]), IMAGES[1:3])
    assert isinstance(column._table, ColumnTable)
    assert column._table.table is None


def test_what_is_unpickled_shares_its_stores(repo: Repository) -> None:
    """Files, caches and tables of one repository, once for each process and path."""
    reader = repo.checkout()
    data = pickle.dumps((reader["x"], reader["label"], reader))
    x, label, whole = pickle.loads(data)
    (again,) = pickle.loads(pickle.dumps((reader["x"],)))
    stores = x._session.stores
    assert stores is label._session.stores
    assert stores is whole.session.stores
    assert stores is again._session.stores
    assert stores is not reader.session.stores
    for _ in range(60):
        x.read(positions=[0])
    again.read(positions=[0])
    assert again._table.table is x._table.table is not None
    kept = weakref.ref(stores)
    del x, label, whole, again, stores
    gc.collect()
    assert kept() is None
    check(pickle.loads(data)[0])
