"""Row 16 with real processes: the client, or the server, of a push or a fetch is killed at one of its messages.

``python -m tests.remote.killing DIRECTORY push|fetch client|server COUNT``. A program of its own, because it forks its servers
and clients, and a process that has used gRPC cannot be forked reliably.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from hangar.digest import Digest
from hangar.errors import HangarError
from hangar.remote.calls import Target
from hangar.remote.grpc_client import GrpcPeer
from hangar.remote.options import Timeouts
from hangar.remote.peer import Limits
from hangar.remote.server import HangarServer, make_server
from hangar.remote.servicer import Servicer
from hangar.remote.settings import ServerSettings
from hangar.remote.transfer import push
from tests.processes import Child, child, in_child
from tests.remote.test_killed import Fatal, fill, opened, sample
from tests.remote.world import WHO, Place, fetch, fetch_data, places, update

SMALL = Limits(frame_bytes=1_100)
QUICK = Timeouts(connect=5, idle=10, call=20, stream=60, again=0.5)
REF = {"push": "heads/master", "fetch": "remotes/origin/work"}


def make(root: Path) -> None:
    """A server with one commit, and a client with another one on it."""
    with places(root, "server", "client") as (server, client):
        server.commit(lambda writer: writer.add_ndarray_column("base", (), np.uint8).write([0], np.zeros(1, np.uint8)))
        fetch(client, server.service)
        client.repo.create_branch("work", base_commit="origin/master")
        client.commit(fill, "work")


def run_server(path: Path, at: int, talk: Connection) -> None:
    hangar = HangarServer(path, ServerSettings(ip="127.0.0.1", port=0))
    hangar._service._limits = SMALL
    fatal = Fatal(hangar._service, at)
    hangar._servicer = Servicer(fatal)
    server, address = make_server(hangar.settings, hangar.guard, hangar.handlers())
    server.start()
    talk.send(address)
    talk.recv()
    talk.send(fatal.messages)
    threading.Event().wait()


def run_client(root: Path, what: str, at: int, address: str, talk: Connection) -> int | str:
    """Push the branch work of the client, or fetch it into the other repository; number of messages, or the error."""
    own = opened(root / ("client" if what == "push" else "server"))
    with GrpcPeer(Target("grpc://test", address, None, ()), timeouts=QUICK) as peer:
        fatal: Any = Fatal(peer, at)  # type: ignore[arg-type]
        try:
            if what == "push":
                old = next(ref.digest for page in peer.refs() for ref in page.refs if ref.name == REF["push"])
                move = update(REF["push"], None if old is None else Digest(old), own.head("work"))
                push(own.stores, fatal, [move], who=WHO, limits=SMALL)
            else:
                fetched = fetch(own, fatal, ["work"])
                fetch_data(own, fatal, fetched.commits[0] if fetched.commits else _tracked(own))
        except HangarError as error:
            return f"{type(error).__name__}: {error}"
    return int(fatal.messages)


def _tracked(place: Place) -> Digest:
    found = place.stores.refs.get(REF["fetch"])
    assert found is not None
    return found


def transfer(root: Path, what: str, *, client: int = 0, server: int = 0) -> tuple[Any, int]:
    """Do it with a server and a client in processes of their own; what the client said, and the messages of the server."""
    served = root / ("server" if what == "push" else "client")
    with child(partial(run_server, served, server)) as serving:
        address = serving.receive()
        with child(partial(run_client, root, what, client, address)) as using:
            said = _said(using)
        if serving.poll() is not None:
            return said, -1
        serving.send("how many")
        return said, serving.receive()


def _said(process: Child) -> Any:
    if process.wait(120) and os.WIFSIGNALED(process.wait()):
        assert os.WTERMSIG(process.wait()) == signal.SIGKILL
        return "killed"
    return process.result()


def look(root: Path, what: str) -> tuple[Digest | None, dict[str, Any] | None]:
    """Where the ref is, and everything that its commit has; nothing may be damaged."""
    for name in ("client", "server"):
        place = opened(root / name)
        problems = place.repo.fsck(data=True).problems
        assert not problems, problems
        place.close()
    place = opened(root / "server")
    name = REF[what]
    found = place.stores.refs.get(name) if place.stores.refs.exists(name) else None
    content = None
    if found is not None:
        content = place.content(found) if what == "push" else None
    place.close()
    return found, content


def finish(root: Path) -> None:
    """A writer and garbage collection remove what the dead process left."""
    place = opened(root / "server")
    place.commit(lambda writer: writer.add_str_column("later"), message="later")
    place.repo.gc()
    assert not place.repo.fsck(data=True).problems
    assert not list((root / "server" / ".hangar" / "leases").glob("*"))
    place.close()


def content(root: Path, name: str, head: Digest) -> dict[str, Any]:
    place = opened(root / name)
    found = place.content(head)
    place.close()
    return found


def head_of(root: Path, name: str, branch: str) -> Digest:
    place = opened(root / name)
    found = place.head(branch)
    place.close()
    assert found is not None
    return found


def main(directory: str, what: str, who: str, count: str) -> None:
    origin, root = Path(directory) / "origin", Path(directory) / "r"
    in_child(lambda: make(origin))
    before, after = in_child(lambda: (head_of(origin, "server", "master"), head_of(origin, "client", "work")))
    expected = in_child(lambda: content(origin, "client", after))
    shutil.copytree(origin, root)
    messages = transfer(root, what)[0 if who == "client" else 1]
    assert messages > 20, messages
    shutil.rmtree(root)
    killed = unfinished = 0
    chosen = sample(messages, int(count))
    for at in chosen:
        shutil.copytree(origin, root)
        said, alive = transfer(root, what, **{who: at})
        killed += said == "killed" if who == "client" else alive < 0
        found, _ = in_child(lambda: look(root, what))
        assert found in (before if what == "push" else None, after), (at, found)
        if who == "client" and said != "killed":
            assert isinstance(said, int), said
        if found != after:
            unfinished += 1
        said, _ = transfer(root, what)
        assert isinstance(said, int), (at, said)
        found, _ = in_child(lambda: look(root, what))
        assert found == after, at
        assert in_child(lambda: content(root, "server", after)) == expected, at
        in_child(lambda: finish(root))
        shutil.rmtree(root)
    print(
        f"{what}: {who} killed {killed} times at {len(chosen)} of {messages} messages; {unfinished} times nothing of it was visible",
        flush=True,
    )
    assert killed > 0.8 * len(chosen)


if __name__ == "__main__":
    main(*sys.argv[1:])
