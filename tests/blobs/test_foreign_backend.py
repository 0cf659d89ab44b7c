"""The store over a backend that is not raw, and not ours: several blobs in a compressed chunk."""

from __future__ import annotations

import numpy as np
import pytest

from hangar.backends import Locations, registry
from hangar.blobs import BlobStore, verify_blobs, verify_files
from hangar.blobs.verify import missing_backends
from hangar.db.tables import LOCATIONS
from hangar.errors import CorruptionError, MissingPackageError
from tests.backends.toy import Toy
from tests.blobs.maker import IMAGE, Bench, check_reads, images, mixed


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaded", {**registry._loaded, "toy": Toy()})


def fill(bench: Bench, count: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], ...]:
    rows, digests = images(count)
    bench.writer.add_rows("toy", IMAGE, rows, digests)
    return rows, digests


@pytest.mark.parametrize("count", [50, 1500])
def test_it_serves_as_any_other(bench: Bench, count: int) -> None:
    rows, digests = fill(bench, count)
    blobs = list({blob.digest: blob for blob in mixed(90)}.values())
    for blob in blobs[:30]:
        bench.writer.add_one("toy", blob.header, blob.data, blob.digest)
    later = blobs[30:]
    bench.writer.add_list(
        "toy", [blob.header for blob in later], [blob.data for blob in later], [blob.digest for blob in later]
    )
    wanted = np.random.default_rng(0).integers(0, count, 300)
    for _ in range(2):
        assert np.array_equal(bench.store.read_rows(digests[wanted], IMAGE, 784), rows[wanted])
        out = np.empty((300, 784), np.uint8)
        assert np.array_equal(bench.store.read_rows(digests[wanted], IMAGE, 784, out), rows[wanted])
        check_reads(bench.store, blobs)
        bench.publish()
    bench.__dict__.update(bench.reopen().__dict__)
    check_reads(bench.store, blobs)
    assert np.array_equal(bench.store.read_rows(digests[wanted], IMAGE, 784), rows[wanted])
    assert [*verify_files(bench.store), *verify_blobs(bench.store, progress=False)] == []
    assert bench.files() == ["00000001.toy"]


def test_the_wrong_row_of_a_chunk_is_found(bench: Bench) -> None:
    """What decodes well is compared with its checksum all the same."""
    _, digests = fill(bench, 50)
    bench.publish()
    with bench.db.read() as transaction:
        rows = list(transaction.scan(LOCATIONS))
    words = Locations.from_rows([row for _, row in rows]).words
    words[:, 4] = np.roll(words[:, 4], 1)
    moved = list(zip([key for key, _ in rows], Locations(words).to_rows(), strict=True))
    bench.db.update(lambda transaction: transaction.put_many(LOCATIONS, moved))
    with pytest.raises(CorruptionError):
        bench.store.read_rows(digests, IMAGE, 784)
    for digest in digests[:5]:
        with pytest.raises(CorruptionError):
            bench.store.read_one(digest.tobytes())
    assert len(list(verify_blobs(bench.store, progress=False))) == 50


def test_a_backend_that_is_gone_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, digests = fill(bench, 50)
    bench.publish()
    monkeypatch.setattr(registry, "_loaded", {})
    store = BlobStore(bench.db, bench.directory)
    with pytest.raises(MissingPackageError, match="toy"):
        store.read_rows(digests, IMAGE, 784)
    assert list(verify_files(store)) == []
    assert [damage.unchecked for damage in verify_blobs(store, progress=False)] == [True] * 50
    assert list(missing_backends(store)) == ["toy"]
    store.close()
