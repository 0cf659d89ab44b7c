"""Several writers of blobs at one time: with the writer lock and without it, in one process and in many, killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from hangar import limits
from hangar.backends.file import encode_file_header
from hangar.blobs import BlobStore, BlobWriter, OwnFiles, appender, catalog, locator, verify_blobs, verify_files
from hangar.blobs.catalog import get_blob_file, scan_blob_files
from hangar.blobs.index import Sought
from hangar.blobs.locator import Locator
from hangar.blobs.orphans import remove_orphans
from hangar.blobs.recorded import scan_recorded
from hangar.db import Database, ReadTransaction
from hangar.digest import digest_array
from hangar.errors import CorruptionError, LockedError, StorageError
from hangar.lock import WriterLock
from hangar.publishing import publish
from tests.blobs.maker import Bench, Blob, check_reads, texts
from tests.processes import child, in_child


def add(writer: BlobWriter, blobs: list[Blob]) -> None:
    headers, buffers = [blob.header for blob in blobs], [blob.data for blob in blobs]
    writer.add_list("31", headers, buffers, [blob.digest for blob in blobs])


def batch(seed: int) -> list[Blob]:
    """Some blobs of its own, and some that every other batch may have as well."""
    return texts(40, seed)[1:] + texts(60, seed % 5)[1:]


def write_until_killed(directory: Path, seed: int, talk: Connection, *, locked: bool) -> None:
    """Write batches, say which one was published, go on."""
    db = Database.open(directory)
    store = BlobStore(db, directory)
    lock = WriterLock(db)
    if locked:
        lock.acquire()
    owner = lock if locked else OwnFiles()
    writer = BlobWriter(store, owner)
    while True:
        blobs = batch(seed)
        add(writer, blobs)
        if seed % 7 == 3:
            writer.rollback()
        else:
            publish(db, owner, writer)
            check_reads(store, blobs[::9])
            talk.send(seed)
        seed += 1


def published_before_kill(directory: Path, seed: int) -> list[int]:
    """One writer with the lock and three without, all killed at some moment; the batches whose publishing they reported."""
    source = random.Random(seed)
    writers = [
        child(lambda talk, at=at: write_until_killed(directory, 1000 * (4 * seed + at), talk, locked=at == 0))  # type: ignore[misc]
        for at in range(4)
    ]
    processes = [writer.__enter__() for writer in writers]
    try:
        for process in processes:
            process.receive()
        time.sleep(source.uniform(0.05, 0.3))
        for process in source.sample(processes, 4):
            os.kill(process.pid, signal.SIGKILL)
            time.sleep(source.uniform(0, 0.05))
        return [said for process in processes for said in process.messages()]
    finally:
        for writer in writers:
            writer.__exit__(None, None, None)


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.nightly)])
def test_writing_processes_that_are_killed_lose_nothing(tmp_path: Path, rounds: int) -> None:
    directory = tmp_path / ".hangar"
    in_child(lambda: Bench.create(directory).close())
    reported: list[int] = []

    def check() -> None:
        bench = Bench.open(directory)
        for seed in reported:
            check_reads(bench.store, batch(seed))
        assert [*verify_files(bench.store), *verify_blobs(bench.store, progress=False)] == []
        bench.close()

    for number in range(rounds):
        reported += published_before_kill(directory, number)
        in_child(check)
    assert len(reported) > 4 * rounds


def test_two_writers_of_one_store(bench: Bench) -> None:
    """Both work, each with blobs of its own; neither takes the other's unpublished blobs for stored."""
    first, second, both = (texts(30, seed)[1:] for seed in range(3))
    other = BlobWriter(bench.store, OwnFiles())
    add(bench.writer, first + both)
    add(other, second + both)
    check_reads(bench.store, first + second + both)
    bench.writer.rollback()
    check_reads(bench.store, second + both)
    with pytest.raises(CorruptionError):
        bench.store.read_one(first[0].digest)
    publish(bench.db, OwnFiles(), other)
    again = BlobStore(bench.db, bench.directory)
    check_reads(again, second + both)
    other.close()
    with pytest.raises(StorageError, match="closed"):
        add(other, first)


