from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar import limits
from hangar.blobs import BlobStore
from hangar.blobs.run import Run
from hangar.digest import NDARRAY, Header, blob_digests, digest_array
from hangar.errors import CorruptionError, InvalidInputError
from tests.blobs.maker import IMAGE, UINT8, Bench, Rows, arrays, check_reads, images, mixed, names, texts
from tests.counting import calls_of
from tests.processes import in_child


def store_images(bench: Bench, count: int, seed: int = 0) -> tuple[Rows, Rows]:
    rows, digests = images(count, seed)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    return rows, digests


@pytest.mark.parametrize("count", [1, 5, 300, 3000])
def test_a_batch_comes_back_in_any_order(bench: Bench, count: int) -> None:
    """Few blobs go into the table and many into a run; both read the same."""
    rows, digests = store_images(bench, count)
    again = bench.reopen()
    wanted = np.random.default_rng(1).integers(0, count, 500)
    found = again.store.read_rows(digests[wanted], IMAGE, 784)
    assert np.array_equal(found, rows[wanted])
    assert found.flags.writeable
    assert again.runs() == (["00000002.run"] if count >= limits.RUN_BLOBS else [])
    out = np.zeros((500, 784), np.uint8)
    assert again.store.read_rows(digests[wanted], IMAGE, 784, out) is out
    assert np.array_equal(out, rows[wanted])
    again.close()


def test_blobs_of_all_kinds_and_sizes(bench: Bench) -> None:
    blobs = mixed(2500)
    bench.add(blobs[:900])
    bench.publish()
    bench.add(blobs[900:])
    bench.publish()
    again = bench.reopen()
    check_reads(again.store, blobs)
    again.close()


def test_what_is_read_is_the_readers_own(bench: Bench) -> None:
    blobs = arrays(30)
    bench.add(blobs)
    bench.publish()
    for _ in range(2):
        for blob in blobs:
            _, data = bench.store.read_one(blob.digest)
            assert isinstance(data, np.ndarray)
            assert bytes(data) == blob.data
            data[...] = 0x55
        for _, data in bench.store.read_list([blob.digest for blob in blobs]):
            assert isinstance(data, np.ndarray)
            data[...] = 0x55
    check_reads(bench.store, blobs)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0, 2)])
def test_arrays_without_elements(bench: Bench, shape: tuple[int, ...]) -> None:
    header = Header(NDARRAY, UINT8, shape)
    rows = np.empty((3, 0), np.uint8)
    digests = blob_digests(header, rows)
    bench.writer.add_rows("10", header, rows, digests)
    bench.publish()
    assert bench.store.read_rows(digests, header, 0).shape == (3, 0)
    found, data = bench.store.read_one(digests[0].tobytes())
    assert (found, len(data)) == (header, 0)


