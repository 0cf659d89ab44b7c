"""Real processes that are killed while they transfer: nothing is lost, little is sent twice, and the same command completes.

Row 1 for clients, row 20 for restarts of either side. The server is ``hangar server``; clients are forked from this process, which uses no
gRPC itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import UnreachableError
from tests.processes import child, in_child
from tests.remote.proxy import Proxy

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*reference-only", "ignore:.*fork", "ignore:there is nothing new", "ignore:there is nothing to push"
)
MIB = 2**20
WINDOW = 6 * MIB
"""What may be under way, read ahead or not written yet when a process is killed."""


class Server:
    """``hangar server`` in a process of its own, on a port that stays the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "hangar", "-C", str(self._path), "server", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r":(\d+)$", line.strip())
        assert found is not None, line
        self.port = int(found[1])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def serving(path: Path) -> Iterator[Server]:
    server = Server(path)
    try:
        yield server
    finally:
        server.kill()


def made(path: Path) -> Repository:
    path.mkdir()
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    return repo


def sound(path: Path) -> None:
    with Repository(path) as repo:
        report = repo.fsck(data=True)
        assert not report.problems, report.problems


def commit(path: Path, change: Callable[[Any], None], branch: str = "master") -> str:
    with Repository(path) as repo:
        writer = repo.checkout(write=True, branch=branch)
        try:
            change(writer)
            return str(writer.commit("change"))
        finally:
            writer.close()


def head(path: Path, branch: str = "master") -> str | None:
    with Repository(path) as repo:
        found = repo.log(branch=branch, return_contents=True)
        return None if found is None or not found["order"] else str(found["order"][0])


def run(function: Callable[[], object], kill_when: Callable[[], bool] | None = None) -> bool:
    """Run a function in a process, and kill that when it is time; whether it was killed."""
    with child(lambda _: function() and None) as process:
        stop = threading.Event()

        def watch() -> None:
            while kill_when is not None and not stop.wait(0.002):
                if kill_when():
                    # Not reaped yet, so that the id is still its own.
                    os.kill(process.pid, signal.SIGKILL)
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        list(process.messages())  # until it has ended
        stop.set()
        watcher.join()
        status = process.wait()
        if status != signal.SIGKILL:
            process.result()
        return status == signal.SIGKILL


# ------------------------------------------------------------------------------------- one large blob (row 20)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["client", "server"])
@pytest.mark.parametrize("what", ["push", "fetch"])
@pytest.mark.parametrize(
    ("nbytes", "kills"), [(48 * MIB, 1), pytest.param(100 * MIB, 6, marks=pytest.mark.nightly)], ids=["some", "many"]
)
def test_a_large_blob_goes_on_after_restarts(tmp_path: Path, what: str, victim: str, nbytes: int, kills: int) -> None:
    data = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8).tobytes()
    made(tmp_path / "server").close()
    made(tmp_path / "client").close()
    source = tmp_path / ("client" if what == "push" else "server")

    def fill(writer: Any) -> None:
        writer.add_bytes_column("large")[0] = data

    commit(source, fill)
    with serving(tmp_path / "server") as server, Proxy(server.port) as proxy:
        with Repository(tmp_path / "client") as client:
            client.remote.add("origin", f"127.0.0.1:{proxy.port}")

        def transfer() -> None:
            with Repository(tmp_path / "client") as client:
                if what == "push":
                    client.remote.push("origin", "master")
                else:
                    client.remote.fetch("origin", "master")
                    client.remote.fetch_data("origin", branch="origin/master")

        def passed() -> int:
            return proxy.up if what == "push" else proxy.down

        generator = random.Random(f"{what} {victim}")
        for at in sorted(generator.sample(range(5 * MIB, nbytes - 12 * MIB), kills)):

            def due(at: int = at) -> bool:
                return passed() >= at

            if victim == "client":
                assert run(transfer, due)
            else:
                with child(lambda _: fails(transfer)) as process:
                    while not due():
                        assert process.poll() is None, process.result()
                        time.sleep(0.002)
                    server.kill()
                    server.start()
                    list(process.messages())
                    process.wait()
        run(transfer)
        assert passed() <= 1.05 * nbytes + (kills + 1) * WINDOW
    for path in (tmp_path / "server", tmp_path / "client"):
        sound(path)
        assert not list((path / ".hangar" / "quarantine").glob("*.part"))
    with Repository(tmp_path / ("server" if what == "push" else "client")) as receiver:
        rev = "master" if what == "push" else "origin/master"
        assert receiver.checkout(branch=rev)["large"][0] == data


def fails(function: Callable[[], object]) -> None:
    """Run a function that may fail because the server went away, or go on when that comes back."""
    with contextlib.suppress(UnreachableError):
        function()


# --------------------------------------------------------------------------------- random moments of all commands (row 1)


def change(number: int) -> Callable[[Any], None]:
    """Some new values of each kind, some of them in compressed files."""
    rng = np.random.default_rng(number)

    def add(writer: Any) -> None:
        if "image" not in writer:
            writer.add_ndarray_column("image", (30, 30), np.uint8)
            writer.add_ndarray_column("rows", (30, 30), np.uint8, backend="00")
            writer.add_ndarray_column("label", (), np.int64)
            writer.add_bytes_column("raw")
        keys = [number * 1_000 + key for key in range(400)]
        for name in ("image", "rows"):
            writer[name].write(keys, rng.integers(0, 256, (400, 30, 30), np.uint8))
        writer["label"].write(keys, rng.integers(0, 2**40, 400))
        writer["raw"][number] = rng.bytes(3 * MIB)

    return add


