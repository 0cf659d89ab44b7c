"""Rows 6, 16, 17, 19 and 20 of the list of what must hold, with a server in a process of its own and a network between."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import DiskFullError, HangarError, Repository
from hangar.cli.server import GRACE_SECONDS
from hangar.digest import Digest
from hangar.objects.graph import ancestors
from hangar.remote.calls import Target
from hangar.remote.grpc_client import GrpcPeer
from hangar.remote.peer import BlobNames, Hello, Objects, PushStart
from hangar.remote.transfer import push
from hangar.stores import Stores
from tests.remote.proxy import Proxy
from tests.remote.running import served
from tests.remote.world import WHO, fetch, places, update

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
ROOT = Path(__file__).parents[2]
MIB = 2**20


def label(writer: Any) -> None:
    writer.add_ndarray_column("label", (), np.int64).write([0], np.array([0]))


def peer_at(port: int) -> GrpcPeer:
    return GrpcPeer(Target("grpc://test", f"127.0.0.1:{port}", None, ()), compress=False)


# ---------------------------------------------------------------------------------------------------- row 16


@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(
    ("what", "who", "times"),
    [
        ("push", "server", 2),
        *(
            pytest.param(what, who, 200, marks=pytest.mark.nightly)
            for what in ("push", "fetch")
            for who in ("client", "server")
        ),
    ],
)
def test_a_killed_client_or_server(tmp_path: Path, what: str, who: str, times: int) -> None:
    """Killed at any message, nothing or all of it is visible, nothing is damaged, and doing it again completes (row 16)."""
    words = ["-W", "ignore", "-m", "tests.remote.killing", str(tmp_path), what, who, str(times)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, check=False, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------------------------------------- row 17


class Pusher:
    def __init__(self, path: Path, port: int, number: int) -> None:
        words = ["-W", "ignore", "-m", "tests.remote.pusher", str(path), f"127.0.0.1:{port}", str(number)]
        self._process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def say(self, word: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(("clients", "rounds"), [(3, 2), pytest.param(16, 200, marks=pytest.mark.nightly)])
def test_many_processes_push_to_one_branch(tmp_path: Path, clients: int, rounds: int) -> None:
    """For each base exactly one wins, the others get StaleRefError, and what was acknowledged is in history (row 17)."""
    with places(tmp_path, "r") as (server,):
        server.commit(label)
    acknowledged: list[bytes] = []
    with served(tmp_path / "r") as (_, port), ExitStack() as stack:
        team = [
            stack.enter_context(closing(Pusher(tmp_path / f"c{number}", port, number))) for number in range(clients)
        ]
        for number in range(rounds):
            for one in team:
                one.say(number)
            made = [one.hear().split() for one in team]
            assert len({base for base, _ in made}) == 1, made
            for one in team:
                one.say("push")
            said = [one.hear() for one in team]
            won = [head for (_, head), word in zip(made, said, strict=True) if word == "won"]
            assert len(won) == 1, said
            assert {word.split()[0] for word in said if word != "won"} == {"StaleRefError"}, said
            assert not acknowledged or made[0][0] == acknowledged[-1].hex()
            acknowledged.append(bytes.fromhex(won[0]))
    with Repository(tmp_path / "r") as repository:
        assert not repository.fsck(data=True).problems
        with closing(repository.checkout()) as reader:
            assert len(reader["label"]) == rounds + 1
    stores = Stores(tmp_path / "r" / ".hangar")
    head = stores.refs.get("heads/master")
    assert head == acknowledged[-1]
    assert {bytes(digest) for digest, _ in ancestors(stores.db, [head])}.issuperset(acknowledged)
    stores.close()


# ---------------------------------------------------------------------------------------------------- row 19


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.nightly)])
def test_lost_answers_of_a_server(tmp_path: Path, times: int) -> None:
    """The reply of FinishPush is dropped after the server moved the branch: the push succeeds, and is done once (row 19)."""
    with places(tmp_path, "r", "c") as (server, client):
        server.commit(label)
        fetch(client, server.service)
        base = client.stores.refs.get("remotes/origin/master")
        assert base is not None
        client.repo.create_branch("work", base_commit=base.hex())
        with served(tmp_path / "r") as (_, port), Proxy(port) as proxy:
            dropped = 0
            for number in range(times):
                key = number + 1
                head = client.commit(lambda writer, key=key: writer["label"].write([key], np.array([key])), "work")  # type: ignore[misc]
                drops = [True]

                def drop(data: bytes, head: Digest = head, drops: list[bool] = drops) -> bool:
                    return bool(drops) and server.stores.refs.get("heads/master") == head and drops.pop()

                proxy.drop_reply = drop
                with peer_at(proxy.port) as peer:
                    peer.hello(Hello())
                    done = push(client.stores, peer, [update("heads/master", Digest(base), head)], who=WHO)
                assert done.refs == ("heads/master",)
                dropped += not drops
                base = head
            assert dropped == times
        moves = [one for one in server.repo.reflog("master") if one.operation.startswith("push")]
        assert len(moves) == times
        server.check()


# ---------------------------------------------------------------------------------------------------- row 20


def mixed(path: Path, share: int) -> int:
    """A repository of small, medium and large samples, 200 MB in all; returns its bytes of data."""
    path.mkdir()
    rng = np.random.default_rng(5)
    total = 0
    with Repository(path, exists=False) as repository:
        repository.init("Ada", "ada@example.org")
        with closing(repository.checkout(write=True)) as writer:
            for name, count, shape in (("small", 25_000, (784,)), ("medium", 400, (150_000,)), ("large", 7, (2**24,))):
                many = max(2, count // share)
                values = rng.integers(0, 256, (many, *shape), np.uint8)
                writer.add_ndarray_column(name, shape, np.uint8).write(range(many), values)
                total += values.nbytes
            writer.commit("All")
    return total


def same(one: Path, other: Path, branch: str) -> None:
    with Repository(one) as first, Repository(other) as second:
        assert not second.fsck(data=True).problems
        with closing(first.checkout(branch="master")) as a, closing(second.checkout(branch=branch)) as b:
            for name in ("small", "medium", "large"):
                assert (a[name].read(list(a[name])) == b[name].read(list(a[name]))).all()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("share", [10, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_clone_that_is_cut(tmp_path: Path, share: int) -> None:
    """50 cuts of a clone of 200 MB with data: it completes, and hardly anything is sent twice (row 20)."""
    total = mixed(tmp_path / "r", share)
    cuts = random.Random(7).sample(range(total), 50 // share)
    (tmp_path / "c").mkdir()
    with served(tmp_path / "r") as (_, port), Proxy(port, cuts) as proxy:
        with Repository(tmp_path / "c", exists=False) as clone:
            clone.clone("Bob", "bob@example.org", f"127.0.0.1:{proxy.port}")
            clone.remote.fetch_data("origin", branch="origin/master")
        print(f"{len(cuts)} cuts, {proxy.connections} connections, {proxy.down / total:.3f} of {total / 1e6:.0f} MB")
        assert not proxy.cuts
        assert proxy.down <= 1.05 * total + len(cuts) * 2 * MIB  # a frame, and what was in windows and buffers
    same(tmp_path / "r", tmp_path / "c", "origin/master")


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("share", [10, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_push_that_is_cut(tmp_path: Path, share: int) -> None:
    """50 cuts of a push of 200 MB: it completes by itself, and hardly anything is sent twice (row 20)."""
    total = mixed(tmp_path / "c", share)
    cuts = random.Random(8).sample(range(total), 50 // share)
    (tmp_path / "r").mkdir()
    with served(tmp_path / "r") as (_, port), Proxy(port, cuts_up=cuts) as proxy:
        with Repository(tmp_path / "c") as client:
            client.remote.add("origin", f"127.0.0.1:{proxy.port}")
            client.remote.push("origin", "master")
        print(f"{len(cuts)} cuts, {proxy.connections} connections, {proxy.up / total:.3f} of {total / 1e6:.0f} MB")
        assert not proxy.cuts_up
        assert proxy.up <= 1.05 * total + len(cuts) * 4 * MIB  # a frame, windows and buffers, of each of two streams
    same(tmp_path / "c", tmp_path / "r", "master")


# ---------------------------------------------------------------------------------------------------- operating a server


@pytest.mark.skipif(sys.platform != "linux", reason="changes the limits of another process")
def test_a_server_whose_disk_is_full(tmp_path: Path) -> None:
    """Row 6: the client is told, nothing is damaged, fetches go on, and the same push succeeds when there is room again."""
    import resource

    mixed(tmp_path / "c", 20)
    with places(tmp_path, "r") as (server,):
        server.commit(label)
    with served(tmp_path / "r") as (process, port), Repository(tmp_path / "c") as client:
        address = f"127.0.0.1:{port}"
        client.remote.add("origin", address)
        client.create_branch("data", base_commit="master")
        hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (3 * MIB, hard))
        for _ in range(2):
            with pytest.raises(DiskFullError, match="free"):
                client.remote.push("origin", "data")
        with Repository(tmp_path / "r") as repository:
            assert not repository.fsck(data=True).problems
            assert repository.list_branches() == ["master"]
        client.remote.fetch("origin", "master")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        client.remote.push("origin", "data")
    same(tmp_path / "c", tmp_path / "r", "data")


def test_a_stop_in_the_middle(tmp_path: Path) -> None:
    """SIGTERM while a push and a fetch run: the server ends in time, with exit code 0, and both are completed later."""
    mixed(tmp_path / "r", 20)
    mixed(tmp_path / "c", 20)
    with served(tmp_path / "r") as (process, port), peer_at(port) as peer:
        peer.hello(Hello())
        stores = Stores(tmp_path / "r" / ".hangar")
        digests = np.concatenate([run.index.digests() for run in stores.blobs.locator.runs()])
        stores.close()
        frames = iter(peer.blobs(BlobNames(digests.tobytes())))
        next(frames)  # the rest is not taken
        start = PushStart(b"p" * 16, (update("heads/new", None, Digest(b"n" * 32)),))
        peer.begin_push(start)

        def endless() -> Iterator[Objects]:
            while True:
                yield Objects("attributes", (b"\x80",))
                time.sleep(0.05)

        with ThreadPoolExecutor(1) as pool:
            pushing = pool.submit(peer.send_objects, b"p" * 16, endless())
            time.sleep(0.5)
            began = time.monotonic()
            process.terminate()
            assert process.wait(30) == 0
            seconds = time.monotonic() - began
            with pytest.raises(HangarError):
                pushing.result(30)
        frames.close()  # type: ignore[attr-defined]
    assert seconds < GRACE_SECONDS + 8
    with served(tmp_path / "r") as (_, port), Repository(tmp_path / "c") as client:
        client.remote.add("origin", f"127.0.0.1:{port}")
        client.create_branch("again", base_commit="master")
        client.remote.push("origin", "again")
    same(tmp_path / "c", tmp_path / "r", "again")


def test_two_servers_gc_and_a_writer_on_one_repository(tmp_path: Path) -> None:
    """Two servers, garbage collection and a local writer work on one repository while clients push and clone."""
    mixed(tmp_path / "r", 40)
    clients = 3
    with served(tmp_path / "r") as (_, first), served(tmp_path / "r") as (_, second), ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(clients + 1))
        over = threading.Event()

        def work(number: int) -> None:
            path = tmp_path / f"c{number}"
            path.mkdir()
            with Repository(path, exists=False) as clone:
                clone.clone("Bob", "bob@example.org", f"127.0.0.1:{(first, second)[number % 2]}")
                for turn in range(2):
                    clone.remote.fetch_data("origin", branch="origin/master", column_names=["medium"])
                    branch = clone.create_branch(f"b{number}.{turn}", base_commit="master").name
                    with closing(clone.checkout(write=True, branch=branch)) as writer:
                        writer["medium"][1_000 + number] = np.full(150_000, number * 10 + turn, np.uint8)
                        writer.commit("own")
                    clone.remote.push("origin", branch)

        def operate() -> int:
            turns = 0
            with Repository(tmp_path / "r") as repository:
                while not over.is_set() or not turns:
                    with closing(repository.checkout(write=True, branch="master")) as writer:
                        writer["medium"][2_000 + turns] = np.full(150_000, turns, np.uint8)
                        writer.commit("local")
                    repository.gc(expire_reflog="all")
                    turns += 1
            return turns

        operating = pool.submit(operate)
        try:
            for done in [pool.submit(work, number) for number in range(clients)]:
                done.result()
        finally:
            over.set()
        assert operating.result() > 0
    with Repository(tmp_path / "r") as repository:
        assert not repository.fsck(data=True).problems
        for number in range(clients):
            for turn in range(2):
                with closing(repository.checkout(branch=f"b{number}.{turn}")) as reader:
                    assert (reader["medium"][1_000 + number] == number * 10 + turn).all()
