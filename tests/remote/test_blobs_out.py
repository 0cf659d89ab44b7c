"""How blobs are read to be sent: neighbours with one call and not from the map, others as before, damage found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar.backends.location import OFFSET
from hangar.blobs.index import Sought
from hangar.blobs.locator import Locator
from hangar.errors import CorruptionError
from hangar.remote.blobs_out import blob_frames
from hangar.remote.peer import BlobNames, Limits
from tests.blobs.conftest import bench as bench  # noqa: PLC0414  (a fixture)
from tests.blobs.maker import IMAGE, Bench, images

LIMITS = Limits(frame_bytes=10_000, frame_items=2**16)


def sent(bench: Bench, wanted: Any) -> dict[int, bytes]:
    """The blobs that are sent, by their places in the request."""
    found: dict[int, bytes] = {}
    for frame in blob_frames(bench.store, BlobNames(wanted.tobytes()), LIMITS):
        assert len(frame.data) <= LIMITS.frame_bytes
        view, at = memoryview(frame.data), 0
        for place, size in zip(np.frombuffer(frame.places, "<u4"), np.frombuffer(frame.lengths, "<u8"), strict=True):
            assert int(place) not in found
            found[int(place)] = bytes(view[at : at + int(size)])
            at += int(size)
    return found


@pytest.mark.parametrize("tag", ["10", "00"])
def test_what_is_sent_is_what_is_stored(bench: Bench, tag: str) -> None:
    rows, digests = images(300)
    options = {} if tag == "10" else {"complib": "blosc:lz4", "complevel": 5, "shuffle": "byte"}
    for part in (slice(0, 200), slice(200, 300)):
        bench.writer.add_rows(tag, IMAGE, rows[part], digests[part], options)
    bench.publish()
    for which in (np.arange(300), np.arange(299, -1, -3), np.array([7]), np.array([5, 6, 7, 9, 10, 250])):
        found = sent(bench, digests[which])
        assert found == {place: rows[at].tobytes() for place, at in enumerate(which.tolist())}


def test_neighbours_are_read_without_the_map_and_verified(bench: Bench) -> None:
    rows, digests = images(100)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    words = bench.store.locator.locate_published(Sought.of(digests)).words
    assert np.array_equal(bench.store.read_apart(words, IMAGE, 784), rows)  # type: ignore[arg-type]
    assert bench.store.read_apart(words[::-1].copy(), IMAGE, 784) is None
    assert bench.store.read_apart(words[[0, 2]], IMAGE, 784) is None
    assert bench.store.read_apart(words, IMAGE, 783) is None
    (path,) = bench.directory.glob("blobs/*.10")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert bench.store.read_apart(words, IMAGE, 784) is None
    with pytest.raises(CorruptionError, match=digests[99].tobytes().hex()[:8]):
        sent(bench, digests)


def test_samples_that_lie_far_apart_are_read_without_the_map(bench: Bench) -> None:
    rows, digests = images(2_000)
    bench.writer.add_rows("10", IMAGE, rows, digests)
    bench.publish()
    words = bench.store.locator.locate_published(Sought.of(digests)).words
    which = np.array([0, 1, 2, 700, 1400, 1401, 1999])
    assert np.array_equal(bench.store.read_apart(words[which], IMAGE, 784), rows[which])  # type: ignore[arg-type]
    assert bench.store.read_apart(words[::2].copy(), IMAGE, 784) is None  # fewer calls with the map
    assert bench.store.read_apart(words[which[::-1]], IMAGE, 784) is None
    (path,) = bench.directory.glob("blobs/*.10")
    data = bytearray(path.read_bytes())
    data[int(words[700, OFFSET])] ^= 1
    path.write_bytes(data)
    assert bench.store.read_apart(words[which], IMAGE, 784) is None
    with pytest.raises(CorruptionError, match=digests[700].tobytes().hex()[:8]):
        sent(bench, digests[which])


def test_a_large_batch_is_located_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, digests = images(3_000)
    for part in (slice(0, 1_500), slice(1_500, 2_900)):
        bench.writer.add_rows("10", IMAGE, rows[part], digests[part])
        bench.publish()
    locator = bench.store.locator
    monkeypatch.setattr("hangar.blobs.locator._SMALL_BATCH", 100)
    monkeypatch.setattr("hangar.blobs.locator._PIECE_BYTES", 2**15)
    calls: list[int] = []
    release = Locator.release_pages

    def counted(self: Locator) -> None:
        calls.append(1)
        release(self)

    monkeypatch.setattr(Locator, "release_pages", counted)
    found = locator.locate_sparingly(Sought.of(digests[::-1].copy()))
    right = locator.locate_published(Sought.of(digests[::-1].copy()))
    assert len(calls) >= 4
    assert np.array_equal(found.words, right.words)
    assert found.missing.tolist() == right.missing.tolist() == list(range(100))
