"""A process may be forked at any time: the parent goes on unharmed, and the child reads and writes by itself."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hangar.db import Database, WriteTransaction
from hangar.db.handle import Handle
from hangar.db.tables import NODES, REFS
from hangar.errors import StorageError
from tests.processes import child, in_child


def get(db: Database, key: bytes) -> bytes | None:
    with db.read() as transaction:
        return transaction.get(REFS, key)


def slots(db: Database) -> list[int]:
    """The process ids in LMDB's table of readers."""
    handle = db._handle
    assert handle is not None
    return [int(line.split()[0]) for line in handle.current().readers().splitlines()[1:] if line.split()[0].isdigit()]


def test_the_child_of_an_opener_reads_and_writes(db: Database) -> None:
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    assert get(db, b"a") == b"1"

    def work() -> bytes | None:
        found = get(db, b"a")
        db.update(lambda t: t.put(REFS, b"child", b"2"))
        return found

    assert in_child(work) == b"1"
    assert get(db, b"child") == b"2"
    db.update(lambda t: t.put(REFS, b"a", b"3"))
    assert in_child(lambda: get(db, b"a")) == b"3"


def test_nobody_keeps_a_place_among_the_readers_while_nobody_reads(db: Database) -> None:
    assert get(db, b"a") is None
    assert slots(db) == []
    in_child(lambda: get(db, b"a"))
    assert slots(db) == []
    assert get(db, b"a") is None
    in_child(db.close)
    assert get(db, b"a") is None
    assert slots(db) == []


def test_a_child_that_does_nothing_disturbs_nothing(db: Database) -> None:
    for _ in range(5):
        in_child(lambda: None)
        assert get(db, b"a") is None
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    assert get(db, b"a") == b"1"
    assert slots(db) == []


def test_the_snapshot_of_a_parent_that_forks_in_a_transaction_stays(db: Database) -> None:
    db.update(lambda t: t.put(NODES, b"a", b"old" * 1000))
    with db.read() as transaction:
        with child(lambda _: [db.update(lambda t: t.put(NODES, b"a", os.urandom(3000))) for _ in range(50)]) as other:
            other.result()
        assert transaction.get(NODES, b"a") == b"old" * 1000
        assert os.getpid() in slots(db)
    assert get(db, b"a") is None


def test_a_fork_inside_an_update(db: Database) -> None:
    def write(transaction: WriteTransaction) -> None:
        transaction.put(REFS, b"a", b"1")
        assert in_child(lambda: get(db, b"a")) is None
        transaction.put(REFS, b"b", b"2")

    db.update(write)
    assert (get(db, b"a"), get(db, b"b")) == (b"1", b"2")


def test_grandchildren(db: Database) -> None:
    def work() -> object:
        db.update(lambda t: t.put(REFS, b"child", b"1"))
        return in_child(lambda: (db.update(lambda t: t.put(REFS, b"grandchild", b"2")), get(db, b"child"))[1])

    assert in_child(work) == b"1"
    assert get(db, b"grandchild") == b"2"


def test_a_fork_waits_for_the_transactions_of_other_threads(db: Database) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def run(function: object) -> threading.Thread:
        def loop() -> None:
            try:
                while not stop.is_set():
                    function()  # type: ignore[operator]
            except BaseException as error:  # noqa: BLE001 - shown below
                failures.append(error)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return thread

    keys = [bytes((i,)) for i in range(1, 200)]
    db.update(lambda t: t.put_many(NODES, [(key, bytes(8_000)) for key in keys]))

    def read() -> None:
        with db.read() as transaction:
            assert transaction.get_many(NODES, keys) == [bytes(8_000)] * len(keys)

    def write() -> None:
        db.update(lambda t: t.put(REFS, b"a", os.urandom(8)))

    threads = [run(read), run(read), run(write)]
    try:
        for turn in range(15):

            def work(turn: int = turn) -> None:
                read()
                db.update(lambda t: t.put(REFS, bytes((turn + 1,)), b""))

            in_child(work)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures
    assert get(db, b"\x0f") == b""


def test_a_fork_beside_a_transaction_that_does_not_end(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.db.fork.FORK_WAIT_SECONDS", 0.05)
    began, end = threading.Event(), threading.Event()

    def linger() -> None:
        with db.read():
            began.set()
            end.wait(60)

    thread = threading.Thread(target=linger, daemon=True)
    thread.start()
    began.wait(10)

    def work() -> str:
        with pytest.raises(StorageError, match="forked while a transaction was open"):
            get(db, b"a")
        db.close()
        return "refused"

    assert in_child(work) == "refused"
    end.set()
    thread.join()
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    assert in_child(lambda: get(db, b"a")) == b"1"


def test_a_child_opens_what_was_not_open_and_what_was_made_since(db: Database, directory: Path, tmp_path: Path) -> None:
    def work() -> object:
        one = Database.open(directory)
        two = Database.open(directory)
        one.update(lambda t: t.put(REFS, b"a", b"1"))
        one.close()
        return get(two, b"a"), get(db, b"a")

    assert in_child(work) == (b"1", b"1")


def test_workers_outlive_the_process_that_opened(directory: Path) -> None:
    """The parent is killed while its child holds nothing of it: others open, and the child goes on."""

    def parent(talk: Connection) -> None:
        db = Database.open(directory)
        db.update(lambda t: t.put(REFS, b"a", b"1"))
        pid = os.fork()
        if pid:
            talk.send(pid)
            time.sleep(60)
        else:
            talk.recv()
            db.update(lambda t: t.put(REFS, b"orphan", b"2"))
            os._exit(0)

    with child(parent) as other:
        orphan = other.receive()
        other.kill()
        db = Database.open(directory)
        db.update(lambda t: t.put(REFS, b"b", b"1"))
        other.send("go on")
        deadline = time.monotonic() + 30
        while get(db, b"orphan") is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert get(db, b"orphan") == b"2"
        assert orphan
        db.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(directory: Path, method: str) -> None:
    db = Database.open(directory)
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(_worker, [directory] * 4, chunksize=1) == [b"1"] * 4
    assert get(db, b"a") == b"1"
    db.close()


def _worker(directory: Path) -> bytes | None:
    db = Database.open(directory)
    try:
        return get(db, b"a")
    finally:
        db.close()


def test_no_lock_of_ours_is_inherited(db: Database) -> None:
    handle = db._handle
    assert isinstance(handle, Handle)
    descriptor = handle.presence
    assert descriptor is not None

    def closed() -> bool:
        try:
            os.fstat(descriptor)
        except OSError:
            return True
        return False

    assert in_child(closed)
