from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hangar import _fs, limits
from hangar.backends import Payload
from hangar.blobs import BlobStore, BlobWriter, merging, verify_blobs, verify_files
from hangar.blobs.catalog import BlobFileRow, RunRow, put_blob_file, put_run, remove_run, scan_blob_files
from hangar.db.tables import FILES, LOCATIONS
from hangar.errors import CorruptionError, DiskFullError, InvalidStateError, LockedError, StorageError
from hangar.lock import WriterLock, force_release
from hangar.publishing import publish
from tests.blobs.maker import IMAGE, Bench, Blob, check_reads, images, texts
from tests.processes import in_child


def sound(store: BlobStore) -> bool:
    return not [*verify_files(store), *verify_blobs(store, progress=False)]


def successor(bench: Bench) -> Bench:
    """A writer beside the first, which does not know yet that its lock was taken from it."""
    assert force_release(bench.db)
    lock = WriterLock(bench.db)
    lock.acquire()
    store = BlobStore(bench.db, bench.directory)
    return Bench(bench.directory, bench.db, lock, store, BlobWriter(store, lock))


def test_two_writers_never_write_one_file(bench: Bench) -> None:
    """The lock is forced while its holder lives on and goes on writing."""
    old, lost, new, last = (texts(30, seed)[1:] for seed in range(4))
    bench.add(old)
    bench.publish()
    second = successor(bench)
    # What the first appends before it finds out, at the end of its own file.
    bench.add(lost)
    second.add(new)
    second.publish()
    assert len(bench.files()) == 2
    with pytest.raises(LockedError):
        bench.publish()
    check_reads(second.store, old + new)
    bench.writer.close()
    bench.lock.release()
    second.writer.close()
    second.lock.release()
    # Both are gone now, and the next writer may go on with either file.
    third = Bench.open(bench.directory)
    third.add(last)
    third.publish()
    assert len(third.files()) == 2
    check_reads(third.store, old + new + last)
    assert sound(third.store)
    third.close()


def test_a_file_that_a_living_writer_went_on_with_is_left_to_it(bench: Bench) -> None:
    """Its row names an epoch whose holder is dead, for the living one has not published it yet."""
    old, lost, new = (texts(30, seed)[1:] for seed in range(3))
    bench.add(old)
    bench.publish()
    bench.writer.close()
    bench.lock.release()
    assert not force_release(bench.db)
    first = Bench.open(bench.directory)
    file = first.writer._appender.file("31")
    assert len(bench.files()) == 1
    second = successor(first)
    second.add(new)
    second.publish()
    assert len(second.files()) == 2
    # An append that hung while the lock was taken.
    file.write(_payload(lost), {})
    check_reads(second.store, old + new)
    assert sound(second.store)
    for writer in (first, second):
        writer.writer.close()
        writer.lock.release()


def _payload(blobs: list[Blob]) -> Payload:
    data = [blob.data for blob in blobs]
    return Payload(data, np.array([len(part) for part in data], np.int64), [])


def test_a_publishing_that_comes_too_late_is_refused(bench: Bench) -> None:
    bench.add(texts(30, 0))
    bench.writer.prepare()
    second = successor(bench)
    with pytest.raises(LockedError):
        bench.db.update(bench.writer.record)
    second.add(texts(30, 1))
    second.publish()
    check_reads(second.store, texts(30, 1))
    with bench.db.read() as transaction:
        assert len(scan_blob_files(transaction)) == 1
    second.writer.close()
    second.lock.release()


