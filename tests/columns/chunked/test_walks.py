"""Every walk over history expands chunked arrays: what only an array record names is kept, found, erased and moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, Repository
from hangar.db.tables import NODES
from hangar.digest import Digest
from hangar.errors import ConflictError, InvalidStateError, PurgedError
from hangar.objects.children import is_array
from tests.merge.maker import write

SHAPE, CHUNKS = (20, 16), (5, 8)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    found = Repository(tmp_path, exists=False)
    found.init("Ada", "ada@example.com")
    write(found, "master", begin)
    yield found
    found.close()


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).integers(1, 255, SHAPE, np.uint8)


def begin(writer: Any) -> None:
    """Arrays whose chunks are blobs, the same in a nested column, and arrays whose chunks are inline in the chunk map."""
    writer.add_chunked_column("scan", np.uint8, CHUNKS).update({key: noise(key) for key in range(3)})
    writer.add_chunked_column("small", np.uint8, (2, 8))[0] = noise(10)
    nested = writer.add_chunked_column("nested", np.uint8, CHUNKS, contains_subsamples=True)
    nested["s"] = {0: noise(20), 1: noise(21)}


def read(repo: Repository, rev: str = "") -> dict[Any, Any]:
    with closing(repo.checkout(commit=rev)) as reader:
        found = {(name, key): value[...].tolist() for name in ("scan", "small") for key, value in reader[name].items()}
        return found | {("nested", key): value[...].tolist() for key, value in reader["nested"]["s"].items()}


def records(repo: Repository) -> dict[bytes, bytes]:
    """All array records and nodes that are stored."""
    with repo.stores.db.read() as transaction:
        return {bytes(key): bytes(data) for key, data in transaction.scan(NODES)}


def sound(repo: Repository) -> bool:
    return repo.fsck(data=True).problems == ()


# ---------------------------------------------------------------------------------------------------- kept and removed


def test_garbage_collection_keeps_what_array_records_name_and_nothing_else(repo: Repository) -> None:
    before = read(repo)
    size = repo.size_nbytes
    repo.create_branch("dead")
    write(repo, "dead", lambda writer: writer["scan"].update({key: noise(100 + key) for key in range(50)}))
    with closing(repo.checkout(write=True, branch="master")) as writer:
        writer["scan"][0][0, 0] = 0
    assert repo.gc().blobs.removed == 0
    staged = noise(0)
    staged[0, 0] = 0
    repo.remove_branch("dead", force_delete=True)
    report = repo.gc(expire_reflog="all")
    assert report.blobs.removed >= 47 * 8
    assert report.nodes.removed >= 47  # array records count as nodes
    assert read(repo) == before
    with closing(repo.checkout(write=True)) as writer:
        np.testing.assert_array_equal(writer["scan"][0][...], staged)
        writer.reset_staging_area()
    repo.gc(expire_reflog="all")
    assert sound(repo)
    assert read(repo) == before
    assert repo.size_nbytes < size + 300_000


def test_why_names_the_sample_of_a_chunk_and_of_a_record(repo: Repository) -> None:
    with closing(repo.checkout()) as reader:
        array = reader["scan"][2]
        chunk = bytes(array._content().reader.table(array._content().record, array._content().digest).cells[3])
        record = bytes.fromhex(array.digest)
    for digest in (chunk, record):
        found = [(use.column, use.sample) for use in repo.why_kept(digest.hex()).uses]
        assert ("scan", 2) in found


def test_restore_and_blame(repo: Repository) -> None:
    first = repo.log(return_contents=True)["head"]  # type: ignore[index]
    second = write(repo, "master", lambda writer: writer["scan"][1].__setitem__((3, 3), 0))
    write(repo, "master", lambda writer: writer["scan"][0].resize((5, 5)))
    assert repo.blame("scan", 1).commit == second
    assert repo.blame("scan", 2).commit == first
    with closing(repo.checkout(write=True)) as writer:
        writer.restore("scan", [0, 1], commit=first)
        writer.commit("as it was")
    assert read(repo) == read(repo, first)
    assert sound(repo)


def test_another_backend(repo: Repository) -> None:
    before = read(repo)
    for tag in ("00", "01", "10"):
        repo.convert_backend("scan", tag)
        assert read(repo) == before
        repo.gc()
        assert read(repo) == before
        assert sound(repo)


# ---------------------------------------------------------------------------------------------------- erased


def test_a_purged_array_reads_as_purged_in_every_commit(repo: Repository) -> None:
    first = repo.log(return_contents=True)["head"]  # type: ignore[index]
    write(repo, "master", lambda writer: writer["scan"][1].__setitem__((3, 3), 0))
    before = read(repo)
    report = repo.purge("scan", 1, reason="consent withdrawn")
    (sample,) = report.samples
    assert len(sample.digests) == 8 + 1  # a chunk of the second commit is another one
    assert len(report.commits) == 2
    for rev in (first, "master"):
        with closing(repo.checkout(commit=rev)) as reader:
            with pytest.raises(PurgedError):
                reader["scan"][1][...]
            assert reader["scan"][1].shape == SHAPE
            assert reader["scan"][0][...].tolist() == before["scan", 0]
    data = noise(1)[:5, :8].tobytes()
    assert not any(data in path.read_bytes() for path in (Path(repo.path).rglob("*")) if path.is_file())
    assert sound(repo)


def test_shared_chunks_are_purged_on_request_alone(repo: Repository) -> None:
    write(repo, "master", lambda writer: writer["scan"][2].__setitem__(np.s_[:5, :8], noise(1)[:5, :8]))
    write(repo, "master", lambda writer: writer["scan"].update({5: writer["scan"][1]}))  # all its chunks are shared
    with pytest.raises(ConflictError, match=r"^2 other samples have .*: 2 of scan \([^;]*; 5 of scan \([^;]*\)\."):
        repo.purge("scan", 1, reason="x")
    repo.purge("scan", 1, reason="x", shared=True)
    with closing(repo.checkout()) as reader:
        assert reader["scan"][2][5:, :].tolist() == noise(2)[5:].tolist()
        with pytest.raises(PurgedError):
            reader["scan"][2][0, 0]
    assert sound(repo)


def test_inline_chunks_are_purged_by_rewriting_history(repo: Repository) -> None:
    before = read(repo)
    with pytest.raises(InvalidStateError, match="rewrite-history"):
        repo.purge("small", 0, reason="x")
    repo.purge("small", 0, reason="x", rewrite_history=True)
    after = read(repo)
    del before["small", 0]
    assert after == before
    data = noise(10)[:2, :8].tobytes()
    assert not any(data in path.read_bytes() for path in (Path(repo.path).rglob("*")) if path.is_file())
    assert sound(repo)


# ---------------------------------------------------------------------------------------------------- damaged


def test_every_flipped_bit_of_records_and_chunk_maps_is_found_and_mended(repo: Repository) -> None:
    """A record of a single flipped bit is told by fsck, never read as other data, and restored."""
    before = read(repo)
    nodes = [(digest, data) for digest, data in sorted(records(repo).items())]
    arrays = [pair for pair in nodes if is_array(pair[1])]
    assert len(arrays) == 6
    chance = np.random.default_rng(0)
    for digest, data in [*arrays, *nodes[::2]]:
        place, bit = int(chance.integers(len(data))), int(chance.integers(8))
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        put(repo, digest, bytes(flipped))
        fresh = Repository(repo.path)
        report = fresh.fsck(data=True)
        assert digest.hex() in " ".join(one.detail + one.digest for one in report.problems)
        with pytest.raises(CorruptionError):
            read(fresh)
        assert fresh.fsck(repair=True).repaired
        assert records(fresh)[digest] == data
        fresh.close()
    with Repository(repo.path) as fresh:
        assert read(fresh) == before
        assert sound(fresh)


def put(repo: Repository, digest: bytes, data: bytes | None) -> None:
    def change(transaction: Any) -> None:
        if data is None:
            transaction.delete(NODES, digest)
        else:
            transaction.put(NODES, digest, data)

    repo.stores.db.update(change)


def test_a_lost_record_names_its_samples(repo: Repository) -> None:
    with closing(repo.checkout()) as reader:
        lost = Digest(bytes.fromhex(reader["scan"][1].digest))
    put(repo, lost, None)
    with Repository(repo.path) as fresh:
        problem = next(one for one in fresh.fsck().problems if one.digest == lost.hex())
        assert [(use.column, use.sample) for use in problem.uses] == [("scan", 1)]
        with pytest.raises(CorruptionError):
            fresh.gc()  # nothing is removed while something cannot be read


def test_a_damaged_chunk_is_found_and_no_other_is_lost(repo: Repository) -> None:
    file = next(path for path in (Path(repo.path) / ".hangar" / "blobs").iterdir() if path.suffix == ".10")
    repo.close()
    data = bytearray(file.read_bytes())
    place = data.index(noise(1)[5:10, 8:].tobytes())
    data[place + 7] ^= 16
    file.write_bytes(data)
    with Repository(Path(repo.path)) as fresh, closing(fresh.checkout()) as reader:
        assert reader["scan"][1][:5].tolist() == noise(1)[:5].tolist()
        with pytest.raises(CorruptionError):
            reader["scan"][1][...]
        assert len(fresh.fsck(data=True).problems) == 1


def test_inner_nodes_of_a_chunk_map_are_built_again(tmp_path: Path) -> None:
    with Repository(tmp_path, exists=False) as repo:
        repo.init("Ada", "ada@example.com")

        def many(writer: Any) -> None:
            column = writer.add_chunked_column("long", np.uint16, (20,))
            column["a"] = np.arange(40_000, dtype=np.uint16)

        write(repo, "master", many)
        with closing(repo.checkout()) as reader:
            root = reader["long"]["a"]._content().record.root
        put(repo, root, None)
        with Repository(tmp_path) as fresh:
            assert fresh.fsck(repair=True).repaired
            assert sound(fresh)
            with closing(fresh.checkout()) as reader:
                assert reader["long"]["a"][39_999] == 39_999
