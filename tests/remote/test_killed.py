"""A push or a fetch that is killed at any message: all or nothing is visible, nothing is damaged, and doing it again completes (row 16)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.digest import Digest
from hangar.remote.peer import Limits
from hangar.remote.service import Service
from hangar.remote.transfer import push
from tests.remote.world import WHO, Place, fetch, fetch_data, places, update

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only", "ignore:.*fork")
SMALL = Limits(frame_bytes=4_000)


def fill(writer: Any) -> None:
    rng = np.random.default_rng(3)
    image = writer.add_ndarray_column("image", (20, 20), np.uint8)
    image.write(list(range(150)), rng.integers(0, 256, (150, 20, 20), np.uint8))
    label = writer.add_ndarray_column("label", (), np.int64)
    label.write(list(range(2_000)), np.arange(2_000))
    writer.add_bytes_column("raw")["large"] = rng.bytes(30_000)


class Fatal:
    """A peer with which this process dies at a message: a call, its answer, or a frame in either direction."""

    def __init__(self, service: Service, at: int) -> None:
        self._service = service
        self._at = at
        self.messages = 0

    def _message(self) -> None:
        self.messages += 1
        if self.messages == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _through(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            self._message()
            yield frame

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)

        def call(*arguments: Any) -> Any:
            self._message()
            arguments = tuple(self._through(one) if hasattr(one, "__next__") else one for one in arguments)
            answer = found(*arguments)
            if hasattr(answer, "__next__"):
                return self._through(answer)
            self._message()
            return answer

        return call


def opened(path: Path) -> Place:
    """A repository that exists, with small frames."""
    return Place.opened(path, SMALL)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a server that has one commit, and a client that has another one on it."""
    root = tmp_path_factory.mktemp("origin")
    with places(root, "server", "client") as (server, client):
        server.commit(lambda writer: writer.add_ndarray_column("base", (), np.uint8).write([0], np.zeros(1, np.uint8)))
        fetch(client, server.service)
        client.repo.create_branch("work", base_commit="origin/master")
        client.commit(fill, "work")
    return root


def push_work(client: Place, server: Place, at: int) -> int:
    """Push the branch work to master, and die at a message; returns how many there are."""
    peer = Fatal(server.service, at)
    push(client.stores, peer, [update("heads/master", server.head(), client.head("work"))], who=WHO, limits=SMALL)
    return peer.messages


def fetch_work(client: Place, server: Place, at: int) -> int:
    """Fetch the branch master of the client, history and data, and die at a message; returns how many there are."""
    peer: Any = Fatal(client.service, at)
    fetch(server, peer, ["work"])
    head = client.head("work")
    assert head is not None
    fetch_data(server, peer, head)
    return int(peer.messages)


def killed(root: Path, what: Callable[[Place, Place, int], int], at: int) -> bool:
    """Do it in a process of its own, which dies at a message; returns whether it did."""
    pid = os.fork()
    if pid == 0:
        try:
            what(opened(root / "client"), opened(root / "server"), at)
            os._exit(0)
        except BaseException:  # noqa: BLE001
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert not (os.WIFEXITED(status) and os.WEXITSTATUS(status))
    return os.WIFSIGNALED(status)


def sample(messages: int, count: int) -> list[int]:
    """Some of the messages: the first and the last ones, and others between them."""
    ends = {1, 2, 3, messages - 2, messages - 1, messages}
    rng = np.random.default_rng(count)
    return sorted(ends | set(rng.integers(1, messages + 1, max(0, count - len(ends))).tolist()))


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("what", [push_work, fetch_work])
def test_killed_at_any_message(
    tmp_path: Path, origin: Path, what: Callable[[Place, Place, int], int], count: int
) -> None:
    shutil.copytree(origin, tmp_path / "whole")
    client, server = opened(tmp_path / "whole" / "client"), opened(tmp_path / "whole" / "server")
    before, after = server.head(), client.head("work")
    messages = what(client, server, 0)
    assert messages > 20
    content = client.content(Digest(after or b""))
    client.close()
    server.close()
    for at in sample(messages, count):
        root = tmp_path / "killed"
        shutil.copytree(origin, root)
        assert killed(root, what, at)
        client, server = opened(root / "client"), opened(root / "server")
        name = "heads/master" if what is push_work else "remotes/origin/work"
        assert server.stores.refs.get(name) in (before if what is push_work else None, after), at
        for place in (client, server):
            assert not place.repo.fsck(data=True).problems, at
        if server.stores.refs.get(name) != after:
            what(client, server, 0)
        assert server.stores.refs.get(name) == after
        if what is fetch_work:
            fetch_data(server, client.service, Digest(after or b""))
        assert server.content(Digest(after or b"")) == content, at
        # A writer, and garbage collection, remove what the dead process left.
        server.commit(lambda writer: writer.add_str_column("later"), message="later")
        server.repo.gc()
        assert not server.repo.fsck(data=True).problems, at
        assert not list((root / "server" / ".hangar" / "leases").glob("*")), at
        client.close()
        server.close()
        shutil.rmtree(root)


def test_a_killed_client_is_forgotten(tmp_path: Path, origin: Path) -> None:
    """The server goes on after a client that vanished in the middle of a stream, and takes the same push again."""
    shutil.copytree(origin, tmp_path / "r")
    client, server = opened(tmp_path / "r" / "client"), opened(tmp_path / "r" / "server")

    class Vanishing(Fatal):
        def _message(self) -> None:
            self.messages += 1
            if self.messages == self._at:
                raise KeyboardInterrupt

    wanted = update("heads/master", server.head(), client.head("work"))
    for at in range(1, 1_000, 5):
        try:
            push(client.stores, Vanishing(server.service, at), [wanted], who=WHO, limits=SMALL)
            break
        except KeyboardInterrupt:
            continue
    assert at > 20
    assert server.head() == client.head("work")
    server.service.close()
    assert not server.repo.fsck(data=True).problems
    client.close()
    server.close()
