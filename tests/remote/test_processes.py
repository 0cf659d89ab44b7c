"""Rows 16, 17, 19 and 20 of the list of what must hold, with a server in a process of its own and a network between."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.digest import Digest
from hangar.objects.graph import ancestors
from hangar.remote.calls import Target
from hangar.remote.grpc_client import GrpcPeer
from hangar.remote.peer import Hello
from hangar.remote.transfer import push
from hangar.stores import Stores
from tests.remote.proxy import Proxy
from tests.remote.running import served
from tests.remote.world import WHO, fetch, places, update

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
@pytest.mark.parametrize(("clients", "rounds"), [(4, 2), pytest.param(16, 200, marks=pytest.mark.nightly)])
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
@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.nightly)])
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
@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.nightly)])
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
@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.nightly)])
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
        assert proxy.up <= 1.05 * total + len(cuts) * 2 * MIB
    same(tmp_path / "c", tmp_path / "r", "master")
