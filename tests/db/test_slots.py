"""Slots in LMDB's table of readers: held by running reads alone, and a full table is told in our words."""

from __future__ import annotations

import contextlib
import gc
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hangar import limits
from hangar.db import Database, opening
from hangar.db.tables import META
from hangar.errors import StorageError
from tests.db.conftest import make
from tests.processes import Child


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose table of readers is small."""
    monkeypatch.setattr(limits, "DATABASE_MAX_READERS", 2)
    monkeypatch.setattr(opening, "SLOT_SECONDS", 0.2)
    path = tmp_path / ".hangar"
    make(path)
    return path


def slots(directory: Path) -> int:
    """How many transactions can read at once."""
    db = Database.open(directory)
    with contextlib.ExitStack() as stack:
        for count in range(1_000):
            try:
                stack.enter_context(db.read())
            except StorageError:
                return count
    raise AssertionError("the table of readers has no end")


def test_more_idle_readers_than_slots_keep_nobody_out(small: Path) -> None:
    def read_and_stay(connection: Connection) -> None:
        db = Database.open(small)
        with db.read() as transaction:
            transaction.get(META, b"here")
        connection.send("idle")
        connection.recv()
        db.close()

    children = [Child(read_and_stay) for _ in range(slots(small) + 4)]
    try:
        for child in children:
            assert child.receive() == "idle"
        db = Database.open(small)
        db.update(lambda transaction: transaction.put(META, b"here", b"written"))
        with db.read() as transaction:
            assert transaction.get(META, b"here") == b"written"
        db.close()
        for child in children:
            child.send("go")
        for child in children:
            child.result()
    finally:
        for child in children:
            child.kill()


def test_a_full_table_is_told_in_our_words_and_is_no_damage(small: Path) -> None:
    most = slots(small)
    db = Database.open(small)
    with contextlib.ExitStack() as stack:
        for _ in range(most):
            stack.enter_context(db.read())
        with pytest.raises(StorageError, match="Nothing is damaged: try again") as caught, db.read():
            pass
        assert "MDB_" not in str(caught.value)

        def open_elsewhere(_: Connection) -> str:
            try:
                with Database.open(small).read():
                    pass
            except StorageError as error:
                return str(error)
            return ""

        assert "Nothing is damaged: try again" in Child(open_elsewhere).result()
    with db.read() as transaction:
        assert transaction.get(META, b"here") is None
    db.close()


def test_a_read_transaction_that_nobody_ended_and_nobody_holds_keeps_nobody(db: Database) -> None:
    begun = threading.Event()

    def begin() -> None:
        db.read().__enter__()
        begun.set()

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert begun.is_set()
    gc.collect()
    db.update(lambda transaction: transaction.put(META, b"large", bytes(2**20)))  # the map grows: needs to be alone
    handle = db._handle
    assert handle is not None
    assert handle.readers() == []


def test_an_interrupt_as_a_read_begins_leaves_no_reader(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = db._handle
    assert handle is not None

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(handle, "environment", None)
    monkeypatch.setattr(type(handle), "begin_slowly", lambda self, reader: interrupted(reader))
    with pytest.raises(KeyboardInterrupt) as caught, db.read():
        pass
    # The exception is held, as a notebook holds the last one.
    assert caught.value is not None
    assert handle.live == set()
