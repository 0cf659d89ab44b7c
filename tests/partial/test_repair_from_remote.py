"""Row 5: what is damaged here and intact at a remote is repaired from there, and is identical afterwards."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hangar import InvalidInputError, RemoteNotFoundError, Repository
from hangar.backends.location import FILE_MASK, FILE_ROW, OFFSET
from hangar.blobs.catalog import blob_file_path
from hangar.db.tables import ATTRIBUTES, COMMITS, NODES, SCHEMAS
from hangar.digest import digest_array

TABLES = (NODES, COMMITS, SCHEMAS, ATTRIBUTES)


def filled(repo: Repository) -> None:
    co = repo.checkout(write=True)
    rows = co.add_ndarray_column("rows", (50,), np.int64, backend="10")
    rows.write(range(3_000), np.arange(150_000).reshape(3_000, 50))
    co.add_ndarray_column("labels", (), np.int64).write(range(3_000), np.arange(3_000))
    texts = co.add_str_column("texts")
    texts.update({f"t{i}": f"{i} is a text that does not fit into a leaf of the tree " * 3 for i in range(300)})
    big = co.add_chunked_column("big", np.float32, (16, 16))
    big["a"] = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    co.columns["rows"].attributes["unit"] = "lux"
    co.commit("one")
    rows[0] = np.zeros(50, np.int64)
    co.commit("two")
    co.close()


def records(repo: Repository) -> dict[str, dict[bytes, bytes]]:
    with repo.stores.db.read() as transaction:
        return {table.name: dict(transaction.scan(table)) for table in TABLES}


def damage_nodes(repo: Repository, rng: random.Random, count: int) -> None:
    """Half of them lose their bytes, half of them get other bytes; among them the root of a column and a commit."""
    db = repo.stores.db
    with db.read() as transaction:
        nodes = sorted(transaction.keys(NODES))
        first = min(transaction.keys(COMMITS))
        schema = next(iter(transaction.keys(SCHEMAS)))
    chosen = rng.sample(nodes, count)

    def write(transaction: object) -> None:
        for at, digest in enumerate(chosen):
            data = transaction.get(NODES, digest)  # type: ignore[attr-defined]
            if at % 2:
                transaction.delete(NODES, digest)  # type: ignore[attr-defined]
            else:
                transaction.put(NODES, digest, bytes(reversed(data)))  # type: ignore[attr-defined]
        transaction.delete(COMMITS, first)  # type: ignore[attr-defined]
        transaction.delete(SCHEMAS, schema)  # type: ignore[attr-defined]

    db.update(write)


def damage_blobs(repo: Repository, rng: random.Random, count: int) -> None:
    """Overwrite bytes of blobs, more than one flipped bit."""
    stores = repo.stores
    with repo.checkout() as co:
        cells = [co["rows"]._cell(key) for key in rng.sample(range(1, 3_000), count - 10)]
        cells += [co["texts"]._schema.digest_of(co["texts"]._cell(f"t{i}")) for i in range(10)]
    words = stores.blobs.locate(digest_array(cells)).words
    with stores.db.read():
        for word in words:
            file_id = int(word[FILE_ROW] & FILE_MASK)
            path = blob_file_path(stores.directory, file_id, stores.blobs.files.tag(file_id))
            with path.open("r+b") as file:
                file.seek(int(word[OFFSET]) + 3)
                file.write(b"\xaa\x55\xaa\x55")


def test_repair_from_a_remote(repo: Repository, tmp_path_factory: pytest.TempPathFactory) -> None:
    filled(repo)
    before = records(repo)
    repo.close()
    there = tmp_path_factory.mktemp("there")
    with Repository(there, exists=False) as other:
        other.clone("Bob", "bob@example.org", repo.path)
        other.remote.fetch_data("origin", "master", retrieve_all_history=True)
        assert other.fsck(data=True).promised == 0
    rng = random.Random(5)
    repo.remote.add("origin", str(there))
    damage_blobs(repo, rng, 100)
    damage_nodes(repo, rng, 20)
    repo.close()
    report = repo.fsck(data=True)
    kinds = {one.kind for one in report.problems}
    assert {"blob", "node", "commit", "schema"} <= kinds
    assert len(report.problems) > 50
    with pytest.raises(InvalidInputError, match="repair=True"):
        repo.fsck(remote="origin")
    with pytest.raises(RemoteNotFoundError):
        repo.fsck(repair=True, remote="nowhere")
    repaired = repo.fsck(data=True, repair=True, remote="origin")
    assert repaired.problems == ()
    assert any("from origin" in one.detail for one in repaired.repaired)
    repo.close()
    assert repo.fsck(data=True).sound
    assert records(repo) == before
    with repo.checkout() as co:
        np.testing.assert_array_equal(co["rows"].read(range(1, 3_000)), np.arange(50, 150_000).reshape(2_999, 50))
        assert len(list(co["texts"].values())) == 300
        np.testing.assert_array_equal(co["big"]["a"][...], np.arange(64 * 64).reshape(64, 64))