class World:
    """A served repository, and a client of it."""

    def __init__(self, root: Path, port: int) -> None:
        self.server, self.client, self.clone = root / "server", root / "client", root / "clone"
        self.address = f"127.0.0.1:{port}"
        self.number = 0

    def new_commit(self, place: Path) -> None:
        self.number += 1
        commit(place, change(self.number))

    def remote(self, call: Callable[[Repository], object]) -> Callable[[], None]:
        def run_it() -> None:
            with Repository(self.client) as repo:
                call(repo)

        return run_it

    def tracked(self) -> str:
        with Repository(self.client) as repo:
            return str(repo.commit_info("origin/master").digest)


class Command:
    """One command: what is before it, what it does, and what is there when it was done."""

    def __init__(self, world: World) -> None:
        self.world = world

    def before(self) -> None:
        """A state in which there is something to do."""

    def do(self) -> None:
        """The command, in a process of its own."""
        raise NotImplementedError

    def found(self) -> None:
        """What holds at once after a kill."""

    def done(self) -> None:
        """What holds when the command was given again."""
        raise NotImplementedError


class Clone(Command):
    def before(self) -> None:
        shutil.rmtree(self.world.clone, ignore_errors=True)
        self.world.clone.mkdir()

    def do(self) -> None:
        # Given again after a kill that came too late, it has nothing to do.
        if not (self.world.clone / ".hangar").exists():
            clone(self.world.clone, self.world.address)

    def found(self) -> None:
        if (self.world.clone / ".hangar").exists():
            self.done()

    def done(self) -> None:
        sound(self.world.clone)
        assert head(self.world.clone) == head(self.world.server)


class Fetch(Command):
    def before(self) -> None:
        self.old = head(self.world.server)
        self.world.new_commit(self.world.server)

    def do(self) -> None:
        self.world.remote(lambda repo: repo.remote.fetch("origin", "master"))()

    def found(self) -> None:
        assert self.world.tracked() in (self.old, head(self.world.server))

    def done(self) -> None:
        assert self.world.tracked() == head(self.world.server)


class FetchData(Fetch):
    def before(self) -> None:
        super().before()
        in_child(super().do)

    def do(self) -> None:
        self.world.remote(lambda repo: repo.remote.fetch_data("origin", branch="origin/master"))()

    def found(self) -> None:
        super().done()

    def done(self) -> None:
        number = self.world.number
        with Repository(self.world.client) as client, Repository(self.world.server) as server:
            ours, theirs = client.checkout(branch="origin/master"), server.checkout(branch="master")
            for name in ("image", "rows"):
                key = number * 1_000 + 399
                assert (ours[name][key] == theirs[name][key]).all()
            assert ours["raw"][number] == theirs["raw"][number]


class Evict(FetchData):
    def before(self) -> None:
        super().before()
        in_child(super().do)

    def do(self) -> None:
        columns = ("image", "rows", "raw")
        self.world.remote(lambda repo: [repo.evict(name, branch="origin/master") for name in columns])()

    def done(self) -> None:
        in_child(super().do)
        super().done()


class Push(Command):
    def before(self) -> None:
        self.old = head(self.world.server)
        self.world.new_commit(self.world.client)

    def do(self) -> None:
        self.world.remote(lambda repo: repo.remote.push("origin", "master"))()

    def found(self) -> None:
        assert head(self.world.server) in (self.old, head(self.world.client))

    def done(self) -> None:
        assert head(self.world.server) == head(self.world.client)


@pytest.mark.timeout(170)
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 2), *(pytest.param(seed, 18, marks=pytest.mark.nightly) for seed in range(1, 7))]
)
@pytest.mark.parametrize("kind", [Clone, Fetch, FetchData, Evict, Push])
def test_row_1_clients_killed_at_random(tmp_path: Path, kind: type[Command], seed: int, kills: int) -> None:
    made(tmp_path / "server").close()
    commit(tmp_path / "server", change(0))
    generator = random.Random(f"{kind.__name__} {seed}")
    with serving(tmp_path / "server") as server:
        world = World(tmp_path, server.port)
        world.client.mkdir()
        run(lambda: clone(world.client, world.address))
        command = kind(world)
        longest = 0.0
        done = attempts = 0
        while done < kills:
            command.before()
            moment = time.monotonic() + generator.uniform(0, longest)
            attempts += 1
            if attempts == 1:
                run(command.do)
                longest = time.monotonic() - moment
            elif run(command.do, lambda moment=moment: time.monotonic() >= moment):  # type: ignore[misc]
                done += 1
                sound(world.client)
                command.found()
                run(command.do)
            command.done()
            sound(world.client)
        assert attempts < 10 * kills
    sound(world.server)
    with Repository(world.client) as repo:
        repo.gc()
    with Repository(world.server) as repo:
        repo.gc()
        assert not list((world.server / ".hangar" / "quarantine").glob("*"))
    sound(world.client)
    sound(world.server)


def clone(path: Path, address: str) -> None:
    with Repository(path, exists=False) as repo:
        repo.clone("Bob", "bob@example.org", address)