@pytest.mark.parametrize("size", [1, 7, 4_095, 16_383, 16_384, 100_000, 3_000_000])
def test_rows_of_many_sizes(bench: Bench, size: int) -> None:
    """Small rows are gathered, large ones copied, in several blocks."""
    count = max(3, min(3000, 6_000_000 // size))
    header = Header(NDARRAY, UINT8, (size,))
    rows = np.random.default_rng(size).integers(0, 256, (count, size), np.uint8)
    digests = blob_digests(header, rows)
    bench.writer.add_rows("10", header, rows, digests)
    bench.publish()
    wanted = np.random.default_rng(1).permutation(count)
    assert np.array_equal(bench.store.read_rows(digests[wanted], header, size), rows[wanted])
    out = np.empty((count, size), np.uint8)
    bench.store.read_rows(digests[wanted], header, size, out)
    assert np.array_equal(out, rows[wanted])


def test_one_batch_from_many_places(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, the table, several files, the writer's files and its memory serve one read."""
    monkeypatch.setattr(limits, "BLOB_FILE_BYTES", 100_000)
    rows, digests = images(5000)
    for start, stop in ((0, 1500), (1500, 1600), (1600, 3500), (3500, 3510)):
        bench.writer.add_rows("10", IMAGE, rows[start:stop], digests[start:stop])
        bench.publish()
    bench.writer.add_rows("10", IMAGE, rows[3510:4900], digests[3510:4900])
    for row, digest in zip(rows[4900:], digests[4900:], strict=True):
        bench.writer.add_one("10", IMAGE, row, digest.tobytes())
    assert len(bench.writer.unpublished) == 1490
    wanted = np.random.default_rng(0).permutation(5000)
    assert np.array_equal(bench.store.read_rows(digests[wanted], IMAGE, 784), rows[wanted])
    found = bench.store.read_list(names(digests[wanted]))
    assert [bytes(data) for _, data in found] == [rows[at].tobytes() for at in wanted]
    assert len(bench.files()) == 3
    bench.publish()
    assert np.array_equal(bench.store.read_rows(digests[wanted], IMAGE, 784), rows[wanted])


def test_open_files_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BLOB_FILE_BYTES", 100)
    monkeypatch.setattr(limits, "OPEN_BLOB_FILES", 3)
    rows, digests = images(12)
    for at in range(12):
        bench.writer.add_rows("10", IMAGE, rows[at : at + 1], digests[at : at + 1])
    bench.publish()
    assert len(bench.files()) == 12
    for _ in range(3):
        assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)
        assert len(bench.store.files.raw) == 3


def test_another_process_is_seen(bench: Bench) -> None:
    """A store that is open finds what others publish later, in the table and in runs."""
    store = BlobStore(bench.db, bench.directory)
    rows, digests = images(3000)
    for start, stop in ((0, 10), (10, 2000), (2000, 3000)):
        with pytest.raises(CorruptionError, match=names(digests[start : start + 1])[0].hex()):
            store.read_rows(digests[start:stop], IMAGE, 784)
        assert not store.known(digests[start:stop]).any()
        bench.writer.add_rows("10", IMAGE, rows[start:stop], digests[start:stop])
        with pytest.raises(CorruptionError):
            store.read_one(digests[start].tobytes())
        bench.publish()
        assert np.array_equal(store.read_rows(digests[:stop], IMAGE, 784), rows[:stop])
        assert store.read_one(digests[stop - 1].tobytes())[0] == IMAGE
    store.close()


def test_known(bench: Bench) -> None:
    rows, digests = images(4000)
    assert bench.store.known(digests[:0]).shape == (0,)
    bench.writer.add_rows("10", IMAGE, rows[:1500], digests[:1500])
    bench.publish()
    bench.writer.add_rows("10", IMAGE, rows[1500:1600], digests[1500:1600])
    bench.publish()
    for order in (np.arange(4000), np.random.default_rng(0).permutation(4000)):
        assert bench.store.known(digests[order]).tolist() == (order < 1600).tolist()
    assert bench.store.known(digests[1590:1610]).tolist() == [True] * 10 + [False] * 10


def test_the_wrong_header_is_refused(bench: Bench) -> None:
    _, digests = store_images(bench, 10)
    for header, size in ((Header(NDARRAY, UINT8, (784,)), 784), (IMAGE, 783)):
        with pytest.raises(CorruptionError):
            bench.store.read_rows(digests, header, size)


def test_wrong_arguments_are_refused(bench: Bench) -> None:
    _, digests = store_images(bench, 10)
    with pytest.raises(InvalidInputError):
        bench.store.read_rows(digests[:, :31], IMAGE, 784)
    wrong: list[Any] = [np.empty((9, 784), np.uint8), np.empty((10, 784), np.int8), np.empty((784, 10), np.uint8).T]
    for out in wrong:
        with pytest.raises(InvalidInputError):
            bench.store.read_rows(digests, IMAGE, 784, out)
    fixed = np.empty((10, 784), np.uint8)
    fixed.flags.writeable = False
    with pytest.raises(InvalidInputError):
        bench.store.read_rows(digests, IMAGE, 784, fixed)
    with pytest.raises(InvalidInputError):
        bench.store.read_list([b"short"])
    assert bench.store.read_list([]) == []
    assert bench.store.read_rows(digests[:0], IMAGE, 784).shape == (0, 784)


def test_strided_digests_are_taken(bench: Bench) -> None:
    rows, digests = store_images(bench, 10)
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 4:36] = digests
    assert np.array_equal(bench.store.read_rows(wide[:, 4:36], IMAGE, 784), rows)
    assert bench.store.known(wide[:, 4:36]).all()


# ---------------------------------------------------------------------- how much work it is


def calls(function: Callable[[], Any]) -> tuple[int, int]:
    """Interpreted calls, and all calls, that ``function`` makes."""
    counts = calls_of(function)
    return counts["call"] - 1, counts["call"] + counts["c_call"] - 2


def test_the_calls_of_a_batch_read_do_not_grow(bench: Bench) -> None:
    rows, digests = store_images(bench, 4000)
    wanted = np.random.default_rng(0).integers(0, 4000, 2048)
    store = bench.store
    assert np.array_equal(store.read_rows(digests[wanted], IMAGE, 784), rows[wanted])
    few, many = (calls(lambda n=n: store.read_rows(digests[wanted[:n]], IMAGE, 784)) for n in (256, 2048))  # type: ignore[misc]
    assert few == many
    assert few[1] <= 61


def test_the_interpreted_calls_of_a_list_read_do_not_grow(bench: Bench) -> None:
    blobs = texts(3000)
    bench.add(blobs)
    bench.publish()
    digests = [blob.digest for blob in blobs[:2048]]
    bench.store.read_list(digests)
    few, many = (calls(lambda n=n: bench.store.read_list(digests[:n])) for n in (256, 2048))  # type: ignore[misc]
    assert few[0] == many[0]


# ---------------------------------------------------------------------- threads and processes


def test_threads_read_while_the_writer_publishes(bench: Bench) -> None:
    rows, digests = images(6000)
    bench.writer.add_rows("10", IMAGE, rows[:1000], digests[:1000])
    bench.publish()
    published = 1000
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        source = np.random.default_rng(seed)
        try:
            for _ in range(60):
                wanted = source.integers(0, published, 100)
                assert np.array_equal(bench.store.read_rows(digests[wanted], IMAGE, 784), rows[wanted])
                assert bytes(bench.store.read_one(digests[wanted[0]].tobytes())[1]) == rows[wanted[0]].tobytes()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for start in range(1000, 6000, 500):
        bench.writer.add_rows("10", IMAGE, rows[start : start + 500], digests[start : start + 500])
        bench.publish()
        published = start + 500
    for thread in threads:
        thread.join()
    assert not failures


def test_a_forked_child_reads(bench: Bench) -> None:
    """Also what the parent has not published; and the parent goes on afterwards."""
    rows, digests = store_images(bench, 2000)
    more = texts(50)
    bench.add_singly(more)
    bench.store.read_rows(digests, IMAGE, 784)

    def read() -> bool:
        check_reads(bench.store, more)
        return bool(np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows))

    assert in_child(read)
    assert in_child(read)
    bench.publish()
    check_reads(bench.store, more)
    assert in_child(read)


