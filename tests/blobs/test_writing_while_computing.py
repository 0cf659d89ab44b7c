from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from hangar import _fs
from hangar.backends import append
from hangar.errors import DiskFullError
from tests.alive import hangar_threads
from tests.blobs.maker import IMAGE, Bench, check_reads, images, texts


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
    assert hangar_threads() == []
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)


def slow_writes(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writes on threads wait for the event."""
    go = threading.Event()
    original = _fs.write_at

    def waiting(*arguments: Any) -> int:
        assert threading.current_thread() is threading.main_thread() or go.wait(20)
        return original(*arguments)

    monkeypatch.setattr(_fs, "write_at", waiting)
    return go


def test_the_caller_goes_on_while_a_batch_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, digests = images(8_000)
    go = slow_writes(monkeypatch)
    bench.writer.begin_rows("10", IMAGE, rows, digests)
    assert not bench.store.known(digests).any()
    go.set()
    bench.writer.finish()
    assert bench.store.known(digests).all()
    bench.writer.finish()
    assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), rows)


@pytest.mark.parametrize("count", [10, 8_000])
@pytest.mark.parametrize("then", ["add", "prepare", "rollback", "close", "add_one"])
def test_a_batch_that_is_not_finished_is_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, count: int, then: str
) -> None:
    """Its caller failed, and may change the array: nothing may say that its blobs are stored. No thread goes on writing."""
    rows, digests = images(count)
    go = slow_writes(monkeypatch)
    bench.writer.begin_rows("10", IMAGE, rows, digests)
    go.set()
    kept = texts(3)[1:]
    if then == "add":
        bench.add(kept)
    elif then == "add_one":
        bench.add_singly(kept)
    else:
        getattr(bench.writer, then)()
    assert hangar_threads() == []
    rows[:] = 7
    assert not bench.store.known(digests).any()
    if then != "close":
        bench.add(kept)
        right, _ = images(count)
        bench.writer.add_rows("10", IMAGE, right, digests)
        bench.publish()
        assert np.array_equal(bench.store.read_rows(digests, IMAGE, 784), right)
        check_reads(bench.store, kept)


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


def test_many_bytes_begin_to_reach_the_disk_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sync in a thread, which is over when the one that counts begins; in one batch or in several, but not for few bytes."""
    synced: list[str] = []
    monkeypatch.setattr(append, "_EARLY_BYTES", 5 * 2**20)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(threading.current_thread().name))
    rows, digests = images(8_000)
    for start, stop in ((0, 3_000), (3_000, 6_000)):
        bench.writer.add_rows("10", IMAGE, rows[start:stop], digests[start:stop])
        assert "hangar-write-back" not in synced
    synced.clear()
    bench.writer.add_rows("10", IMAGE, rows[6_000:], digests[6_000:])
    bench.publish()
    assert synced[0] == "hangar-write-back"
    assert "MainThread" in synced[1:]
