"""Opening, closing, making and updating a database."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import pytest

from hangar.db import Database, WriteTransaction, handle
from hangar.db.format import FILE_NAME, write_format
from hangar.db.tables import NODES, REFS
from hangar.errors import (
    ClosedError,
    CorruptionError,
    InvalidStateError,
    LockedError,
    RepositoryExistsError,
)
from tests.db.conftest import make
from tests.db.rows import get, number, value
from tests.processes import child

# ------------------------------------------------------------------------------------------------ open and close


def test_a_database_can_be_opened_many_times_and_closes_with_the_last(directory: Path) -> None:
    one = Database.open(directory)
    two = Database.open(Path(os.path.relpath(directory)))
    one.update(lambda t: t.put(REFS, b"a", b"1"))
    one.close()
    one.close()
    with two.read() as transaction:
        assert transaction.get(REFS, b"a") == b"1"
    with pytest.raises(ClosedError):
        one.read()
    with pytest.raises(ClosedError):
        one.update(lambda t: None)
    two.close()
    assert value(directory, b"a") == b"1"
    # LMDB itself would refuse, were a handle left open.
    lmdb.open(str(directory / "db"), max_dbs=64).close()


def test_other_names_of_one_database_share_its_handle(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory)
    one, two = Database.open(directory), Database.open(tmp_path / "link")
    one.update(lambda t: t.put(REFS, b"a", b"1"))
    with two.read() as transaction:
        assert transaction.get(REFS, b"a") == b"1"
    one.close()
    two.close()


def test_a_repository_made_anew_in_its_place_is_another(directory: Path) -> None:
    old = Database.open(directory)
    old.update(lambda t: t.put(REFS, b"a", b"1"))
    shutil.rmtree(directory)
    make(directory)
    new = Database.open(directory)
    with new.read() as transaction, old.read() as before:
        assert transaction.get(REFS, b"a") is None
        assert before.get(REFS, b"a") == b"1"
    new.close()
    old.close()


def test_closing_in_a_transaction_waits_for_its_end(directory: Path) -> None:
    db = Database.open(directory)
    with db.read() as transaction:
        db.close()
        assert transaction.get(REFS, b"a") is None
    again = Database.open(directory)

    def close_and_write(transaction: WriteTransaction) -> None:
        again.close()
        transaction.put(REFS, b"a", b"1")

    again.update(close_and_write)
    assert value(directory, b"a") == b"1"
    lmdb.open(str(directory / "db"), max_dbs=64).close()


def test_closing_waits_for_other_threads(directory: Path) -> None:
    db = Database.open(directory)
    began, end = threading.Event(), threading.Event()
    found: list[object] = []

    def read() -> None:
        with db.read() as transaction:
            began.set()
            end.wait(10)
            found.append(transaction.get(REFS, b"a"))

    reader = threading.Thread(target=read)
    reader.start()
    began.wait(10)
    threading.Timer(0.05, end.set).start()
    db.close()
    assert found == [None]
    reader.join()


def test_create_refuses_a_repository(directory: Path) -> None:
    with pytest.raises(RepositoryExistsError):
        Database.create(directory)


def test_create_makes_good_what_an_interrupted_one_left(tmp_path: Path) -> None:
    directory = tmp_path / ".hangar"
    make(directory)
    for damage in (b"", b"\0" * 8192, b"torn" * 4096, None):
        (directory / FILE_NAME).unlink()
        if damage is not None:
            (directory / "db" / "data.mdb").write_bytes(damage)
        db = Database.create(directory)
        db.update(lambda t: t.put(NODES, b"a", b"1"))
        db.close()
        write_format(directory)
        Database.open(directory).close()


def test_create_destroys_nothing(directory: Path) -> None:
    db = Database.open(directory)
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    db.close()
    (directory / FILE_NAME).unlink()
    with pytest.raises(CorruptionError, match="has the data of a repository"):
        Database.create(directory)
    data = directory / "db" / "data.mdb"
    data.write_bytes(b"\0" * 2**21)
    with pytest.raises(CorruptionError, match="move it away"):
        Database.create(directory)
    assert data.stat().st_size == 2**21


def test_create_keeps_out_of_what_another_process_makes(tmp_path: Path) -> None:
    directory = tmp_path / ".hangar"
    directory.mkdir()

    def hold(talk: Connection) -> None:
        Database.create(directory)
        talk.send("made")
        talk.recv()

    with child(hold) as other:
        assert other.receive() == "made"
        with pytest.raises(LockedError):
            Database.create(directory)


# -------------------------------------------------------------------------------------------------------- updates


def test_an_exception_changes_nothing(db: Database) -> None:
    db.update(lambda t: t.put(REFS, b"a", b"1"))

    def fail(transaction: WriteTransaction) -> None:
        transaction.put(REFS, b"a", b"2")
        transaction.put(NODES, b"n", bytes(10_000))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        db.update(fail)
    with db.read() as transaction:
        assert (transaction.get(REFS, b"a"), transaction.get(NODES, b"n")) == (b"1", None)
        transaction.check_count(REFS)
    assert db.update(lambda t: t.get(REFS, b"a")) == b"1"


def test_a_read_is_of_one_state(db: Database) -> None:
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    with db.read() as transaction:
        thread = threading.Thread(target=lambda: db.update(lambda t: t.put(REFS, b"a", b"2")))
        thread.start()
        thread.join()
        assert transaction.get(REFS, b"a") == b"1"
        with db.read() as newer:
            assert newer.get(REFS, b"a") == b"2"
        assert transaction.get(REFS, b"a") == b"1"


def test_updates_do_not_nest(db: Database) -> None:
    with pytest.raises(InvalidStateError, match="inside another transaction"):
        db.update(lambda t: db.update(lambda u: None))
    with pytest.raises(InvalidStateError, match="inside another transaction"), db.read():
        db.update(lambda t: None)
    # A read inside an update sees the state before it.

    def write(transaction: WriteTransaction) -> tuple[bytes | None, bytes | None]:
        transaction.put(REFS, b"a", b"1")
        return get(db, b"a"), transaction.get(REFS, b"a")

    assert db.update(write) == (None, b"1")


def test_lmdb_itself_syncs_every_commit(db: Database) -> None:
    flags = handle.Handle.current(db._handle).flags()  # type: ignore[arg-type]
    assert flags["sync"]
    assert flags["metasync"]
    assert flags["lock"]
    assert not flags["writemap"]
    assert not flags["map_async"]


def test_threads_read_and_write(db: Database) -> None:
    failures: list[BaseException] = []

    def run(function: Callable[[int], object], seed: int) -> threading.Thread:
        def guarded() -> None:
            try:
                for turn in range(30):
                    function(seed * 1000 + turn)
            except BaseException as error:  # noqa: BLE001 - shown below
                failures.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def write(key: int) -> None:
        def both(transaction: WriteTransaction) -> None:
            transaction.put(NODES, number(key), bytes(2_000))
            transaction.put(REFS, b"last", number(key))

        db.update(both)

    def read(_: int) -> None:
        with db.read() as transaction:
            last = transaction.get(REFS, b"last")
            if last is not None:
                assert transaction.get(NODES, last) == bytes(2_000)
            time.sleep(0.0005)

    threads = [run(write, 1), run(write, 2), *(run(read, seed) for seed in range(3, 9))]
    for thread in threads:
        thread.join(60)
    assert not failures
    with db.read() as transaction:
        assert transaction.count(NODES) == 60
