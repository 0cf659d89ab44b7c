"""The store of nodes: what is loaded is what its digest says; what is pending is written once, and with its tree."""

from __future__ import annotations

import threading

import msgspec
import pytest

from hangar.db.tables import NODES
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.node import Node
from hangar.objects.read import get, scan
from hangar.objects.walk import walk
from tests.objects.memory import FORMS, MemoryDatabase, cell_of, int_key, memory_store, write_out

FORM = FORMS["digest"]


def small_tree(database: MemoryDatabase, size: int = 2_000) -> Digest:
    store = memory_store(database)
    root = build(store, FORM, [int_key(i) for i in range(size)], [cell_of(FORM, i) for i in range(size)])
    write_out(store)
    assert root is not None
    return root.digest


def test_a_missing_node_is_named() -> None:
    database = MemoryDatabase()
    root = small_tree(database)
    store = memory_store(database)
    child = store.load(root).child(1)
    del database.rows[NODES.name][child]
    with pytest.raises(CorruptionError, match=f"{child.hex()} is missing"):
        list(scan(store, root))
    with pytest.raises(CorruptionError, match=f"{child.hex()} is missing"):
        store.load(child)


def test_wrong_bytes_are_found_and_the_node_is_named() -> None:
    database = MemoryDatabase()
    root = small_tree(database)
    rows = database.rows[NODES.name]
    for digest in list(rows):
        honest = rows[digest]
        for place in (0, 2, 5, len(honest) // 2, len(honest) - 1):
            rows[digest] = honest[:place] + bytes((honest[place] ^ 4,)) + honest[place + 1 :]
            store = memory_store(database)
            with pytest.raises(CorruptionError, match=digest.hex()):
                list(scan(store, root))
        rows[digest] = b""
        with pytest.raises(CorruptionError, match=digest.hex()):
            memory_store(database).load(digest)
        # The bytes of another node are not this node either.
        rows[digest] = next(data for other, data in rows.items() if other != digest)
        with pytest.raises(CorruptionError, match=digest.hex()):
            memory_store(database).load_many([digest])
        rows[digest] = honest
    assert len(list(scan(memory_store(database), root))) == 2_000


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ((0, 0, 0, [b"k"], b"short", b"", [], []), CorruptionError),
        ((0, 0, 4, [b"k"], b"d" * 32, b"", [], []), UnsupportedVersionError),
        ((7,), CorruptionError),
        ((7, 0, 0, [b"k"], b"d" * 32, b"", [], []), UnsupportedVersionError),
    ],
)
def test_a_node_that_cannot_be_is_named(parts: tuple[object, ...], error: type[Exception]) -> None:
    data = msgspec.msgpack.encode(parts)
    digest = record_digest("node", data)
    database = MemoryDatabase()
    database.rows[NODES.name] = {digest: data}
    with pytest.raises(error, match=digest.hex()):
        memory_store(database).load(digest)


def test_pending_nodes_are_read_before_they_are_written() -> None:
    store = memory_store(cache_bytes=0)
    root = build(store, FORM, [int_key(i) for i in range(3_000)], [cell_of(FORM, i) for i in range(3_000)])
    assert root is not None
    assert len(list(scan(store, root.digest))) == 3_000
    assert store.loads == 0
    assert store.pending_bytes == sum(map(len, store.pending.values()))


def test_nodes_are_written_once() -> None:
    database = MemoryDatabase()
    store = memory_store(database)
    keys, cells = [int_key(i) for i in range(3_000)], [cell_of(FORM, i) for i in range(3_000)]
    root = build(store, FORM, keys, cells)
    made = len(store.pending)
    assert write_out(store) == made
    assert not store.pending
    assert store.pending_bytes == 0
    assert build(store, FORM, keys, cells) == root
    assert len(store.pending) == made
    assert write_out(store) == 0


def test_a_flush_can_be_repeated_with_its_transaction() -> None:
    database = MemoryDatabase()
    store = memory_store(database)
    root = build(store, FORM, [int_key(i) for i in range(500)], [cell_of(FORM, i) for i in range(500)])
    assert root is not None
    assert database.update(store.flush) == len(store.pending)
    database.rows.clear()
    assert database.update(store.flush) == len(store.pending)
    store.written()
    assert len(list(scan(memory_store(database), root.digest))) == 500


def test_only_what_lies_below_the_given_roots_is_written() -> None:
    database = MemoryDatabase()
    store = memory_store(database, cache_bytes=0)
    keys = [int_key(i) for i in range(9_000)]
    root = build(store, FORM, keys, [cell_of(FORM, i) for i in range(9_000)])
    for step in range(5):
        root = apply(store, FORM, root, keys[step::900], [cell_of(FORM, step)] * 10)
    assert root is not None
    needed = {digest for digest, _ in walk(store, root.digest)}
    assert len(store.pending) > len(needed)
    database.update(lambda transaction: store.flush(transaction, [root.digest]))
    assert set(database.rows[NODES.name]) == needed
    # An unchanged part that is stored already is not looked through.
    store.written()
    before = store.loads
    after = apply(store, FORM, root, keys[:1], [b"x" * 32])
    assert after is not None
    database.update(lambda transaction: store.flush(transaction, [after.digest]))
    assert len(database.rows[NODES.name]) == len(needed) + 3
    assert store.loads - before <= 6


def test_what_is_discarded_cannot_be_read_any_more() -> None:
    database = MemoryDatabase()
    base = small_tree(database)
    store = memory_store(database)
    root = build(store, FORM, [int_key(7)], [b"x" * 32])
    assert root is not None
    assert get(store, root.digest, int_key(7)) == b"x" * 32
    store.discard()
    assert not store.pending
    with pytest.raises(CorruptionError):
        get(store, root.digest, int_key(7))
    assert get(store, base, int_key(7)) == cell_of(FORM, 7)


def test_the_cache_is_bounded() -> None:
    database = MemoryDatabase()
    root = small_tree(database, 30_000)
    store = memory_store(database, cache_bytes=200_000)
    for _ in range(2):
        assert len(list(scan(store, root))) == 30_000
    nodes = len(database.rows[NODES.name])
    assert store.loads > 1.5 * nodes
    assert len(store.recent) + len(store._older) < 60
    roomy = memory_store(database)
    for _ in range(3):
        list(scan(roomy, root))
    assert roomy.loads == nodes


def test_a_node_that_is_used_again_and_again_stays() -> None:
    database = MemoryDatabase()
    root = small_tree(database, 30_000)
    store = memory_store(database, cache_bytes=200_000)
    for number in range(0, 30_000, 10):
        get(store, root, int_key(number))
    # Each leaf once; and the nodes above them once too, however often the cache turned over meanwhile.
    assert store.loads == len(database.rows[NODES.name])


def test_many_threads_read_one_store() -> None:
    database = MemoryDatabase()
    root = small_tree(database, 20_000)
    store = memory_store(database, cache_bytes=300_000)
    failures: list[object] = []

    def read(offset: int) -> None:
        numbers = range(offset, 20_000, 37)
        failures.extend(number for number in numbers if get(store, root, int_key(number)) != cell_of(FORM, number))

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_node_has_one_digest() -> None:
    store = memory_store()
    node = Node(0, 0, 0, [int_key(1)], b"d" * 32, b"", [], [])
    assert store.add(node) == store.add(node)
    assert len(store.pending) == 1
    assert store.load(store.add(node)).keys == node.keys
