"""Commits: one content, one encoding; a tree digest that covers what is held; what cannot be right is refused."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.db.tables import COMMITS, SCHEMAS
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError, HangarError, InvalidInputError, UnsupportedVersionError
from hangar.objects.commit import FLAT, NESTED, ColumnEntry, Commit, column_id, decode_commit, tree_digest
from hangar.objects.records import has_record, load_commit, load_record, store_commit, store_record
from tests.objects.memory import MemoryDatabase


def digest(text: str) -> Digest:
    return record_digest("schema", text.encode())


def entry(label: str, /, **changes: Any) -> ColumnEntry:
    parts: dict[str, Any] = {
        "name": label,
        "id": column_id(label, digest(label), 0),
        "schema": digest(label),
        "attributes": None,
        "layout": FLAT,
        "root": digest("root of " + label),
        "entries": 10,
        "samples": 10,
    }
    return ColumnEntry(**{**parts, **changes})


def commit(**changes: Any) -> Commit:
    parts: dict[str, Any] = {
        "parents": [digest("parent")],
        "columns": [
            entry("boxes", layout=NESTED, entries=30),
            entry("empty", root=None, entries=0, samples=0),
            entry("images", attributes=digest("attributes")),
        ],
        "attributes": None,
        "author": "Ada Lovelace",
        "email": "ada@example.org",
        "time_ns": 1_700_000_000_123_456_789,
        "tz": -90,
        "message": "First light\n\nWith a body: ünï¢ode.",
        "meta": {"tool": "import", "files": [1, 2]},
    }
    return Commit(**{**parts, **changes})


def test_round_trip() -> None:
    for made in (
        commit(),
        commit(parents=[], columns=[], meta={}),
        commit(parents=[digest("a"), digest("b")], attributes=digest("x"), time_ns=-5, tz=845),
    ):
        data = made.encode()
        assert decode_commit(data) == made
        assert decode_commit(data).encode() == data
        assert made.digest() == record_digest("commit", data)


def test_the_fields_stand_in_the_order_of_the_format() -> None:
    made = commit()
    column = made.columns[0]
    assert msgspec.msgpack.decode(made.encode())[:3] == [
        0,
        [digest("parent")],
        [
            [c.name, c.id, c.schema, c.attributes, c.layout, c.root, c.entries, c.samples]
            for c in (column, *made.columns[1:])
        ],
    ]
    assert msgspec.msgpack.decode(made.encode())[3:] == [
        None,
        "Ada Lovelace",
        "ada@example.org",
        1_700_000_000_123_456_789,
        -90,
        "First light\n\nWith a body: ünï¢ode.",
        {"files": [1, 2], "tool": "import"},
    ]


def test_the_order_of_meta_means_nothing() -> None:
    assert commit(meta={"a": 1, "b": 2}).digest() == commit(meta={"b": 2, "a": 1}).digest()


def test_a_tree_digest_covers_what_is_held_and_nothing_else() -> None:
    tree = tree_digest(commit())
    unseen: list[dict[str, Any]] = [
        {"parents": []},
        {"author": "Somebody else"},
        {"email": "x"},
        {"time_ns": 0},
        {"tz": 0},
        {"message": ""},
        {"meta": {}},
    ]
    for changes in unseen:
        assert tree_digest(commit(**changes)) == tree
    renumbered = [
        msgspec.structs.replace(column, id=column_id(column.name, digest("x"), 7)) for column in commit().columns
    ]
    assert tree_digest(commit(columns=renumbered)) == tree
    columns = commit().columns
    different = [commit(attributes=digest("a")), commit(columns=columns[:2])]
    column_changes: list[dict[str, Any]] = [
        {"name": "zebras"},
        {"schema": digest("another")},
        {"attributes": None},
        {"layout": NESTED},
        {"root": digest("another")},
        {"entries": 11, "samples": 11},
        {"samples": 9, "layout": NESTED},
    ]
    different += [
        commit(columns=[*columns[:2], msgspec.structs.replace(columns[2], **change)]) for change in column_changes
    ]
    digests = {tree_digest(other) for other in different}
    assert len(digests) == len(different)
    assert tree not in digests
    assert tree != commit().digest()


def test_column_ids() -> None:
    one = column_id("labels", digest("schema"), 0)
    assert len(one) == 16
    others = {
        column_id("labels", digest("schema"), 1),
        column_id("label", digest("schema"), 0),
        column_id("labels", digest("s"), 0),
        one,
    }
    assert len(others) == 4
    assert column_id("labels", digest("schema"), 0) == one


def twice(column: ColumnEntry) -> list[ColumnEntry]:
    return [column, column]


PROBLEMS: list[dict[str, Any]] = [
    {"parents": [b"short"]},
    {"parents": [digest("a"), digest("a")]},
    {"parents": [digest(str(i)) for i in range(limits.MAX_PARENTS + 1)]},
    {"attributes": b"short"},
    {"author": "a" * 1_025},
    {"email": "é" * 600},
    {"author": "\ud800"},
    {"message": "x" * (limits.MAX_MESSAGE_BYTES + 1)},
    {"message": "\ud800"},
    {"time_ns": 2**63},
    {"time_ns": -(2**63)},
    {"tz": 1_441},
    {"tz": -1_441},
    {"version": 1},
    {"meta": {"x": None}},
    {"meta": {"x": "a" * 2**20}},
    {"columns": [entry("b"), entry("a")]},
    {"columns": twice(entry("a"))},
    {"columns": [entry("a"), entry("b", id=entry("a").id)]},
    *(
        {"columns": [entry("a", **change)]}
        for change in (
            {"name": ""},
            {"name": "a" * 1_025},
            {"id": b"short"},
            {"schema": b"short"},
            {"attributes": b"short"},
            {"root": b"short"},
            {"layout": 2},
            {"layout": -1},
            {"entries": 0, "samples": 0},
            {"root": None},
            {"entries": -1, "samples": -1},
            {"entries": 9},
            {"samples": 9},
            {"layout": NESTED, "samples": 0},
            {"layout": NESTED, "samples": 11},
            {"entries": 2**62, "samples": 2**62},
        )
    ),
]


@pytest.mark.parametrize("changes", PROBLEMS, ids=itertools.count())
def test_commits_that_cannot_be(changes: dict[str, Any]) -> None:
    wrong = commit(**changes)
    with pytest.raises(InvalidInputError):
        wrong.encode()
    with contextlib.suppress(UnicodeEncodeError):
        data = msgspec.msgpack.encode(wrong)
        with pytest.raises((CorruptionError, UnsupportedVersionError)):
            decode_commit(data)


@pytest.mark.parametrize("parts", [[1], [1, "whatever", {}], [2**40, *([0] * 20)]], ids=itertools.count())
def test_a_newer_version_is_refused_as_such(parts: list[Any]) -> None:
    with pytest.raises(UnsupportedVersionError):
        decode_commit(msgspec.msgpack.encode(parts))
    with pytest.raises(UnsupportedVersionError):
        decode_commit(msgspec.msgpack.encode(msgspec.structs.replace(commit(), version=1)))


def test_another_encoding_of_the_same_is_refused() -> None:
    data = commit().encode()
    for canonical, other in (
        (b"\x9a\x00", b"\xdc\x00\x0a\x00"),
        (b"\x9a\x00", b"\x9a\xcc\x00"),
        (b"\xa4tool", b"\xd9\x04tool"),
    ):
        assert canonical in data
        with pytest.raises(CorruptionError):
            decode_commit(data.replace(canonical, other, 1))
    with pytest.raises(CorruptionError):
        decode_commit(data + b"\x00")
    unsorted = msgspec.msgpack.encode(msgspec.structs.replace(commit(), meta={"tool": 1, "files": 2}))
    with pytest.raises(CorruptionError):
        decode_commit(unsorted)


def test_mutated_bytes_raise_nothing_but_our_errors() -> None:
    rng = random.Random(29)
    honest = commit().encode()
    for _ in range(6_000):
        data = bytearray(honest)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data))
            if rng.random() < 0.8:
                data[place] = rng.choice([0, 0x7F, 0x80, 0xC0, 0xC1, 0xDC, 0xDD, 0xDF, 0xFF, rng.randrange(256)])
            else:
                del data[place : place + rng.randint(1, 40)]
        with contextlib.suppress(HangarError):
            decode_commit(bytes(data)).encode()


@given(st.binary(max_size=120))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for prefix in (b"", b"\x9a\x00", b"\x9a\x00\x90\x91\x98"):
        with contextlib.suppress(HangarError):
            decode_commit(prefix + data)


def test_nesting_without_end() -> None:
    with pytest.raises(CorruptionError):
        decode_commit(b"\x91" * 100_000)
    with pytest.raises(CorruptionError):
        decode_commit(commit(meta={}).encode()[:-1] + b"\x81\xa1a" + b"\x91" * 100_000)


# ---------------------------------------------------------------------- records


def test_commits_are_stored_under_their_digest() -> None:
    database = MemoryDatabase()
    made = commit()
    named = database.update(lambda transaction: store_commit(transaction, made))
    assert named == made.digest()
    assert load_commit(database, named) == made  # type: ignore[arg-type]
    assert database.update(lambda transaction: has_record(transaction, "commit", named))
    assert not database.update(lambda transaction: has_record(transaction, "schema", named))
    with pytest.raises(InvalidInputError):
        database.update(lambda transaction: store_commit(transaction, commit(tz=9_999)))


def test_missing_and_wrong_records_are_named() -> None:
    database = MemoryDatabase()
    named = database.update(lambda transaction: store_record(transaction, "schema", b"schema"))
    assert load_record(database, "schema", named) == b"schema"  # type: ignore[arg-type]
    database.rows[SCHEMAS.name][named] = b"Schema"
    with pytest.raises(CorruptionError, match=f"schema record {named.hex()} is damaged"):
        load_record(database, "schema", named)  # type: ignore[arg-type]
    with pytest.raises(CorruptionError, match=f"commit record {named.hex()} is missing"):
        load_commit(database, named)  # type: ignore[arg-type]
    for data, error in ((b"garbage", CorruptionError), (b"\x91\x05", UnsupportedVersionError)):
        bad = record_digest("commit", data)
        database.rows[COMMITS.name] = {bad: data}
        with pytest.raises(error, match=bad.hex()):
            load_commit(database, bad)  # type: ignore[arg-type]
