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
from hangar.remote import blob_parts, blobs_in
from hangar.remote.peer import BlobFrame, BlobNames, Limits
from hangar.remote.service import Service
from hangar.remote.transfer import push
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

    def _blobs(self, frames: Iterator[BlobFrame]) -> Iterator[BlobFrame]:
        for frame in frames:
            self.frames += 1
            if self.frames == self._at:
                self._end()
            self.nbytes += len(frame.data)
            yield frame

    def _objects(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
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
    [left] = unfinished.unfinished_pushes(server.stores.directory)
    assert left.nbytes > nbytes * share * 0.7
    if how != "the client is interrupted":
        # Neither a writer nor garbage collection removes what may be continued.
        server.repo.checkout(write=True).close()
        server.repo.gc()
        assert left == unfinished.unfinished_pushes(server.stores.directory)[0]
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
