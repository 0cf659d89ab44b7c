"""A database that is missing, cut short, torn or rotten."""

from __future__ import annotations

import faulthandler
import os
import random
from pathlib import Path

import lmdb
import pytest

from hangar.db import Database
from hangar.db.pages import TREE, PageFile, Tree, read_nodes
from hangar.db.tables import NODES, REFS
from hangar.errors import (
    CorruptionError,
    StorageError,
    UnsupportedVersionError,
)
from tests.db.rows import number, value
from tests.processes import child

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
    with pytest.raises(CorruptionError, match="truncated"):
        Database.open(directory)


def test_a_large_value_cut_short_is_corruption(directory: Path) -> None:
    """Its pages are the last ones, and nothing but the list of free pages says that they are needed."""
    db = Database.open(directory)
    for turn in range(3):
        db.update(lambda t, turn=turn: t.put(REFS, b"turn", number(turn)))  # type: ignore[misc]
    db.update(lambda t: t.put(NODES, b"a", bytes(60_000)))
    db.close()
    data = directory / "db" / "data.mdb"
    os.truncate(data, data.stat().st_size - 4096)
    with pytest.raises(CorruptionError, match="truncated: it has"):
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


@pytest.mark.parametrize("flips", [60, pytest.param(3_000, marks=pytest.mark.nightly)])
def test_flips_anywhere_in_the_file_give_the_truth_or_an_error_of_the_tree(directory: Path, flips: int) -> None:
    rows = {number(i): random.Random(i).randbytes(80) for i in range(400)}
    db = Database.open(directory)
    db.update(lambda t: t.put_many(REFS, list(rows.items())))
    db.close()
    data = directory / "db" / "data.mdb"
    sound = data.read_bytes()
    generator = random.Random(1)
    found = died = 0
    for _ in range(flips):
        content = bytearray(sound)
        place = generator.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
        data.write_bytes(content)
        (directory / "db" / "lock.mdb").unlink(missing_ok=True)
        with child(lambda _: _read_all(directory, rows)) as process:
            try:
                found += process.result()
            except AssertionError:
                if not process.status or not os.WIFSIGNALED(process.status):
                    raise
                died += 1
    assert found  # some flips hit what matters
    # LMDB follows an offset inside a page without a look at its bounds: one that leads beyond the end of the file, from one of
    # its last 16 pages, ends the process (SIGBUS), as do its own assertions. No wrong data comes of it.
    assert died <= flips * 0.005


def _read_all(directory: Path, rows: dict[bytes, bytes]) -> bool:
    """Whether damage was found; anything but the truth or ``CorruptionError`` fails."""
    faulthandler.disable()
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


@pytest.mark.parametrize("bit", [0, 2, 3, 5, 20, 63])
@pytest.mark.parametrize("page", [0, 1])
def test_the_state_before_the_last_commit_does_not_pass_for_the_last(directory: Path, page: int, bit: int) -> None:
    """A flipped bit in the number of a commit, of which LMDB takes the highest."""
    db = Database.open(directory)
    for turn in range(1, 4):
        db.update(lambda t, turn=turn: t.put(REFS, b"turn", number(turn)))  # type: ignore[misc]
    db.close()
    assert value(directory, b"turn") == number(3)
    data = directory / "db" / "data.mdb"
    content = bytearray(data.read_bytes())
    content[page * 4096 + 144 + bit // 8] ^= 1 << bit % 8
    data.write_bytes(content)
    with pytest.raises(CorruptionError, match="first pages"):
        Database.open(directory)


def test_a_rotten_size_of_the_map_keeps_nobody_out(directory: Path) -> None:
    db = Database.open(directory)
    db.update(lambda t: t.put(REFS, b"a", b"1"))
    db.close()
    data = directory / "db" / "data.mdb"
    content = bytearray(data.read_bytes())
    for page in range(2):
        content[page * 4096 + 38] ^= 2
    data.write_bytes(content)
    assert value(directory, b"a") == b"1"


def test_the_last_row_is_not_sought_on_the_wrong_page(directory: Path) -> None:
    """A damaged separator sends the search for the end of a prefix to another page."""
    rows = {b"%c%d" % (letter, i): bytes(60) for letter in b"abcdefghijklmnop" for i in range(20)}
    db = Database.open(directory)
    db.update(lambda t: t.put_many(REFS, list(rows.items())))
    db.close()
    data = directory / "db" / "data.mdb"
    sound = data.read_bytes()
    with PageFile(data) as file:
        metas = file.metas()
        assert metas is not None
        root = max(metas, key=lambda meta: meta.number).main.root
        main = file.read(root, 4096)
        tables = {row.key: Tree(*TREE.unpack(row.data)) for row in read_nodes(main, root, leaf=True)}
        branch = tables[b"refs"].root
        separators = [row.key for row in read_nodes(file.read(branch, 4096), branch, leaf=False)][1:]
    found = 0
    for separator in separators:
        content = bytearray(sound)
        place = content.index(separator, branch * 4096)
        for bit in range(5):
            content[place] = separator[0] ^ 1 << bit
            data.write_bytes(content)
            db = Database.open(directory)
            with db.read() as transaction:
                for letter in b"abcdefghijklmnop":
                    prefix = bytes([letter])
                    last = max(key for key in rows if key.startswith(prefix))
                    try:
                        assert transaction.last(REFS, prefix) == (last, rows[last])
                    except CorruptionError:
                        found += 1
            db.close()
    assert found > 10
