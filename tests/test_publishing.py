"""The one way to publish: its order, its attempts, and what is left when a step fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar.db import Database, WriteTransaction
from hangar.db.format import write_format
from hangar.db.tables import META
from hangar.errors import LockedError
from hangar.lock import WriterLock, create_lock, force_release
from hangar.publishing import OutdatedError, publish, publish_rows

KEY = b"a key of this test"


class Recorded:
    """A record that notes its steps and fails in one of them, so many times."""

    def __init__(self, failing: str = "", error: BaseException | None = None, times: int = 1) -> None:
        self.steps: list[str] = []
        self._failing = failing
        self._error = error
        self._times = times

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self._failing and self._times:
            self._times -= 1
            assert self._error is not None
            raise self._error

    def prepare(self) -> None:
        self._step("prepare")

    def record(self, transaction: WriteTransaction) -> None:
        transaction.put(META, KEY, b"new")
        self._step("record")

    def committed(self) -> None:
        self._step("committed")

    def rollback(self) -> None:
        self._step("rollback")


@pytest.fixture
def db(tmp_path: Path) -> Database:
    made = Database.create(tmp_path, map_size=2**20)
    create_lock(made)
    write_format(tmp_path)
    return made


@pytest.fixture
def lock(db: Database) -> WriterLock:
    taken = WriterLock(db)
    taken.acquire()
    return taken


def stored(db: Database) -> bytes | None:
    with db.read() as transaction:
        return transaction.get(META, KEY)


def test_the_steps_are_made_in_order(db: Database, lock: WriterLock) -> None:
    change = Recorded()
    publish(db, lock, change)
    assert change.steps == ["prepare", "record", "committed"]
    assert stored(db) == b"new"


@pytest.mark.parametrize("step", ["prepare", "record", "committed"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("a disk")])
def test_a_step_that_fails_is_rolled_back(db: Database, lock: WriterLock, step: str, error: BaseException) -> None:
    change = Recorded(step, error)
    with pytest.raises(type(error)):
        publish(db, lock, change)
    assert change.steps[-2:] == [step, "rollback"]
    assert stored(db) == (b"new" if step == "committed" else None)


def test_what_is_outdated_is_prepared_anew(db: Database, lock: WriterLock) -> None:
    change = Recorded("record", OutdatedError("changed"), times=2)
    publish(db, lock, change)
    assert change.steps == [*["prepare", "record"] * 3, "committed"]


def test_what_goes_on_changing_is_given_up(db: Database, lock: WriterLock) -> None:
    change = Recorded("record", OutdatedError("changed"), times=100)
    with pytest.raises(OutdatedError):
        publish(db, lock, change)
    assert change.steps[-1] == "rollback"
    assert change.steps.count("prepare") == 8
    assert stored(db) is None


def test_who_lost_the_lock_records_nothing(db: Database, lock: WriterLock) -> None:
    change = Recorded()
    force_release(db)
    with pytest.raises(LockedError):
        publish(db, lock, change)
    assert change.steps == ["prepare", "rollback"]
    with pytest.raises(LockedError):
        publish_rows(db, lock, lambda transaction: transaction.put(META, KEY, b"rows"))
    assert stored(db) is None


def test_rows_alone_are_published(db: Database, lock: WriterLock) -> None:
    publish_rows(db, lock, lambda transaction: transaction.put(META, KEY, b"rows"))
    assert stored(db) == b"rows"
