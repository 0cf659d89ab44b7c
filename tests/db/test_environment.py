from __future__ import annotations

import contextlib
import itertools
import linecache
import os
import random
import resource
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import lmdb
import pytest

from hangar.db import Database, ReadTransaction, WriteTransaction, handle
from hangar.db.compaction import compact
from hangar.db.format import FILE_NAME, write_format
from hangar.db.tables import NODES, REFS, STAGING
from hangar.errors import (
    AccessError,
    ClosedError,
    CorruptionError,
    DiskFullError,
    InvalidStateError,
    LockedError,
    RepositoryExistsError,
    StorageError,
    UnsupportedVersionError,
)
from tests.db.conftest import make
from tests.processes import child, in_child


def number(key: int) -> bytes:
    return key.to_bytes(8, "big")


def value(directory: Path, key: bytes) -> bytes | None:
    db = Database.open(directory)
    try:
        with db.read() as transaction:
            return transaction.get(REFS, key)
    finally:
        db.close()


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
    with pytest.raises(CorruptionError, match="holds a repository"):
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


# -------------------------------------------------------------------------------------------- damaged databases


def test_a_missing_database_is_corruption(directory: Path) -> None:
    (directory / "db" / "data.mdb").unlink()
    with pytest.raises(CorruptionError, match="missing"):
        Database.open(directory)
    assert not (directory / "db" / "data.mdb").exists()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\0" * 8192, b"garbage." * 2048])
def test_something_else_is_corruption(directory: Path, content: bytes) -> None:
    (directory / "db" / "data.mdb").write_bytes(content)
    with pytest.raises(CorruptionError):
        Database.open(directory)


def test_a_database_cut_short_is_corruption(directory: Path) -> None:
    db = Database.open(directory)
    db.update(lambda t: t.put(NODES, b"a", bytes(100_000)))
    db.close()
    data = directory / "db" / "data.mdb"
    os.truncate(data, data.stat().st_size - 4096)
    with pytest.raises(CorruptionError, match="cut short"):
        Database.open(directory)


def test_a_lost_table_is_corruption(directory: Path) -> None:
    with lmdb.open(str(directory / "db"), max_dbs=64) as environment, environment.begin(write=True) as transaction:
        transaction.drop(environment.open_db(b"staging", transaction, create=False))
    with pytest.raises(CorruptionError, match="lacks a table"):
        Database.open(directory)


def test_data_of_another_lmdb_is_refused(directory: Path) -> None:
    data = directory / "db" / "data.mdb"
    content = bytearray(data.read_bytes())
    for page in range(2):
        content[page * 4096 + 20] = 77
    data.write_bytes(content)
    with pytest.raises((UnsupportedVersionError, StorageError)):
        Database.open(directory)


@pytest.mark.parametrize("flips", [150, pytest.param(3_000, marks=pytest.mark.nightly)])
def test_flips_anywhere_in_the_file_give_the_truth_or_an_error_of_the_tree(directory: Path, flips: int) -> None:
    rows = {number(i): random.Random(i).randbytes(80) for i in range(400)}
    db = Database.open(directory)
    db.update(lambda t: t.put_many(REFS, list(rows.items())))
    db.close()
    data = directory / "db" / "data.mdb"
    sound = data.read_bytes()
    generator = random.Random(1)
    found = 0
    for _ in range(flips):
        content = bytearray(sound)
        place = generator.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
        data.write_bytes(content)
        (directory / "db" / "lock.mdb").unlink()
        found += in_child(lambda: _read_all(directory, rows))
    assert found  # some flips hit what matters


def _read_all(directory: Path, rows: dict[bytes, bytes]) -> bool:
    """Whether damage was found; anything but the truth or ``CorruptionError`` fails."""
    try:
        db = Database.open(directory)
        with db.read() as transaction:
            assert dict(transaction.scan(REFS)) == rows
            transaction.check_count(REFS)
            assert transaction.get_many(REFS, list(rows)) == list(rows.values())
        db.close()
    except (CorruptionError, UnsupportedVersionError):
        return True
    return False


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
        return _get(db, b"a"), transaction.get(REFS, b"a")

    assert db.update(write) == (None, b"1")


