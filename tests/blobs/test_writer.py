from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hangar import limits
from hangar.blobs import BlobStore, merging, verify_blobs, verify_files
from hangar.blobs.merging import runs_to_merge
from hangar.db.tables import FILES, HEADERS, LOCATIONS
from hangar.digest import NDARRAY, Header, blob_digests
from hangar.errors import CorruptionError, InvalidInputError, InvalidStateError
from tests.blobs.maker import IMAGE, RAW, UINT8, Bench, Blob, arrays, check_reads, images, mixed, texts


def size_of(bench: Bench) -> int:
    return sum(path.stat().st_size for path in bench.directory.glob("blobs/*"))


def sound(store: BlobStore) -> bool:
    return not [*verify_files(store), *verify_blobs(store, progress=False)]


def rows_in(bench: Bench) -> int:
    with bench.db.read() as transaction:
        transaction.check_count(LOCATIONS)
        return transaction.count(LOCATIONS)


# ---------------------------------------------------------------------- what is visible when


def test_single_writes_are_readable_at_once_and_published_later(bench: Bench) -> None:
    blobs = mixed(60)
    bench.add_singly(blobs)
    assert bench.files() == []
    assert all(blob.digest in bench.writer.unpublished for blob in blobs)
    check_reads(bench.store, blobs)
    bench.publish()
    assert len(bench.writer.unpublished) == 0
    check_reads(bench.store, blobs)
    again = bench.reopen()
    check_reads(again.store, blobs)
    again.close()


def test_single_writes_are_handed_on_when_there_are_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_BUFFER_BYTES", 5_000)
    blobs = texts(200)
    for blob in blobs:
        bench.add_singly([blob])
        assert bench.writer.unpublished.buffered_bytes < 5_000
    assert size_of(bench) > 5_000
    check_reads(bench.store, blobs)
    bench.publish()
    check_reads(bench.store, blobs)


def test_a_large_single_write_is_not_kept_in_memory(bench: Bench) -> None:
    blob = Blob(RAW, bytes(3_000_000))
    bench.add_singly([blob])
    assert not bench.writer.unpublished.buffers
    check_reads(bench.store, [blob])


def test_what_is_added_may_be_changed_afterwards(bench: Bench) -> None:
    """Buffers are read before the call returns."""
    data = np.arange(100, dtype=np.uint8)
    blob = Blob(Header(NDARRAY, UINT8, (100,)), data.tobytes())
    bench.writer.add_one("10", blob.header, data.data, blob.digest)
    data[...] = 0
    rows, digests = images(20)
    kept = rows.copy()
    bench.writer.add_rows("10", IMAGE, rows, digests)
    rows[...] = 0
    check_reads(bench.store, [blob])
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), kept)


def test_blobs_without_bytes_have_a_file(bench: Bench) -> None:
    """Also where there is nothing else in it."""
    header = Header(NDARRAY, UINT8, (0, 3))
    rows = np.empty((5, 0), np.uint8)
    digests = blob_digests(header, rows)
    bench.writer.add_rows("10", header, rows, digests)
    bench.publish()
    again = bench.reopen()
    assert again.store.read_rows(digests, header, 0).shape == (5, 0)
    assert again.store.read_one(digests[0].tobytes())[0] == header
    assert sound(again.store)
    again.close()


def test_rollback_forgets_what_was_not_published(bench: Bench) -> None:
    kept, lost = texts(50, 1), texts(50, 2)[1:]
    bench.add(kept)
    bench.publish()
    size = size_of(bench)
    bench.add(lost)
    bench.add_singly(arrays(5, 3))
    bench.writer.prepare()
    bench.writer.rollback()
    assert len(bench.writer.unpublished) == 0
    with pytest.raises(CorruptionError):
        bench.store.read_one(lost[0].digest)
    check_reads(bench.store, kept)
    bench.add(lost)
    bench.publish()
    check_reads(bench.store, kept + lost)
    assert sum(path.stat().st_size for path in bench.directory.glob("blobs/*.31")) == size + sum(
        len(blob.data) for blob in lost
    )


def test_a_prepared_run_is_removed_by_rollback(bench: Bench) -> None:
    bench.add(texts(2000))
    bench.writer.prepare()
    assert len(bench.runs()) == 1
    bench.writer.rollback()
    assert bench.runs() == []


def test_an_abandoned_file_is_removed(bench: Bench) -> None:
    bench.add(texts(10))
    bench.writer.close()
    assert bench.files() == []