# ---------------------------------------------------------------------- what has no location


def test_a_missing_location_is_a_value(bench: Bench) -> None:
    rows, digests = store_images(bench, 3000)
    strange = images(2, seed=9)[1]
    wanted = np.concatenate([digests[:5], strange[:1], digests[5:7], strange[1:]])
    located = bench.store.locate(wanted)
    assert located.missing.tolist() == [5, 8]
    assert not located.words[located.missing].any()
    assert located.stored.tolist() == [True] * 5 + [False] + [True] * 2 + [False]
    there = np.delete(np.arange(9), located.missing)
    found = bench.store.read_rows_at(located.words[there], IMAGE, 784, digests=wanted[there])
    assert np.array_equal(found, rows[:7])
    assert len(bench.store.locate(digests[:0]).missing) == 0


def test_what_waits_in_memory_is_located_there(bench: Bench) -> None:
    blobs = texts(20)
    bench.add_singly(blobs)
    digests = digest_array([blob.digest for blob in blobs])
    located = bench.store.locate(digests)
    assert not located.missing.size
    assert not located.stored.any()
    assert [bytes(data) for _, data in bench.store.read_list_at(located.words, digests=digests)] == [
        blob.data for blob in blobs
    ]


def test_three_misses_over_two_runs_check_each_run_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And they drop nothing that was opened: a promised blob must not cost a look-up from scratch."""
    rows, digests = images(8000)
    for start, stop in ((0, 6000), (6000, 8000)):
        bench.writer.add_rows("10", IMAGE, rows[start:stop], digests[start:stop])
        bench.publish()
    assert len(bench.store.locator.runs()) == 2
    bench.store.read_rows(digests, IMAGE, 784)
    checked: list[int] = []
    verify = Run.verify

    def counted(run: Run) -> None:
        checked.append(run.run_id)
        verify(run)

    monkeypatch.setattr(Run, "verify", counted)
    monkeypatch.setattr(BlobStore, "refresh", lambda store: pytest.fail("all caches were dropped"))
    strange = images(3, seed=9)[1]
    assert len(bench.store.locate(strange).missing) == 3
    assert checked == []
    for digest in names(strange):
        with pytest.raises(CorruptionError, match=digest.hex()):
            bench.store.read_one(digest)
        with pytest.raises(CorruptionError, match=digest.hex()):
            bench.store.read_rows(digest_array([digest]), IMAGE, 784)
    assert sorted(checked) == sorted(run.run_id for run in bench.store.locator.runs())