def _get(db: Database, key: bytes) -> bytes | None:
    with db.read() as transaction:
        return transaction.get(REFS, key)


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


@pytest.mark.parametrize("megabytes", [6, pytest.param(50, marks=pytest.mark.nightly)])
def test_row_7_the_map_grows_under_two_processes(directory: Path, megabytes: int) -> None:
    commits = megabytes * 2**20 // 2 // 100_000

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


# -------------------------------------------------------------------------------------------------------- readonly


def test_readonly_reads_and_refuses_to_write(directory: Path) -> None:
    writer = Database.open(directory)
    reader = Database.open(directory, readonly=True)
    writer.update(lambda t: t.put(REFS, b"a", b"1"))
    assert reader.readonly
    assert not writer.readonly
    assert _get(reader, b"a") == b"1"
    with pytest.raises(AccessError, match="read-only"):
        reader.update(lambda t: None)
    writer.close()
    assert _get(reader, b"a") == b"1"
    reader.close()


def test_a_handle_opened_readonly_is_opened_anew_for_a_writer(directory: Path) -> None:
    reader = Database.open(directory, readonly=True)
    assert _get(reader, b"a") is None
    writer = Database.open(directory)
    writer.update(lambda t: t.put(REFS, b"a", b"1"))
    assert _get(reader, b"a") == b"1"
    writer.close()
    reader.close()


def test_readonly_follows_a_writer_in_another_process(directory: Path) -> None:
    reader = Database.open(directory, readonly=True)

    def write() -> None:
        db = Database.open(directory)
        db.update(lambda t: t.put(REFS, b"a", b"1"))
        db.update(lambda t: t.put(NODES, b"n", bytes(2_000_000)))
        db.close()

    in_child(write)
    assert _get(reader, b"a") == b"1"
    reader.close()


