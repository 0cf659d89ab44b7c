"""Blob files that killed writers left: removed by the next writer, unless somebody writes them."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository, _fs
from hangar.backends import get_backend
from hangar.blobs import BlobWriter, OwnFiles
from hangar.blobs.orphans import remove_orphans
from hangar.errors import StorageError
from hangar.publishing import publish
from tests.blobs.maker import Bench, check_reads, texts
from tests.blobs.test_two_writers import add
from tests.processes import child, in_child


@pytest.mark.parametrize("tag", ["00", "01", "10"])
def test_a_killed_batch_leaves_nothing_for_long(tmp_path: Path, tag: str) -> None:
    """A batch of over 64 MB writes to its file before it is published."""

    def write(talk: Connection) -> None:
        repo = Repository(tmp_path, exists=False)
        repo.init("Ann", "ann@example.org")
        writer = repo.checkout(write=True)
        column = writer.add_ndarray_column("data", (2**20,), np.uint8, backend=tag)
        with column:
            column.write(range(66), np.random.default_rng(0).integers(0, 256, (66, 2**20), np.uint8))
            talk.send(None)
            signal.pause()

    with child(write) as process:
        process.receive()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def look() -> None:
        (path,) = (tmp_path / ".hangar" / "blobs").iterdir()
        assert path.stat().st_size > 2**26
        repo = Repository(tmp_path)
        report = repo.fsck()
        assert report.sound
        assert [note.file for note in report.notes] == [f"blobs/{path.name}"]
        writer = repo.checkout(write=True)
        writer["data"][1] = np.zeros(2**20, np.uint8)
        writer.commit("one")
        writer.close()
        left = [one.stat().st_size for one in (tmp_path / ".hangar" / "blobs").iterdir()]
        assert len(left) == 1
        assert left[0] < 2**21
        assert repo.verify_repo_integrity()

    in_child(look)


def test_a_file_that_somebody_writes_is_no_orphan(bench: Bench) -> None:
    fetch = BlobWriter(bench.store, OwnFiles())
    blobs = texts(30, 1)[1:]
    add(fetch, blobs)
    assert remove_orphans(bench.db, bench.directory) == 0
    add(bench.writer, texts(30, 2)[1:])
    bench.publish()
    assert len(bench.files()) == 2
    publish(bench.db, OwnFiles(), fetch)
    check_reads(bench.store, blobs + texts(30, 2)[1:])
    fetch.close()


def test_what_is_no_blob_file_stays(bench: Bench) -> None:
    place = bench.directory / "blobs"
    add(bench.writer, texts(30, 1)[1:])
    bench.publish()
    kept = ["notes.txt", "0000000z.10", "00000009", "123.10"]
    (blob_file,) = bench.files()
    kept += [f"{blob_file}.bak", f"{blob_file.partition('.')[0]}.bak", "00000009.10.bak"]
    for name in kept:
        (place / name).write_bytes((place / blob_file).read_bytes())
    (place / "00000009.10").write_bytes(b"begun")
    assert remove_orphans(bench.db, bench.directory) == 1
    assert {*kept} < {path.name for path in place.iterdir()}
    assert {blob_file, *kept} == {path.name for path in place.iterdir()}


def test_a_new_file_that_is_taken_for_an_orphan_gets_another_id(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its making and its lock another writer looks for orphans."""
    create = _fs.create_file
    removed: list[Path] = []

    def create_and_lose(path: Path) -> int:
        descriptor = create(path)
        if not removed:
            removed.append(path)
            assert remove_orphans(bench.db, bench.directory) == 1
        return descriptor

    (bench.directory / "blobs").mkdir()
    fetch = BlobWriter(bench.store, OwnFiles())
    monkeypatch.setattr(_fs, "create_file", create_and_lose)
    add(fetch, texts(30)[1:])
    publish(bench.db, OwnFiles(), fetch)
    fetch.close()
    assert removed[0].name not in bench.files()
    check_reads(bench.store, texts(30)[1:])
    removed.clear()
    with pytest.raises(StorageError):
        get_backend("10").open_writer(bench.directory / "blobs" / "00000077.10", 0x77, None)
