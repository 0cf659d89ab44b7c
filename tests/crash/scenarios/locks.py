"""The writer lock: made, taken, forced. Whatever the crash, the next writer gets it."""

from __future__ import annotations

from pathlib import Path

from hangar.db import Database
from hangar.db.format import write_format
from hangar.errors import LockedError
from hangar.lock import WriterLock, create_lock, force_release, holder
from tests.crash.harness import Acknowledge, Scenario, State


def prepare(directory: Path) -> None:
    db = Database.create(directory)
    create_lock(db)
    db.close()
    write_format(directory)


def take_and_force(directory: Path, acknowledge: Acknowledge) -> None:
    db = Database.open(directory)
    lock = WriterLock(db)
    for turn in range(3):
        lock.acquire()
        lock.check()
        assert lock.epoch == turn + 1
        force_release(db)
        acknowledge(turn + 2)
        assert holder(db) is None
        try:
            lock.check()
            raise AssertionError("a lock that was forced passed its check")
        except LockedError:
            lock.release()
    db.close()


def check(state: State) -> None:
    db = Database.open(state.directory)
    lock = WriterLock(db)
    lock.acquire()
    latest = max(state.acknowledged, default=1)
    assert lock.epoch in (latest, latest + 1)
    lock.check()
    force_release(db)
    lock.release()
    lock.acquire()
    lock.release()
    db.close()


SCENARIOS = (Scenario("lock taken and forced", take_and_force, check, prepare),)
