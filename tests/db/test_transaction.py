from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.db import Database, ReadTransaction, Table, WriteTransaction
from hangar.db.tables import LEASES, LOCATIONS, META, NODES, REFS, STAGING, TABLES
from hangar.errors import CorruptionError, InvalidInputError, InvalidStateError
from tests.counting import calls_of

every_table = pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])


def damage(directory: Path, change: Callable[[Any, Callable[[Table], Any]], object]) -> None:
    """Change rows behind the back of Hangar."""
    with lmdb.open(str(directory / "db"), max_dbs=64, map_size=2**24) as environment:
        opened = {table: environment.open_db(table.name.encode(), create=False) for table in TABLES}
        with environment.begin(write=True) as transaction:
            change(transaction, opened.__getitem__)


@every_table
def test_rows_come_back(db: Database, table: Table) -> None:
    rows = {bytes((65 + i,)) * (i + 1): bytes(i * 50) for i in range(10)}

    def write(transaction: WriteTransaction) -> None:
        transaction.put(table, *next(iter(rows.items())))
        transaction.put_many(table, list(reversed(rows.items())))
        assert transaction.get(table, b"A") == b""

    db.update(write)
    with db.read() as transaction:
        assert all(transaction.get(table, key) == value for key, value in rows.items())
        assert transaction.get(table, b"AA") is None
        assert transaction.get_many(table, [b"BB", b"?", b"A", b"BB"]) == [rows[b"BB"], None, b"", rows[b"BB"]]
        assert transaction.get_many(table, list(rows)) == list(rows.values())
        assert transaction.get_many(table, []) == []
        if table is not META:
            assert dict(transaction.scan(table)) == rows
            assert transaction.count(table) == len(rows)


@given(
    st.dictionaries(st.binary(min_size=1, max_size=3), st.binary(max_size=5), max_size=20),
    st.binary(max_size=2),
    st.binary(max_size=2),
)
def test_scan_and_last_follow_a_sorted_dict(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[bytes, bytes], prefix: bytes, start: bytes
) -> None:
    db = _shared(tmp_path_factory)

    def refill(transaction: WriteTransaction) -> None:
        transaction.delete_prefix(STAGING, b"")
        transaction.put_many(STAGING, list(rows.items()))

    db.update(refill)
    expected = [(key, value) for key, value in sorted(rows.items()) if key.startswith(prefix)]
    with db.read() as transaction:
        assert list(transaction.scan(STAGING, prefix=prefix)) == expected
        assert transaction.last(STAGING, prefix) == (expected[-1] if expected else None)
        late = [row for row in expected if row[0] >= start]
        assert list(transaction.scan(STAGING, prefix=prefix, start=start)) == late
    number = db.update(lambda transaction: transaction.delete_prefix(STAGING, prefix))
    assert number == len(expected)
    with db.read() as transaction:
        assert dict(transaction.scan(STAGING)) == {k: v for k, v in rows.items() if not k.startswith(prefix)}


_databases: list[Database] = []


def _shared(factory: pytest.TempPathFactory) -> Database:
    """One database for all examples of a property."""
    from tests.db.conftest import make

    if not _databases:
        directory = factory.mktemp("shared") / ".hangar"
        make(directory)
        _databases.append(Database.open(directory))
    return _databases[0]


def test_last_below_a_prefix_of_ff(db: Database) -> None:
    db.update(lambda t: t.put_many(REFS, [(b"a", b"1"), (b"\xff\xff", b"2"), (b"\xff\xffz", b"3")]))
    with db.read() as transaction:
        assert transaction.last(REFS, b"\xff\xff") == (b"\xff\xffz", b"3")
        assert transaction.last(REFS, b"\xff\xff\xff") is None
        assert transaction.last(REFS) == (b"\xff\xffz", b"3")


@every_table
def test_delete(db: Database, table: Table) -> None:
    db.update(lambda t: t.put_many(table, [(b"a", b"1"), (b"b", b"2")]))
    assert db.update(lambda t: (t.delete(table, b"a"), t.delete(table, b"a"), t.get(table, b"a"))) == (
        True,
        False,
        None,
    )
    with db.read() as transaction:
        assert transaction.get_many(table, [b"a", b"b"]) == [None, b"2"]


@pytest.mark.parametrize("key", [b"", b"x" * 512])
def test_keys_have_bounds(db: Database, key: bytes) -> None:
    with pytest.raises(InvalidInputError, match="511"):
        db.update(lambda t: t.put(REFS, key, b""))
    db.update(lambda t: t.put(REFS, b"x" * 511, b""))


def test_ids_count_up_and_are_not_given_again(db: Database, directory: Path) -> None:
    assert db.update(lambda t: [t.next_id("file"), t.next_id("file"), t.next_id("run")]) == [1, 2, 1]
    db.close()
    again = Database.open(directory)
    assert again.update(lambda t: t.next_id("file")) == 3
    with pytest.raises(ZeroDivisionError):
        again.update(lambda t: t.next_id("file") / 0)
    assert again.update(lambda t: t.next_id("file")) == 4
    again.close()


def test_a_transaction_that_ended_is_refused(db: Database) -> None:
    with db.read() as reader:
        pass
    kept: list[WriteTransaction] = []
    db.update(kept.append)
    for transaction in (reader, kept[0]):
        for use in (
            lambda t: t.get(REFS, b"a"),
            lambda t: t.get_many(REFS, [b"a"]),
            lambda t: list(t.scan(REFS)),
            lambda t: t.last(REFS),
            lambda t: t.count(REFS),
        ):
            with pytest.raises(InvalidStateError, match="ended"):
                use(transaction)
    with pytest.raises(InvalidStateError, match="ended"):
        kept[0].put(NODES, b"a", b"b")


