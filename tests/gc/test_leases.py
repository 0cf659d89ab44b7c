"""A lease keeps commits and blobs while its process lives, and not longer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from hangar import CorruptionError, Repository, _fs
from hangar.blobs import BlobWriter, OwnFiles
from hangar.blobs.catalog import first_free_id
from hangar.db.tables import LEASES
from hangar.digest import NDARRAY, Digest, Header, blob_digests
from hangar.gc.trim import trim_leases
from hangar.history.leases import LEASE_DIRECTORY, Lease, dead_leases, live_leases
from hangar.publishing import publish
from hangar.stores import Stores
from tests.gc.content import branch_with, contents, filled, require_sound
from tests.processes import child

IMAGE = Header(NDARRAY, 6, (100,))


@pytest.fixture
def stores(repo: Repository) -> Stores:
    return filled(repo)._open()


def leases_of(stores: Stores) -> list[Path]:
    return list((stores.directory / LEASE_DIRECTORY).glob("*"))


def test_it_lives_as_long_as_its_block(stores: Stores) -> None:
    commit = Digest(bytes(32))
    with Lease(stores.db, [commit], 7), stores.db.read() as transaction:
        (lease,) = live_leases(stores.db, transaction)
        assert (lease.commits, lease.first_file) == ((commit,), 7)
        assert dead_leases(stores.db, transaction) == []
        assert len(leases_of(stores)) == 1
    with stores.db.read() as transaction:
        assert transaction.count(LEASES) == 0
    assert leases_of(stores) == []


def test_that_of_a_dead_process_counts_no_more(repo: Repository, stores: Stores) -> None:
    commit = branch_with(repo, "side", 1)
    repo.remove_branch("side", force_delete=True)
    directory = stores.directory

    def hold(talk: object) -> None:
        other = Stores(directory)
        Lease(other.db, [Digest(bytes.fromhex(commit))]).__enter__()
        talk.send("held")  # type: ignore[attr-defined]
        talk.recv()  # type: ignore[attr-defined]

    with child(hold) as process:
        assert process.receive() == "held"
        report = repo.gc(expire_reflog="all")
        assert report.commits.removed == 0
        assert next(iter(report.kept.values())) == "it holds a lease"
        assert contents(repo.checkout(commit=commit))
        process.kill()
        process.wait()
    assert len(leases_of(stores)) == 1
    report = repo.gc()
    assert report.commits.removed == 1
    assert leases_of(stores) == []
    with stores.db.read() as transaction:
        assert transaction.count(LEASES) == 0
    require_sound(repo)


def test_a_child_does_not_end_the_lease_of_its_parent(stores: Stores) -> None:
    with Lease(stores.db) as lease:
        with child(lambda talk: lease.__exit__(None, None, None)) as process:
            process.result()
        with stores.db.read() as transaction:
            assert len(live_leases(stores.db, transaction)) == 1


def test_blobs_of_a_fetch_are_kept_until_it_publishes_its_ref(repo: Repository, stores: Stores) -> None:
    with stores.db.read() as transaction:
        first = first_free_id(transaction)
    rows = np.random.default_rng(5).integers(0, 256, (500, 100), np.uint8)
    digests = blob_digests(IMAGE, rows)
    branch_with(repo, "side", 1)
    repo.remove_branch("side", force_delete=True)
    with Lease(stores.db, first_file=first):
        fetching = BlobWriter(stores.blobs, OwnFiles())
        fetching.add_rows("10", IMAGE, rows, digests)
        publish(stores.db, OwnFiles(), fetching)
        fetching.close()
        stores.blobs.close()
        report = repo.gc(expire_reflog="all")
        assert report.blobs.removed
        assert "a process is writing without the writer lock" in report.kept.values()
        assert np.array_equal(stores.blobs.read_rows(digests, IMAGE, 100), rows)
        stores.blobs.close()
    assert repo.gc().blobs.removed == 500
    assert len(stores.blobs.locate(digests).missing) == 500
    require_sound(repo)


def test_a_damaged_row_stops_garbage_collection(repo: Repository, stores: Stores) -> None:
    for row in (b"nonsense", msgspec.msgpack.encode([[b"short"], 1, 2, "host", 3])):
        stores.db.update(lambda transaction, row=row: transaction.put(LEASES, bytes(16), row))  # type: ignore[misc]
        with pytest.raises(CorruptionError, match="leases"):
            repo.gc()


def test_gc_that_removes_the_file_before_it_is_locked_does_no_harm(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, removed = _fs.try_lock, 0

    def try_lock(descriptor: int, *, shared: bool) -> bool:
        nonlocal removed
        if shared and not removed:
            removed = trim_leases(stores)
        return original(descriptor, shared=shared)

    monkeypatch.setattr(_fs, "try_lock", try_lock)
    with Lease(stores.db), stores.db.read() as transaction:
        assert removed == 1
        assert len(live_leases(stores.db, transaction)) == 1
        assert dead_leases(stores.db, transaction) == []
    assert leases_of(stores) == []
