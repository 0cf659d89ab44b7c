"""Transfers between two repositories, both of which end at any step: fetch, push, clone and eviction.

Each repository is found as before the step that was under way or as after it; neither has damage; and the same command, given
again, completes it. What a push had brought is continued, or cleaned away by garbage collection.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository
from hangar.blobs.orphans import drop_push
from hangar.blobs.unfinished import unfinished_pushes
from hangar.digest import Digest
from hangar.objects.records import load_commit
from hangar.remote import blob_parts, blobs_in, transfer_blobs
from hangar.remote.evict import Asked, evict_blobs
from hangar.remote.peer import Limits
from hangar.remote.selection import all_blobs
from hangar.remote.service import Service
from hangar.remote.transfer import push
from tests.crash.harness import Acknowledge, Scenario, State
from tests.crash.scenarios import repositories
from tests.remote.world import TRACKED, WHO, Place, fetch, fetch_data, update

SHARE = 24
"""The quick suite checks one of so many states."""
SMALL = Limits(frame_bytes=600)
FILES = ("image", "rows", "text", "large")


def lower_limits() -> None:
    """A few blobs go the way of many, and large ones; in a child, which ends with the scenario."""
    repositories.lower_limits()
    blobs_in._BATCH_BYTES = 1_200  # type: ignore[misc]
    blobs_in._OVERLAPPED_BYTES = 10**9  # type: ignore[misc]  # threads would make the steps come in another order
    blob_parts.MEMORY_BYTES = 1_000  # type: ignore[misc]
    transfer_blobs._PUBLISH_BYTES = 2_500  # type: ignore[misc]


def base(writer: Any) -> None:
    writer.add_ndarray_column("image", (10, 10), np.uint8, backend="10").write([0], pictures(0, 1))
    writer.add_ndarray_column("rows", (10, 10), np.uint8, backend="00")
    writer.add_ndarray_column("label", (), np.int64)
    writer.add_bytes_column("large")
    writer.add_str_column("text")


def work(writer: Any) -> None:
    writer["image"].write(list(range(1, 9)), pictures(1, 8))
    writer["rows"].write(list(range(5)), pictures(100, 5))
    writer["label"].write(list(range(60)), np.arange(60))
    writer["large"][0] = np.random.default_rng(7).bytes(4_000)
    writer["text"]["a"] = "some text " * 30


def pictures(start: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(start).integers(0, 256, (count, 10, 10), np.uint8)


# ------------------------------------------------------------------------------------------------------ the two places


def prepare(directory: Path) -> None:
    """A server with one commit, and a client that has it and a second one."""
    server, client = Place(directory / "server"), Place(directory / "client")
    server.commit(base)
    fetch(client, server.service)
    fetch_data(client, server.service, tip(server))
    client.repo.create_branch("work", base_commit="origin/master")
    client.commit(work, "work")
    for place in (server, client):
        place.close()


def prepare_pushed(directory: Path) -> None:
    """Both have both commits and their data."""
    prepare(directory)
    server, client = Place.opened(directory / "server", SMALL), Place.opened(directory / "client", SMALL)
    push_work(server, client)
    for place in (server, client):
        place.close()


def tip(place: Place, branch: str = "master") -> Digest:
    found = place.head(branch)
    assert found is not None
    return found


def push_work(server: Place, client: Place, peer: Any = None) -> None:
    moves = [update("heads/master", server.head(), client.head("work"))]
    push(client.stores, peer or server.service, moves, who=WHO, limits=SMALL)


def in_places(
    what: Callable[[Place, Place, Acknowledge], None],
) -> Callable[[Path, Acknowledge], None]:
    """Steps with both repositories open."""

    def run(directory: Path, acknowledge: Acknowledge) -> None:
        lower_limits()
        server, client = Place.opened(directory / "server", SMALL), Place.opened(directory / "client", SMALL)
        what(server, client, acknowledge)
        for place in (client, server):
            place.close()

    return run


def checked(check: Callable[[State, Place, Place], None]) -> Callable[[State], None]:
    """Both are sound before and after the check, and garbage collection leaves nothing of the transfer."""

    def found(state: State) -> None:
        server, client = (
            Place.opened(state.directory / "server", SMALL),
            Place.opened(state.directory / "client", SMALL),
        )
        require_sound(server, client)
        check(state, server, client)
        for place in (server, client):
            place.service.close()
            for one in unfinished_pushes(place.stores.directory):
                # Published before the crash, or brought by a client that came to its end in another way.
                assert drop_push(place.stores.db, place.stores.directory, one)
            place.repo.gc(progress=False)
        require_sound(server, client)
        for place in (server, client):
            assert not list((place.path / ".hangar" / "leases").glob("*"))
            assert not list((place.path / ".hangar" / "quarantine").glob("*"))
            place.close()

    return found


def require_sound(*those: Place) -> None:
    for place in those:
        report = place.repo.fsck(data=True)
        assert not report.problems, report.problems


# --------------------------------------------------------------------------------------------------------- fetch


def run_fetch(server: Place, client: Place, acknowledge: Acknowledge) -> None:
    """The client is who has the new commit, so the server fetches."""
    fetch(server, client.service, ["work"])
    acknowledge("history")
    fetch_data(server, client.service, tip(client, "work"), limits=SMALL)
    acknowledge("data")


def check_fetch(state: State, server: Place, client: Place) -> None:
    head = tip(client, "work")
    found = server.stores.refs.get(f"{TRACKED}work")
    assert found in ((head,) if state.acknowledged else (None, head))
    if len(state.acknowledged) == 2:
        assert server.content(head) == client.content(head)
    fetch(server, client.service, ["work"])
    assert server.stores.refs.get(f"{TRACKED}work") == head
    again = fetch_data(server, client.service, head, limits=SMALL)
    assert not again.blobs or len(state.acknowledged) < 2
    assert server.content(head) == client.content(head)


# --------------------------------------------------------------------------------------------------------- push


def run_push(server: Place, client: Place, acknowledge: Acknowledge) -> None:
    push_work(server, client)
    acknowledge("pushed")


def check_push(state: State, server: Place, client: Place) -> None:
    head, before = tip(client, "work"), client.stores.refs.get(f"{TRACKED}master")
    assert before is not None
    assert server.head() in ((head,) if state.acknowledged else (before, head))
    if server.head() != head:
        push_work(server, client)
    assert server.head() == head
    assert server.content(head) == client.content(head)


class Halting:
    """A peer whose client is interrupted in the middle of the blobs."""

    def __init__(self, service: Service, at: int) -> None:
        self._service = service
        self._left = at

    def send_blobs(self, name: bytes, frames: Any) -> int:
        return self._service.send_blobs(name, map(self._pass, frames))

    def _pass(self, frame: Any) -> Any:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return frame

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)


def run_halves(server: Place, client: Place, acknowledge: Acknowledge) -> None:
    """The client is interrupted and the server stopped when half of the blobs have come, and of the large one; then both go on."""
    with contextlib.suppress(KeyboardInterrupt):
        push_work(server, client, Halting(server.service, 7))
    server.service.close()
    [left] = unfinished_pushes(server.stores.directory)
    assert left.blob_files
    assert any(path.suffix == ".part" for path in left.files)
    server.service = Service(server.stores, limits=SMALL)
    push_work(server, client)
    acknowledge("pushed")


# --------------------------------------------------------------------------------------------------------- clone


def run_clone(directory: Path, acknowledge: Acknowledge) -> None:
    lower_limits()
    with Repository(directory / "clone", exists=False) as repo:
        repo.clone("Bob", "bob@example.org", os.fspath(directory / "client"), branch="work")
    acknowledge("cloned")


def prepare_clone(directory: Path) -> None:
    prepare(directory)
    (directory / "clone").mkdir()


def check_clone(state: State) -> None:
    place = state.directory / "clone"
    repo = Repository(place, exists=False)
    if not repo.initialized:
        assert not state.acknowledged
        assert not (place / ".hangar").exists()
        repo.clone("Bob", "bob@example.org", os.fspath(state.directory / "client"), branch="work")
    repo.close()
    assert [path.name for path in place.iterdir()] == [".hangar"]
    clone, client = Place.opened(place, SMALL), Place.opened(state.directory / "client", SMALL)
    head = tip(client, "work")
    assert clone.head("work") == head
    require_sound(clone, client)
    clone.repo.remote.fetch_data("origin", branch="origin/work", retrieve_all_history=True)
    assert clone.content(head) == client.content(head)
    for one in (clone, client):
        one.check()
        one.close()


# --------------------------------------------------------------------------------------------------------- eviction


def run_evict(server: Place, client: Place, acknowledge: Acknowledge) -> None:
    for name in FILES:
        evict_column(server, client, name)
        acknowledge(name)


def evict_column(server: Place, client: Place, name: str) -> int:
    entry = next(one for one in load_commit(client.stores.db, tip(client, "work")).columns if one.name == name)
    roots = [Digest(entry.root)] if entry.root else []
    report = evict_blobs(client.stores, [Asked("origin", 1, server.service)], all_blobs(client.stores, entry), roots)
    assert not report.kept
    return report.blobs


def check_evict(state: State, server: Place, client: Place) -> None:
    head = tip(client, "work")
    content = server.content(head)
    for name in FILES:
        evicted = evict_column(server, client, name)
        assert not evicted or name not in state.acknowledged
    fetch_data(client, server.service, head, limits=SMALL)
    assert client.content(head) == content


SCENARIOS = (
    Scenario("fetch", in_places(run_fetch), checked(check_fetch), prepare, variants=1, share=SHARE),
    Scenario("push", in_places(run_push), checked(check_push), prepare, variants=1, share=SHARE),
    Scenario("push continued", in_places(run_halves), checked(check_push), prepare, variants=1, share=SHARE),
    Scenario("clone", run_clone, check_clone, prepare_clone, variants=1, share=SHARE),
    Scenario("evict", in_places(run_evict), checked(check_evict), prepare_pushed, variants=1, share=SHARE),
)
