from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.backends import Locations
from hangar.backends.file import FILE_HEADER_BYTES, encode_file_header
from hangar.blobs import BlobStore, Damage, merging, verify_blobs, verify_files
from hangar.blobs.catalog import (
    BlobFileRow,
    RunRow,
    get_blob_file,
    get_header,
    put_blob_file,
    put_headers,
    put_run,
    remove_run,
    scan_blob_files,
    scan_runs,
)
from hangar.blobs.index import Index, Sought
from hangar.blobs.run import write_run
from hangar.db import WriteTransaction
from hangar.db.tables import FILES, HEADERS, LOCATIONS
from hangar.digest import NDARRAY, Header
from hangar.errors import CorruptionError, HangarError, PathNotFoundError
from tests.blobs.maker import IMAGE, RAW, UINT8, Bench, Blob, check_reads, images, mixed, names, texts
from tests.processes import Child


def flip(path: Path, place: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def damages(store: BlobStore) -> list[Damage]:
    return [*verify_files(store), *verify_blobs(store, progress=False)]


def right_or_error(store: BlobStore, blobs: Sequence[Blob]) -> int:
    """Every read gives the right bytes or an error of the tree; the number of errors."""
    errors = 0
    for blob in blobs:
        for read in (store.read_one, lambda digest: store.read_list([digest])[0]):
            try:
                header, data = read(blob.digest)
                assert (header, bytes(data)) == (blob.header, blob.data)
            except HangarError:
                errors += 1
        if blob.header.kind == NDARRAY:
            try:
                digests = np.frombuffer(blob.digest, np.uint8).reshape(1, 32)
                rows = store.read_rows(digests, blob.header, len(blob.data))
                assert rows.tobytes() == blob.data
            except HangarError:
                errors += 1
    return errors


# ---------------------------------------------------------------------- what is sound, and what is not


def test_what_is_sound_is_found_sound(bench: Bench) -> None:
    blobs = mixed(1500)
    bench.add(blobs)
    bench.publish()
    bench.add(texts(30, 9))
    bench.publish()
    told: list[tuple[int, int | None, str]] = []
    assert list(verify_files(bench.store)) == []
    assert list(verify_blobs(bench.store, lambda *event: told.append(event))) == []
    count = len({blob.digest for blob in blobs + texts(30, 9)})
    assert told[-1] == (count, count, "blobs")


@pytest.mark.parametrize("count", [40, 1200])
def test_every_flipped_bit_of_a_blob_file_is_found(bench: Bench, count: int) -> None:
    """In the header and in every blob; the damaged blob is named with its file, and all others read."""
    blobs = [blob for blob in texts(count) if blob.data]
    bench.add(blobs)
    bench.publish()
    (path,) = bench.directory.glob("blobs/*")
    source = random.Random(0)
    starts = {}
    at = FILE_HEADER_BYTES
    for blob in blobs:
        starts[at] = blob
        at += len(blob.data)
    for place in [0, 9, 63, *(source.randrange(64, at) for _ in range(12))]:
        bit = source.randrange(8)
        flip(path, place, bit)
        store = BlobStore(bench.db, bench.directory)
        found = damages(store)
        if place < FILE_HEADER_BYTES:
            assert found[0].file == "blobs/" + path.name
        else:
            hit = starts[max(start for start in starts if start <= place)]
            assert [(damage.digest, damage.file) for damage in found] == [(hit.digest, "blobs/" + path.name)]
            for read in (store.read_one, lambda digest, store=store: store.read_list([blobs[0].digest, digest])):
                with pytest.raises(CorruptionError, match=f"{hit.digest.hex()}.*{path.name[:8]}"):
                    read(hit.digest)
            assert right_or_error(store, [blob for blob in blobs if blob is not hit][:20]) == 0
        store.close()
        flip(path, place, bit)
    assert damages(bench.store) == []


def test_a_batch_read_names_the_damaged_blob(bench: Bench) -> None:
    rows, digests = images(2000)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    (path,) = bench.directory.glob("blobs/*")
    flip(path, FILE_HEADER_BYTES + 784 * 777 + 5, 3)
    with pytest.raises(CorruptionError, match=names(digests[777:778])[0].hex()):
        bench.store.read_rows(digests, IMAGE, 784)
    assert bench.store.read_rows(digests[:777], IMAGE, 784).tobytes() == rows[:777].tobytes()


def test_content_that_is_not_what_the_digest_names_is_found(bench: Bench) -> None:
    """A checksum that fits does not hide it from the check of everything."""
    bench.writer.add_list("31", RAW, [b"good", b"bad"], [Blob(RAW, b"good").digest, Blob(RAW, b"better").digest])
    bench.publish()
    assert [damage.digest for damage in damages(bench.store)] == [Blob(RAW, b"better").digest]


@pytest.mark.parametrize("length", [0, 100, 4096, 20_000])
def test_a_run_that_is_cut_under_an_open_reader(bench: Bench, length: int) -> None:
    """Reading the map beyond the end of the file would be a SIGBUS: an error of the tree instead, as of blob files."""
    rows, digests = images(3_000)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    (path,) = (bench.directory / "runs").iterdir()

    def read(_: Connection) -> list[str]:
        store = BlobStore(bench.db, bench.directory)
        assert np.array_equal(store.read_rows(digests, IMAGE, 784), rows)
        assert store.read_one(digests[0].tobytes())[0] == IMAGE
        (opened,) = store.locator.runs()
        os.truncate(path, length)
        found = []
        last = names(digests[-1:])
        for call in (
            lambda: store.read_rows(digests[::-1], IMAGE, 784),
            lambda: store.read_list(last),
            lambda: store.read_one(last[0]),
            lambda: store.known(digests),
            opened.verify,
        ):
            with pytest.raises(CorruptionError) as caught:
                call()
            found.append(str(caught.value))
        return found

    messages = Child(read).result()
    assert all(path.name in message for message in messages), messages


@pytest.mark.parametrize("length", [0, 10, FILE_HEADER_BYTES, 1_000])
def test_a_file_that_was_cut(bench: Bench, length: int) -> None:
    blobs = texts(1200)[1:]
    bench.add(blobs)
    bench.publish()
    check_reads(bench.store, blobs)
    (path,) = bench.directory.glob("blobs/*")
    os.truncate(path, length)
    for store in (bench.store, BlobStore(bench.db, bench.directory)):
        with pytest.raises(CorruptionError, match=blobs[-1].digest.hex()):
            store.read_one(blobs[-1].digest)
        with pytest.raises(CorruptionError):
            store.read_list([blob.digest for blob in blobs])
        found = damages(store)
        assert found[0].file == "blobs/" + path.name
        assert blobs[-1].digest in {damage.digest for damage in found}


def test_a_file_that_is_missing(bench: Bench) -> None:
    blobs, others = texts(1200, 1), texts(50, 2)[1:]
    bench.add(blobs)
    bench.publish()
    (path,) = bench.directory.glob("blobs/*")
    bench.writer._appender.close()
    path.rename(path.with_suffix(".moved"))
    bench.add(others)
    bench.publish()
    bench.store.refresh()
    with pytest.raises(CorruptionError, match=f"{blobs[3].digest.hex()}.*{path.name}"):
        bench.store.read_one(blobs[3].digest)
    check_reads(bench.store, others)
    found = damages(bench.store)
    assert found[0].file == "blobs/" + path.name
    assert len(found) == 1 + len({blob.digest for blob in blobs})


def test_a_damaged_run_hides_only_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    parts = [texts(50, seed)[1:] for seed in range(3)]
    for part in parts:
        bench.add(part)
        bench.publish()
    victim = bench.directory / "runs" / bench.runs()[1]
    whole = victim.read_bytes()
    for damaged in (None, b"", b"x" * len(whole), whole[:-1], whole[:100] + bytes(len(whole) - 100)):
        victim.unlink(missing_ok=True)
        if damaged is not None:
            victim.write_bytes(damaged)
        store = BlobStore(bench.db, bench.directory)
        check_reads(store, parts[0] + parts[2])
        with pytest.raises(CorruptionError, match=f"{parts[1][0].digest.hex()}.*{victim.name}"):
            store.read_one(parts[1][0].digest)
        assert [damage.file for damage in verify_files(store)] == ["runs/" + victim.name]
        store.close()
    # The writer goes on, stores again what it cannot find, and leaves the damaged run alone.
    bench.__dict__.update(bench.reopen().__dict__)
    for seed in range(3, 12):
        bench.add(texts(50, seed))
        bench.publish()
    bench.add(parts[1])
    bench.publish()
    check_reads(bench.store, [*parts[0], *parts[1], *parts[2], *texts(50, 11)])
    assert victim.exists()


def test_a_run_that_lies_gives_no_wrong_data(bench: Bench) -> None:
    """Whatever is in the body of a run, a read gives the right bytes or an error."""
    blobs = mixed(1500)
    bench.add(blobs)
    bench.publish()
    path = bench.directory / "runs" / bench.runs()[0]
    whole = path.read_bytes()
    source = random.Random(0)
    errors = 0
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(source.choice((10, 1000))):
            data[source.randrange(64, len(data))] = source.randrange(256)
        path.write_bytes(data)
        store = BlobStore(bench.db, bench.directory)
        errors += right_or_error(store, source.sample(blobs, 30))
        store.close()
    assert errors


def test_locations_of_other_blobs_give_no_wrong_data(bench: Bench) -> None:
    """Entries of a run that change places: each location is good, and names another blob's bytes."""
    rows, digests = images(2000)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    path = bench.directory / "runs" / bench.runs()[0]
    data = bytearray(path.read_bytes())
    first, second = 64 + 8 * 2000 + 64 * 100, 64 + 8 * 2000 + 64 * 200
    data[first + 24 : first + 64], data[second + 24 : second + 64] = (
        data[second + 24 : second + 64],
        data[first + 24 : first + 64],
    )
    path.write_bytes(data)
    store = BlobStore(bench.db, bench.directory)
    ordered = sorted(names(digests))
    for digest in (ordered[100], ordered[200]):
        with pytest.raises(CorruptionError):
            store.read_one(digest)
    assert len(damages(store)) == 3


# ---------------------------------------------------------------------- fuzzed rows: checked rows hold what a bad writer put there


@given(data=st.binary(max_size=60))
def test_rows_of_files_survive_garbage(data: bytes) -> None:
    class Fake:
        def get(self, table: object, key: bytes) -> bytes:
            return data

        def scan(self, table: object, prefix: bytes) -> list[tuple[bytes, bytes]]:
            return [(prefix + data[:4], data)]

    readers: list[Callable[[], object]] = [
        lambda: get_blob_file(Fake(), 1),  # type: ignore[arg-type]
        lambda: scan_blob_files(Fake()),  # type: ignore[arg-type]
        lambda: scan_runs(Fake()),  # type: ignore[arg-type]
        lambda: get_header(Fake(), 5),  # type: ignore[arg-type]
        lambda: Locations.from_rows([data]),
    ]
    for read in readers:
        with contextlib.suppress(HangarError):
            read()


def test_locations_survive_garbage(bench: Bench) -> None:
    """Any 40 bytes as a location: the right bytes, or an error."""
    blobs = mixed(60)
    bench.add(blobs)
    bench.publish()
    with bench.db.read() as transaction:
        good = list(transaction.scan(LOCATIONS))
    source = random.Random(0)
    errors = 0
    for _ in range(12):
        fuzzed = []
        for key, row in good:
            data = bytearray(row)
            for _ in range(source.choice((0, 1, 1, 3))):
                data[source.randrange(40)] = source.choice((0, 1, 0x7F, 0xFF, source.randrange(256)))
            fuzzed.append((key, bytes(data)))
        bench.db.update(lambda transaction, rows=fuzzed: transaction.put_many(LOCATIONS, rows))  # type: ignore[misc]
        errors += right_or_error(bench.store, blobs)
        assert all(isinstance(damage, Damage) for damage in damages(bench.store))
    assert errors
    wrong_size = [(key, row[: source.randrange(40)]) for key, row in good]
    bench.db.update(lambda transaction: transaction.put_many(LOCATIONS, wrong_size))
    assert right_or_error(bench.store, blobs) > len(blobs)


def test_locations_that_change_places_give_no_wrong_data(bench: Bench) -> None:
    """A blob of one header at the place of another: the checksum covers the header."""
    bytes_of = bytes(range(64))
    shapes = [(64,), (8, 8), (4, 16), (2, 32)]
    blobs = [Blob(Header(NDARRAY, UINT8, shape), bytes_of) for shape in shapes]
    bench.add(blobs)
    bench.publish()
    with bench.db.read() as transaction:
        rows = list(transaction.scan(LOCATIONS))
    fields = [[row[at : at + 8] for at in range(0, 40, 8)] for _, row in rows]
    # Each keeps its checksum and takes the header of the next; all of them lie in good bytes.
    moved = [
        (key, b"".join([*own[:3], other[3], own[4]]))
        for (key, _), own, other in zip(rows, fields, fields[1:] + fields[:1], strict=True)
    ]
    bench.db.update(lambda transaction: transaction.put_many(LOCATIONS, moved))
    assert right_or_error(bench.store, blobs) == 3 * len(blobs)


def test_files_in_the_database_that_are_none(bench: Bench) -> None:
    """A name that none can have, and a run that is missing. Of a missing blob file nothing is lost where no blob lies in it."""
    bench.add(texts(20))
    bench.publish()

    def add(transaction: object) -> None:
        put_blob_file(transaction, 77, BlobFileRow("10", 64, 1, False))  # type: ignore[arg-type]
        put_blob_file(transaction, 78, BlobFileRow("../../x", 64, 1, False))  # type: ignore[arg-type]
        put_run(transaction, 79, RunRow(5))  # type: ignore[arg-type]

    bench.db.update(add)
    assert sorted(damage.file for damage in verify_files(bench.store)) == [
        ".",
        "runs/0000004f.run",
    ]
    bench.db.update(lambda transaction: transaction.put(FILES, b"b\0", b"\x94\xa210\0\0\xc2"))
    with pytest.raises(CorruptionError):
        list(verify_files(bench.store))


def test_a_missing_header_is_damage(bench: Bench) -> None:
    blob = Blob(Header(NDARRAY, UINT8, (3, 5)), bytes(15))
    bench.add([blob])
    bench.publish()
    bench.db.update(lambda transaction: transaction.delete_prefix(HEADERS, b""))
    store = BlobStore(bench.db, bench.directory)
    with pytest.raises(CorruptionError, match="header"):
        store.read_one(blob.digest)


def test_two_headers_of_one_number_are_refused(bench: Bench) -> None:
    class Twin(Header, frozen=True):
        seed = IMAGE.id

    twin = Twin(NDARRAY, UINT8, (1,))
    bench.db.update(lambda transaction: put_headers(transaction, {IMAGE.id: IMAGE}))
    with pytest.raises(HangarError):
        bench.db.update(lambda transaction: put_headers(transaction, {IMAGE.id: twin}))


def test_a_file_in_use_is_leased(bench: Bench) -> None:
    """Whoever wants to remove a file must lock it alone, and cannot while it is read or written."""
    from hangar import _fs

    bench.add(texts(20))
    bench.publish()
    (path,) = bench.directory.glob("blobs/*")

    def free() -> bool:
        descriptor = _fs.open_file(path)
        try:
            return _fs.try_lock(descriptor, shared=False)
        finally:
            os.close(descriptor)

    assert not free()
    bench.writer.close()
    assert free()
    bench.store.read_one(texts(20)[5].digest)
    assert not free()
    bench.store.close()
    assert free()
    descriptor = _fs.open_file(path)
    assert _fs.try_lock(descriptor, shared=False)
    with pytest.raises(CorruptionError, match="removed"):
        bench.store.read_one(texts(20)[5].digest)
    os.close(descriptor)
    check_reads(bench.store, texts(20))


def test_a_blob_that_was_moved_is_found_again(bench: Bench) -> None:
    """Another process moved a blob and removed its old file: the read looks it up once more."""
    blobs = texts(20)[1:]
    bench.add(blobs)
    bench.publish()
    reader = BlobStore(bench.db, bench.directory)
    check_reads(reader, blobs)
    with bench.db.read() as transaction:
        ((old_id, row),) = scan_blob_files(transaction)
        rows = list(transaction.scan(LOCATIONS))
    (old,) = bench.directory.glob("blobs/*")
    bench.writer.close()
    new = old.with_name("000000ff.31")
    new.write_bytes(encode_file_header("31", 255) + old.read_bytes()[FILE_HEADER_BYTES:])
    places = Locations.from_rows([row for _, row in rows]).words.copy()
    places[:, 4] = 255

    def move(transaction: object) -> None:
        put_blob_file(transaction, 255, BlobFileRow("31", row.end, row.owner, True))  # type: ignore[arg-type]
        transaction.put_many(LOCATIONS, list(zip([key for key, _ in rows], Locations(places).to_rows(), strict=True)))  # type: ignore[attr-defined]

    bench.db.update(move)
    old.unlink()
    flip_all = bytes(row.end)
    check_reads(reader, blobs)
    reader.files.clear()
    old.write_bytes(flip_all)
    check_reads(reader, blobs)
    assert old_id != 255
    old.unlink()
    with pytest.raises(PathNotFoundError):
        bench.store.files.get(old_id)


def test_a_run_that_was_replaced_is_read_again(bench: Bench) -> None:
    """Another process wrote all blobs to another file, with a run of its own, and removed both old ones."""
    rows, digests = images(2000)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    reader = BlobStore(bench.db, bench.directory)
    assert np.array_equal(reader.read_rows(digests, IMAGE, 784), rows)
    bench.writer.close()
    (old_run,) = bench.store.locator.runs()
    ((old_id, row),) = scan_files(bench)
    (old,) = bench.directory.glob("blobs/*")
    new = old.with_name("000000ff.10")
    new.write_bytes(encode_file_header("10", 255) + old.read_bytes()[FILE_HEADER_BYTES:])
    words = old_run.index.locations().words
    words[:, 4] = 255
    moved = Index.build(Sought.of(old_run.index.digests()), Locations(words))
    write_run(bench.directory / "runs" / "00000100.run", 256, [moved])

    def replace(transaction: WriteTransaction) -> None:
        put_blob_file(transaction, 255, BlobFileRow("10", row.end, row.owner, True))
        put_run(transaction, 256, RunRow(2000))
        remove_run(transaction, old_run.run_id)

    bench.db.update(replace)
    old.unlink()
    old_run.path.unlink()
    assert old_id != 255
    reader.files.clear()
    assert np.array_equal(reader.read_rows(digests, IMAGE, 784), rows)
    reader.files.clear()
    assert reader.read_one(digests[5].tobytes())[1].tobytes() == rows[5].tobytes()  # type: ignore[union-attr]
    reader.close()


def scan_files(bench: Bench) -> list[tuple[int, BlobFileRow]]:
    with bench.db.read() as transaction:
        return scan_blob_files(transaction)


def test_a_damaged_run_is_not_merged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its damage would get a good checksum."""
    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    monkeypatch.setattr(merging, "_MOST", 2)
    for seed in range(2):
        bench.add(texts(50 + seed, seed))
        bench.publish()
    victim = bench.directory / "runs" / bench.runs()[-1]
    flip(victim, 64 + 51 * 8 + 64 * 7 + 30, 3)
    bench.store.refresh()
    for seed in range(2, 5):
        bench.add(texts(50, seed))
        bench.publish()
    assert victim.name in bench.runs()
    with bench.db.read() as transaction:
        assert victim.name in [f"{run_id:08x}.run" for run_id, _ in scan_runs(transaction)]
    assert ["runs/" + victim.name] == [damage.file for damage in verify_files(bench.store)]
    for seed in range(2, 5):
        check_reads(bench.store, texts(50, seed)[1:])
