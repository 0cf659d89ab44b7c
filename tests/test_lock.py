"""The writer lock; row 9 of the list of what must hold, and the half of row 8 that is about writers."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest

from hangar import _fs
from hangar import lock as lock_module
from hangar.db import Database, WriteTransaction
from hangar.db.tables import META, REFS
from hangar.errors import AccessError, CorruptionError, InvalidStateError, LockedError
from hangar.lock import Holder, WriterLock, create_lock, force_release, holder, owner_alive, under_lock
from tests.db.conftest import make
from tests.interrupts.sweep import Tracer
from tests.processes import child, in_child


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / ".hangar"
    make(path)
    return path


@pytest.fixture
def db(directory: Path) -> Iterator[Database]:
    database = Database.open(directory)
    yield database
    database.close()


def hold(directory: Path, talk: Connection) -> None:
    """A process that takes the lock and keeps it until it is told otherwise."""
    lock = WriterLock(Database.open(directory))
    lock.acquire()
    talk.send(os.getpid())
    talk.recv()
    lock.release()


def is_held(lock: WriterLock) -> bool:
    return lock.held


def is_free(db: Database) -> bool:
    lock = WriterLock(db)
    try:
        lock.acquire()
    except LockedError:
        return False
    lock.release()
    return True


# ----------------------------------------------------------------------------------------------------- the ordinary


def test_taken_and_given_back(db: Database) -> None:
    lock = WriterLock(db)
    assert not is_held(lock)
    assert holder(db) is None
    for _ in range(3):
        lock.acquire()
        assert is_held(lock)
        assert lock.epoch == 1
        lock.check()
        db.update(lock.check)
        lock.release()
        lock.release()
        assert not is_held(lock)
        assert lock.epoch == 0
        assert holder(db) is None


def test_the_holder_is_named(db: Database) -> None:
    start = time.time()
    lock = WriterLock(db)
    lock.acquire()
    who = holder(db)
    assert who is not None
    assert (who.pid, who.host) == (os.getpid(), socket.gethostname())
    assert who.user
    assert who.time is not None
    assert start - 1 < who.time < time.time() + 1
    with pytest.raises(LockedError) as caught:
        WriterLock(db).acquire()
    message = str(caught.value)
    assert f"process {os.getpid()} " in message
    assert socket.gethostname() in message
    assert time.strftime("%Y-%m-%d", time.localtime(start)) in message
    assert "`hangar writer-lock --force-release`" in message
    lock.release()


def test_misuse(db: Database) -> None:
    lock = WriterLock(db)
    with pytest.raises(InvalidStateError):
        lock.check()
    lock.acquire()
    with pytest.raises(InvalidStateError):
        lock.acquire()
    lock.release()
    with pytest.raises(InvalidStateError):
        lock.check()


def test_a_long_host_name_and_an_unknown_user(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("nobody")

    monkeypatch.setattr("getpass.getuser", unknown)
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(nodename="h" * 5_000))
    lock = WriterLock(db)
    lock.acquire()
    assert holder(db) == Holder()
    assert "an unknown process" in str(holder(db))
    lock.release()
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(nodename="short"))
    lock.acquire()
    who = holder(db)
    assert who is not None
    assert (who.host, who.user) == ("short", str(os.getuid()))
    lock.release()


def test_a_lock_without_an_epoch_is_corruption(db: Database) -> None:
    db.update(lambda transaction: transaction.delete(META, b"writer epoch"))
    for use in (lambda: holder(db), lambda: WriterLock(db).acquire(), lambda: is_free(db)):
        with pytest.raises(CorruptionError):
            use()


def test_a_readonly_repository_shows_the_holder_and_lends_nothing(db: Database, directory: Path) -> None:
    reader = Database.open(directory, readonly=True)
    assert holder(reader) is None
    lock = WriterLock(db)
    lock.acquire()
    who = holder(reader)
    assert who is not None
    assert who.pid == os.getpid()
    with pytest.raises(AccessError):
        force_release(reader)
    lock.release()
    with pytest.raises(AccessError, match="read-only"):
        WriterLock(reader).acquire()
    reader.close()


# --------------------------------------------------------------------------------------------------- two processes


@pytest.mark.parametrize("rounds", [40, pytest.param(200, marks=pytest.mark.nightly)])
def test_row_8_two_writers_contend(directory: Path, db: Database, rounds: int) -> None:
    """One wins, and the other is told who; what the winners did adds up."""

    def contend(talk: Connection) -> tuple[int, int]:
        mine = Database.open(directory)
        lock = WriterLock(mine)
        won = 0
        for _ in range(rounds):
            talk.recv()
            try:
                lock.acquire()
            except LockedError as error:
                talk.send(str(error))
                continue
            won += 1
            mine.update(lambda t: t.put(REFS, b"wins", _next(t.get(REFS, b"wins"))))
            talk.send(None)
            talk.recv()
            lock.release()
            talk.send("released")
        return won, os.getpid()

    with child(contend) as one, child(contend) as two:
        named = 0
        for turn in range(rounds):
            pair = [one, two] if turn % 2 else [two, one]
            for process in pair:
                process.send("go")
            answers = [process.receive() for process in pair]
            assert answers.count(None) == 1, answers
            winner = pair[answers.index(None)]
            refusal = answers[1 - answers.index(None)]
            named += f"process {winner.pid} " in refusal
            assert "hangar writer-lock" in refusal
            winner.send("release")
            assert winner.receive() == "released"
        wins = one.result()[0] + two.result()[0]
    assert wins == rounds
    # The loser may look between the winner's lock and its introduction: then it is told "an unknown process".
    assert named > rounds * 0.8
    with db.read() as transaction:
        assert transaction.get(REFS, b"wins") == bytes((rounds,))


def _next(value: bytes | None) -> bytes:
    return bytes(((value or b"\0")[0] + 1,))


def test_looking_at_the_lock_keeps_nobody_out(directory: Path, db: Database) -> None:
    def look(talk: Connection) -> None:
        mine = Database.open(directory)
        talk.send("looking")
        while not talk.poll():
            holder(mine)
            owner_alive(mine, 1)

    with child(look) as one, child(look) as two:
        one.receive()
        two.receive()
        assert all(is_free(db) for _ in range(100))
        one.send("stop")
        two.send("stop")
        one.result()
        two.result()


@pytest.mark.parametrize("step", ["_still", "_introduce"])
def test_taking_the_lock_that_is_interrupted_leaves_it_free(
    db: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    lock = WriterLock(db)

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lock_module if step == "_introduce" else WriterLock, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    assert not lock.held
    assert holder(db) is None
    lock.acquire()
    lock.release()


# --------------------------------------------------------------------------------------------------------- row 9


def test_row_9_a_killed_holder_keeps_nobody_out(directory: Path, db: Database) -> None:
    for _ in range(5):
        with child(lambda talk: hold(directory, talk)) as other:
            pid = other.receive()
            with pytest.raises(LockedError, match=f"process {pid} "):
                WriterLock(db).acquire()
            assert owner_alive(db, 1)
            other.kill()
            start = time.monotonic()
            lock = WriterLock(db)
            lock.acquire()
            assert time.monotonic() - start < 1
            assert holder(db) is not None
            lock.release()
            assert not owner_alive(db, 1)


def test_row_9_deleting_the_lock_file_admits_nobody(directory: Path, db: Database) -> None:
    with child(lambda talk: hold(directory, talk)) as other:
        other.receive()
        path = directory / "lock.1"
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(LockedError, match=r"missing.*--force-release"):
            WriterLock(db).acquire()
        assert holder(db) == Holder()
        # Nor does a new one in its place, empty or with another token.
        for forged in (b"", b"hangar 1\n", re.sub(rb"[0-9a-f]{32}", b"0" * 32, content), random.randbytes(100)):
            path.write_bytes(forged)
            with pytest.raises(LockedError, match="was not created by Hangar"):
                WriterLock(db).acquire()
            assert holder(db) == Holder()
        path.unlink()
        assert force_release(db)
        lock = WriterLock(db)
        lock.acquire()
        assert lock.epoch == 2
        lock.release()


def test_a_lock_file_swapped_while_it_is_taken_admits_nobody(
    directory: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it, another one takes its place: a true copy even, which somebody else locks."""
    path = directory / "lock.1"
    swapped = 0

    def swap(descriptor: int, *, shared: bool) -> bool:
        nonlocal swapped
        copy = path.with_name("copy")
        shutil.copy(path, copy)
        copy.rename(path)
        swapped += 1
        return True

    monkeypatch.setattr("hangar._fs.try_lock", swap)
    with pytest.raises(LockedError):
        WriterLock(db).acquire()
    assert swapped > 1