def test_a_look_up_finds_what_another_thread_publishes_meanwhile(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = texts(40)[1:]
    add(bench.writer, blobs)
    sought = Sought.of(digest_array([blob.digest for blob in blobs]))
    assert not bench.store.locator.locate_published(sought).stored.any()
    search, left = locator._search, [bench.publish]

    def searching(*args: Any) -> Any:
        found = search(*args)
        while left:
            left.pop()()  # behind the runs, before the table: the blobs are in a run that this process has listed
        return found

    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    monkeypatch.setattr(locator, "_search", searching)
    assert bench.store.locator.locate_published(sought).stored.all()


def test_what_is_recorded_is_of_one_moment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collection deletes files by it, so that runs of another moment than the rows would cost data."""
    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    add(bench.writer, texts(30)[1:])
    bench.publish()
    other = BlobWriter(bench.store, OwnFiles())
    add(other, texts(30, 1)[1:])
    reload = Locator.reload

    def reloading(self: Locator, transaction: ReadTransaction) -> Any:
        found = reload(self, transaction)
        thread = threading.Thread(target=publish, args=(bench.db, OwnFiles(), other))
        thread.start()  # it reads the list of runs again
        thread.join()
        return found

    monkeypatch.setattr(Locator, "reload", reloading)
    recorded = scan_recorded(bench.store)
    assert [run.index.count for run in recorded.runs] == [29]
    assert set(recorded.runs[0].index.locations().file.tolist()) == set(recorded.files)
    other.close()


def test_two_writers_under_one_lock_have_files_of_their_own(bench: Bench) -> None:
    first, second, third = (texts(30, seed)[1:] for seed in range(3))
    add(bench.writer, first)
    bench.publish()
    other = BlobWriter(bench.store, bench.lock)
    add(other, second)
    add(bench.writer, third)
    check_reads(bench.store, first + second + third)
    publish(bench.db, bench.lock, other)
    bench.publish()
    other.close()
    assert len(bench.files()) == 2
    again = bench.reopen()
    check_reads(again.store, first + second + third)
    again.close()


def test_a_forgotten_writer_is_not_searched(bench: Bench) -> None:
    blobs = texts(30)[1:]
    other = BlobWriter(bench.store, OwnFiles())
    add(other, blobs)
    check_reads(bench.store, blobs)
    del other
    with pytest.raises(CorruptionError):
        bench.store.read_one(blobs[0].digest)


def test_nobody_goes_on_with_the_file_of_a_writer_without_the_lock(bench: Bench) -> None:
    other = BlobWriter(bench.store, OwnFiles())
    add(other, texts(30, 1)[1:])
    publish(bench.db, OwnFiles(), other)
    other.close()
    add(bench.writer, texts(30, 2)[1:])
    bench.publish()
    assert len(bench.files()) == 2
    with bench.db.read() as transaction:
        (file_id, _), _ = scan_blob_files(transaction)
        row = get_blob_file(transaction, file_id)
    assert row is not None
    assert row.owner == 0
    check_reads(bench.store, texts(30, 1)[1:] + texts(30, 2)[1:])


def test_a_fork_of_a_writer_without_the_lock_is_refused(bench: Bench) -> None:
    other = BlobWriter(bench.store, OwnFiles())
    add(other, texts(30, 1)[1:])

    def attempt() -> None:
        with pytest.raises(LockedError, match="fork"):
            add(other, texts(30, 2)[1:])

    in_child(attempt)
    publish(bench.db, OwnFiles(), other)
    check_reads(bench.store, texts(30, 1)[1:])
    other.close()


def test_files_of_two_backends_never_share_an_id(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both writers take the next free id at one time; the names of their files differ by the backend, so both can be made."""
    fetch, blobs = BlobWriter(bench.store, OwnFiles()), texts(30, 1)[1:]
    free_ids = catalog.free_ids

    def free_ids_and_wait(db: Any, directory: Path) -> Iterator[int]:
        for number, file_id in enumerate(free_ids(db, directory)):
            if not number:
                monkeypatch.setattr(appender, "free_ids", free_ids)
                fetch.add_list("31", [b.header for b in blobs], [b.data for b in blobs], [b.digest for b in blobs])
            yield file_id

    monkeypatch.setattr(appender, "free_ids", free_ids_and_wait)
    mine = texts(30, 2)[1:]
    bench.writer.add_list("30", [b.header for b in mine], [b.data for b in mine], [b.digest for b in mine])
    bench.publish()
    publish(bench.db, OwnFiles(), fetch)
    fetch.close()
    check_reads(bench.store, blobs + mine)
    assert len({name.partition(".")[0] for name in bench.files()}) == len(bench.files()) == 2
    # What a killed writer left under the id of another is removed.
    (file,) = (name for name in bench.files() if name.endswith(".30"))
    file_id = file.partition(".")[0]
    left = bench.directory / "blobs" / f"{file_id}.31"
    left.write_bytes(encode_file_header("31", int(file_id, 16)))
    assert remove_orphans(bench.db, bench.directory) == 1
    assert not left.exists()
    check_reads(bench.store, blobs + mine)


def test_a_duplicate_that_was_moved_meanwhile_is_not_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer without the lock has found the location before a conversion, and the old file is gone."""
    blobs = texts(30, 1)[1:]
    add(bench.writer, blobs)
    bench.publish()
    (old,) = bench.files()
    fetch = BlobWriter(bench.store, OwnFiles())
    locate = Locator.locate_published

    def locate_and_move(locator: Locator, sought: Any) -> Any:
        found = locate(locator, sought)
        monkeypatch.setattr(Locator, "locate_published", locate)
        mover = BlobWriter(bench.store, bench.lock, own_files=True)
        headers, buffers = [blob.header for blob in blobs], [blob.data for blob in blobs]
        mover.add_list("30", headers, buffers, [blob.digest for blob in blobs], again=True)
        publish(bench.db, bench.lock, mover)
        mover.close()
        (bench.directory / "blobs" / old).unlink()
        bench.store.files.clear()
        return found

    monkeypatch.setattr(Locator, "locate_published", locate_and_move)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add(fetch, blobs)
    assert not fetch.replaces
    assert not len(fetch.unpublished)
    check_reads(bench.store, blobs)
    fetch.close()
