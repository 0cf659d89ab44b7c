from __future__ import annotations

import os
import resource
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hangar.db import Database
from hangar.db.compaction import compact
from hangar.db.tables import NODES, REFS
from hangar.errors import AccessError, DiskFullError, RepositoryNotFoundError
from tests.processes import child, in_child


@pytest.fixture
def bloated(directory: Path) -> Path:
    db = Database.open(directory)
    db.update(lambda t: t.put_many(NODES, [(b"%d" % i, os.urandom(3_000)) for i in range(1, 300)]))
    db.update(lambda t: t.put(REFS, b"kept", b"1"))
    db.update(lambda t: t.delete_prefix(NODES, b""))
    db.close()
    return directory


def size(directory: Path) -> int:
    return (directory / "db" / "data.mdb").stat().st_size


def kept(directory: Path) -> bool:
    db = Database.open(directory)
    try:
        with db.read() as transaction:
            transaction.check_count(REFS)
            return transaction.get(REFS, b"kept") == b"1"
    finally:
        db.close()


def test_it_becomes_small_and_keeps_everything(bloated: Path) -> None:
    assert size(bloated) > 900_000
    assert compact(bloated)
    assert size(bloated) < 300_000
    assert kept(bloated)
    assert sorted(path.name for path in (bloated / "db").iterdir()) == ["data.mdb", "lock.mdb"]


def test_what_is_open_here_is_left_alone(bloated: Path) -> None:
    before = size(bloated)
    db = Database.open(bloated)
    assert not compact(bloated)
    assert in_child(lambda: compact(bloated)) is False
    db.close()
    assert size(bloated) == before
    assert compact(bloated)


def test_what_is_open_elsewhere_is_left_alone(bloated: Path) -> None:
    def hold(talk: Connection) -> None:
        db = Database.open(bloated)
        talk.send("open")
        talk.recv()
        db.update(lambda t: t.put(REFS, b"late", b"1"))

    with child(hold) as other:
        other.receive()
        assert not compact(bloated)
        other.send("go on")
        other.result()
    assert compact(bloated)
    assert kept(bloated)


def test_without_room_nothing_changes(bloated: Path) -> None:
    before = (bloated / "db" / "data.mdb").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(DiskFullError):
            compact(bloated)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (bloated / "db" / "data.mdb").read_bytes() == before
    assert sorted(path.name for path in (bloated / "db").iterdir()) == ["data.mdb", "lock.mdb"]


def test_where_nobody_may(bloated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RepositoryNotFoundError):
        compact(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(AccessError):
        compact(bloated)