def test_row_9_a_forked_worker_that_outlives_the_killed_holder_keeps_nobody_out(directory: Path, db: Database) -> None:
    def parent(talk: Connection) -> None:
        lock = WriterLock(Database.open(directory))
        lock.acquire()
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        talk.send(worker)
        time.sleep(60)

    with child(parent) as other:
        worker = other.receive()
        assert not is_free(db)
        other.kill()
        start = time.monotonic()
        lock = WriterLock(db)
        lock.acquire()
        assert time.monotonic() - start < 1
        os.kill(worker, 0)
        os.kill(worker, 9)
        lock.release()


def test_row_9_the_exit_of_a_worker_frees_nobodys_lock(db: Database) -> None:
    lock = WriterLock(db)
    lock.acquire()

    def work() -> object:
        with pytest.raises(LockedError, match="fork of the writer's process"):
            lock.check()
        assert not lock.held
        lock.release()
        lock.release()
        with pytest.raises(LockedError):
            WriterLock(db).acquire()
        return holder(db)

    who = in_child(work)
    assert who.pid == os.getpid()
    in_child(lambda: None)
    assert not in_child(lambda: is_free(db))
    lock.check()
    assert lock.held
    lock.release()
    assert in_child(lambda: is_free(db))


def test_a_worker_can_take_the_lock_itself(db: Database) -> None:
    lock = WriterLock(db)
    lock.acquire()
    lock.release()

    def work() -> bool:
        lock.acquire()
        lock.check()
        return lock.held

    assert in_child(work)
    lock.acquire()
    lock.release()


