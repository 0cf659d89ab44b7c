"""The map grows on demand, and a full disk changes nothing."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hangar.db import Database, WriteTransaction
from hangar.db.tables import NODES, REFS
from hangar.errors import (
    DiskFullError,
    InvalidStateError,
)
from tests.db.rows import number
from tests.processes import child, in_child

# ------------------------------------------------------------------------------------------------------- the map


def test_a_tiny_map_grows_and_the_function_is_run_again(directory: Path) -> None:
    db = Database.open(directory)
    runs = 0

    def write(transaction: WriteTransaction) -> None:
        nonlocal runs
        runs += 1
        for key in range(500):
            transaction.put(NODES, number(key), bytes(3_000))

    db.update(write)
    assert runs > 1
    with db.read() as transaction:
        assert transaction.count(NODES) == 500
    assert db.size_bytes() > 500 * 3_000
    db.close()


def test_a_full_map_is_found_even_where_the_function_hides_it(directory: Path) -> None:
    db = Database.open(directory)

    def write(transaction: WriteTransaction) -> int:
        done = 0
        for key in range(200):
            try:
                transaction.put(NODES, number(key), bytes(3_000))
                done += 1
            except Exception:  # noqa: BLE001 - what a careless caller does
                pass
        return done

    assert db.update(write) == 200
    with db.read() as transaction:
        assert transaction.count(NODES) == 200
    db.close()


def test_the_map_grows_beside_readers_of_other_threads(directory: Path) -> None:
    db = Database.open(directory)
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                with db.read() as transaction:
                    rows = list(transaction.scan(NODES))
                    with db.read() as inner:
                        assert inner.count(NODES) >= len(rows)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for reader in readers:
        reader.start()
    for key in range(60):
        db.update(lambda t, key=key: t.put(NODES, number(key), bytes(20_000)))  # type: ignore[misc]
    stop.set()
    for reader in readers:
        reader.join(60)
    assert not failures
    db.close()


def test_row_7_the_map_grows_under_two_processes(directory: Path) -> None:
    commits = 50 * 2**20 // 2 // 100_000

    def commit(db: Database, key: bytes) -> None:
        def both(transaction: WriteTransaction) -> None:
            transaction.put(NODES, key, os.urandom(100_000))
            transaction.put(REFS, key, b"")

        db.update(both)

    def write(who: int) -> None:
        db = Database.open(directory)
        for turn in range(commits):
            commit(db, number(who * 10_000 + turn))
            with db.read() as transaction:
                transaction.check_count(REFS)
        db.close()

    with child(lambda _: write(1)) as one, child(lambda _: write(2)) as two:
        one.result()
        two.result()
    db = Database.open(directory)
    with db.read() as transaction:
        assert transaction.count(NODES) == len(list(transaction.scan(REFS))) == 2 * commits
    db.close()


def test_a_map_grown_by_another_process_is_adopted(directory: Path) -> None:
    db = Database.open(directory)

    def grow() -> None:
        other = Database.open(directory)
        other.update(lambda t: t.put(NODES, b"a", bytes(3_000_000)))
        other.close()

    in_child(grow)
    with db.read() as transaction:
        assert transaction.get(NODES, b"a") == bytes(3_000_000)
    in_child(grow)
    db.update(lambda t: t.put(NODES, b"b", bytes(3_000_000)))
    db.close()


def test_a_map_does_not_grow_under_the_feet_of_its_own_reader(directory: Path) -> None:
    db = Database.open(directory)
    with pytest.raises(InvalidStateError), db.read():
        db._handle.grow()  # type: ignore[union-attr]
    db.close()


# ------------------------------------------------------------------------------------------------------ disk full


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("extra", [0, 1, 4096, 4097, 10_000, 100_000])
def test_a_full_disk_changes_nothing(db: Database, file_size_limit: Callable[[int], None], extra: int) -> None:
    db.update(lambda t: t.put(REFS, b"a", b"1"))

    def write(transaction: WriteTransaction) -> None:
        transaction.put(REFS, b"a", b"2")
        for key in range(100):
            transaction.put(NODES, number(key), bytes(3_000))

    file_size_limit(db.size_bytes() + extra)
    for _ in range(2):
        with pytest.raises(DiskFullError, match="free space"):
            db.update(write)
        with db.read() as transaction:
            assert transaction.get(REFS, b"a") == b"1"
            assert transaction.count(NODES) == 0
            transaction.check_count(REFS)
    file_size_limit(resource.RLIM_INFINITY)
    db.update(write)
    with db.read() as transaction:
        assert transaction.get(REFS, b"a") == b"2"
        assert transaction.count(NODES) == 100


def test_after_a_failed_commit_the_environment_is_opened_anew(
    db: Database, file_size_limit: Callable[[int], None]
) -> None:
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    before = db._handle.environment  # type: ignore[union-attr]
    assert before is not None
    file_size_limit(db.size_bytes())
    with pytest.raises(DiskFullError):
        db.update(lambda t: t.put(NODES, b"a", bytes(100_000)))
    file_size_limit(resource.RLIM_INFINITY)
    with db.read():
        assert db._handle.environment is not before  # type: ignore[union-attr]
