from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from hangar import _fs
from hangar.errors import DiskFullError, InvalidInputError
from tests.blobs.maker import IMAGE, Bench, images


def test_a_large_batch_is_written_while_it_is_summed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, digests = images(8_000)
    threads = []
    original = _fs.write_at

    def watched(descriptor: int, buffers: list[bytes], offset: int, path: str) -> int:
        threads.append(threading.current_thread().name)
        return original(descriptor, buffers, offset, path)

    monkeypatch.setattr(_fs, "write_at", watched)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    assert threads == ["MainThread", "hangar-write"]
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)
    bench.publish()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("hangar")] == []
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)


def test_what_is_done_meanwhile_is_done_once(bench: Bench) -> None:
    rows, digests = images(8_000)
    names = [digest.tobytes() for digest in digests]
    done: list[str] = []
    bench.writer.add_rows("10", IMAGE, rows, digests, meanwhile=lambda: done.append("large"))
    bench.writer.add_rows("10", IMAGE, rows, digests, meanwhile=lambda: done.append("known"))
    more, others = images(8_010)
    bench.writer.add_rows("10", IMAGE, more[8_000:], others[8_000:], meanwhile=lambda: done.append("small"))
    bench.writer.add_list("10", IMAGE, list(rows), names, meanwhile=lambda: done.append("list"))
    bench.writer.add_list("10", IMAGE, [], [], meanwhile=lambda: done.append("none"))
    assert done == ["large", "known", "small", "list", "none"]


def test_what_fails_meanwhile_adds_nothing(bench: Bench) -> None:
    rows, digests = images(8_000)

    def fail() -> None:
        raise InvalidInputError("meanwhile")

    for count in (10, 8_000):
        with pytest.raises(InvalidInputError, match="meanwhile"):
            bench.writer.add_rows("10", IMAGE, rows[:count], digests[:count], meanwhile=fail)
    assert not bench.store.known(digests).any()
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)


def test_a_full_disk_under_a_large_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, digests = images(8_000)
    bench.writer.add_rows("10", IMAGE, rows[:1], digests[:1])

    def full(*arguments: object) -> int:
        raise DiskFullError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(_fs, "write_at", full)
        with pytest.raises(DiskFullError):
            bench.writer.add_rows("10", IMAGE, rows, digests)
    assert bench.store.known(digests).sum() == 1
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)


def test_a_large_batch_begins_to_reach_the_disk_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sync in a thread, which is over when the one that counts begins; a small batch takes none."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(threading.current_thread().name))
    rows, digests = images(8_000)
    bench.writer.add_rows("10", IMAGE, rows[:1_000], digests[:1_000])
    assert "hangar-write-back" not in synced
    synced.clear()
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    assert synced[0] == "hangar-write-back"
    assert "MainThread" in synced[1:]