def test_a_forked_child_never_publishes(bench: Bench) -> None:
    kept, waiting = texts(30, 0)[1:], texts(2000, 1)
    bench.add(kept)
    bench.publish()
    bench.add(waiting)
    bench.writer.prepare()

    def child() -> list[str]:
        refused = []
        bench.add_singly(texts(5, 8))
        attempts: list[Callable[[], None]] = [
            lambda: bench.add(texts(5, 7)),
            bench.writer.prepare,
            bench.publish,
        ]
        for attempt in attempts:
            with pytest.raises(LockedError):
                attempt()
            refused.append(str(attempt))
        bench.writer.rollback()
        bench.writer.close()
        return refused

    files, runs = bench.files(), bench.runs()
    assert len(in_child(child)) == 3
    assert (bench.files(), bench.runs()) == (files, runs)
    bench.db.update(bench.writer.record)
    bench.writer.committed()
    check_reads(bench.store, kept + waiting)
    assert sound(bench.store)


def test_a_forked_child_removes_nothing(bench: Bench) -> None:
    """A file and a run that are new, and that a writer who gives up would remove."""
    waiting = texts(2000)
    bench.add(waiting)
    bench.writer.prepare()
    files, runs = bench.files(), bench.runs()
    assert files
    assert runs

    def child() -> None:
        bench.writer.rollback()
        bench.writer.close()

    in_child(child)
    assert (bench.files(), bench.runs()) == (files, runs)
    bench.db.update(bench.writer.record)
    bench.writer.committed()
    check_reads(bench.store, waiting)
    assert sound(bench.store)


def test_a_file_whose_record_changed_is_not_published(bench: Bench) -> None:
    """The lock should prevent it; if it does not, nothing is written over."""
    bench.add(texts(30, 0))
    bench.publish()
    with bench.db.read() as transaction:
        ((file_id, row),) = scan_blob_files(transaction)
    bench.add(texts(30, 1))
    bench.writer.prepare()
    other = BlobFileRow(row.tag, row.end + 1, row.owner, row.sealed)
    bench.db.update(lambda transaction: put_blob_file(transaction, file_id, other))
    with pytest.raises(LockedError, match="taken over"):
        bench.db.update(bench.writer.record)


def test_a_sealed_file_is_not_continued(bench: Bench) -> None:
    bench.add(texts(30, 0))
    bench.publish()
    with bench.db.read() as transaction:
        ((file_id, row),) = scan_blob_files(transaction)
    sealed = BlobFileRow(row.tag, row.end, row.owner, True)
    bench.db.update(lambda transaction: put_blob_file(transaction, file_id, sealed))
    again = bench.reopen()
    again.add(texts(30, 1))
    again.publish()
    assert len(again.files()) == 2
    check_reads(again.store, [*texts(30, 0), *texts(30, 1)])
    again.close()


def test_a_merge_of_what_changed_meanwhile_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, or rows of the table, that another process replaced between preparing and publishing."""
    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    monkeypatch.setattr(merging, "_MOST", 1)
    few, many = texts(6, 0), texts(30, 1)
    bench.add(few)
    bench.publish()
    bench.add(many)
    bench.writer.prepare()
    with bench.db.read() as transaction:
        rows = list(transaction.scan(LOCATIONS))
    moved = [(key, row[:-1] + b"\1") for key, row in rows]
    bench.db.update(lambda transaction: transaction.put_many(LOCATIONS, moved))
    with pytest.raises(InvalidStateError, match="try again"):
        bench.db.update(bench.writer.record)
    bench.writer.rollback()
    bench.db.update(lambda transaction: transaction.put_many(LOCATIONS, rows))
    bench.add(many)
    bench.publish()
    bench.add(texts(30, 2))
    bench.writer.prepare()
    (run,) = bench.store.locator.runs()
    bench.db.update(lambda transaction: remove_run(transaction, run.run_id))
    with pytest.raises(InvalidStateError, match="try again"):
        bench.db.update(bench.writer.record)
    bench.writer.rollback()
    bench.db.update(lambda transaction: put_run(transaction, run.run_id, RunRow(run.count)))
    check_reads(bench.store, few + many)


def test_publishing_prepares_a_merge_anew_when_runs_or_rows_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user wrote is not dropped for something that a second preparation puts right."""
    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    monkeypatch.setattr(merging, "_MOST", 1)
    few, many = texts(6, 0), texts(30, 1)
    bench.add(few)
    bench.publish()
    bench.add(many)
    prepare = bench.writer.prepare
    runs: list[int] = []
    dropped: list[bytes] = []

    def prepare_and_change() -> None:
        prepare()
        runs.append(len(list((bench.directory / "runs").iterdir())))
        if len(runs) == 1:
            with bench.db.read() as transaction:
                dropped.append(next(transaction.scan(LOCATIONS))[0])
            bench.db.update(lambda transaction: transaction.delete(LOCATIONS, dropped[0]))

    monkeypatch.setattr(bench.writer, "prepare", prepare_and_change)
    publish(bench.db, bench.lock, bench.writer)
    assert runs == [1, 1]  # the run of the first attempt is not left behind
    check_reads(bench.store, [blob for blob in few if blob.digest != dropped[0]] + many)