def test_publishing_what_was_not_prepared_is_refused(bench: Bench) -> None:
    bench.add(texts(10))
    with pytest.raises(InvalidStateError):
        bench.db.update(bench.writer.record)
    bench.writer.prepare()
    bench.add_singly(arrays(1))
    with pytest.raises(InvalidStateError):
        bench.db.update(bench.writer.record)
    with pytest.raises(InvalidStateError):
        bench.writer.committed()


def test_publishing_nothing_is_fine(bench: Bench) -> None:
    rows, digests = images(0)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.writer.add_list("31", RAW, [], [])
    bench.publish()
    bench.publish()
    assert bench.files() == bench.runs() == []


@pytest.mark.parametrize("count", [20, 2000])
def test_publishing_may_be_tried_again(bench: Bench, count: int) -> None:
    """A transaction that did not commit leaves the writer able to go into the next one."""
    blobs = texts(count)
    bench.add(blobs)
    bench.writer.prepare()

    class StopError(Exception):
        pass

    def fail(transaction: object) -> None:
        bench.writer.record(transaction)  # type: ignore[arg-type]
        raise StopError

    for _ in range(2):
        with pytest.raises(StopError):
            bench.db.update(fail)
    bench.db.update(bench.writer.record)
    bench.writer.committed()
    again = bench.reopen()
    check_reads(again.store, blobs)
    again.close()


def test_after_a_failed_transaction_nothing_is_overwritten(bench: Bench) -> None:
    """Whether it was committed may not be known, so the file it recorded is left alone."""
    first, second, third = texts(20, 1)[1:], texts(20, 2)[1:], texts(20, 3)[1:]
    bench.add(first)
    bench.publish()
    bench.add(second)
    bench.writer.prepare()
    bench.db.update(bench.writer.record)
    bench.writer.rollback()  # as after an error of a commit that worked all the same
    bench.add(third)
    bench.publish()
    again = bench.reopen()
    check_reads(again.store, first + second + third)
    again.close()


def test_wrong_arguments_are_refused(bench: Bench) -> None:
    rows, digests = images(10)
    for bad in (rows[:, ::2], rows.astype(np.int8), rows[:9], rows[0]):
        with pytest.raises(InvalidInputError):
            bench.writer.add_rows("10", IMAGE, bad, digests)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        bench.writer.add_list("31", RAW, [b"a", b"b"], [bytes(32)])
    with pytest.raises(InvalidInputError):
        bench.writer.add_list("31", [RAW], [b"a", b"b"], [bytes(32), bytes(32)])
    with pytest.raises(InvalidInputError):
        bench.writer.add_list("nix", RAW, [b"a"], [Blob(RAW, b"a").digest])
    bench.writer.rollback()
    bench.publish()
    assert bench.files() == []
    with bench.db.read() as transaction:
        assert transaction.count(FILES) == 0


def test_a_dropped_file_is_not_recorded(bench: Bench) -> None:
    bench.add(texts(20))
    bench.writer.rollback()
    bench.publish()
    with bench.db.read() as transaction:
        assert transaction.count(FILES) == 0
    bench.add(texts(20))
    bench.publish()
    assert bench.files() == ["00000001.31"]
    check_reads(bench.store, texts(20))


# ---------------------------------------------------------------------- each content once


@pytest.mark.parametrize("large", [False, True])
def test_duplicates_are_stored_once(bench: Bench, large: bool) -> None:
    """One in ten is a duplicate: of its own batch, of a batch not published, of one that is."""
    size = 5000 if large else 784
    header = Header(NDARRAY, UINT8, (size,))
    source = np.random.default_rng(0)
    rows = source.integers(0, 256, (2000, size), np.uint8)
    again = source.choice(2000, 200, replace=False)
    rows[again] = rows[source.integers(0, 2000, 200)]
    distinct = len(np.unique(rows, axis=0))
    digests = blob_digests(header, rows)
    assert distinct < 2000
    bench.writer.add_rows("10", header, rows, digests)
    bench.writer.add_rows("10", header, rows[::-1].copy(), digests[::-1].copy())
    bench.publish()
    bench.writer.add_rows("10", header, rows, digests)
    for row, digest in zip(rows[:50], digests[:50], strict=True):
        bench.writer.add_one("10", header, row, digest.tobytes())
    bench.publish()
    assert size_of(bench) == 64 + distinct * size
    assert np.array_equal(bench.store.read_rows(digests, header, size), rows)


def test_a_duplicate_costs_little_disk(bench: Bench) -> None:
    rows, digests = images(3000)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()

    def disk() -> int:
        return sum(path.stat().st_size for path in bench.directory.rglob("*") if path.is_file())

    before = disk()
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    assert disk() - before < 100 * 3000 / 10


