"""The pages of LMDB's data file: what LMDB writes is sound, and what is flipped in their structure is found."""

from __future__ import annotations

import os
import random
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hangar.db import Database, WriteTransaction
from hangar.db.compaction import compact
from hangar.db.pages import HEAD, IS_LARGE, NO_PAGE, PAGE, TREE, PageFile, Row, Tree, read_nodes
from hangar.db.structure import check_pages, check_roots
from hangar.db.tables import LOCATIONS, NODES, REFS, STAGING
from hangar.errors import CorruptionError
from tests.db.rows import value
from tests.processes import child

PAGE_BYTES = 4096


def change(source: random.Random, transaction: WriteTransaction) -> None:
    """Rows of all sizes, written, written over and deleted."""
    table = source.choice((NODES, REFS, STAGING, LOCATIONS))
    size = source.choice((0, 5, 60, 700, 2_100, 9_000, 60_000))
    keys = [
        source.randbytes(source.choice((1, 2, 3, 32, 511)))
        for _ in range(source.choice((1, 40, 400)) if size < 700 else 3)
    ]
    transaction.put_many(table, [(key, source.randbytes(source.randrange(size + 1))) for key in keys])
    if source.random() < 0.5:
        for key in keys[::2]:
            transaction.delete(table, key)
    if source.random() < 0.1:
        transaction.delete_prefix(table, b"")
    if source.random() < 0.2:
        transaction.delete_prefix(table, bytes([source.randrange(256)]))


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(3, 60))])
def test_what_is_written_is_sound(directory: Path, seed: int) -> None:
    """No false alarm, whatever was written, also while an old state is held."""
    source = random.Random(seed)
    data = directory / "db" / "data.mdb"
    for _ in range(4):
        db = Database.open(directory)
        for turn in range(25):
            db.update(lambda t: change(source, t))
            assert db.page_problems() == [], turn
            check_roots(data)
        db.close()
    assert compact(directory)
    assert check_pages(data) == []


def test_a_writer_beside_is_no_damage(directory: Path) -> None:
    def write(talk: Connection) -> int:
        db, source, commits = Database.open(directory), random.Random(0), 0
        talk.send("writing")
        while not talk.poll(0):
            db.update(lambda t: change(source, t))
            commits += 1
        return commits

    with child(write) as writer:
        writer.receive()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            # Opened each time: with the roots.
            db = Database.open(directory)
            assert db.page_problems() == []
            db.close()
        writer.send("stop")
        assert writer.result() > 10


def rows(source: random.Random) -> list[tuple[bytes, bytes]]:
    return [(source.randbytes(9), b"-row-" + source.randbytes(55)) for _ in range(300)]


def filled(directory: Path) -> bytes:
    """A database whose tables have one page, several, large values and free pages; its bytes."""
    source = random.Random(4)
    db = Database.open(directory)
    large = [(source.randbytes(32), source.randbytes(3_000)) for _ in range(150)]
    db.update(lambda t: t.put_many(NODES, large))
    for table in (REFS, STAGING):
        db.update(lambda t, table=table: t.put_many(table, rows(source)))  # type: ignore[misc]
    for _ in range(3):
        db.update(lambda t: t.put(REFS, b"a", source.randbytes(8)))
    db.close()
    return (directory / "db" / "data.mdb").read_bytes()