def test_strays_are_passed_over(bench: Bench) -> None:
    """Files that somebody has open, under ids that come next, are neither touched nor used."""
    strays = [bench.directory / name for name in ("blobs/00000001.10", "blobs/00000002.31", "runs/00000003.run")]
    for path in strays:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left behind")
    open_files = [_fs.open_file(path) for path in strays]
    assert all(_fs.try_lock(descriptor, shared=True) for descriptor in open_files)
    blobs = texts(2000)
    bench.add(blobs)
    bench.publish()
    for descriptor in open_files:
        os.close(descriptor)
    assert bench.files() == ["00000001.10", "00000002.31", "00000004.31"]
    assert bench.runs() == ["00000003.run", "00000005.run"]
    assert [path.read_bytes() for path in strays] == [b"left behind"] * 3
    check_reads(bench.store, blobs)


def test_ids_are_never_used_again(bench: Bench) -> None:
    bench.add(texts(20, 0))
    bench.publish()
    bench.writer.close()
    (path,) = bench.directory.glob("blobs/*")
    path.unlink()
    bench.db.update(lambda transaction: transaction.delete_prefix(FILES, b""))
    bench.db.update(lambda transaction: transaction.delete_prefix(LOCATIONS, b""))
    again = bench.reopen()
    again.add(texts(20, 1))
    again.publish()
    assert again.files() != [path.name]
    again.close()


def test_ids_of_runs_are_never_used_again(bench: Bench) -> None:
    bench.add(texts(2000, 0))
    bench.publish()
    (run,) = bench.store.locator.runs()
    run.path.unlink()
    bench.db.update(lambda transaction: remove_run(transaction, run.run_id))
    bench.store.refresh()
    bench.add(texts(2000, 1))
    bench.publish()
    (again,) = bench.store.locator.runs()
    assert again.run_id > run.run_id


def test_what_a_crash_left_behind_the_end_is_overwritten(bench: Bench) -> None:
    first, second = texts(30, 0)[1:], texts(30, 1)[1:]
    bench.add(first)
    bench.publish()
    (path,) = bench.directory.glob("blobs/*")
    end = path.stat().st_size
    again = bench.reopen()
    with path.open("ab") as file:
        file.write(bytes(100_000))
    again.add(second)
    again.publish()
    assert path.read_bytes()[end:].startswith(second[0].data + second[1].data)
    check_reads(again.store, first + second)
    again.close()


@pytest.mark.parametrize("damage", ["header", "short", "missing", "garbage"])
def test_a_damaged_file_is_not_continued(bench: Bench, damage: str) -> None:
    bench.add(texts(30, 0))
    bench.publish()
    bench.writer.close()
    (path,) = bench.directory.glob("blobs/*")
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"header": b"\0" + data[1:], "short": data[:-1], "garbage": b"x"}[damage])
    before = path.read_bytes() if path.exists() else None
    again = bench.reopen()
    again.add(texts(30, 1)[1:])
    again.publish()
    assert len(again.files()) == 1 + path.exists()
    check_reads(again.store, texts(30, 1)[1:])
    assert (path.read_bytes() if path.exists() else None) == before
    again.close()


# ---------------------------------------------------------------------- errors of the system