def test_lists_and_singles_are_deduplicated(bench: Bench) -> None:
    blobs = mixed(300)
    for _ in range(2):
        bench.add(blobs + blobs[::-1])
        bench.add_singly(blobs)
        bench.publish()
    distinct = {blob.digest: blob for blob in blobs}
    assert size_of(bench) == 64 * len(bench.files()) + sum(len(blob.data) for blob in distinct.values())
    check_reads(bench.store, blobs)


def test_a_header_is_recorded_once(bench: Bench) -> None:
    for seed in range(4):
        bench.add(arrays(40, seed))
        bench.publish()
        again = bench.reopen()
        bench.__dict__.update(again.__dict__)
    with bench.db.read() as transaction:
        headers = dict(transaction.scan(HEADERS))
    expected = {blob.header for seed in range(4) for blob in arrays(40, seed)}
    assert {Header.decode(row) for row in headers.values()} == expected
    assert len(headers) == len(expected)


# ---------------------------------------------------------------------- few files


def test_a_thousand_single_publishings_share_one_file(bench: Bench) -> None:
    blobs = texts(1000)
    for blob in blobs:
        bench.add_singly([blob])
        bench.publish()
    assert len(bench.files()) == 1
    again = bench.reopen()
    check_reads(again.store, blobs)
    again.close()


def test_writers_that_follow_one_another_share_one_file(bench: Bench) -> None:
    blobs = texts(40)
    for blob in blobs:
        bench.add_singly([blob])
        bench.publish()
        bench.__dict__.update(bench.reopen().__dict__)
    assert len(bench.files()) == 1
    check_reads(bench.store, blobs)


def test_files_are_rolled_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BLOB_FILE_BYTES", 20_000)
    rows, digests = images(300)
    for start in range(0, 300, 10):
        bench.writer.add_rows("10", IMAGE, rows[start : start + 10], digests[start : start + 10])
        if start % 100 == 50:
            bench.publish()
    bench.publish()
    assert len(bench.files()) == 10
    bench.__dict__.update(bench.reopen().__dict__)
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)


def test_rows_of_the_table_move_into_a_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.blobs.location_update.TABLE_ROWS", 100)
    blobs = texts(450)
    for start in range(0, 450, 10):
        bench.add(blobs[start : start + 10])
        bench.publish()
        assert rows_in(bench) < 100
        assert len(bench.store.read_list([blob.digest for blob in blobs[: start + 10]])) == start + 10
    assert len(bench.runs()) == 4
    again = bench.reopen()
    check_reads(again.store, blobs)
    again.close()


def test_a_large_batch_takes_the_table_with_it(bench: Bench) -> None:
    few, many = texts(30, 1)[1:], texts(2000, 2)
    bench.add(few)
    bench.publish()
    assert rows_in(bench) == 29
    bench.add(many)
    bench.publish()
    assert rows_in(bench) == 0
    check_reads(bench.store, few + many)


def test_runs_stay_few_and_complete(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUN_BLOBS", 5)
    source = np.random.default_rng(0)
    blobs = texts(2000)
    start = 0
    while start < 2000:
        stop = min(2000, start + int(source.integers(5, 120)))
        bench.add(blobs[start:stop])
        bench.publish()
        runs = bench.store.locator.runs()
        assert len(runs) < limits.MAX_RUNS
        assert sum(run.count for run in runs) == len({blob.digest for blob in blobs[:stop]})
        start = stop
    check_reads(bench.store, blobs)
    again = bench.reopen()
    check_reads(again.store, blobs)
    assert len(again.store.locator.runs()) < limits.MAX_RUNS
    again.close()


SIZES: dict[str, Callable[[int], int]] = {
    "equal": lambda step: 1000,
    "mixed": lambda step: 1000 + step % 7 * 900,
    "doubling": lambda step: 1024 << (step % 12),
}


@pytest.mark.parametrize("kind", SIZES)
def test_merging_keeps_runs_few_at_a_bounded_cost(kind: str) -> None:
    counts: list[int] = []
    rewritten = total = 0
    for step in range(3000):
        fresh = SIZES[kind](step)
        merged = runs_to_merge(counts, fresh)
        rewritten += sum(counts[:merged])
        total += fresh
        counts[:merged] = [fresh + sum(counts[:merged])]
        assert len(counts) < limits.MAX_RUNS
    assert sum(counts) == total
    assert rewritten < 12 * total


def test_merging_is_left_alone_while_there_is_room() -> None:
    assert runs_to_merge([], 1) == 0
    assert runs_to_merge([5] * (limits.MAX_RUNS - 2), 100) == 0
    assert merging.TABLE_ROWS > limits.RUN_BLOBS
