"""What is hashed block by block gets the digests, and is added in the order, of what is hashed in one piece."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from hangar import DiskFullError
from hangar.blobs import BlobWriter, ingest
from hangar.blobs.ingest import hash_and_write_list, hash_and_write_rows
from hangar.digest import BYTES, NDARRAY, STR, Header, blob_digest
from tests.alive import hangar_threads

ROWS = np.random.default_rng(3).integers(0, 256, (11, 20_000), dtype=np.uint8)
HEADER = Header(NDARRAY, 2, (20_000,))


class Recorder:
    """Stands for a writer: keeps what it is given, and may fail at one of the calls."""

    def __init__(self, fails_at: int = -1) -> None:
        self.blobs: list[tuple[Header, bytes, bytes]] = []
        self.calls = self.finished = 0
        self.fails_at = fails_at

    def begin_rows(
        self,
        tag: str,
        header: Header,
        rows: npt.NDArray[np.uint8],
        digests: npt.NDArray[np.uint8],
        options: Any,
    ) -> None:
        assert rows.flags.c_contiguous
        names = [digest.tobytes() for digest in digests]
        self.begin_list(tag, [header] * len(rows), list(rows), names, options)

    def begin_list(
        self,
        tag: str,
        headers: Sequence[Header],
        buffers: Sequence[Any],
        digests: Sequence[bytes],
        options: Any,
    ) -> None:
        assert (tag, options) == ("10", {"a": 1})
        assert len(headers) == len(buffers) == len(digests)
        assert threading.current_thread() is threading.main_thread()
        if self.calls == self.fails_at:
            raise DiskFullError("full")
        assert self.finished == self.calls
        self.calls += 1
        for header, buffer, digest in zip(headers, buffers, digests, strict=True):
            self.blobs.append((header, bytes(memoryview(buffer).cast("B")), digest))

    def finish(self) -> None:
        """Each block is finished before the next one begins; the last one by the caller."""
        self.finished = self.calls


@pytest.fixture(params=[1, 20_000, 65_000, 32 * 2**20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(ingest, "_BLOCK_BYTES", request.param)
    return cast("int", request.param)


def rows_into(recorder: Recorder, rows: npt.NDArray[np.uint8], header: Header = HEADER) -> npt.NDArray[np.uint8]:
    return hash_and_write_rows(cast("BlobWriter", recorder), "10", header, rows, {"a": 1})


@pytest.mark.parametrize("count", [0, 1, 2, 11])
def test_rows(block: int, count: int) -> None:
    recorder = Recorder()
    digests = rows_into(recorder, ROWS[:count])
    assert digests.shape == (count, 32)
    expected = [(HEADER, row.tobytes(), blob_digest(HEADER, row)) for row in ROWS[:count]]
    assert recorder.blobs == expected
    assert [digest.tobytes() for digest in digests] == [digest for _, _, digest in expected]
    assert recorder.calls == max(1, -(-count // max(1, block // 20_000)))


@pytest.mark.parametrize("size", [0, 100])
def test_short_rows_go_in_one_piece(block: int, size: int) -> None:
    recorder = Recorder()
    rows_into(recorder, np.zeros((5, size), np.uint8), Header(NDARRAY, 2, (size,)))
    assert (recorder.calls, len(recorder.blobs)) == (1, 5)


@pytest.mark.parametrize("short", [True, False])
def test_lists_of_many_sizes_and_headers(block: int, short: bool) -> None:
    rng = np.random.default_rng(4)
    sizes = rng.integers(0, 100 if short else 60_000, 30)
    headers = [Header(BYTES if size % 3 else STR, 0, ()) for size in sizes]
    buffers: list[Any] = [rng.bytes(size) if size % 2 else rng.integers(0, 9, (1, size), np.uint8) for size in sizes]
    recorder = Recorder()
    digests = hash_and_write_list(cast("BlobWriter", recorder), "10", headers, buffers, {"a": 1})
    expected = [blob_digest(header, buffer) for header, buffer in zip(headers, buffers, strict=True)]
    assert digests == expected
    assert [digest for _, _, digest in recorder.blobs] == expected
    assert [data for _, data, _ in recorder.blobs] == [bytes(memoryview(buffer).cast("B")) for buffer in buffers]
    if short or block == 32 * 2**20:
        assert recorder.calls == 1
    elif block == 1:
        assert recorder.calls > 25
    assert hash_and_write_list(cast("BlobWriter", recorder), "10", [], [], {"a": 1}) == []


@pytest.mark.parametrize("fails_at", [0, 1, 10])
def test_a_block_that_cannot_be_added_ends_it(monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    monkeypatch.setattr(ingest, "_BLOCK_BYTES", 20_000)
    recorder = Recorder(fails_at)
    with pytest.raises(DiskFullError):
        rows_into(recorder, ROWS)
    assert len(recorder.blobs) == fails_at
    assert not hangar_threads()


def test_the_next_block_is_hashed_while_one_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_BLOCK_BYTES", 20_000)
    steps: list[str] = []

    def hashing(header: Header, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        steps.append("hash")
        return np.zeros((len(rows), 32), np.uint8)

    class Steps(Recorder):
        def begin_rows(self, *arguments: Any, **named: Any) -> None:
            steps.append("begin")

        def finish(self) -> None:
            steps.append("finish")

    monkeypatch.setattr(ingest, "blob_digests", hashing)
    rows_into(Steps(), ROWS[:3])
    assert steps == ["hash", "finish", "begin"] * 3
