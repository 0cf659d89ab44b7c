"""Several processes on one database, killed and interrupted ones among them."""

from __future__ import annotations

import contextlib
import itertools
import linecache
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import lmdb
import pytest

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.compaction import compact
from hangar.db.tables import NODES, REFS, STAGING
from tests.db.conftest import make
from tests.db.rows import get, number
from tests.processes import child, in_child

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
    """Killed in the middle of a read: their states are not kept, also by a writer who opened the database before."""

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
        for _ in range(200):
            db.update(lambda t: t.put(NODES, b"a", os.urandom(50_000)))
        db.close()
        return (directory / "db" / "data.mdb").stat().st_size

    assert size("killed", 50) < 1.5 * size("quiet", 0)


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
                    get(db, b"a")
                else:
                    db.update(lambda t: t.put(REFS, b"b", b"2"))
            break
        except KeyboardInterrupt:
            interrupted += 1
        # On this very thread, and in a fork: neither waits for, nor stumbles over, what was cut off.
        start = time.monotonic()
        db.update(lambda t, line=line: t.put(REFS, b"line", number(line)))  # type: ignore[misc]
        assert get(db, b"line") == number(line)
        if line % 5 == 0:
            assert in_child(lambda: get(db, b"a")) == b"1"
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
