"""What a hostile client sends is refused, leaves nothing behind, and keeps nobody out (row 15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.digest import Digest
from hangar.errors import (
    AccessError,
    ConflictError,
    HangarError,
    InvalidInputError,
    InvalidStateError,
    NotFoundError,
    UnsupportedVersionError,
)
from hangar.remote.blobs_out import blob_frames
from hangar.remote.fresh import FreshRecords
from hangar.remote.peer import (
    BlobFrame,
    BlobNames,
    Hello,
    HistoryRequest,
    Limits,
    Missing,
    Names,
    Objects,
    ObjectsRequest,
    PushStart,
    RefUpdate,
    TombstonePage,
)
from hangar.remote.sending import content_of, frames
from hangar.remote.source import ObjectSource
from tests.remote.hostile import History, blob_mutations, object_mutations
from tests.remote.world import WHO, Place, places, push_branch, state, update

REFUSED = (InvalidInputError, InvalidStateError, UnsupportedVersionError)
PUSH = b"hostile push id!"


def fill(writer: Any) -> None:
    rng = np.random.default_rng(1)
    writer.add_ndarray_column("label", (), np.uint8).write(list(range(400)), rng.integers(0, 200, 400, np.uint8))
    for name, dtype in (("image", np.uint8), ("other", np.int8)):
        column = writer.add_ndarray_column(name, (6, 8), dtype)
        column.write(list(range(60)), rng.integers(0, 100, (60, 6, 8)).astype(dtype))
    boxes = writer.add_ndarray_column("boxes", (2,), np.int16, contains_subsamples=True)
    text = writer.add_str_column("text")
    with writer:
        for i in range(300):
            boxes[i // 3, i] = np.array([i, i], np.int16)
        for i in range(20):
            text[f"t{i}"] = "x" * i * 9
    writer.attributes["a"] = 1


@dataclass
class Sides:
    """A server with a commit, and what an honest client would push to it."""

    server: Place
    client: Place
    history: History
    blobs: list[BlobFrame]

    def start(self, head: bytes) -> PushStart:
        return PushStart(PUSH, (update("heads/new", None, Digest(head)),))

    def attempt(self, sent: list[Objects], head: bytes, blobs: list[BlobFrame] | None = None) -> None:
        """All of a push: raises if anything of it is refused, or if something is missing at the end."""
        service, start = self.server.service, self.start(head)
        service.begin_push(start)
        missing = service.send_objects(PUSH, iter(sent))
        while missing.blobs:
            wanted = self.answers(missing) if blobs is None else blobs
            if not wanted:
                break
            service.send_blobs(PUSH, iter(wanted))
            missing = service.missing(PUSH) if blobs is None else Missing()
        service.finish_push(PUSH, start.updates, WHO)

    def answers(self, missing: Missing) -> list[BlobFrame]:
        return [frame for names in missing.blobs for frame in blob_frames(self.client.stores.blobs, names, Limits())]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with places(tmp_path_factory.mktemp("hostile"), "server", "client") as (server, client):
        server.commit(lambda writer: writer.add_ndarray_column("base", (), np.uint8).write([0], np.zeros(1, np.uint8)))
        push_branch(server, server.service, to="warm")  # what the first push of all makes is there
        head = client.commit(fill)
        source = ObjectSource(client.stores.db)
        commit: list[FreshRecords] = [("commit", [(head, source.get("commit", [head])[0])])]
        sent = [*frames(commit, Limits()), *frames(content_of(source, [head]), Limits())]
        found = Sides(server, client, History(sent, head), [])
        server.service.begin_push(found.start(head))
        missing = server.service.send_objects(PUSH, iter(sent))
        found.blobs = found.answers(missing)
        server.service.abort_push(PUSH)
        yield found


@pytest.fixture(autouse=True)
def _unchanged(request: pytest.FixtureRequest, sides: Sides) -> Iterator[None]:
    """Every test leaves all rows and files as they were."""
    before = state(sides.server)
    yield
    sides.server.service.abort_push(PUSH)
    assert state(sides.server) == before


def test_objects_that_are_wrong_in_one_thing_are_refused(sides: Sides) -> None:
    mutations = object_mutations(sides.history)
    assert len(mutations) >= 40
    before = state(sides.server)
    for name, (sent, head) in mutations.items():
        try:
            sides.attempt(sent, head)
        except REFUSED:
            sides.server.service.abort_push(PUSH)
        except HangarError as error:
            pytest.fail(f"{name}: {error!r}")
        else:
            pytest.fail(f"accepted: {name}")
        assert state(sides.server) == before, name


def test_blobs_that_are_wrong_in_one_thing_are_refused(sides: Sides) -> None:
    mutations = blob_mutations(sides.blobs)
    assert len(mutations) >= 40
    honest = sides.history.frames(sides.history.head, bytes)
    before = state(sides.server)
    for name, sent in mutations.items():
        try:
            sides.attempt(*honest, sent)
        except REFUSED:
            sides.server.service.abort_push(PUSH)
        except HangarError as error:
            pytest.fail(f"{name}: {error!r}")
        else:
            pytest.fail(f"accepted: {name}")
        assert state(sides.server) == before, name


def test_starts_and_ends_that_are_wrong_in_one_thing_are_refused(sides: Sides) -> None:
    head = sides.history.head
    good = update("heads/new", None, Digest(head))
    there = sides.server.head()
    moves: list[tuple[RefUpdate, ...]] = [
        (replace(good, name=name),)
        for name in [
            "",
            "HEAD",
            "heads",
            "heads/",
            "heads//a",
            "heads/.a",
            "heads/a.lock",
            "heads/a..b",
            "heads/a b",
            "heads/\x00",
            "heads/é",
            "remotes/o/a",
            "stash/00000000",
            "tags/",
            "tags/-x",
            "heads/" + "a/" * 200,
            "x" * 600,
        ]
    ]
    moves += [
        (replace(good, old=old, new=new),)
        for old, new in [(b"", head), (b"x" * 31, head), (None, b""), (None, b"y" * 33), (None, None), (head, None)]
    ]
    moves += [(replace(good, operation=one),) for one in (b"", b"x" * 15, b"x" * 17, b"x" * 600)]
    moves += [(good, good), (good, replace(good, operation=b"y" * 16)), (replace(good, name="heads/master"),)]
    moves += [
        (replace(good, name="heads/master", old=b"z" * 32),),
        (replace(good, name="heads/master", old=there, new=None),),
    ]
    moves += [tuple(replace(good, name=f"heads/b{i}", operation=i.to_bytes(16, "big")) for i in range(1_001))]
    refused = (*REFUSED, ConflictError, AccessError)
    before = state(sides.server)
    for one in moves:
        with pytest.raises(refused):
            sides.server.service.begin_push(PushStart(PUSH, one))
        sides.server.service.begin_push(sides.start(head))
        with pytest.raises(refused):
            sides.server.service.finish_push(PUSH, one, WHO)
        sides.server.service.abort_push(PUSH)
    for push in (b"", b"x" * 15, b"x" * 17):
        with pytest.raises(refused):
            sides.server.service.begin_push(PushStart(push, (good,)))
    for candidates in (b"x", b"x" * 31, bytes(32 * 70_000)):
        with pytest.raises(refused):
            sides.server.service.begin_push(PushStart(PUSH, (good,), candidates))
    for who in (("x" * 2_000, ""), ("", "x" * 2_000), ("\udcff", "")):
        with pytest.raises(refused):
            sides.server.service.finish_push(PUSH, (good,), who)
    assert state(sides.server) == before


def test_questions_that_are_wrong_are_refused(sides: Sides) -> None:
    service = sides.server.service
    head = sides.server.head()
    assert head is not None
    unknown, cut, many = b"\x09" * 32, head[:31], bytes(32 * 70_000)
    questions: list[Any] = [
        lambda value=value: list(service.history(HistoryRequest(value))) for value in (unknown, cut, many)
    ]
    questions += [lambda value=value: list(service.history(HistoryRequest(head, value))) for value in (cut, many)]
    for kind in ("commit", "node", "schema", "attributes", "array"):
        questions += [
            lambda kind=kind, value=value: list(service.objects(ObjectsRequest((Names(kind, value),), b"", False)))
            for value in (cut, many)
        ]
    questions += [
        lambda kind=kind: list(service.objects(ObjectsRequest((Names(kind, head),))))
        for kind in ("", "tree", "column", "blob", "refs", "x" * 10_000)
    ]
    questions += [lambda value=value: service.blob_sizes(BlobNames(value)) for value in (cut, many)]
    questions += [lambda value=value: list(service.blobs(BlobNames(value))) for value in (cut, many)]
    questions += [lambda value=value: service.hello(Hello(versions=value)) for value in ((), (0,), (-1, 2**70))]
    questions += [
        lambda call=call: call(b"nobody knows it!")
        for call in (
            service.missing,
            lambda push: service.send_objects(push, iter(())),
            lambda push: service.send_blobs(push, iter(())),
            lambda push: service.send_tombstones(push, iter(())),
        )
    ]
    for question in questions:
        with pytest.raises((InvalidInputError, InvalidStateError, NotFoundError, UnsupportedVersionError)):
            question()
    # What is not there is left out.
    assert list(service.objects(ObjectsRequest((Names("node", unknown),)))) == []
    assert list(service.blobs(BlobNames(unknown))) == []
    assert [page.refs for page in service.refs(("stash/", "remotes/", ""))] == [()]


def test_tombstones_that_are_wrong_are_refused(sides: Sides) -> None:
    sides.server.service.begin_push(sides.start(sides.history.head))
    with pytest.raises(REFUSED):
        sides.server.service.send_tombstones(PUSH, iter([TombstonePage(((b"short", None),))]))  # type: ignore[arg-type]


def test_the_honest_push_is_accepted_at_last(tmp_path: Path, sides: Sides) -> None:
    """On a copy, because every test of this module leaves the server as it was."""
    with places(tmp_path, "server") as (server,):
        honest = sides.history.frames(sides.history.head, bytes)
        Sides(server, sides.client, sides.history, sides.blobs).attempt(*honest)
        assert server.head("new") == sides.history.head
        assert server.content(Digest(sides.history.head)) == sides.client.content(Digest(sides.history.head))
        server.check()
