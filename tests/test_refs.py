from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.db.environment import Database
from hangar.db.format import write_format
from hangar.db.tables import REFLOG, REFS
from hangar.db.transaction import WriteTransaction
from hangar.digest import Digest
from hangar.errors import CorruptionError, HangarError, InvalidInputError, NameTakenError, StaleRefError
from hangar.refs import BRANCHES, REMOTES, TAGS, Head, Refs, check_ref, describe
from hangar.refs.reflog import MESSAGE_CHARACTERS
from hangar.refs.rows import RefRow, encode, name_key

WHO = ("Ann", "ann@example.com")
ONE, TWO, THREE = (Digest(bytes([n]) * 32) for n in (1, 2, 3))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database.create(tmp_path)
    write_format(tmp_path)
    yield database
    database.close()


@pytest.fixture
def refs(db: Database) -> Refs:
    return Refs(db)


def create(
    db: Database, name: str, digest: Digest | None = None, message: str = "", annotation: str | None = None
) -> None:
    db.update(
        lambda t: Refs(db).create(t, name, digest, who=WHO, operation="create", message=message, annotation=annotation)
    )


def update(db: Database, name: str, expected: Digest | None, new: Digest, message: str = "") -> None:
    db.update(lambda t: Refs(db).update(t, name, expected, new, who=WHO, operation="commit", message=message))


def delete(db: Database, name: str, expected: Digest | None) -> None:
    db.update(lambda t: Refs(db).delete(t, name, expected, who=WHO, operation="delete"))


def everything(db: Database) -> list[tuple[bytes, bytes]]:
    with db.read() as transaction:
        return [*transaction.scan(REFS), *transaction.scan(REFLOG)]


def test_head(db: Database, refs: Refs) -> None:
    with pytest.raises(CorruptionError, match="HEAD is missing"):
        refs.head()
    db.update(lambda t: refs.set_head(t, write_branch="master", last_written="master"))
    assert refs.head() == Head("master", "master")
    db.update(lambda t: refs.set_head(t, write_branch="dev"))
    assert refs.head() == Head("dev", "master")
    db.update(lambda t: refs.set_head(t, last_written="dev"))
    assert refs.head() == Head("dev", "dev")
    assert refs.items("") == []


def test_head_needs_both_branches_the_first_time(db: Database, refs: Refs) -> None:
    with pytest.raises(CorruptionError):
        db.update(lambda t: refs.set_head(t, write_branch="master"))


def test_set_up(db: Database, refs: Refs) -> None:
    db.update(lambda t: refs.set_up(t, "master"))
    assert refs.head() == Head("master", "master")
    assert refs.items("") == [("heads/master", None)]
    assert refs.reflog("heads/master") == []


def test_branch_without_a_commit(db: Database, refs: Refs) -> None:
    assert not refs.exists("heads/master")
    create(db, "heads/master")
    assert refs.exists("heads/master")
    assert refs.get("heads/master") is None
    update(db, "heads/master", None, ONE)
    assert refs.get("heads/master") == ONE


def test_reads_inside_a_transaction_see_its_writes(db: Database, refs: Refs) -> None:
    def work(transaction: WriteTransaction) -> None:
        refs.set_head(transaction, write_branch="a", last_written="a")
        refs.create(transaction, "heads/a", ONE, who=WHO, operation="create")
        refs.update(transaction, "heads/a", ONE, TWO, who=WHO, operation="commit")
        assert refs.get("heads/a", transaction) == TWO
        assert refs.exists("heads/a", transaction)
        assert refs.head(transaction) == Head("a", "a")
        assert refs.names(BRANCHES, transaction) == ["heads/a"]
        assert refs.items(BRANCHES, transaction) == [("heads/a", TWO)]
        assert len(refs.reflog("heads/a", transaction)) == 2

    db.update(work)
    assert refs.get("heads/a") == TWO


