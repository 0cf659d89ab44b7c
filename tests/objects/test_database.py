"""Trees and commits in a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.format import write_format
from hangar.db.tables import NODES
from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.commit import Commit
from hangar.objects.diff import diff
from hangar.objects.graph import ancestors, generation, record_generation
from hangar.objects.read import get, scan
from hangar.objects.records import load_commit, store_commit
from hangar.objects.store import NodeStore
from tests.objects.memory import FORMS, cell_of, int_key

FORM = FORMS["label"]


def test_trees_are_stored_and_read_by_another_opener(tmp_path: Path) -> None:
    database = Database.create(tmp_path)
    store = NodeStore(database)
    keys, cells = [int_key(i) for i in range(9_000)], [cell_of(FORM, i) for i in range(9_000)]
    first = build(store, FORM, keys, cells)
    assert first is not None
    made = len(store.pending)
    assert database.update(store.flush) == made
    store.written()
    second = apply(store, FORM, first, keys[:1], [b"changed!"])
    assert second is not None
    roots = [second.digest]
    assert database.update(lambda transaction: store.flush(transaction, roots)) == len(store.pending) <= 4
    store.written()
    database.close()

    write_format(tmp_path)
    database = Database.open(tmp_path)
    store = NodeStore(database)
    assert list(scan(store, first.digest)) == list(zip(keys, cells, strict=True))
    assert get(store, second.digest, keys[0]) == b"changed!"
    assert list(diff(store, first.digest, second.digest)) == [(keys[0], cells[0], b"changed!")]
    damaged = store.load(second.digest).child(0)

    def damage(transaction: WriteTransaction) -> None:
        data = transaction.get(NODES, damaged)
        assert data is not None
        transaction.put(NODES, damaged, data[:-1] + bytes((data[-1] ^ 1,)))

    database.update(damage)
    with pytest.raises(CorruptionError, match=damaged.hex()):
        get(NodeStore(database), second.digest, keys[0])
    database.close()


def test_an_update_that_fails_leaves_the_nodes_pending(tmp_path: Path) -> None:
    database = Database.create(tmp_path)
    store = NodeStore(database)
    root = build(store, FORM, [int_key(1)], [b"12345678"])
    assert root is not None

    def fail(transaction: WriteTransaction) -> None:
        store.flush(transaction)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.update(fail)
    with database.read() as transaction:
        assert transaction.get(NODES, root.digest) is None
    assert database.update(store.flush) == 1
    database.close()


def test_commits_and_generations(tmp_path: Path) -> None:
    database = Database.create(tmp_path)
    digests: list[Digest] = []
    for number in range(4):
        commit = Commit(
            parents=list(digests[-1:]),
            columns=[],
            attributes=None,
            author="a",
            email="e",
            time_ns=-number,
            tz=0,
            message=str(number),
            meta={},
        )

        def publish(transaction: WriteTransaction, commit: Commit = commit) -> Digest:
            digest = store_commit(transaction, commit)
            record_generation(transaction, digest, commit.parents)
            return digest

        digests.append(database.update(publish))
    assert [commit.message for _, commit in ancestors(database, digests[-1:])] == ["3", "2", "1", "0"]
    assert load_commit(database, digests[2]).message == "2"

    def generations(transaction: ReadTransaction) -> list[int]:
        return [generation(transaction, digest) for digest in digests]

    with database.read() as transaction:
        assert generations(transaction) == [1, 2, 3, 4]
    database.close()
