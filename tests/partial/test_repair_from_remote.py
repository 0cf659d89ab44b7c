"""Row 5: what is damaged here and intact at a remote is repaired from there, and is identical afterwards."""

from __future__ import annotations

import random
import shutil
from contextlib import closing

import numpy as np
import pytest

from hangar import InvalidInputError, RemoteNotFoundError, Repository
from hangar.backends.location import FILE_MASK, FILE_ROW, OFFSET
from hangar.blobs.catalog import blob_file_path
from hangar.db import WriteTransaction
from hangar.db.tables import ATTRIBUTES, COMMITS, NODES, SCHEMAS
from hangar.digest import Digest, digest_array
from tests.partial.damaging import damage, digests_of, lose

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


def test_repair_from_several_remotes_each_of_which_lacks_something(
    repo: Repository, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Maps and chunks of arrays, and images. What is left is named, with who does not have it."""
    filled(repo)
    with closing(repo.checkout(write=True)) as writer:
        images = writer.add_image_column("images")
        for key in range(4):
            images[key] = np.random.default_rng(key).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        writer.commit("images")
    paths = [str(tmp_path_factory.mktemp("there") / name) for name in ("one", "two")]
    everything = {name: digests_of(repo, name, [0, 1, 2, 3]) for name in ("rows", "images")}
    everything["big"] = digests_of(repo, "big", ["a"])
    for path in paths:
        repo.close()
        shutil.copytree(repo.path, path)
    repo.remote.add("one", paths[0])
    repo.remote.add("two", paths[1])
    with Repository(paths[0]) as one, Repository(paths[1]) as two:
        lose(one, everything["images"])
        damage(one, everything["big"][:5])
        lose(two, everything["images"][:1])
        lose(two, everything["big"][5:])
    for digests in everything.values():
        damage(repo, digests)
    drop_map_of(repo, "big", "a")
    repo.close()
    assert {"array", "node"} & {one.kind for one in repo.fsck().problems}
    report = repo.fsck(data=True, repair=True, remote=["one", "two"])
    assert [(one.kind, one.uses[0].column, one.uses[0].sample) for one in report.problems] == [("blob", "images", 0)]
    assert "one or two does not have it either" in report.problems[0].remedy
    with closing(repo.checkout()) as reader:
        np.testing.assert_array_equal(reader["big"]["a"][...], np.arange(64 * 64).reshape(64, 64))
        np.testing.assert_array_equal(
            reader["images"][3], np.random.default_rng(3).integers(0, 255, (40, 50, 3), np.uint8)
        )


def drop_map_of(repo: Repository, column: str, sample: str) -> None:
    """Remove the record of a chunked array and the root of its map."""
    with closing(repo.checkout()) as reader:
        cell = Digest(reader[column]._cell(sample))
    record = repo.stores.nodes.load_arrays([cell])[0]
    assert record.root is not None
    names = [cell, record.root]

    def write(transaction: WriteTransaction) -> None:
        assert [transaction.delete(NODES, name) for name in names] == [True, True]

    repo.stores.db.update(write)
