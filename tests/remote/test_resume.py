"""Transfers that go on after a restart of either side: what came before is not sent again, and nobody else sees it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.blobs import unfinished
from hangar.db.tables import META
from hangar.digest import Digest, Header
from hangar.errors import InvalidInputError, ResourceLimitError
from hangar.objects.records import load_commit
from hangar.remote import blob_parts, blobs_in, push_room
from hangar.remote.peer import ABSENT, BlobFrame, BlobNames, Limits, PushStart
from hangar.remote.selection import all_blobs
from hangar.remote.service import Service
from hangar.remote.transfer import push
from tests.remote.hostile import History
from tests.remote.test_killed import killed, opened
from tests.remote.world import WHO, Place, places, update

SMALL = Limits(frame_bytes=16_384)
IMAGES = 600


def fill(writer: Any) -> None:
    rng = np.random.default_rng(5)
    for backend in ("00", "10"):
        image = writer.add_ndarray_column(f"image-{backend}", (28, 28), np.uint8, backend=backend)
        image.write(list(range(IMAGES)), rng.integers(0, 256, (IMAGES, 28, 28), np.uint8))
    text = writer.add_str_column("text")
    text.write(list(range(100)), [hashlib.sha256(bytes([n])).hexdigest() * 5 for n in range(100)])


def fill_large(writer: Any) -> None:
    rng = np.random.default_rng(6)
    column = writer.add_bytes_column("large")
    column[0] = rng.bytes(3_000_000)
    column[1] = rng.bytes(2_000_000)


class Counted:
    """A peer that counts what goes through it, and ends this process, or the call, at some blob frame."""

    def __init__(self, service: Service, at: int = 0, end: Callable[[], None] | None = None) -> None:
        self._service = service
        self._at = at
        self._end = end or (lambda: os.kill(os.getpid(), signal.SIGKILL))
        self.frames = self.nbytes = self.objects = 0
        self.object_frames: list[Any] = []

    def _blobs(self, frames: Iterator[BlobFrame]) -> Iterator[BlobFrame]:
        for frame in frames:
            self.frames += 1
            if self.frames == self._at:
                self._end()
            self.nbytes += len(frame.data)
            yield frame

    def _objects(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            self.object_frames.append(frame)
            self.objects += len(frame.items)
            yield frame

    def send_blobs(self, name: bytes, frames: Iterator[BlobFrame]) -> int:
        return self._service.send_blobs(name, self._blobs(frames))

    def send_objects(self, name: bytes, frames: Iterator[Any]) -> Any:
        return self._service.send_objects(name, self._objects(frames))

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        return self._blobs(self._service.blobs(names))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)


@pytest.fixture(scope="module", params=[fill, fill_large])
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty server, and a client with one commit."""
    root = tmp_path_factory.mktemp("origin")
    with places(root, "server", "client") as (_, client):
        client.commit(request.param)
    return root


def push_master(client: Place, server: Place, peer: Any = None) -> Any:
    moves = [update("heads/master", server.head(), client.head())]
    return push(client.stores, peer or server.service, moves, who=WHO, limits=SMALL)


def both(root: Path) -> tuple[Place, Place]:
    return opened(root / "client"), opened(root / "server")


def stop(*those: Place) -> None:
    for place in those:
        place.close()


def interrupt() -> None:
    raise KeyboardInterrupt


def frames_of_a_push(origin: Path, place: Path) -> tuple[int, int]:
    """Frames of blobs of a whole push, and their bytes."""
    shutil.copytree(origin, place)
    client, server = both(place)
    peer = Counted(server.service)
    push_master(client, server, peer)
    stop(client, server)
    return peer.frames, peer.nbytes


