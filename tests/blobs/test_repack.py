"""Blobs are removed from files and runs, and what else is there reads the same: for every backend, beside readers, after cuts."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import _fs, limits
from hangar.backends import get_backend
from hangar.blobs import BlobStore, BlobWriter, OwnFiles, repack, verify_blobs, verify_files
from hangar.blobs.catalog import scan_blob_files, scan_runs
from hangar.blobs.digests import DigestSet
from hangar.blobs.repack import Removal, erase_blobs, remove_blobs
from hangar.blobs.space import SpaceUsage, measure_space
from hangar.blobs.verify import surplus
from hangar.blobs.verify_records import verify_locations
from hangar.db.epoch import gc_epoch
from hangar.db.tables import HEADERS, LOCATIONS, META
from hangar.digest import BYTES, NDARRAY, STR, Header, digest_array
from hangar.errors import CorruptionError, InvalidStateError, LockedError
from hangar.lock import force_release
from hangar.publishing import publish
from tests.blobs.maker import IMAGE, Bench, Blob, arrays, check_reads, images, texts
from tests.crash.world import install_toy

BACKENDS = ["00", "01", "10", "30", "31", "toy"]
GZIP = {"complib": "gzip", "complevel": 1}


@pytest.fixture(autouse=True)
def _toy() -> None:
    install_toy()


def blobs_for(tag: str, count: int, seed: int = 0) -> list[Blob]:
    """Blobs that a backend can hold; of none can the bytes occur by chance."""
    backend = get_backend(tag)
    if backend.holds(NDARRAY, variable=False):
        rows, _ = images(count, seed)
        return [Blob(IMAGE, row.tobytes()) for row in rows]
    kind = STR if backend.holds(STR, variable=True) else BYTES
    words = [blob.data.hex().encode() for blob in texts(count, seed + 100, 300)]
    return [Blob(Header(kind, 0, ()), b"%08d" % at + word) for at, word in enumerate(words)]


def write(bench: Bench, tag: str, blobs: Collection[Blob], options: dict[str, Any] | None = None) -> None:
    headers, buffers = [blob.header for blob in blobs], [blob.data for blob in blobs]
    checked = get_backend(tag).check_options(options or {})
    bench.writer.add_list(tag, headers, buffers, [blob.digest for blob in blobs], checked)
    bench.publish()


def chosen(blobs: Collection[Blob]) -> DigestSet:
    return DigestSet(digest_array([blob.digest for blob in blobs]))


def every(found: SpaceUsage) -> Collection[int]:
    return found.files


def none(found: SpaceUsage) -> Collection[int]:
    return ()


def remove(bench: Bench, blobs: Collection[Blob], choose: Callable[[SpaceUsage], Collection[int]] = every) -> Removal:
    bench.writer.close()
    return remove_blobs(bench.store, bench.lock, chosen(blobs).holds, choose, progress=False)


def erase(bench: Bench, blobs: Collection[Blob]) -> Removal:
    bench.writer.close()
    return erase_blobs(bench.store, bench.lock, chosen(blobs), progress=False)


def require_sound(bench: Bench, kept: Collection[Blob], gone: Collection[Blob] = ()) -> None:
    """What is kept reads the same, in this process and in a fresh one; what is gone has no location."""
    for store in (bench.store, BlobStore(bench.db, bench.directory)):
        check_reads(store, list(kept))
        if gone:
            assert len(store.locate(digest_array([blob.digest for blob in gone])).missing) == len(gone)
        store.refresh()
    assert [*verify_files(bench.store), *verify_blobs(bench.store, progress=False)] == []
    assert list(verify_locations(bench.store)) == []


def require_no_trace(bench: Bench, gone: Collection[Blob]) -> None:
    """No file contains the bytes of a blob."""
    for path in bench.directory.glob("blobs/*"):
        data = path.read_bytes()
        for blob in gone:
            assert len(blob.data) < 8 or blob.data not in data, path.name


@pytest.mark.parametrize("tag", BACKENDS)
@pytest.mark.parametrize("count", [40, 1500])
def test_what_is_dead_goes_and_the_rest_reads_the_same(bench: Bench, tag: str, count: int) -> None:
    blobs = blobs_for(tag, count)
    write(bench, tag, blobs)
    gone, kept = blobs[::2], blobs[1::2]
    before = sum(path.stat().st_size for path in bench.directory.glob("blobs/*"))
    removal = remove(bench, gone)
    assert (removal.blobs, removal.moved, removal.files) == (len(gone), len(kept), 1)
    assert (removal.nbytes, removal.kept, removal.damaged) == (before, {}, {})
    assert sum(path.stat().st_size for path in bench.directory.glob("blobs/*")) < 0.65 * before + 10_000
    require_sound(bench, kept, gone)
    assert len(bench.runs()) == 1
    assert [*surplus(bench.store)] == []


@pytest.mark.parametrize("tag", BACKENDS)
def test_erased_bytes_are_in_no_file(bench: Bench, tag: str) -> None:
    """Of HDF5 the chunks are stored as they are, so that their bytes can be looked for."""
    blobs, options = blobs_for(tag, 60), {"complib": None} if tag in ("00", "01") else None
    write(bench, tag, blobs, options)
    gone, kept = blobs[7:9], blobs[:7] + blobs[9:]
    erase(bench, gone)
    require_sound(bench, kept, gone)
    require_no_trace(bench, gone)
    files = bench.files()
    # A second time there is nothing to do, where the backend can tell.
    erase(bench, gone)
    assert (bench.files() == files) == (tag != "toy")


def test_everything_dead_leaves_nothing(bench: Bench) -> None:
    blobs = texts(1500) + arrays(300)
    bench.add(blobs)
    bench.publish()
    removal = remove(bench, blobs, none)
    assert removal.moved == 0
    assert (bench.files(), bench.runs()) == ([], [])
    with bench.db.read() as transaction:
        assert [transaction.count(table) for table in (HEADERS, LOCATIONS)] == [0, 0]
        assert not scan_runs(transaction)
        assert not scan_blob_files(transaction)
    bench.writer = BlobWriter(bench.store, bench.lock)
    write(bench, "31", texts(20))
    require_sound(bench, texts(20))


def test_nothing_dead_changes_nothing(bench: Bench) -> None:
    write(bench, "10", blobs_for("10", 1500))
    before = bench.files(), bench.runs()
    assert remove(bench, blobs_for("10", 10, 9), none) == Removal()
    assert (bench.files(), bench.runs()) == before


def test_headers_go_with_their_last_blob(bench: Bench) -> None:
    blobs = arrays(200)
    bench.add(blobs)
    bench.publish()
    headers = {blob.header.id for blob in blobs}
    gone = [blob for blob in blobs if blob.header.id % 2]
    left = {blob.header.id for blob in blobs} - {blob.header.id for blob in gone}
    assert remove(bench, gone).headers == len(headers) - len(left)
    require_sound(bench, [blob for blob in blobs if blob.header.id in left], gone)


def test_options_stay_as_they_were(bench: Bench) -> None:
    images_of = {name: blobs_for("00", 30, seed) for seed, name in enumerate(("gzip", "none", "lz4"))}
    for name, options in (("gzip", GZIP), ("none", {"complib": None}), ("lz4", {})):
        write(bench, "00", images_of[name], options)
    gone = [blobs[0] for blobs in images_of.values()]
    remove(bench, gone)
    kept = {name: blobs[1:] for name, blobs in images_of.items()}
    require_sound(bench, [blob for blobs in kept.values() for blob in blobs], gone)
    backend = get_backend("00")
    for name, options in (("gzip", GZIP), ("none", {"complib": None}), ("lz4", {})):
        places = bench.store.locate(digest_array([blob.digest for blob in kept[name]])).words
        (file_id,) = np.unique(places[:, 4] & np.uint64(2**32 - 1)).tolist()
        file, _ = bench.store.files.get(file_id)
        assert backend.stored_as(file, type_of(places), backend.check_options(options)).all()
        (found, part), *rest = backend.stored_options(file, type_of(places))
        assert (found, len(part), rest) == (backend.check_options(options), 29, [])


def type_of(places: Any) -> Any:
    from hangar.backends.location import Locations

    return Locations(places)


def test_only_chosen_files_are_rewritten(bench: Bench) -> None:
    first, second = blobs_for("10", 50), blobs_for("31", 50)
    write(bench, "10", first)
    write(bench, "31", second)
    kept_file = next(name for name in bench.files() if name.endswith("10"))
    removal = remove(
        bench, [first[0], second[0]], lambda found: [one for one, use in found.files.items() if use.row.tag == "31"]
    )
    assert removal.moved == 49
    assert kept_file in bench.files()
    require_sound(bench, first[1:] + second[1:], [first[0], second[0]])


def test_a_survey_measures_what_would_be_free(bench: Bench) -> None:
    for tag in ("10", "00"):
        write(bench, tag, blobs_for(tag, 400, int(tag)), {"complib": None} if tag == "00" else None)
    gone = chosen(blobs_for("10", 400, 10)[:100] + blobs_for("00", 400, 0)[:300])
    bench.writer.close()
    found = measure_space(bench.store, gone.holds)
    by_tag = {use.row.tag: use for use in found.files.values()}
    assert (found.live, found.dead, found.runs) == (400, 400, 0)
    assert by_tag["10"].free == 100 * 784 + 64
    assert 300 * 784 <= by_tag["00"].free <= 300 * 784 + 20_000
    assert found.dead_nbytes == pytest.approx(400 * 784, rel=0.01)


def test_copies_that_no_location_names_are_erased_too(bench: Bench) -> None:
    """A blob was moved, and its old file is still there, because others are in it; then the old location was forgotten."""
    blobs = blobs_for("10", 1500)
    write(bench, "10", blobs)
    rows = np.stack([np.frombuffer(blob.data, np.uint8) for blob in blobs[:3]])
    digests = digest_array([blob.digest for blob in blobs[:3]])
    again = BlobWriter(bench.store, bench.lock, own_files=True)
    again.add_rows("10", IMAGE, rows, digests, again=True)
    publish(bench.db, bench.lock, again)
    again.close()
    remove(bench, blobs_for("10", 1, 5), none)  # merges the runs
    assert len(bench.runs()) == 1
    assert blobs[0].data in (bench.directory / "blobs" / bench.files()[0]).read_bytes()
    erase(bench, blobs[:1])
    require_no_trace(bench, blobs[:1])
    require_sound(bench, blobs[1:], blobs[:1])


def test_leftovers_of_a_killed_writer_are_erased_too(bench: Bench) -> None:
    blobs = blobs_for("10", 60)
    write(bench, "10", blobs[:50])
    bench.writer.close()
    (path,) = bench.directory.glob("blobs/*.10")
    with path.open("ab") as file:
        file.write(blobs[55].data)
    erase(bench, [blobs[55]])
    require_no_trace(bench, [blobs[55]])
    require_sound(bench, blobs[:50], [blobs[55]])


# ------------------------------------------------------------------ beside readers


def test_a_file_that_is_open_stays_until_it_is_closed(bench: Bench) -> None:
    blobs = blobs_for("10", 60)
    write(bench, "10", blobs)
    reader = BlobStore(bench.db, bench.directory)
    check_reads(reader, blobs)
    removal = remove(bench, blobs[:30])
    (name,) = bench.files()
    assert (removal.blobs, removal.moved, removal.kept) == (30, 0, {name: "a process has it open"})
    check_reads(reader, blobs[30:])
    reader.close()
    assert remove(bench, blobs[:30]).files == 1
    require_sound(bench, blobs[30:], blobs[:30])


def test_a_file_that_is_opened_meanwhile_stays_for_the_next_time(bench: Bench) -> None:
    blobs = blobs_for("10", 60)
    write(bench, "10", blobs)
    reader = BlobStore(bench.db, bench.directory)

    def choose(found: SpaceUsage) -> Collection[int]:
        check_reads(reader, blobs)
        return found.files

    removal = remove(bench, blobs[:30], choose)
    assert (removal.moved, removal.files) == (30, 0)
    assert len(bench.files()) == 2
    check_reads(reader, blobs[30:])
    require_sound(bench, blobs[30:], blobs[:30])
    reader.close()
    assert remove(bench, [], none).files == 1
    require_sound(bench, blobs[30:], blobs[:30])


def test_erasing_takes_open_files_too_and_their_readers_go_on(bench: Bench) -> None:
    blobs = blobs_for("10", 60)
    write(bench, "10", blobs)
    reader = BlobStore(bench.db, bench.directory)
    check_reads(reader, blobs)
    assert erase(bench, blobs[:1]).files == 1
    require_no_trace(bench, blobs[:1])
    check_reads(reader, blobs[1:])
    reader.close()
    check_reads(reader, blobs[1:])
    with pytest.raises(CorruptionError, match="is not in this repository"):
        reader.read_one(blobs[0].digest)


def test_readers_that_know_old_locations_and_runs_find_the_new_ones(bench: Bench) -> None:
    blobs = blobs_for("10", 1500)
    write(bench, "10", blobs)
    readers = [BlobStore(bench.db, bench.directory) for _ in range(3)]
    for reader in readers:
        reader.locator.refresh()
    remove(bench, blobs[:700])
    check_reads(readers[0], blobs[700:])
    for blob in blobs[700::100]:
        assert bytes(readers[1].read_one(blob.digest)[1]) == blob.data
    with pytest.raises(CorruptionError, match="is not in this repository"):
        readers[2].read_one(blobs[0].digest)


def test_runs_that_go_between_the_list_and_the_opening_are_looked_up_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = blobs_for("10", 1500)
    write(bench, "10", blobs)
    bench.writer.close()
    reader = BlobStore(bench.db, bench.directory)
    from hangar.blobs import locator

    true_scan, gone = scan_runs, iter([True])

    def scan(transaction: Any) -> Any:
        rows = true_scan(transaction)
        if next(gone, False):
            # Another process compacts, now that this one has read its list.
            (path,) = bench.directory.glob("runs/*.run")
            other = path.with_name(f"{int(path.stem, 16) + 40:08x}.run")
            from hangar.blobs.catalog import RunRow, claim_ids, put_run, remove_run
            from hangar.blobs.run import Run, write_run

            index = Run(path, rows[0][0], rows[0][1].count).index
            count = write_run(other, int(other.stem, 16), [index])
            monkeypatch.setattr(locator, "scan_runs", true_scan)

            def swap() -> None:
                def change(update: Any) -> None:
                    remove_run(update, rows[0][0])
                    claim_ids(update, int(other.stem, 16))
                    put_run(update, int(other.stem, 16), RunRow(count))

                bench.db.update(change)
                path.unlink()

            import threading

            thread = threading.Thread(target=swap)
            thread.start()
            thread.join()
        return rows

    monkeypatch.setattr(locator, "scan_runs", scan)
    check_reads(reader, blobs)


# ------------------------------------------------------------------ what must stay


def test_spared_files_keep_all_their_blobs(bench: Bench) -> None:
    blobs, others = blobs_for("10", 50), blobs_for("31", 50)
    write(bench, "10", blobs)
    write(bench, "31", others)
    with bench.db.read() as transaction:
        spared = [file_id for file_id, row in scan_blob_files(transaction) if row.tag == "10"]
    bench.writer.close()
    dead = chosen(blobs + others)
    removal = remove_blobs(bench.store, bench.lock, dead.holds, every, spared=spared, progress=False)
    assert removal.blobs == 50
    require_sound(bench, blobs, others)


def test_with_a_damaged_run_nothing_goes(bench: Bench) -> None:
    blobs = blobs_for("10", 1500)
    write(bench, "10", blobs)
    (path,) = bench.directory.glob("runs/*")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    files = bench.files()
    for act in (remove, erase):
        with pytest.raises(CorruptionError, match="run"):
            act(bench, blobs[:1000])
    assert bench.files() == files
    with bench.db.read() as transaction:
        assert gc_epoch(transaction) == 0


@pytest.mark.parametrize("tag", ["10", "00", "toy"])
def test_a_damaged_blob_keeps_its_file_and_is_named(bench: Bench, tag: str) -> None:
    blobs = blobs_for(tag, 60)
    for start in range(0, 60, 20):
        write(bench, tag, blobs[start : start + 20])
    (path,) = bench.directory.glob("blobs/*")
    place = bench.store.locate(digest_array([blobs[30].digest])).words[0]
    data = bytearray(path.read_bytes())
    data[int(place[0]) + (int(place[2]) & (2**56 - 1)) - 20] ^= 1
    path.write_bytes(data)
    removal = remove(bench, blobs[:10])
    assert removal.damaged
    assert {blob.digest for blob in blobs[20:40]} >= removal.damaged.keys()
    assert path.exists()
    lost = removal.damaged.keys()
    check_reads(bench.store, [blob for blob in blobs[10:] if blob.digest not in lost])


def test_a_lock_that_was_taken_over_ends_it(bench: Bench) -> None:
    blobs = blobs_for("10", 60)
    write(bench, "10", blobs)
    bench.writer.close()

    def choose(found: SpaceUsage) -> Collection[int]:
        force_release(bench.db)
        return found.files

    with pytest.raises(LockedError):
        remove_blobs(bench.store, bench.lock, chosen(blobs[:30]).holds, choose, progress=False)
    check_reads(bench.store, blobs)


def test_large_rewrites_go_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BLOB_FILE_BYTES", 20_000)
    blobs = blobs_for("10", 200)
    for start in range(0, 200, 20):
        write(bench, "10", blobs[start : start + 20])
    assert len(bench.files()) == 5
    monkeypatch.setattr(repack, "_STEP_BYTES", 40_000)
    monkeypatch.setattr(repack, "run_bytes", lambda count: 0)
    removal = remove(bench, blobs[::3])
    assert removal.moved == len(blobs) - len(blobs[::3])
    require_sound(bench, [blob for at, blob in enumerate(blobs) if at % 3], blobs[::3])


# ------------------------------------------------------------------ cuts


class Cut(BaseException):
    """The process ends here."""


class Watching:
    """Stops at the n-th crash point."""

    def __init__(self, number: int) -> None:
        self.left = number

    def point(self, name: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut

    def synced_file(self, path: str) -> None: ...

    def synced_directory(self, path: str) -> None: ...


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(("tag", "act"), [("10", remove), ("00", remove), ("10", erase), ("toy", erase)])
def test_cut_off_anywhere_it_is_finished_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, act: Callable[..., Removal], step: int
) -> None:
    blobs = blobs_for(tag, 60)
    made = Bench.create(tmp_path / "made")
    write(made, tag, blobs, {"complib": None} if tag == "00" else None)
    made.close()
    for number in range(int(tag.strip("toy") or 3) % step, 400, step):
        directory = tmp_path / f"{number}" / ".hangar"
        shutil.copytree(made.directory, directory)
        bench = Bench.open(directory)
        ended = False
        monkeypatch.setattr(_fs, "observer", Watching(number))
        try:
            act(bench, blobs[:30])
            ended = True
        except Cut:
            pass
        monkeypatch.setattr(_fs, "observer", None)
        gc.collect()  # a dead process has nothing open
        bench = bench.reopen()
        check_reads(bench.store, blobs[30:])
        assert [*verify_files(bench.store), *verify_blobs(bench.store, progress=False)] == []
        act(bench, blobs[:30])
        require_sound(bench, blobs[30:], blobs[:30])
        if tag != "toy":  # which compresses
            require_no_trace(bench, blobs[:30])
        assert [*surplus(bench.store)] == []
        with bench.db.read() as transaction:
            assert not [key for key, _ in transaction.scan(META) if key.startswith(b"removed")]
        bench.close()
        if ended:
            assert number > 20
            return
    raise AssertionError("it never ended")


def test_the_next_writer_finishes_a_removal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = blobs_for("10", 1500)
    write(bench, "10", blobs)

    def fail(path: Path) -> None:
        raise OSError("the machine stops here")

    with monkeypatch.context() as patch:
        patch.setattr(_fs, "remove_file", fail)
        with pytest.raises(OSError, match="stops"):
            erase(bench, blobs[:1])
    old = bench.files()[0]
    bench = bench.reopen()
    write(bench, "31", texts(5))
    assert old not in bench.files()
    assert len(bench.runs()) == 1
    require_no_trace(bench, blobs[:1])
    require_sound(bench, blobs[1:] + texts(5), blobs[:1])
    bench.close()


# ------------------------------------------------------------------ writers without the lock


def test_a_writer_without_the_lock_looks_again(bench: Bench) -> None:
    """What it took for stored is removed before it publishes: it says so, and records nothing."""
    blobs = blobs_for("10", 60)
    write(bench, "10", blobs)
    rows = np.stack([np.frombuffer(blob.data, np.uint8) for blob in blobs])
    digests = digest_array([blob.digest for blob in blobs])
    more, names = images(5, 77)
    other = BlobStore(bench.db, bench.directory)
    fetching = BlobWriter(other, OwnFiles())
    fetching.add_rows("10", IMAGE, rows, digests)
    fetching.add_rows("10", IMAGE, more, names)
    other.files.clear()
    remove(bench, blobs[:1])
    with pytest.raises(InvalidStateError, match="1 blob that this writer found stored"):
        publish(bench.db, OwnFiles(), fetching)
    fetching.rollback()
    assert len(bench.store.locate(names).missing) == 5
    fetching.close()


def test_a_writer_without_the_lock_goes_on_where_nothing_of_its_was_removed(bench: Bench) -> None:
    blobs, shapes = blobs_for("10", 60), arrays(40)
    write(bench, "10", blobs)
    write(bench, "10", shapes)
    other = BlobStore(bench.db, bench.directory)
    fetching = BlobWriter(other, OwnFiles())
    more, names = images(5, 77)
    fetching.add_rows("10", IMAGE, np.stack([np.frombuffer(blob.data, np.uint8) for blob in blobs[30:]]),
                      digest_array([blob.digest for blob in blobs[30:]]))  # fmt: skip
    fetching.add_rows("10", IMAGE, more, names)
    publish(bench.db, OwnFiles(), fetching)
    other.files.clear()
    # Now the header of its blobs goes, and comes back with its next batch.
    remove(bench, blobs[:30] + shapes)
    require_sound(bench, blobs[30:], blobs[:30] + shapes)
    evenmore, newer = images(5, 78)
    fetching.add_rows("10", IMAGE, evenmore, newer)
    publish(bench.db, OwnFiles(), fetching)
    fetching.close()
    assert np.array_equal(bench.store.read_rows(newer, IMAGE, 784), evenmore)


def test_headers_that_went_come_back_with_the_next_batch(bench: Bench) -> None:
    other = BlobStore(bench.db, bench.directory)
    fetching = BlobWriter(other, OwnFiles())
    rows, digests = images(5)
    fetching.add_rows("10", IMAGE, rows, digests)
    publish(bench.db, OwnFiles(), fetching)
    other.files.clear()
    dead = DigestSet(digests)
    bench.writer.close()
    assert remove_blobs(bench.store, bench.lock, dead.holds, none, progress=False).headers == 1
    more, names = images(5, 1)
    fetching.add_rows("10", IMAGE, more, names)
    publish(bench.db, OwnFiles(), fetching)
    fetching.close()
    fresh = BlobStore(bench.db, bench.directory)
    assert np.array_equal(fresh.read_rows(names, IMAGE, 784), more)
    fresh.close()


def test_a_run_that_was_taken_for_an_orphan_is_written_again(bench: Bench) -> None:
    fetching = BlobWriter(BlobStore(bench.db, bench.directory), OwnFiles())
    rows, digests = images(1500)
    fetching.add_rows("10", IMAGE, rows, digests)
    prepared = fetching.prepare

    def prepare() -> None:
        prepared()
        fetching.prepare = prepared  # type: ignore[method-assign]
        assert len(bench.runs()) == 1
        remove(bench, blobs_for("31", 1))
        assert bench.runs() == []

    fetching.prepare = prepare  # type: ignore[method-assign]
    publish(bench.db, OwnFiles(), fetching)
    fetching.close()
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)
    require_sound(bench, [])


def test_blobs_that_are_published_meanwhile_stay(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer without the lock publishes between the run that is written and the transaction that registers it."""
    from hangar.blobs.drop import Drop

    blobs = blobs_for("10", 60)
    write(bench, "10", blobs)
    rows, digests = images(5, 99)
    prepared, times = Drop.prepare, []

    def prepare(change: Drop) -> None:
        prepared(change)
        times.append(1)
        if len(times) == 1:
            other = BlobStore(bench.db, bench.directory)
            fetching = BlobWriter(other, OwnFiles())
            fetching.add_rows("10", IMAGE, rows, digests)
            publish(bench.db, OwnFiles(), fetching)
            fetching.close()

    monkeypatch.setattr(Drop, "prepare", prepare)
    remove(bench, blobs[:30])
    assert len(times) == 2
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)
    require_sound(bench, blobs[30:], blobs[:30])
