"""A database that is missing, cut short, torn or rotten."""

from __future__ import annotations

import os
import random
from pathlib import Path

import lmdb
import pytest

from hangar.db import Database
from hangar.db.tables import NODES, REFS
from hangar.errors import (
    CorruptionError,
    StorageError,
    UnsupportedVersionError,
)
from tests.db.rows import number
from tests.processes import in_child

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
