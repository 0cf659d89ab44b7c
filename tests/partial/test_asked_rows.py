"""Small reads on demand: the rows that came are given to the read, held in memory, and written many batches at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import CorruptionError, NotLocalError
from hangar.remote import received
from hangar.remote.kept_open import KeptOpen
from hangar.remote.peer import BlobFrame, BlobNames
from tests.partial.reading import fetch_of, first_commit

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
COUNT = 2_000
ROWS = np.arange(COUNT * 12).reshape(COUNT, 12)
FLAGS = np.random.default_rng(0).random((COUNT, 90)) > 0.5
Bend = Callable[[BlobFrame], Iterator[BlobFrame]]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("origin")
    with first_commit(place) as co:
        co.add_ndarray_column("rows", (12,), np.int64).write(range(COUNT), ROWS)
        co.add_ndarray_column("flags", (90,), np.bool_).write(range(COUNT), FLAGS)
        co.add_ndarray_column("equal", (12,), np.int64).write(range(300), ROWS[np.arange(300) % 20] + 10**6)
    return place


@pytest.fixture(autouse=True)
def publish_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "_SECONDS", 60.0)


def held(checkout: Any) -> int:
    process = fetch_of(checkout)._process
    return 0 if process is None else process.received._held.in_memory


def test_held_rows_are_found_by_every_kind_of_read(clone: Repository) -> None:
    plain = clone.checkout()
    co = clone.checkout(fetch_on_read=True)
    rows = co["rows"]
    order = np.random.default_rng(1).permutation(COUNT)[:500]
    np.testing.assert_array_equal(rows.read(order), ROWS[order])
    assert held(co) == 500
    # A batch of which a part is here, into an array of the caller; and all others, which fetch nothing.
    into = np.zeros((600, 12), np.int64)
    rows.read([*order[:300], *range(1_700, COUNT)], out=into)
    np.testing.assert_array_equal(into, ROWS[[*order[:300], *range(1_700, COUNT)]])
    before = fetch_of(co).fetched
    here = sorted({*order.tolist(), *range(1_700, COUNT)})
    assert before == len(here)
    for reader in (co, plain):
        np.testing.assert_array_equal(reader["rows"].read(here), ROWS[here])
        np.testing.assert_array_equal(reader["rows"][here[7]], ROWS[here[7]])
        assert [key for key in reader["rows"].keys(local=True)] == here  # noqa: C416
    assert fetch_of(co).fetched == before
    assert held(co) == len(here)
    with pytest.raises(NotLocalError):
        plain["rows"].read(range(COUNT))
    assert clone.fsck(data=True).promised == 2 * COUNT + 20 - len(here)  # publishes
    assert held(co) == 0
    np.testing.assert_array_equal(plain["rows"].read(here), ROWS[here])
    co.close()


def test_equal_samples_and_bools(clone: Repository) -> None:
    with contextlib.closing(clone.checkout(fetch_on_read=True)) as co:
        np.testing.assert_array_equal(co["equal"].read(range(300)), ROWS[np.arange(300) % 20] + 10**6)
        assert fetch_of(co).fetched == 20
        np.testing.assert_array_equal(co["flags"].read(range(200)), FLAGS[:200])
    with contextlib.closing(clone.checkout()) as co:
        np.testing.assert_array_equal(co["flags"].read(range(200)), FLAGS[:200])


class Bent:
    """A remote that sends other frames than it should."""

    def __init__(self, peer: Any, bend: Bend) -> None:
        self._peer, self._bend = peer, bend

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        for frame in self._peer.blobs(names):
            yield from self._bend(frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peer, name)


def flipped(frame: BlobFrame) -> Iterator[BlobFrame]:
    data = bytearray(frame.data)
    data[-1] ^= 1
    yield dataclasses.replace(frame, data=bytes(data))


def exchanged(frame: BlobFrame) -> Iterator[BlobFrame]:
    """The bytes of one blob at the place of another one."""
    places = np.frombuffer(frame.places, "<u4").copy()
    places[[0, 1]] = places[[1, 0]]
    yield dataclasses.replace(frame, places=places.tobytes())


def placed(places: Callable[[Any], Any]) -> Bend:
    return lambda frame: iter(
        [dataclasses.replace(frame, places=places(np.frombuffer(frame.places, "<u4")).astype("<u4").tobytes())]
    )


WRONG: dict[str, Bend] = {
    "a byte": flipped,
    "exchanged": exchanged,
    "beyond the end": placed(lambda places: places + 10_000),
    "few places": placed(lambda places: places[1:]),
    "no place": placed(lambda places: places[:0]),
    "one place": placed(lambda places: places * 0),
    "twice": lambda frame: iter([frame, frame]),
    "lengths": lambda frame: iter([dataclasses.replace(frame, lengths=frame.lengths[:-8] + bytes(8))]),
}


@pytest.fixture
def bend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bend | None], None]:
    use = KeptOpen.use

    def change(how: Bend | None) -> None:
        @contextlib.contextmanager
        def bent(self: KeptOpen, name: str, row: Any) -> Iterator[Any]:
            with use(self, name, row) as peer:
                yield peer if how is None else Bent(peer, how)

        monkeypatch.setattr(KeptOpen, "use", bent)

    return change


@pytest.mark.parametrize("name", WRONG)
def test_nothing_wrong_is_kept_or_returned(clone: Repository, bend: Callable[[Bend | None], None], name: str) -> None:
    co = clone.checkout(fetch_on_read=True)
    bend(WRONG[name])
    with pytest.raises(CorruptionError, match="what the remote sent is not valid, and was not stored"):
        co["rows"].read(range(300))
    bend(None)
    np.testing.assert_array_equal(co["rows"].read(range(300)), ROWS[:300])
    co.close()
    report = clone.fsck(data=True)
    assert report.sound
    assert report.promised == 2 * COUNT + 20 - 300


def test_unusual_frames_come_the_general_way(clone: Repository, bend: Callable[[Bend | None], None]) -> None:
    """Frames of one blob each, some of which the remote leaves out: what nobody has is an error."""

    def single(frame: BlobFrame) -> Iterator[BlobFrame]:
        size, places = len(frame.data) // len(frame), np.frombuffer(frame.places, "<u4")
        for at, place in enumerate(places):
            one = frame.data[at * size : (at + 1) * size]
            if place % 3:
                yield dataclasses.replace(frame, data=one, places=place.tobytes(), lengths=frame.lengths[:8])

    bend(single)
    co = clone.checkout(fetch_on_read=True)
    with pytest.raises(NotLocalError):
        co["rows"].read(range(30))
    assert fetch_of(co).fetched == 20
    bend(lambda frame: iter([dataclasses.replace(frame, headers=(*frame.headers, frame.headers[0]))]))
    with pytest.raises(CorruptionError):  # a header that no blob has: refused where frames of all kinds are taken
        co["rows"].read(range(100, 130))
    bend(None)
    np.testing.assert_array_equal(co["rows"].read(range(130)), ROWS[:130])
    co.close()
    assert clone.fsck(data=True).sound


@pytest.mark.parametrize("most", [1, 2_000])
def test_much_is_written_before_it_is_published(clone: Repository, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Threads read, memory is bounded, and each sample is fetched about once and found again."""
    monkeypatch.setattr(received, "_HELD_BYTES", most)
    monkeypatch.setattr(received, "_MOST_HELD_BYTES", 4 * most)
    co = clone.checkout(fetch_on_read=True)
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        try:
            order = np.random.default_rng(seed).permutation(COUNT)
            for at in range(0, COUNT, 50):
                part = order[at : at + 50]
                np.testing.assert_array_equal(co["rows"].read(part), ROWS[part])
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert held(co) * 96 <= 4 * most + 4 * 50 * 96
    co.close()
    report = clone.fsck(data=True)
    assert report.sound
    assert report.promised == COUNT + 20