def test_names_and_items_are_sorted_and_by_prefix(db: Database, refs: Refs) -> None:
    for name in ("heads/b", "heads/a", "heads/a.b", "tags/v1", "remotes/origin/b", "remotes/origin/a", "remotes/o/z"):
        create(db, name, ONE)
    create(db, "heads/none")
    assert refs.names(BRANCHES) == ["heads/a", "heads/a.b", "heads/b", "heads/none"]
    assert refs.items(BRANCHES)[-1] == ("heads/none", None)
    assert refs.names(TAGS) == ["tags/v1"]
    assert refs.names(REMOTES) == ["remotes/o/z", "remotes/origin/a", "remotes/origin/b"]
    assert refs.names("remotes/o/") == ["remotes/o/z"]
    assert refs.items("tags/") == [("tags/v1", ONE)]
    assert len(refs.names("")) == 8


def test_create_refuses_a_name_that_is_taken(db: Database, refs: Refs) -> None:
    create(db, "heads/master")
    before = everything(db)
    with pytest.raises(NameTakenError, match="branch 'master' exists"):
        create(db, "heads/master", ONE)
    assert everything(db) == before


@pytest.mark.parametrize(
    "name",
    ["master", "", "heads/", "heads/a b", "heads/a//b", "heads/é", "tags/", "tags/a..b", "remotes/a", "remotes/a/", "remotes/../c", "remotes/a/.c", "HEAD", "x/y", "heads/a\0", "heads/" + "a" * 65, "heads/..", "heads/HEAD", "heads/a.lock", "remotes//b"],
)  # fmt: skip
def test_bad_names(name: str, db: Database) -> None:
    with pytest.raises(InvalidInputError):
        check_ref(name)
    before = everything(db)
    with pytest.raises(InvalidInputError):
        create(db, name, ONE)
    assert everything(db) == before


@pytest.mark.parametrize("name", ["", "x", "heads/" + "a" * 600, "heads/\ud800", "heads/\0"])
def test_any_text_may_be_looked_for(name: str, refs: Refs) -> None:
    assert refs.get(name) is None
    assert not refs.exists(name)
    assert refs.reflog(name) == []
    assert refs.annotation(name) is None


def test_longest_names(db: Database, refs: Refs) -> None:
    branch = "/".join(["b" * 63] * 4)
    assert len(branch) == limits.MAX_PATH_NAME_CHARACTERS
    name = f"remotes/{'r' * 64}/{branch}"
    create(db, name, ONE)
    update(db, name, ONE, TWO)
    assert refs.names(REMOTES) == [name]
    assert len(refs.reflog(name)) == 2


@pytest.mark.parametrize("expected", [None, TWO])
def test_update_and_delete_compare(expected: Digest | None, db: Database, refs: Refs) -> None:
    create(db, "heads/master", ONE)
    before = everything(db)
    with pytest.raises(StaleRefError, match=r"branch 'master' moved .* to 0101.*hangar log master"):
        update(db, "heads/master", expected, THREE)
    with pytest.raises(StaleRefError, match="branch 'master' moved"):
        delete(db, "heads/master", expected)
    assert everything(db) == before


def test_update_and_delete_of_what_is_gone(db: Database) -> None:
    for expected in (None, ONE):
        with pytest.raises(StaleRefError, match="tag 'v1' is gone"):
            update(db, "tags/v1", expected, TWO)
        with pytest.raises(StaleRefError, match="is gone"):
            delete(db, "tags/v1", expected)
    assert everything(db) == []


def test_reflog(db: Database, refs: Refs) -> None:
    before = time.time_ns()
    create(db, "heads/a")
    update(db, "heads/a", None, ONE, "first\nmore")
    update(db, "heads/a", ONE, TWO, "x" * 1_000)
    delete(db, "heads/a", TWO)
    create(db, "heads/a", ONE)
    create(db, "heads/a.b", THREE)
    log = refs.reflog("heads/a")
    assert [(entry.old, entry.new, entry.operation) for entry in log] == [
        (None, ONE, "create"),
        (TWO, None, "delete"),
        (ONE, TWO, "commit"),
        (None, ONE, "commit"),
        (None, None, "create"),
    ]
    assert log[3].message == "first"
    assert log[2].message == "x" * MESSAGE_CHARACTERS
    assert {(entry.name, entry.email) for entry in log} == {WHO}
    assert before <= log[-1].time_ns <= log[0].time_ns <= time.time_ns()
    assert log[0].tz == time.localtime().tm_gmtoff // 60
    assert refs.reflog("heads/a", limit=2) == log[:2]
    assert refs.reflog("heads/a", limit=0) == []
    assert refs.reflog("heads/a", limit=99) == log
    assert refs.reflog("heads") == []


