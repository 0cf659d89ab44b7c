"""The database: made, updated, grown."""

from __future__ import annotations

import random
from pathlib import Path

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.compaction import compact
from hangar.db.format import write_format
from hangar.db.tables import LOCATIONS, NODES, REFS, STAGING, TABLES
from hangar.errors import RepositoryNotFoundError
from tests.crash.harness import Acknowledge, Scenario, State

ROUNDS = 5


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def node(key: bytes) -> bytes:
    generator = random.Random(key)
    return generator.randbytes(generator.choice((50, 700, 5_000)))


# --------------------------------------------------------------------------------------------------------- making


def make(directory: Path, acknowledge: Acknowledge) -> None:
    db = Database.create(directory)
    db.update(lambda transaction: transaction.put(REFS, b"first", b"1"))
    db.close()
    write_format(directory)
    acknowledge("made")


def check_made(state: State) -> None:
    try:
        db = Database.open(state.directory)
    except RepositoryNotFoundError:
        assert not state.acknowledged
        # And it can be made now.
        for leftover in state.directory.glob("format.*"):
            leftover.unlink()
        _remove_row(state.directory)
        make(state.directory, lambda _: None)
        db = Database.open(state.directory)
    with db.read() as transaction:
        assert dict(transaction.scan(REFS)) == {b"first": b"1"}
    db.update(lambda transaction: transaction.put(REFS, b"second", b"2"))
    db.close()


def _remove_row(directory: Path) -> None:
    """``create`` refuses a database with something in it; here that something is our own first step."""
    for path in (directory / "db").glob("*"):
        path.unlink()


# ------------------------------------------------------------------------------------------------------ updating


def prepare(directory: Path) -> None:
    db = Database.create(directory, map_size=2**18)
    db.update(lambda transaction: change(transaction, 0))
    db.close()
    write_format(directory)


def change(transaction: WriteTransaction, turn: int) -> None:
    """One step of many tables, from which anything can be told by the number of the step."""
    transaction.put(REFS, b"turn", number(turn))
    transaction.put_many(NODES, [(number(i) + number(turn), node(number(i) + number(turn))) for i in range(20)])
    transaction.put_many(LOCATIONS, [(number(turn) + number(i), number(i) * 5) for i in range(30)])
    transaction.delete_prefix(LOCATIONS, number(turn - 2) if turn >= 2 else b"nothing")
    transaction.put(STAGING, number(turn), b"x" * turn)
    assert transaction.next_id("turn") == turn + 1


def update(directory: Path, acknowledge: Acknowledge) -> None:
    db = Database.open(directory)
    for turn in range(1, ROUNDS):
        db.update(lambda transaction, turn=turn: change(transaction, turn))  # type: ignore[misc]
        acknowledge(turn)
    db.close()


def check_updated(state: State) -> None:
    db = Database.open(state.directory)
    with db.read() as transaction:
        turn = int.from_bytes(transaction.get(REFS, b"turn") or b"", "big")
        latest = max(state.acknowledged, default=0)
        assert turn in (latest, latest + 1)
        _assert_is(transaction, turn)
    # It goes on from there.
    db.update(lambda transaction: change(transaction, turn + 1))
    with db.read() as transaction:
        _assert_is(transaction, turn + 1)
    db.close()


def _assert_is(transaction: ReadTransaction, turn: int) -> None:
    nodes = dict(transaction.scan(NODES))
    assert nodes == {key: node(key) for i in range(20) for key in (number(i) + number(t) for t in range(turn + 1))}
    locations = [(number(t) + number(i), number(i) * 5) for t in range(max(0, turn - 1), turn + 1) for i in range(30)]
    assert list(transaction.scan(LOCATIONS)) == locations
    assert dict(transaction.scan(STAGING)) == {number(t): b"x" * t for t in range(turn + 1)}
    for table in TABLES:
        if table.counted:
            transaction.check_count(table)


# ------------------------------------------------------------------------------------------------------- growing


def grow(directory: Path, acknowledge: Acknowledge) -> None:
    db = Database.open(directory)
    for turn in range(1, 4):

        def write(transaction: WriteTransaction, turn: int = turn) -> None:
            transaction.put_many(NODES, [(number(turn) + number(i), bytes((turn,)) * 9_000) for i in range(60)])
            transaction.put(REFS, b"grown", number(turn))

        db.update(write)
        acknowledge(turn)
    db.close()


def check_grown(state: State) -> None:
    db = Database.open(state.directory)
    with db.read() as transaction:
        turn = int.from_bytes(transaction.get(REFS, b"grown") or b"", "big")
        latest = max(state.acknowledged, default=0)
        assert turn in (latest, latest + 1)
        for done in range(1, turn + 1):
            rows = list(transaction.scan(NODES, prefix=number(done)))
            assert [row[1] for row in rows if len(row[0]) == 16 and len(row[1]) == 9_000] == [
                bytes((done,)) * 9_000
            ] * 60
    db.close()


# ----------------------------------------------------------------------------------------------------- compacting


def prepare_bloated(directory: Path) -> None:
    prepare(directory)
    db = Database.open(directory)
    db.update(
        lambda transaction: transaction.put_many(NODES, [(b"filler" + number(i), bytes(3_000)) for i in range(50)])
    )
    db.update(lambda transaction: transaction.delete_prefix(NODES, b"filler"))
    db.close()


def compact_and_update(directory: Path, acknowledge: Acknowledge) -> None:
    for turn in range(1, 3):
        before = (directory / "db" / "data.mdb").stat().st_size
        assert compact(directory)
        after = (directory / "db" / "data.mdb").stat().st_size
        assert after < before
        db = Database.open(directory)
        db.update(lambda transaction, turn=turn: change(transaction, turn))  # type: ignore[misc]
        acknowledge(turn)
        db.close()


SCENARIOS = (
    Scenario("database made", make, check_made),
    Scenario("database updated", update, check_updated, prepare),
    Scenario("database grown", grow, check_grown, prepare),
    Scenario("database compacted", compact_and_update, check_updated, prepare_bloated),
)