def test_a_scan_ends_with_its_transaction(db: Database) -> None:
    db.update(lambda t: t.put_many(REFS, [(b"a", b"1"), (b"b", b"2")]))
    with db.read() as transaction:
        rows = transaction.scan(REFS)
        next(rows)
    with pytest.raises(InvalidStateError, match="ended"):
        next(rows)


# ------------------------------------------------------------------------------------------------- damaged rows

readings: dict[str, Callable[[ReadTransaction, Table], object]] = {
    "get": lambda t, table: t.get(table, b"key"),
    "get_many": lambda t, table: t.get_many(table, [b"key", b"other"]),
    "get_many_missing": lambda t, table: t.get_many(table, [b"none", b"key"]),
    "scan": lambda t, table: list(t.scan(table)),
    "last": lambda t, table: t.last(table, b"key"),
}


@pytest.mark.parametrize("reading", readings)
@pytest.mark.parametrize("table", [table for table in TABLES if table.checked], ids=lambda table: table.name)
def test_any_flipped_byte_of_a_checked_row_is_found(directory: Path, table: Table, reading: str) -> None:
    payload = b"some payload"
    db = Database.open(directory)
    db.update(lambda t: t.put_many(table, [(b"key", payload), (b"other", payload)]))
    db.close()
    row: list[bytes] = []
    damage(directory, lambda t, opened: row.append(t.get(b"key", db=opened(table))))
    for place in range(len(row[0])):
        bad = bytearray(row[0])
        bad[place] ^= 1 << place % 8
        damage(directory, lambda t, opened, bad=bytes(bad): t.put(b"key", bad, db=opened(table)))  # type: ignore[misc]
        db = Database.open(directory)
        with pytest.raises(CorruptionError, match=f"'{table.name}'.*{b'key'.hex()}"), db.read() as transaction:
            readings[reading](transaction, table)
        db.close()


@pytest.mark.parametrize("table", [table for table in TABLES if table.counted], ids=lambda table: table.name)
def test_lost_and_added_rows_of_a_counted_table_are_found(directory: Path, table: Table) -> None:
    db = Database.open(directory)
    db.update(lambda t: t.put_many(table, [(bytes((i,)), b"") for i in range(1, 6)]))
    db.update(lambda t: t.delete(table, b"\x01"))
    with db.read() as transaction:
        transaction.check_count(table)
        assert len(list(transaction.scan(table))) == 4
    db.close()
    rows: list[bytes] = []

    def lose(transaction: Any, opened: Callable[[Table], Any]) -> None:
        rows.append(transaction.get(b"\x02", db=opened(table)))
        transaction.delete(b"\x02", db=opened(table))

    damage(directory, lose)
    _assert_miscounted(directory, table, "has 3 rows and 4 were written")
    # A change afterwards does not make the loss good.
    db = Database.open(directory)
    db.update(lambda t: t.put(table, b"new", b""))
    db.close()
    _assert_miscounted(directory, table, "has 4 rows and 5 were written")
    damage(directory, lambda t, opened: [t.put(bytes((i,)), rows[0], db=opened(table)) for i in (2, 200)])
    _assert_miscounted(directory, table, "has 6 rows and 5 were written", scan=False)


def _assert_miscounted(directory: Path, table: Table, message: str, scan: bool = True) -> None:
    db = Database.open(directory)
    with pytest.raises(CorruptionError, match=message), db.read() as transaction:
        transaction.check_count(table)
    if scan:
        with pytest.raises(CorruptionError, match=message), db.read() as transaction:
            list(transaction.scan(table))
    db.close()


def test_counts_hold_within_a_transaction(db: Database) -> None:
    db.update(lambda t: t.put_many(REFS, [(b"a", b""), (b"b", b"")]))

    def change(transaction: WriteTransaction) -> list[bytes]:
        transaction.put(REFS, b"c", b"")
        transaction.put(REFS, b"c", b"again")
        transaction.delete(REFS, b"nothing")
        transaction.delete(REFS, b"a")
        transaction.check_count(REFS)
        return [key for key, _ in transaction.scan(REFS)]

    assert db.update(change) == [b"b", b"c"]
    assert db.update(lambda t: t.delete_prefix(REFS, b"")) == 2
    with db.read() as transaction:
        transaction.check_count(REFS)
        assert transaction.count(REFS) == 0


def test_uncounted_tables_have_no_recorded_count(db: Database) -> None:
    db.update(lambda t: t.put(NODES, b"a", b""))
    with db.read() as transaction:
        assert not [key for key, _ in transaction.scan(META) if b"nodes" in key]
        assert list(transaction.scan(NODES)) == [(b"a", b"")]


# ----------------------------------------------------------------------------------------------------- costs


def calls(function: Callable[[], object]) -> int:
    seen = calls_of(function)
    return seen["call"] + seen["c_call"]


@pytest.mark.parametrize("table", [NODES, LOCATIONS, LEASES], ids=lambda table: table.name)
def test_the_calls_of_get_many_do_not_grow_with_the_keys(db: Database, table: Table) -> None:
    keys = [i.to_bytes(4, "big") for i in range(2_000)]
    db.update(lambda t: t.put_many(table, [(key, b"x" * 50) for key in keys]))
    with db.read() as transaction:
        few = calls(lambda: transaction.get_many(table, keys[:20]))
        many = calls(lambda: transaction.get_many(table, keys))
    assert many == few < 30
