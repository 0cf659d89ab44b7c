"""Space is given back when nothing names a file and nobody has it open; and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hangar import _fs
from hangar.backends.file import BlobFile
from hangar.blobs import verify_blobs, verify_files
from hangar.blobs.catalog import removed_blob_files
from hangar.blobs.release import Released, release_files
from hangar.blobs.verify_records import verify_locations
from hangar.db.tables import META
from tests.blobs.maker import IMAGE, Bench, Rows, images
from tests.crash.world import install_toy


@pytest.fixture(autouse=True)
def _toy() -> None:
    install_toy()


def add(bench: Bench, tag: str, rows: Rows, digests: Rows, again: bool = False) -> None:
    bench.writer.add_rows(tag, IMAGE, rows, digests, again=again)
    bench.publish()


def moved(bench: Bench, count: int = 1500) -> tuple[Bench, Rows, Rows]:
    """Blobs that were written to ``10`` and then again to ``toy``."""
    rows, digests = images(count)
    add(bench, "10", rows, digests)
    add(bench, "toy", rows, digests, again=True)
    bench.__dict__.update(bench.reopen().__dict__)
    # A writer has the file that it goes on with open; here it has not begun.
    return bench, rows, digests


def require_sound(bench: Bench, rows: Rows, digests: Rows) -> None:
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)
    assert [*verify_files(bench.store), *verify_blobs(bench.store, progress=False)] == []
    assert list(verify_locations(bench.store)) == []


@pytest.mark.parametrize("count", [5, 1500])
def test_what_was_moved_is_given_back(bench: Bench, count: int) -> None:
    bench, rows, digests = moved(bench, count)
    require_sound(bench, rows, digests)
    size = (bench.directory / "blobs" / "00000001.10").stat().st_size
    assert release_files(bench.store, bench.lock) == Released(1, size, 0)
    assert [name.partition(".")[2] for name in bench.files()] == ["toy"]
    require_sound(bench, rows, digests)
    assert release_files(bench.store, bench.lock) == Released()


def test_the_newest_place_counts_at_once(bench: Bench) -> None:
    bench, _, digests = moved(bench)
    places = bench.store.locate(digests).words
    assert {bench.store.files.tag(int(file)) for file in np.unique(places[:, 4] & np.uint64(2**32 - 1))} == {"toy"}


def test_the_newest_place_of_a_few_of_many_counts_at_once(bench: Bench) -> None:
    rows, digests = images(1500)
    add(bench, "10", rows, digests)
    add(bench, "toy", rows[:5], digests[:5], again=True)
    places = bench.store.locate(digests[:5]).words
    assert len(bench.runs()) == 2
    assert {bench.store.files.tag(int(place)) for place in (places[:, 4] & np.uint64(2**32 - 1))} == {"toy"}


def test_a_file_that_one_blob_needs_stays(bench: Bench) -> None:
    rows, digests = images(1500)
    add(bench, "10", rows, digests)
    add(bench, "toy", rows[1:], digests[1:], again=True)
    bench = bench.reopen()
    assert release_files(bench.store, bench.lock) == Released()
    require_sound(bench, rows, digests)
    bench.close()


def test_an_open_file_stays_and_goes_later(bench: Bench) -> None:
    bench, rows, digests = moved(bench)
    held = BlobFile(bench.directory / "blobs" / "00000001.10", 1, "10")
    runs = bench.runs()
    assert release_files(bench.store, bench.lock) == Released(0, 0, 1)
    assert bench.runs() == runs, "runs were merged for nothing"
    require_sound(bench, rows, digests)
    del held
    assert release_files(bench.store, bench.lock).removed == 1
    require_sound(bench, rows, digests)


def test_the_writers_own_file_stays(bench: Bench) -> None:
    """One that it has open: what it is about to add has no place yet."""
    rows, digests = images(1500)
    add(bench, "toy", rows, digests)
    add(bench, "10", rows, digests, again=True)
    assert release_files(bench.store, bench.lock) == Released(0, 0, 1)
    more, names = images(20, 1)
    add(bench, "toy", more, names)
    require_sound(bench, np.concatenate([rows, more]), np.concatenate([digests, names]))


def test_a_reader_with_old_locations_finds_the_new_ones(bench: Bench) -> None:
    from hangar.blobs import BlobStore

    rows, digests = images(1500)
    add(bench, "10", rows, digests)
    reader = BlobStore(bench.db, bench.directory)
    reader.locator.refresh()
    single = BlobStore(bench.db, bench.directory)
    single.locator.refresh()
    add(bench, "toy", rows, digests, again=True)
    bench.writer.close()
    assert release_files(bench.store, bench.lock).removed == 1
    assert np.array_equal(reader.read_rows(digests, IMAGE, 784), rows)
    assert bytes(single.read_one(digests[5].tobytes())[1]) == rows[5].tobytes()
    for store in (reader, single):
        store.close()


def test_with_a_damaged_run_nothing_goes(bench: Bench) -> None:
    bench, *_ = moved(bench)
    path = max(bench.directory.glob("runs/*"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert release_files(bench.store, bench.lock) == Released()
    path.write_bytes(b"")
    assert release_files(bench.store, bench.lock) == Released()
    assert "00000001.10" in bench.files()


def test_a_removal_that_was_cut_off_is_finished(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, rows, digests = moved(bench)

    def fail(path: Path) -> None:
        raise OSError("the machine stops here")

    with monkeypatch.context() as patch:
        patch.setattr(_fs, "remove_file", fail)
        with pytest.raises(OSError, match="stops"):
            release_files(bench.store, bench.lock)
    bench = bench.reopen()
    assert "00000001.10" in bench.files()
    require_sound(bench, rows, digests)
    assert release_files(bench.store, bench.lock) == Released()
    assert "00000001.10" not in bench.files()
    with bench.db.read() as transaction:
        assert removed_blob_files(transaction) == []
        assert not [key for key, _ in transaction.scan(META) if key.startswith(b"removed")]
    require_sound(bench, rows, digests)
    bench.close()


def test_a_lock_that_was_taken_over_ends_it(bench: Bench) -> None:
    from hangar.errors import LockedError
    from hangar.lock import force_release

    bench, _, _ = moved(bench)
    force_release(bench.db)
    with pytest.raises(LockedError):
        release_files(bench.store, bench.lock)
    assert "00000001.10" in bench.files()
