"""What fsck sees of records that no digest covers. Damage to blobs, nodes and rows is tested where those live."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hangar import Repository
from hangar.db import WriteTransaction
from hangar.db.tables import COMMITS, FILES, GRAPH, HEADERS, LOCATIONS, META, REFS, TABLES
from hangar.digest import Digest
from hangar.fsck import FsckReport
from hangar.fsck.history import HistoryCheck


@pytest.fixture
def filled(repo: Repository) -> Repository:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (50,), np.uint8)
    writer.add_str_column("t")["a"] = "text"
    column.write(range(2000), np.random.default_rng(0).integers(0, 256, (2000, 50), np.uint8))
    writer.commit("one")
    column[5] = np.zeros(50, np.uint8)
    writer.commit("two")
    column[6] = np.ones(50, np.uint8)
    writer.close()
    return repo


def after(repo: Repository, change: Callable[[WriteTransaction], object]) -> FsckReport:
    repo.checkout().session.stores.db.update(change)
    return Repository(repo.path).fsck()


def test_a_sound_repository(filled: Repository) -> None:
    report = filled.fsck(data=True)
    assert report.sound
    assert (report.commits, report.columns, report.data) == (2, 2, True)
    assert report.blobs >= 2000
    assert report.nodes > 10


def set_end(transaction: WriteTransaction) -> None:
    for key, row in list(transaction.scan(FILES, prefix=b"b")) or list(transaction.scan(FILES)):
        fields = msgspec.msgpack.decode(row)
        if len(fields) == 4:
            transaction.put(FILES, key, msgspec.msgpack.encode([fields[0], 70, *fields[2:]]))


def drop_next_id(transaction: WriteTransaction) -> None:
    for key, _ in list(transaction.scan(META)):
        if b"file" in key and not key.startswith(b"rows"):
            transaction.delete(META, key)


def shift_generation(transaction: WriteTransaction) -> None:
    for key, _ in list(transaction.scan(GRAPH)):
        transaction.put(GRAPH, key, msgspec.msgpack.encode([7, None]))


def drop_headers(transaction: WriteTransaction) -> None:
    transaction.delete_prefix(HEADERS, b"")


def drop_locations(transaction: WriteTransaction) -> None:
    assert transaction.delete_prefix(LOCATIONS, b"")


def drop_a_commit(transaction: WriteTransaction) -> None:
    assert transaction.delete(COMMITS, next(iter(transaction.scan(COMMITS)))[0])


def drop_the_branch(transaction: WriteTransaction) -> None:
    assert transaction.delete(REFS, b"heads/master")


@pytest.mark.parametrize(
    ("damage", "kind", "text"),
    [
        (set_end, "location", "recorded to end at 70"),
        (drop_next_id, "location", "next id"),
        (shift_generation, "graph", "generation"),
        (drop_headers, "location", "header"),
        (drop_locations, "blob", "it has no known location"),
        (drop_a_commit, "commit", "missing"),
        (drop_the_branch, "ref", "does not exist"),
    ],
)
def test_damage_to_records_is_found(
    filled: Repository, damage: Callable[[WriteTransaction], None], kind: str, text: str
) -> None:
    report = after(filled, damage)
    assert any(problem.kind == kind and text in problem.detail for problem in report.problems), report.problems


def test_rows_that_vanish_beside_their_count_are_found(filled: Repository) -> None:
    db = filled.checkout().session.stores.db
    counted = [table for table in TABLES if table.counted]

    def forge(transaction: WriteTransaction) -> None:
        for key, value in list(transaction.scan(META)):
            if key.endswith(tuple(table.name.encode() for table in counted)):
                wrong = int.from_bytes(value, "little") + 1
                transaction.put(META, key, wrong.to_bytes(len(value), "little"))

    db.update(forge)
    report = Repository(filled.path).fsck()
    assert {"table"} <= {problem.kind for problem in report.problems}


def test_a_writer_that_puts_rows_into_a_run_meanwhile_is_no_damage(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (50,), np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (2000, 50), np.uint8)
    column.write(range(10), images[:10])
    writer.commit("few")
    other = Repository(repo.path)
    assert other.fsck().sound
    column.write(range(10, 2000), images[10:])
    writer.commit("many")
    assert other.fsck().sound


def test_a_short_value_that_is_named_by_digest_is_found(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """One content would have two roots."""
    writer = repo.checkout(write=True)
    column = writer.add_str_column("t")
    column["long"] = "long " * 20
    writer.commit("sound")
    assert repo.fsck().sound
    with monkeypatch.context() as patch:
        patch.setattr(column.schema, "inline_bytes", 3)
        column["short"] = "short"
        writer.commit("unsound")
    (problem,) = repo.fsck().problems
    assert (problem.kind, "must be inline in the tree" in problem.detail) == ("node", True)


@pytest.mark.parametrize("turns", [1, 99])
def test_what_is_collected_during_a_check_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """A branch is deleted and collected between the look at the refs and the walk through history; 99 times: always."""
    with Repository(tmp_path, exists=False) as repo:
        repo.init("Ada", "ada@example.org")
        with closing(repo.checkout(write=True)) as writer:
            writer.add_ndarray_column("image", (100,), np.uint8)[0] = np.zeros(100, np.uint8)
            writer.commit("one")
    original, collected = HistoryCheck.history, 0

    def branch() -> None:
        with Repository(tmp_path) as other:
            other.create_branch("gone")
            with closing(other.checkout(write=True, branch="gone")) as writer:
                writer["image"][1] = np.full(100, 1 + collected, np.uint8)
                writer.commit("soon gone")
            other.checkout(write=True, branch="master").close()

    def collect(self: HistoryCheck, head: Digest) -> None:
        nonlocal collected
        if collected < turns:
            collected += 1
            with Repository(tmp_path) as other:
                other.remove_branch("gone", force_delete=True)
                other.gc(expire_reflog="all")
            branch()
        original(self, head)

    branch()
    monkeypatch.setattr(HistoryCheck, "history", collect)
    with Repository(tmp_path) as repo:
        assert repo.fsck(data=True).problems == ()
    assert collected == min(turns, 6)