def test_a_failed_sync_ends_the_writer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, lost, later = (texts(30, seed)[1:] for seed in range(3))
    bench.add(kept)
    bench.publish()

    def fail(descriptor: int, path: Path) -> None:
        raise StorageError(f"cannot sync {path}")

    with monkeypatch.context() as patch:
        patch.setattr(_fs, "sync_file", fail)
        bench.add(lost)
        with pytest.raises(StorageError):
            bench.writer.prepare()
    attempts: list[Callable[[], None]] = [
        lambda: bench.add(later),
        lambda: bench.add_singly(later),
        bench.writer.prepare,
    ]
    for attempt in attempts:
        with pytest.raises(StorageError, match="open a new one"):
            attempt()
    bench.writer.rollback()
    with pytest.raises(StorageError):
        bench.add(later)
    again = bench.reopen()
    check_reads(again.store, kept)
    again.add(later)
    again.publish()
    check_reads(again.store, kept + later)
    again.close()


@pytest.mark.parametrize("count", [50, 2000])
def test_a_full_disk_loses_nothing(bench: Bench, count: int) -> None:
    """The limit on file size is met in every file that a publishing writes, in turn."""
    kept = texts(30, 0)[1:]
    bench.add(kept)
    bench.publish()
    more = texts(count, 1)[1:]

    failures = 0
    for limit in (0, 60, 70, 5_000, 20_000, 100_000, 300_000):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            bench.add(more)
            bench.writer.prepare()
        except DiskFullError:
            failures += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        bench.writer.rollback()
        check_reads(bench.store, kept)
    assert failures >= 3
    bench.add(more)
    bench.publish()
    check_reads(bench.store, kept + more)
    assert sound(bench.store)


def test_a_failed_append_may_be_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, digests = images(100)
    bench.writer.add_rows("10", IMAGE, rows[:50], digests[:50])

    def full(descriptor: int, buffers: object, offset: int, path: Path) -> int:
        os.pwrite(descriptor, b"half", offset)
        raise DiskFullError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(_fs, "write_at", full)
        with pytest.raises(DiskFullError):
            bench.writer.add_rows("10", IMAGE, rows[50:], digests[50:])
    assert not bench.store.known(digests[50:]).any()
    bench.writer.add_rows("10", IMAGE, rows[50:], digests[50:])
    bench.publish()
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)
    with pytest.raises(CorruptionError):
        bench.store.read_one(bytes(32))


# ---------------------------------------------------------------------- what is synced, and when


class Listener:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.events: list[str] = []

    def point(self, name: str) -> None:
        if name == "db.commit.before":
            self.events.append("commit")

    def synced_file(self, path: str) -> None:
        self.events.append(Path(path).relative_to(self._directory).as_posix())

    def synced_directory(self, path: str) -> None:
        self.events.append(Path(path).relative_to(self._directory).as_posix() + "/")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1_000, ["blobs/00000001.10", "blobs/", "commit", "db/data.mdb"]),
        (2_000, ["blobs/00000001.10", "blobs/", "runs/00000002.run", "runs/", "commit", "db/data.mdb"]),
    ],
)
def test_a_batch_is_synced_in_order_and_seldom(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, count: int, expected: list[str]
) -> None:
    for name in ("blobs", "runs"):
        (bench.directory / name).mkdir(exist_ok=True)
    rows, digests = images(2 * count)
    listener = Listener(bench.directory)
    monkeypatch.setattr(_fs, "observer", listener)
    bench.writer.add_rows("10", IMAGE, rows[:count], digests[:count])
    assert listener.events == []
    bench.publish()
    assert listener.events == expected
    listener.events.clear()
    bench.writer.add_rows("10", IMAGE, rows[count:], digests[count:])
    bench.publish()
    again = [event.replace("00000002.run", "00000003.run") for event in expected if event != "blobs/"]
    assert listener.events == again
    assert len(again) - 2 <= 4
    assert limits.RUN_BLOBS > 1_000
