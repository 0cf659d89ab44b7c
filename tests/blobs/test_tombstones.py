"""Tombstones: what a purged blob reads as, that its bytes are not stored again, and that lost rows do not go unnoticed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from hangar.blobs.tombstones import (
    FOREIGN,
    Tombstone,
    find_tombstones,
    lift_tombstones,
    put_tombstones,
    scan_tombstones,
)
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import LOCATIONS, TOMBSTONES
from hangar.digest import digest_array
from hangar.errors import CorruptionError, InvalidInputError, PurgedError
from tests.blobs.maker import IMAGE, RAW, Bench, Blob, texts

STONE = Tombstone("Ada", "ada@example.org", 1_800_000_000 * 10**9, 60, "consent withdrawn", [["images", "cat"]])


def bury(bench: Bench, blobs: Iterable[Blob], stone: Tombstone = STONE) -> None:
    """Take the locations of published blobs, and put tombstones."""

    def record(transaction: WriteTransaction) -> None:
        put_tombstones(transaction, {blob.digest: stone for blob in blobs})
        for blob in blobs:
            transaction.delete(LOCATIONS, blob.digest)

    bench.db.update(record)
    bench.store.refresh()


@pytest.fixture
def blobs(bench: Bench) -> list[Blob]:
    made = texts(20)
    bench.add(made)
    bench.publish()
    return made


def test_reads_of_purged_blobs_say_so_and_others_are_read(bench: Bench, blobs: list[Blob]) -> None:
    bury(bench, blobs[3:5])
    with pytest.raises(
        PurgedError,
        match=r"sample 'cat' of column 'images': .* purged by Ada <ada@example.org> on 2027-01-15 09:00:00 \+0100: consent wi",
    ):
        bench.store.read_one(blobs[3].digest)
    with pytest.raises(PurgedError, match="'cat' of column 'images', sample 'cat'"):
        bench.store.read_list([blob.digest for blob in blobs])
    rest = blobs[:3] + blobs[5:]
    assert [data for _, data in bench.store.read_list([blob.digest for blob in rest])] == [blob.data for blob in rest]


def test_rows_of_one_header(bench: Bench) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (10, 784), np.uint8)
    made = [Blob(IMAGE, row.tobytes()) for row in rows]
    bench.writer.add_rows("10", IMAGE, rows, digest_array([blob.digest for blob in made]))
    bench.publish()
    bury(bench, made[:1])
    with pytest.raises(PurgedError, match="'cat'"):
        bench.store.read_rows(digest_array([blob.digest for blob in made]), IMAGE, 784)
    assert np.array_equal(bench.store.read_rows(digest_array([blob.digest for blob in made[1:]]), IMAGE, 784), rows[1:])


def test_a_lost_blob_beside_a_purged_one_is_damage(bench: Bench, blobs: list[Blob]) -> None:
    bury(bench, blobs[3:4])
    bench.db.update(lambda transaction: transaction.delete(LOCATIONS, blobs[4].digest))
    bench.store.refresh()
    with pytest.raises(CorruptionError, match=blobs[4].digest.hex()):
        bench.store.read_list([blob.digest for blob in blobs])


def test_a_tombstone_that_nobody_accepted_has_no_effect(bench: Bench, blobs: list[Blob]) -> None:
    foreign = Tombstone("Eve", "", 0, 0, "", [], FOREIGN)
    bury(bench, blobs[:1], foreign)
    with pytest.raises(CorruptionError, match="no remote is known"):
        bench.store.read_one(blobs[0].digest)
    bench.add(blobs[:1])
    bench.publish()
    assert bench.store.read_one(blobs[0].digest)[1] == blobs[0].data


@pytest.mark.parametrize("way", ["batch", "single", "large"])
def test_purged_bytes_are_not_stored_again_until_the_tombstone_is_lifted(bench: Bench, way: str) -> None:
    blob = Blob(RAW, b"A" * (2**21 if way == "large" else 100))
    bench.add([blob])
    bench.publish()
    bury(bench, [blob])
    bench = bench.reopen()

    def add() -> None:
        bench.add([blob]) if way == "batch" else bench.add_singly([blob])

    with pytest.raises(PurgedError, match=rf"not stored again.*hangar purge --lift {blob.digest.hex()[:16]}"):
        add()
    assert not len(bench.writer.unpublished)
    bench.writer.rollback()
    bench.add(texts(3, seed=9))
    bench.publish()
    assert bench.db.update(lambda transaction: lift_tombstones(transaction, [blob.digest, b"\0" * 32])) == 1
    bench = bench.reopen()
    with pytest.raises(PurgedError):
        bench.store.read_one(blob.digest)
    add()
    bench.publish()
    assert bench.store.read_one(blob.digest)[1] == blob.data
    bench.close()


def test_a_blob_purged_while_it_was_written_is_not_published(bench: Bench, blobs: list[Blob]) -> None:
    """A writer without the writer lock may have added it before."""
    late = Blob(RAW, b"late" * 40)
    bench.add([late])
    bench.writer.prepare()
    bench.db.update(lambda transaction: put_tombstones(transaction, {late.digest: STONE}))
    with pytest.raises(PurgedError):
        bench.db.update(bench.writer.record)
    bench.writer.rollback()
    assert bench.store.locator.locate_one(late.digest) is None


def test_tombstones_are_not_looked_up_where_there_are_none(
    bench: Bench, blobs: list[Blob], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("absence.find_tombstones", "writer.refuse_purged"):
        monkeypatch.setattr(f"hangar.blobs.{place}", lambda *_: pytest.fail("looked up"))
    bench.store.read_list([blob.digest for blob in blobs])
    bench.add(texts(50, seed=2))
    bench.add_singly(texts(5, seed=3))
    bench.publish()


def test_lost_tombstones_are_noticed(bench: Bench, blobs: list[Blob], monkeypatch: pytest.MonkeyPatch) -> None:
    bury(bench, blobs[:1])
    lost = ReadTransaction.count
    monkeypatch.setattr(ReadTransaction, "count", lambda self, table: 0 if table is TOMBSTONES else lost(self, table))
    with pytest.raises(CorruptionError, match="tombstones"):
        bench.store.read_one(blobs[0].digest)


def test_rows(bench: Bench) -> None:
    named = Tombstone("Ada", "", 5, -90, "", [["a", 1], ["b", "x", 2]])
    bench.db.update(lambda transaction: put_tombstones(transaction, {b"\2" * 32: named, b"\1" * 32: STONE}))
    with bench.db.read() as transaction:
        assert list(scan_tombstones(transaction)) == [(b"\1" * 32, STONE), (b"\2" * 32, named)]
        assert find_tombstones(transaction, [b"\2" * 32] * 2 + [b"\3" * 32]) == {b"\2" * 32: named}
        assert find_tombstones(transaction, [b"\1" * 32]) == {b"\1" * 32: STONE}
    assert str(named) == "purged by Ada on 1969-12-31 22:30:00 -0130"
    bad = Tombstone("\ud800", "", 0, 0, "", [])
    with pytest.raises(InvalidInputError):
        bench.db.update(lambda transaction: put_tombstones(transaction, {b"\1" * 32: bad}))
    bench.db.update(lambda transaction: transaction.put(TOMBSTONES, b"\4" * 32, b"\x90"))
    with bench.db.read() as transaction, pytest.raises(CorruptionError, match="0404"):
        find_tombstones(transaction, [b"\4" * 32])
