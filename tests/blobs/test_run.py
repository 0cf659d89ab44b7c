from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from hangar import _fs
from hangar.backends import Locations
from hangar.blobs import run
from hangar.blobs.index import Index, Sought, sort_digests
from hangar.blobs.run import Run, run_bytes, write_run
from hangar.errors import CorruptionError, HangarError, PathNotFoundError, StorageError, UnsupportedVersionError


def made(count: int = 50, seed: int = 0) -> tuple[Index, list[bytes]]:
    digests = np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)
    locations = Locations.at(file=1, offset=np.arange(count), length=7)
    locations.set_checks(1, np.arange(count))
    order, sought, _ = sort_digests(digests)
    return Index.build(sought, locations.take(order)), [bytes(digest) for digest in digests]


def test_what_was_written_is_found(tmp_path: Path) -> None:
    index, digests = made()
    path = tmp_path / "00000003.run"
    write_run(path, 3, [index])
    assert path.stat().st_size == run_bytes(50) == 64 + 72 * 50
    opened = Run(path, 3, 50)
    opened.verify()
    for offset, digest in enumerate(digests):
        found = opened.index.locate_one(digest, int.from_bytes(digest[:8], "big"))
        assert found == (offset, offset, 7, 1, 1)
    assert np.array_equal(opened.index.digests(), index.digests())


def test_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "00000003.run"
    write_run(path, 3, [made()[0]])
    for run_id, count in ((4, 50), (3, 49), (3, 51), (3, 2**40)):
        with pytest.raises(CorruptionError):
            Run(path, run_id, count)
    with pytest.raises(PathNotFoundError):
        Run(tmp_path / "00000004.run", 4, 50)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    from hangar.digest import checksum

    path = tmp_path / "00000003.run"
    write_run(path, 3, [made()[0]])
    data = bytearray(path.read_bytes())
    data[8] = 1
    data[56:64] = checksum(bytes(data[:56]), 0).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(UnsupportedVersionError):
        Run(path, 3, 50)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "00000003.run"
    write_run(path, 3, [made()[0]])
    whole = path.read_bytes()
    source = random.Random(0)
    for place in [*range(64), *(source.randrange(64, len(whole)) for _ in range(200))]:
        data = bytearray(whole)
        data[place] ^= 1 << source.randrange(8)
        path.write_bytes(data)
        with pytest.raises((CorruptionError, UnsupportedVersionError)):
            Run(path, 3, 50).verify()


def test_garbage_gives_nothing_but_errors(tmp_path: Path) -> None:
    """Searching an unverified, damaged run finds what it finds, and never breaks."""
    index, digests = made()
    path = tmp_path / "00000003.run"
    write_run(path, 3, [index])
    whole = path.read_bytes()
    source = random.Random(1)
    asked = Sought.of(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32))
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(source.choice((1, 30, 1000))):
            data[source.randrange(len(data))] = source.randrange(256)
        path.write_bytes(data[: source.choice((len(data), source.randrange(len(data))))])
        try:
            opened = Run(path, 3, 50)
        except HangarError:
            continue
        opened.index.search(asked)
        opened.index.locate_all(asked)
        for digest in digests:
            opened.index.locate_one(digest, int.from_bytes(digest[:8], "big"))


def test_a_run_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(HangarError):
        write_run(tmp_path / "00000003.run", 3, [made()[0]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("counts", [(500,), (1, 499), (300, 150, 50), (100, 400, 3), (64, 64, 64, 64, 64)])
def test_large_runs_are_merged_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...]
) -> None:
    """The result is the same, byte for byte, however much is in memory at a time; digests may be in several runs."""
    indexes = [made(count, seed // 2)[0] for seed, count in enumerate(counts)]
    for first in (5, 9):
        crowded = indexes[0].digests().copy()
        crowded[:, 0] = first
        order, sought, _ = sort_digests(crowded)
        indexes.append(Index.build(sought, indexes[0].locations().take(order)))
    whole = tmp_path / "whole"
    count = write_run(whole, 3, indexes)
    assert count == len({bytes(digest) for index in indexes for digest in index.digests()})
    for size in (1, 7, 100):
        monkeypatch.setattr(run, "_PIECE_BLOBS", size)
        path = tmp_path / str(size)
        assert write_run(path, 3, indexes) == count
        assert path.read_bytes() == whole.read_bytes()
        Run(path, 3, count).verify()


def test_a_large_run_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PIECE_BLOBS", 10)

    def fail(descriptor: int, path: Path) -> None:
        raise StorageError("no")

    monkeypatch.setattr(_fs, "sync_file", fail)
    with pytest.raises(StorageError):
        write_run(tmp_path / "00000003.run", 3, [made()[0]])
    assert list(tmp_path.iterdir()) == []


def test_runs_that_are_out_of_order_are_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PIECE_BLOBS", 10)
    index = made()[0]
    shuffled = Index(index.prefixes[::-1].copy(), index.entries)
    with pytest.raises(CorruptionError, match="not in order"):
        write_run(tmp_path / "00000003.run", 3, [shuffled])
    assert list(tmp_path.iterdir()) == []