def test_reflog_entries_keep_their_order_beyond_a_byte(db: Database, refs: Refs) -> None:
    def work(transaction: WriteTransaction) -> None:
        refs.create(transaction, "heads/a", ONE, who=WHO, operation="0")
        for number in range(1, 300):
            refs.update(transaction, "heads/a", ONE, ONE, who=WHO, operation=str(number))

    db.update(work)
    assert [int(entry.operation) for entry in refs.reflog("heads/a")] == list(range(299, -1, -1))
    assert [int(entry.operation) for entry in refs.reflog("heads/a", limit=3)] == [299, 298, 297]


def test_annotation(db: Database, refs: Refs) -> None:
    create(db, "tags/v1", ONE, annotation="the first\nrelease")
    create(db, "tags/light", ONE)
    note = refs.annotation("tags/v1")
    assert note is not None
    assert (note.message, note.name, note.email) == ("the first\nrelease", *WHO)
    assert refs.annotation("tags/light") is None
    assert refs.get("tags/v1") == ONE


def test_text_that_cannot_be_encoded(db: Database) -> None:
    with pytest.raises(InvalidInputError, match="UTF-8"):
        create(db, "heads/a", ONE, message="\ud800")
    assert everything(db) == []


def test_describe() -> None:
    names = ("heads/master", "tags/v1", "remotes/origin/master", "odd")
    assert [describe(name) for name in names] == [
        "branch 'master'",
        "tag 'v1'",
        "remote-tracking branch 'origin/master'",
        "ref 'odd'",
    ]


GOOD_ROWS = {
    b"HEAD": ["master", "master"],
    b"heads/a": [ONE],
    b"tags/v1": [ONE, ["note", "Ann", "a@b", 1, 0]],
}


def read_all(refs: Refs) -> None:
    refs.head()
    refs.items("")
    refs.get("heads/a")
    refs.annotation("tags/v1")
    refs.reflog("heads/a")
    refs.reflog("heads/a", limit=1)


def test_rows_are_what_the_specification_says(db: Database, refs: Refs) -> None:
    db.update(lambda t: t.put_many(REFS, [(key, msgspec.msgpack.encode(row)) for key, row in GOOD_ROWS.items()]))
    entry = [None, ONE, "Ann", "a@b", 1, -90, "commit", "first"]
    db.update(lambda t: t.put(REFLOG, b"heads/a\0" + bytes(8), msgspec.msgpack.encode(entry)))
    read_all(refs)
    assert refs.get("tags/v1") == ONE
    assert refs.reflog("heads/a")[0].tz == -90


@pytest.mark.parametrize(
    ("key", "row"),
    [
        (b"HEAD", ["master"]),
        (b"HEAD", ["master", "master", "more"]),
        (b"HEAD", [1, 2]),
        (b"heads/a", []),
        (b"heads/a", [b"short"]),
        (b"heads/a", [bytes(33)]),
        (b"heads/a", ["text"]),
        (b"heads/a", [ONE, None, 1]),
        (b"heads/a", 7),
        (b"tags/v1", [ONE, ["note"]]),
        (b"heads/\xff", [ONE]),
    ],
)
def test_rows_that_cannot_be_right(key: bytes, row: object, db: Database, refs: Refs) -> None:
    rows = {**GOOD_ROWS, key: row}
    db.update(lambda t: t.put_many(REFS, [(k, msgspec.msgpack.encode(v)) for k, v in rows.items()]))
    with pytest.raises(CorruptionError):
        read_all(refs)