def structure_of(data: Path) -> set[tuple[int, int]]:
    """Bits (place, bit) of the file that lead to rows: heads, offsets and nodes of pages, tables, lists of free pages."""
    bits: set[tuple[int, int]] = set()

    def add(start: int, size: int) -> None:
        bits.update((place, bit) for place in range(start, start + size) for bit in range(8))

    def follow(page: int, depth: int, with_data: bool) -> list[Row]:
        at, content, rows = page * PAGE_BYTES, file.read(page, PAGE_BYTES), []
        lower = HEAD.unpack_from(content)[3]
        add(at, 8)
        add(at + 10, lower - 10)
        offsets = [int.from_bytes(content[place : place + 2], sys.byteorder) for place in range(HEAD.size, lower, 2)]
        for offset, row in zip(offsets, read_nodes(content, page, leaf=depth == 1), strict=True):
            add(at + offset, 8)
            place = at + offset + 8 + len(row.key)
            if depth > 1:
                # Of a separator, what moves it beyond some row: the first is not looked at.
                if offset != offsets[0]:
                    bits.update((place - len(row.key), bit) for bit in (6, 7))
                rows += follow(PAGE.unpack(row.data)[0], depth - 1, with_data)
            elif row.flags & IS_LARGE:
                first = PAGE.unpack(row.data)[0] * PAGE_BYTES
                # Within its last page: as below.
                bits.difference_update((at + offset + low // 8, low % 8) for low in range(12))
                for start, size in ((place, 8), (first, 8), (first + 10, 6)):
                    add(start, size)
            else:
                if with_data:
                    add(place, row.size)
                # One more or less, where there is room: the row says so, by its checksum or digest.
                bits.discard((at + offset, 0))
            rows.append(row)
        return rows

    with PageFile(data) as file:
        metas = file.metas()
        assert metas is not None
        meta = max(metas, key=lambda meta: meta.number)
        newest = meta.number % 2 * PAGE_BYTES
        for start, size in ((newest + 40, 6), (newest + 46, 90), (newest + 136, 16), (PAGE_BYTES + 40, 4), (40, 4)):
            add(start, size)
        for row in follow(meta.free.root, meta.free.depth, True):
            # A smaller number of free pages is a loss of room, and of nothing else.
            count = row.data[0]
            start = data.read_bytes().index(row.key + row.data) + 8
            bits -= {(start, bit) for bit in range(8) if count >> bit & 1}
        for row in follow(meta.main.root, meta.main.depth, True):
            tree = Tree(*TREE.unpack(row.data))
            if tree.root != NO_PAGE:
                follow(tree.root, tree.depth, False)
    return bits


@pytest.mark.parametrize("flips", [400, pytest.param(8_000, marks=pytest.mark.nightly)])
def test_every_flip_that_leads_lmdb_astray_is_found(directory: Path, flips: int) -> None:
    sound = filled(directory)
    data = directory / "db" / "data.mdb"
    bits = sorted(structure_of(data))
    assert len(bits) > 50_000
    descriptor = os.open(data, os.O_RDWR)
    missed = []
    for place, bit in random.Random(7).sample(bits, flips):
        os.pwrite(descriptor, bytes([sound[place] ^ 1 << bit]), place)
        if not found(data):
            missed.append((place // PAGE_BYTES, place % PAGE_BYTES, bit))
        os.pwrite(descriptor, sound[place : place + 1], place)
    os.close(descriptor)
    assert missed == []


def found(data: Path) -> bool:
    try:
        check_roots(data)
    except CorruptionError:
        return True
    return check_pages(data) != []


def test_a_table_whose_root_is_a_free_page_is_refused_when_opening(directory: Path) -> None:
    """An older page of a table is whole and sound, and its rows are not those of the last commit."""
    db = Database.open(directory)
    roots = set()
    for turn in range(6):
        db.update(lambda t, turn=turn: t.put(REFS, b"turn", bytes([turn])))  # type: ignore[misc]
        row = table_of(directory)[1]
        roots.add(row.data[-8:])
    db.close()
    data = directory / "db" / "data.mdb"
    content = data.read_bytes()
    place, row = table_of(directory)
    roots -= {row.data[-8:]}
    assert roots
    for root in roots:
        data.write_bytes(content[: place + 40] + root + content[place + 48 :])
        with pytest.raises(CorruptionError, match="free"):
            Database.open(directory)
    data.write_bytes(content)
    assert value(directory, b"turn") == bytes([5])


def table_of(directory: Path) -> tuple[int, Row]:
    """The row of the table of refs, and where its data is."""
    data = directory / "db" / "data.mdb"
    with PageFile(data) as file:
        metas = file.metas()
        assert metas is not None
        page = max(metas, key=lambda meta: meta.number).main.root
        content = file.read(page, PAGE_BYTES)
        (row,) = [row for row in read_nodes(content, page, leaf=True) if row.key == b"refs"]
    return page * PAGE_BYTES + content.index(row.key + row.data) + len(row.key), row


def test_a_commit_that_gives_back_its_last_pages_leaves_a_sound_database(directory: Path) -> None:
    """LMDB does not write pages that were taken and given back, so the file may be shorter than it says."""
    db = Database.open(directory)
    for turn in range(3):
        db.update(lambda t, turn=turn: t.put(REFS, b"turn", bytes([turn])))  # type: ignore[misc]

    def give_back(transaction: WriteTransaction) -> None:
        transaction.put(NODES, b"large", bytes(60_000))
        transaction.delete(NODES, b"large")

    db.update(give_back)
    db.close()
    data = directory / "db" / "data.mdb"
    with PageFile(data) as file:
        metas = file.metas()
        assert metas is not None
        assert file.pages() <= max(meta.last_page for meta in metas), "this test shows nothing"
    db = Database.open(directory)
    assert db.page_problems() == []
    db.update(lambda t: t.put_many(NODES, [(bytes([key]), bytes(9_000)) for key in range(100)]))
    db.close()
    assert value(directory, b"none") is None


def test_a_damaged_database_is_not_compacted(directory: Path) -> None:
    content = bytearray(filled(directory))
    data = directory / "db" / "data.mdb"
    place = content.index(b"-row-")  # on a page of rows, of which the head is damaged
    content[place // PAGE_BYTES * PAGE_BYTES + 16] ^= 2
    data.write_bytes(content)
    with pytest.raises(CorruptionError, match="not compacted"):
        compact(directory)
    assert data.read_bytes() == content