def test_released_in_the_parent_it_is_free_whatever_the_children_hold(directory: Path, db: Database) -> None:
    """Even a child that the handlers for forks never saw, and that kept the descriptor."""
    lock = WriterLock(db)
    lock.acquire()
    descriptor = os.dup(lock._descriptor or 0)
    lock.release()
    assert is_free(db)
    os.close(descriptor)


# --------------------------------------------------------------------------------------------------------- force


def test_row_9_a_forced_release_makes_the_former_holders_check_fail(directory: Path, db: Database) -> None:
    def parent(talk: Connection) -> list[str]:
        mine = Database.open(directory)
        lock = WriterLock(mine)
        lock.acquire()
        talk.send("held")
        talk.recv()
        messages = []

        def publish(transaction: WriteTransaction) -> None:
            transaction.put(REFS, b"late", b"")
            lock.check(transaction)

        checks: list[Callable[[], object]] = [lock.check, lambda: mine.update(publish)]
        for check in checks:
            with pytest.raises(LockedError) as caught:
                check()
            messages.append(str(caught.value))
        lock.release()
        return messages

    with child(parent) as other:
        other.receive()
        assert force_release(db)
        assert holder(db) is None
        lock = WriterLock(db)
        lock.acquire()
        assert lock.epoch == 2
        other.send("go on")
        assert all("released by force" in message for message in other.result())
        lock.check()
        lock.release()
    with db.read() as transaction:
        assert transaction.get(REFS, b"late") is None


def test_force_without_need(db: Database) -> None:
    assert not force_release(db)
    assert not force_release(db)
    lock = WriterLock(db)
    lock.acquire()
    assert lock.epoch == 3
    lock.release()


def test_the_owner_of_an_epoch_is_alive_while_it_holds_its_file(directory: Path, db: Database) -> None:
    assert not owner_alive(db, 1)
    with child(lambda talk: hold(directory, talk)) as other:
        other.receive()
        assert owner_alive(db, 1)
        force_release(db)
        # Released by force, and yet at work for all anybody knows.
        assert owner_alive(db, 1)
        assert not owner_alive(db, 2)
        other.kill()
        assert not owner_alive(db, 1)
    (directory / "lock.1").unlink()
    assert owner_alive(db, 1)


def test_what_a_crash_left_of_the_next_epoch_is_replaced(directory: Path, db: Database) -> None:
    (directory / "lock.2").write_bytes(b"half a")
    force_release(db)
    lock = WriterLock(db)
    lock.acquire()
    assert lock.epoch == 2
    lock.release()


def test_a_release_forced_in_between_is_seen(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody forces the lock after we locked its file and before we say that we have it."""
    try_lock = _fs.try_lock
    calls = 0

    def late(descriptor: int, *, shared: bool) -> bool:
        nonlocal calls
        calls += 1
        locked = try_lock(descriptor, shared=shared)
        if calls == 1:
            lock_module._raise_epoch(db)
        return locked

    monkeypatch.setattr(_fs, "try_lock", late)
    lock = WriterLock(db)
    lock.acquire()
    assert lock.epoch == 2
    lock.check()
    lock.release()


def test_the_first_lock_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    directory.mkdir()
    db = Database.create(directory)
    with pytest.raises(CorruptionError):
        WriterLock(db).acquire()
    create_lock(db)
    assert is_free(db)
    assert sorted(path.name for path in directory.glob("lock.*")) == ["lock.1"]
    db.close()


def test_the_lock_is_free_after_an_interrupt_anywhere(db: Database) -> None:
    """In taking it, under it, and in giving it back; the exception is kept with its traceback."""
    kept: list[BaseException] = []
    at = 0
    while len(kept) == at:
        at += 1
        try:
            Tracer(at).run(lambda: under_lock(db, lambda lock: lock.check()))
        except KeyboardInterrupt as error:
            kept.append(error)
        assert holder(db) is None
    assert at > 100