@pytest.mark.parametrize("key", [b"heads/a\0" + bytes(7), b"heads/a\0" + bytes(9)])
def test_reflog_keys_that_cannot_be_right(key: bytes, db: Database, refs: Refs) -> None:
    db.update(lambda t: t.put(REFLOG, key, b""))
    with pytest.raises(CorruptionError):
        refs.reflog("heads/a", limit=1)
    with pytest.raises(CorruptionError):
        create(db, "heads/a", ONE)


@pytest.fixture(scope="module")
def garbage_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database.create(tmp_path_factory.mktemp("garbage"))
    yield database
    database.close()


@given(data=st.binary(max_size=80), key=st.sampled_from([b"HEAD", b"heads/a", b"tags/v1"]))
def test_garbage_rows(data: bytes, key: bytes, garbage_db: Database) -> None:
    rows = {k: msgspec.msgpack.encode(v) for k, v in GOOD_ROWS.items()}

    def work(transaction: WriteTransaction) -> None:
        transaction.put_many(REFS, list({**rows, key: data}.items()))
        transaction.put(REFLOG, b"heads/a\0" + bytes(8), data)

    garbage_db.update(work)
    refs = Refs(garbage_db)
    for read in (refs.head, lambda: refs.items(""), lambda: refs.reflog("heads/a")):
        with contextlib.suppress(CorruptionError):
            read()


def test_a_lost_branch_is_not_a_branch_that_never_was(db: Database, refs: Refs) -> None:
    create(db, "heads/a", ONE)
    create(db, "heads/b", ONE)

    def lose(transaction: WriteTransaction) -> None:
        transaction.delete(REFS, b"heads/a")
        transaction.delete(REFLOG, b"heads/b\0" + bytes(8))
        transaction._before.clear()  # as damage would: the count of rows stays what it was

    db.update(lose)
    for read in (
        lambda: refs.get("heads/a"),
        lambda: refs.names(BRANCHES),
        lambda: refs.exists("heads/a"),
        lambda: refs.reflog("heads/b"),
    ):
        with pytest.raises(CorruptionError, match=r"has \d+ rows? and"):
            read()


def test_a_failing_transaction_moves_nothing(db: Database, refs: Refs) -> None:
    create(db, "heads/a", ONE)
    before = everything(db)

    def work(transaction: WriteTransaction) -> None:
        refs.update(transaction, "heads/a", ONE, TWO, who=WHO, operation="commit")
        raise HangarError("no")

    with pytest.raises(HangarError, match="no"):
        db.update(work)
    assert everything(db) == before


def test_a_branch_and_a_remote_tracking_branch_never_share_a_name(db: Database, refs: Refs) -> None:
    create(db, "remotes/origin/a", ONE)
    create(db, "heads/feature/a", ONE)
    create(db, "heads/origin", ONE)  # not a path below the remote
    create(db, "tags/origin/a", ONE)
    for name, what in (("heads/origin/b", "would look like a branch of the remote 'origin'"), ("remotes/feature/x", "begin with 'feature/'")):  # fmt: skip
        with pytest.raises(NameTakenError, match=what):
            create(db, name, ONE)
        assert not refs.exists(name)
    assert refs.reflog("heads/origin/b") == []


@pytest.mark.parametrize("name", ["..", ".a", "-a", "a.lock", "a."])
def test_a_ref_that_could_not_be_made_today_is_read_moved_and_deleted(name: str, db: Database, refs: Refs) -> None:
    """An older version allowed such names."""
    ref = BRANCHES + name
    db.update(lambda t: t.put(REFS, name_key(ref), encode(RefRow(ONE))))
    assert refs.get(ref) == ONE
    assert refs.names(BRANCHES) == [ref]
    update(db, ref, ONE, TWO)
    delete(db, ref, TWO)
    assert not refs.exists(ref)
    assert [entry.new for entry in refs.reflog(ref)] == [None, TWO]