@pytest.fixture
def unwritable(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that this user cannot write to, as far as ``os.access`` says (the tests may run as root)."""
    access = os.access

    def denied(path: str | Path, mode: int) -> bool:
        inside = Path(path).resolve().is_relative_to(directory.resolve())
        return access(path, mode) and not (inside and mode & os.W_OK)

    monkeypatch.setattr(os, "access", denied)
    return directory


def test_where_this_user_cannot_write_it_opens_readonly_without_locks(unwritable: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unwritable.rglob("*")}
    with pytest.warns(RuntimeWarning, match="cannot be locked"):
        db = Database.open(unwritable)
    assert db.readonly
    assert _get(db, b"a") is None
    with pytest.raises(AccessError):
        db.update(lambda t: None)
    db.close()
    assert {path: path.stat().st_mtime_ns for path in unwritable.rglob("*")} == before


def test_a_readonly_mount_opens(directory: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    if os.geteuid() != 0 or os.system(f"mount --bind -o ro {directory} {mount} 2> /dev/null") != 0:
        # Without the right to mount, the test above stands in.
        mount.rmdir()
        shutil.copytree(directory, mount)
        mount.chmod(0o555)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            db = Database.open(mount, readonly=True)
        assert _get(db, b"a") is None
        db.close()
    finally:
        os.system(f"umount {mount} 2> /dev/null")
        mount.chmod(0o755)


# ---------------------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize("rounds", [50, pytest.param(500, marks=pytest.mark.nightly)])
def test_row_35_two_processes_open_commit_compact_and_close_in_any_order(directory: Path, rounds: int) -> None:
    def work(seed: int) -> tuple[list[int], int]:
        generator = random.Random(seed)
        acknowledged: list[int] = []
        open_now: list[Database] = []
        compacted = 0
        for turn in range(rounds):
            action = generator.choice(("open", "commit", "commit", "close", "compact"))
            if action == "compact":
                while open_now:
                    open_now.pop().close()
                compacted += compact(directory)
            elif action == "open" or not open_now:
                open_now.append(Database.open(directory))
            elif action == "close":
                open_now.pop(generator.randrange(len(open_now))).close()
            else:
                key = seed * 100_000 + turn
                generator.choice(open_now).update(lambda t, key=key: t.put(STAGING, number(key), bytes(300)))  # type: ignore[misc]
                acknowledged.append(key)
        for db in open_now:
            db.close()
        return acknowledged, compacted

    with child(lambda _: work(1)) as one, child(lambda _: work(2)) as two:
        results = one.result(), two.result()
    expected = sorted(results[0][0] + results[1][0])
    compacted = results[0][1] + results[1][1] + compact(directory)
    assert compacted
    assert len(expected) > rounds / 3
    db = Database.open(directory)
    with db.read() as transaction:
        assert [int.from_bytes(key, "big") for key, _ in transaction.scan(STAGING)] == expected
    db.close()


def test_killed_readers_and_writers_keep_nobody(directory: Path) -> None:
    def hang(talk: Connection, db: Database) -> None:
        db.update(lambda t: None)
        reader = db.read()
        reader.__enter__()

        def write(transaction: WriteTransaction) -> None:
            transaction.put(REFS, b"a", b"never")
            talk.send("writing")
            time.sleep(60)

        threading.Thread(target=lambda: db.update(write), daemon=True).start()
        time.sleep(60)

    db = Database.open(directory)
    for turn in range(5):
        with child(lambda talk: hang(talk, Database.open(directory))) as other:
            assert other.receive() == "writing"
            other.kill()
        start = time.monotonic()
        db.update(lambda t, turn=turn: t.put(REFS, b"turn", number(turn)))  # type: ignore[misc]
        assert time.monotonic() - start < 5
    with db.read() as transaction:
        assert transaction.get(REFS, b"a") is None
    assert "pid" not in db._handle.current().readers() or _slots(db) <= 1  # type: ignore[union-attr]
    db.close()


def _slots(db: Database) -> int:
    return db._handle.current().readers().count("\n") - 1  # type: ignore[union-attr]


def test_row_11_killed_readers_do_not_bloat(tmp_path: Path) -> None:
    def size(name: str, killed: int) -> int:
        directory = tmp_path / name
        make(directory)
        db = Database.open(directory)
        db.update(lambda t: t.put(NODES, b"a", bytes(50_000)))

        def read(talk: Connection) -> None:
            reader: ReadTransaction = Database.open(directory).read()
            reader.__enter__()
            talk.send("reading")
            time.sleep(60)

        for _ in range(killed):
            with child(read) as other:
                other.receive()
        for _ in range(40):
            db.update(lambda t: t.put(NODES, b"a", os.urandom(50_000)))
        db.close()
        return (directory / "db" / "data.mdb").stat().st_size

    assert size("killed", 5) < 1.5 * size("quiet", 0)


# ----------------------------------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize("operation", ["read", "update"])
def test_an_interrupt_anywhere_leaves_a_database_that_works(directory: Path, operation: str) -> None:
    """Ctrl-C at the n-th line of our code, for every n."""
    db = Database.open(directory)
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    interrupted = 0
    for line in itertools.count(1):
        try:
            with _interrupted_at(line):
                if operation == "read":
                    _get(db, b"a")
                else:
                    db.update(lambda t: t.put(REFS, b"b", b"2"))
            break
        except KeyboardInterrupt:
            interrupted += 1
        # On this very thread, and in a fork: neither waits for, nor stumbles over, what was cut off.
        start = time.monotonic()
        db.update(lambda t, line=line: t.put(REFS, b"line", number(line)))  # type: ignore[misc]
        assert _get(db, b"line") == number(line)
        if line % 5 == 0:
            assert in_child(lambda: _get(db, b"a")) == b"1"
        assert time.monotonic() - start < 2
    assert interrupted > 10
    db._handle.grow()  # type: ignore[union-attr]
    db.close()
    lmdb.open(str(directory / "db"), max_dbs=64).close()


@contextlib.contextmanager
def _interrupted_at(line: int) -> Iterator[None]:
    left = line

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if "/hangar/db/" not in frame.f_code.co_filename:
            return None
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        # A line of `with` shows again as the block is left; between the two CPython handles no signal.
        if event == "line" and not text.startswith("with "):
            left -= 1
            if not left:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