def kill_push(client: Place, server: Place, at: int) -> int:
    push_master(client, server, Counted(server.service, at))
    return 0


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the blobs were some hundred times larger."""
    monkeypatch.setattr(blobs_in, "_BATCH_BYTES", 40_000)
    monkeypatch.setattr(blob_parts, "MEMORY_BYTES", 100_000)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("how", ["the server dies", "the server stops", "the client is interrupted"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_push_goes_on(tmp_path: Path, origin: Path, how: str, share: float) -> None:
    frames, nbytes = frames_of_a_push(origin, tmp_path / "whole")
    at = int(frames * share) + 1
    assert frames > 8
    root = tmp_path / "r"
    shutil.copytree(origin, root)
    if how == "the server dies":
        assert killed(root, kill_push, at)
    client, server = both(root)
    if how != "the server dies":
        with pytest.raises(KeyboardInterrupt):
            push_master(client, server, Counted(server.service, at, interrupt))
    if how == "the server stops":
        server.service.close()
        server.service = Service(server.stores, limits=SMALL)
    assert server.head() is None
    [left] = pushes(server)
    assert left.nbytes > nbytes * share * 0.7
    if how != "the client is interrupted":
        # Neither a writer nor garbage collection removes what may be continued.
        server.repo.checkout(write=True).close()
        server.repo.gc()
        assert left == pushes(server)[0]
        report = server.repo.fsck(data=True)
        assert not report.problems
        brought = [note for note in report.notes if "an unfinished push brought this file" in note.detail]
        assert len(brought) == len(left.blob_files)
    again = Counted(server.service)
    push_master(client, server, again)
    assert again.objects == 0
    assert again.nbytes <= nbytes * (1 - share) + 80_000
    head = server.head()
    assert head is not None
    assert head == client.head()
    assert server.content(head) == client.content(head)
    server.check()
    stop(client, server)


# ------------------------------------------------------------------------------------------------ what others see of it


def half_pushed(root: Path) -> tuple[Place, Place]:
    """A client of which a push was interrupted, and the server, which was started again since."""
    client, server = both(root)
    frames = Counted(server.service, 14, interrupt)
    with pytest.raises(KeyboardInterrupt):
        push_master(client, server, frames)
    server.service.close()
    server.service = Service(server.stores, limits=SMALL)
    return client, server


@pytest.fixture
def half(tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Place]]:
    monkeypatch.setattr(blobs_in, "_BATCH_BYTES", 40_000)
    monkeypatch.setattr(blob_parts, "MEMORY_BYTES", 100_000)
    shutil.copytree(origin, tmp_path / "half")
    client, server = half_pushed(tmp_path / "half")
    yield client, server
    stop(client, server)


def blobs_of(place: Place) -> bytes:
    head = place.head()
    assert head is not None
    return b"".join(all_blobs(place.stores, one).tobytes() for one in load_commit(place.stores.db, head).columns)


def test_nobody_else_sees_or_uses_what_came(half: tuple[Place, Place], tmp_path: Path) -> None:
    client, server = half
    head = client.head()
    assert head is not None
    names = BlobNames(blobs_of(client))
    # Continued, so that the server has it in hand, and not finished.
    server.service.begin_push(PushStart(b"x" * 16, (update("heads/x", None, head),)))
    with pytest.raises(KeyboardInterrupt):
        push_master(client, server, Counted(server.service, 2, interrupt))
    sizes = np.frombuffer(server.service.blob_sizes(names), "<u8")
    assert (sizes == ABSENT).all()
    assert not list(server.service.blobs(names))
    # Another client with the same data is asked for all of it.
    shutil.copytree(client.path, tmp_path / "other")
    client.service.close()
    other = opened(tmp_path / "other")
    other.stores.db.update(lambda transaction: transaction.delete(META, b"push key"))
    peer: Any = Counted(server.service)
    push(other.stores, peer, [update("heads/other", None, head)], who=WHO, limits=SMALL)
    assert peer.objects > 0
    assert peer.nbytes == sum(len(frame.data) for frame in other.service.blobs(names))
    other.close()
    push_master(client, server)
    server.service.abort_push(b"x" * 16)
    server.check()


def test_a_copy_of_a_clone_pushes_for_itself(half: tuple[Place, Place], tmp_path: Path) -> None:
    client, server = half
    shutil.copytree(client.path, tmp_path / "copy")
    other = opened(tmp_path / "copy")
    peer: Any = Counted(server.service)
    push_master(other, server, peer)
    assert peer.objects > 0
    assert server.head() == client.head()
    other.close()


def test_a_continued_push_that_is_refused_leaves_nothing(half: tuple[Place, Place]) -> None:
    client, server = half
    server.service.close()
    server.service = Service(server.stores, limits=SMALL)
    [left] = pushes(server)
    name = bytes.fromhex(left.name.removeprefix(unfinished.PUSH))
    server.service.begin_push(PushStart(name, (update("heads/master", None, client.head()),)))
    with pytest.raises(InvalidInputError):
        server.service.send_blobs(name, iter([BlobFrame((b"\1\1\0",), b"", (9).to_bytes(8, "little"), b"123456789")]))
    assert not pushes(server)
    assert not [path for path in left.blob_files if path.exists()]
    again = Counted(server.service)
    push_master(client, server, again)
    assert again.objects > 0
    server.check()


@pytest.mark.parametrize("what", [".objects", ".blobs", ".part", "blob file", "all cut", "gone"])
def test_damaged_leftovers_are_sent_again(half: tuple[Place, Place], what: str) -> None:
    client, server = half
    [left] = pushes(server)
    rng = np.random.default_rng(len(what))
    for path in (*left.files, *left.blob_files):
        if path.suffix == what or (what == "blob file" and path in left.blob_files):
            data = bytearray(path.read_bytes())
            for at in rng.integers(len(data) // 8, len(data), 30).tolist():
                data[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(data)
        elif what == "all cut":
            os.truncate(path, path.stat().st_size * 2 // 3)
        elif what == "gone" and path in left.blob_files:
            path.unlink()
    push_master(client, server)
    head = server.head()
    assert head == client.head()
    assert head is not None
    assert server.content(head) == client.content(head)
    server.check()


# ------------------------------------------------------------------------------------------------ how long, and how much


def age(place: Place, hours: float) -> None:
    for one in unfinished.unfinished_pushes(place.stores.directory):
        for path in (*one.files, *one.blob_files):
            then = path.stat().st_mtime - hours * 3_600
            os.utime(path, (then, then))


@pytest.mark.parametrize("who", ["gc", "the server", "a purge"])
def test_what_nobody_continues_is_deleted(half: tuple[Place, Place], who: str) -> None:
    client, server = half
    age(server, 71)
    server.repo.gc()
    [left] = pushes(server)
    if who == "a purge":
        # It may have brought what is to be erased.
        server.commit(lambda writer: writer.add_bytes_column("b").update({0: b"x" * 100}))
        server.repo.purge("b", [0], reason="a test")
    else:
        age(server, 2)
    if who == "gc":
        server.repo.gc()
    elif who == "the server":
        server.service.begin_push(PushStart(b"y" * 16, (update("heads/y", None, client.head()),)))
        server.service.abort_push(b"y" * 16)
    assert not pushes(server)
    assert not [path for path in left.blob_files if path.exists()]
    server.check()


def test_the_space_of_unfinished_pushes_is_bounded(half: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = half
    monkeypatch.setattr(push_room, "_STEP_BYTES", 10_000)
    [left] = pushes(server)
    # Another push needs the space, and an old one that nobody works on gives way.
    head = client.head()
    service = Service(server.stores, limits=SMALL, push_bytes=left.nbytes + 100_000)
    with pytest.raises(ResourceLimitError, match="raise unfinished-gb"):
        push(client.stores, service, [update("heads/other", None, head)], who=WHO, limits=SMALL)
    assert left.name not in [one.name for one in pushes(server)]
    assert sum(one.nbytes for one in pushes(server)) < left.nbytes + 200_000
    service.close()
    push_master(client, server)
    server.forget_pushes()
    server.check()


def test_a_received_blob_is_of_no_other_type(tmp_path: Path) -> None:
    """A tree is named by two columns of different types: its blobs come for the right one, and are checked for the other."""

    def columns(writer: Any) -> None:
        writer.add_ndarray_column("a", (100,), np.uint8).write([0], np.ones((1, 100), np.uint8))
        writer.add_ndarray_column("b", (50,), np.uint16).write([0], np.ones((1, 50), np.uint16))

    with places(tmp_path, "server", "client") as (server, client):
        head = client.commit(columns)
        peer = Counted(server.service, 1, interrupt)
        with pytest.raises(KeyboardInterrupt):
            push_master(client, server, peer)
        [name] = [bytes.fromhex(one.name.removeprefix(unfinished.PUSH)) for one in pushes(server)]
        server.service.abort_push(name)
        a, b = (one.root or b"" for one in load_commit(client.stores.db, head).columns)
        history = History(peer.object_frames, head)
        frames, changed = history.frames(head, lambda data: data.replace(b, a))
        missing = server.service.begin_push(PushStart(name, (update("heads/master", None, Digest(changed)),))).missing
        missing = server.service.send_objects(name, iter(frames))
        assert [one.group for one in missing.blobs] == [0, 1]
        right = next(one for one in missing.blobs if fits_first(server, name, client, one))
        server.service.send_blobs(name, client.service.blobs(right))
        with pytest.raises(InvalidInputError, match="another type"):
            server.service.missing(name)
        assert not pushes(server)
        server.check()


def fits_first(server: Place, name: bytes, client: Place, names: BlobNames) -> bool:
    """Whether the server takes the blobs for a group, found out on a copy of the question."""
    [frame] = list(client.service.blobs(names))
    session = server.service._pushes[name]
    return session._fits(names.group, Header.decode(frame.headers[0]), 100)


def pushes(place: Place) -> list[unfinished.UnfinishedPush]:
    return unfinished.unfinished_pushes(place.stores.directory)
