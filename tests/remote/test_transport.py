"""The gRPC transport alone: a peer without a repository behind a real server on loopback."""

from __future__ import annotations

import logging
import pickle
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from hangar import errors
from hangar.errors import (
    AccessError,
    HangarError,
    OutcomeUnknownError,
    UnreachableError,
    UnsupportedVersionError,
)
from hangar.remote.calls import Target
from hangar.remote.grpc_client import GrpcPeer
from hangar.remote.options import METHODS, Timeouts
from hangar.remote.peer import BlobNames, Hello, HistoryRequest, Names, Objects, ObjectsRequest, PushStart, RefUpdate
from hangar.remote.status import CODES, code_of, local_error, remote_class
from tests.remote.fake import FakeService, make_blobs
from tests.remote.proxy import Proxy

Start = Callable[..., int]
QUICK = Timeouts(connect=5, idle=2, call=5, stream=60, again=3)
ID = b"i" * 16


def peer_of(port: int, *, compress: bool = False, timeouts: Timeouts = QUICK, token: str = "") -> GrpcPeer:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    return GrpcPeer(Target("grpc://test", f"127.0.0.1:{port}", None, metadata), compress=compress, timeouts=timeouts)


def received(frames: Iterator[Any]) -> dict[int, bytes]:
    """The blobs of a stream by their place in the question, put together from their parts."""
    found: dict[int, bytes] = {}
    for frame in frames:
        lengths = np.frombuffer(frame.lengths, "<u8").tolist()
        places = np.frombuffer(frame.places, "<u4").tolist()
        if len(lengths) == 1 and len(frame.data) < lengths[0]:
            assert len(found.get(places[0], b"")) == frame.start
            found[places[0]] = found.get(places[0], b"") + bytes(frame.data)
            continue
        at = 0
        for place, length in zip(places, lengths, strict=True):
            assert place not in found
            found[place] = bytes(frame.data[at : at + length])
            at += length
    return found


@pytest.mark.parametrize("compress", [False, True])
def test_everything_crosses_unchanged(start: Start, compress: bool) -> None:
    blobs = make_blobs([0, 1, 784, 100_000, 3 * 2**20 + 5]) | {b"z" * 32: b"abc" * 400_000}
    objects = (*(b"node %d" % number * 20 for number in range(1_200)), b"large" * 500_000, b"")
    service = FakeService(blobs, objects)
    with peer_of(start(service), compress=compress) as peer:
        welcome = peer.hello(Hello(software="test"))
        assert (welcome.version, welcome.repository, welcome.software) == (1, b"r" * 16, "fake")
        assert "zstd" in welcome.capabilities
        refs = [ref for page in peer.refs() for ref in page.refs]
        assert len(refs) == 2_500
        assert refs[7].name == "heads/b0007"
        for frames in (peer.objects(ObjectsRequest((Names("node", b"x" * 32),))), peer.history(HistoryRequest(b""))):
            assert {item for frame in frames for item in frame.items} == set(objects)
        names = BlobNames(b"".join([b"?" * 32, *blobs]), group=7)
        sizes = np.frombuffer(peer.blob_sizes(names), "<u8").tolist()
        assert sizes == [2**64 - 1, *map(len, blobs.values())]
        assert received(peer.blobs(names)) == dict(enumerate(blobs.values(), 1))
        assert peer.send_objects(ID, iter([Objects("node", objects)])).more is False
        assert [one for one in service.pushed if one] == [one for one in objects if one]
        service.pushed.clear()
        assert peer.send_blobs(ID, service.blobs(names)) >= len(blobs)
        assert b"".join(service.pushed) == b"".join(received(service.blobs(names)).values())


@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_stream_that_is_cut_goes_on_where_it_ended(start: Start, share: int) -> None:
    """Row 20: 50 cuts in 200 MB, of many small blobs and a few large ones."""
    blobs = make_blobs([30_000] * (2_000 // share) + [70 * 2**20 // share, 60 * 2**20 // share])
    total = sum(map(len, blobs.values()))
    seeded = random.Random(5)
    cuts = [seeded.randrange(total) for _ in range(50 // share)]
    with Proxy(start(FakeService(blobs)), cuts) as proxy, peer_of(proxy.port, timeouts=Timeouts()) as peer:
        found = received(peer.blobs(BlobNames(b"".join(blobs))))
        assert not proxy.cuts
        assert proxy.connections > 40 // share
        assert found == dict(enumerate(blobs.values()))
        in_flight = 50 // share * 2 * 2**20  # a frame, and what was in the windows and buffers of the sockets
        assert proxy.down <= 1.05 * total + in_flight


def test_other_streams_that_are_cut_give_each_item_once(start: Start) -> None:
    objects = tuple(b"%07d" % number * 300 for number in range(4_000))
    cuts = [100_000, 2_000_000, 3_000_000, 9_000_000]
    with Proxy(start(FakeService({}, objects)), cuts) as proxy, peer_of(proxy.port) as peer:
        items = [item for frame in peer.history(HistoryRequest(b"")) for item in frame.items]
        assert sorted(items) == sorted(objects)
        assert len([ref for page in peer.refs() for ref in page.refs]) == 2_500
        assert proxy.connections > 3


@pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.nightly)])
def test_lost_answers_of_moves_are_asked_again(start: Start, times: int) -> None:
    """Row 19: the answer is dropped 100 times: done once, and never a false conflict."""
    service = FakeService()
    with Proxy(start(service)) as proxy:
        for number in range(times):
            drops = [True]
            operation = number.to_bytes(16, "big")

            def drop(data: bytes, operation: bytes = operation, drops: list[bool] = drops) -> bool:
                return operation in service.moves and bool(drops) and drops.pop()

            proxy.drop_reply = drop
            with peer_of(proxy.port) as peer:
                results = peer.finish_push(ID, (RefUpdate("heads/a", None, b"c" * 32, operation),), ("Ada", "a@b"))
            assert [one.repeated for one in results] == [True]
            assert not drops
    assert len(service.moves) == times


def test_a_lost_answer_without_a_server_is_an_unknown_outcome(start: Start) -> None:
    service = FakeService()
    with Proxy(start(service)) as proxy:
        proxy.drop_reply = lambda data: bool(service.moves)
        with (
            peer_of(proxy.port, timeouts=QUICK._replace(again=0.5)) as peer,
            pytest.raises(OutcomeUnknownError, match="Push again to find out"),
        ):
            peer.finish_push(ID, (RefUpdate("heads/a", None, b"c" * 32, ID),), ("Ada", "a@b"))


# ---------------------------------------------------------------------------------------------------- deadlines


def test_every_call_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 31: all methods of the peer are called on a channel that only notes the deadlines."""
    noted: dict[str, float | None] = {}

    class Noting:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None) -> Any:
            noted[self.name] = timeout
            raise grpc.RpcError

        future = __call__

    peer = peer_of(1)
    monkeypatch.setattr(peer._connection, "_stub", Noting)
    update = RefUpdate("heads/a", None, None, ID)
    calls: list[Callable[[], Any]] = [
        lambda: peer.hello(Hello()),
        lambda: list(peer.refs()),
        lambda: list(peer.history(HistoryRequest(b""))),
        lambda: list(peer.objects(ObjectsRequest(()))),
        lambda: peer.blob_sizes(BlobNames(ID * 2)),
        lambda: list(peer.blobs(BlobNames(ID * 2))),
        lambda: list(peer.check_blobs(BlobNames(ID * 2), read=True)),
        lambda: peer.reachable(ID * 2),
        lambda: list(peer.tombstones()),
        lambda: peer.begin_push(PushStart(ID, (update,))),
        lambda: peer.send_objects(ID, iter(())),
        lambda: peer.missing(ID),
        lambda: peer.send_blobs(ID, iter(())),
        lambda: peer.send_tombstones(ID, iter(())),
        lambda: peer.finish_push(ID, (update,), ("", "")),
        lambda: peer.abort_push(ID),
    ]
    for call in calls:
        with pytest.raises((grpc.RpcError, AttributeError)):
            call()
    assert set(noted) == set(METHODS)
    assert [name for name, timeout in noted.items() if not timeout or timeout > 100_000] == []


def test_nobody_there_is_unreachable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    with peer_of(port) as peer, pytest.raises(UnreachableError, match="cannot reach grpc://test") as caught:
        peer.hello(Hello())
    assert time.monotonic() - began < 5
    assert isinstance(caught.value, grpc.RpcError)
    assert isinstance(caught.value, ConnectionError)


def test_one_that_never_answers_is_unreachable_after_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        quick = QUICK._replace(connect=0.5)
        with (
            peer_of(silent.getsockname()[1], timeouts=quick) as peer,
            pytest.raises(UnreachableError, match=r"0\.5 seconds"),
        ):
            peer.hello(Hello())
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_black_hole_is_noticed(start: Start, direction: str) -> None:
    """Row 31: nothing passes any more in the middle of a stream."""
    blobs = make_blobs([2**20] * 64)
    names = BlobNames(b"".join(blobs))
    service = FakeService(blobs)
    with Proxy(start(service)) as proxy, peer_of(proxy.port) as peer:
        peer.hello(Hello())
        count = 0

        def frames() -> Iterator[Any]:
            nonlocal count
            for frame in service.blobs(names):
                count += 1
                proxy.swallow = count > 3
                yield frame

        def receive() -> None:
            nonlocal count
            for _ in peer.blobs(names):
                count += 1
                proxy.swallow = count > 3

        began = time.monotonic()
        with pytest.raises(UnreachableError, match="sent nothing for 2 seconds"):
            peer.send_blobs(ID, frames()) if direction == "up" else receive()
        assert time.monotonic() - began < 10


def test_errors_of_the_frames_to_send_are_raised_as_they_are(start: Start) -> None:
    def frames() -> Iterator[Objects]:
        yield Objects("node", (b"x",))
        assert threading.current_thread() is threading.main_thread()
        raise ZeroDivisionError("of the caller")

    with peer_of(start(FakeService())) as peer, pytest.raises(ZeroDivisionError, match="of the caller"):
        peer.send_objects(ID, frames())


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_errors_keep_their_class(start: Start, name: str) -> None:
    cls = getattr(errors, name)
    service = FakeService()
    service.error = cls("the reason is in /srv/secret/.hangar")
    with (
        peer_of(start(service)) as peer,
        pytest.raises(cls, match="the reason is in the server's repository") as caught,
    ):
        list(peer.refs())
    assert isinstance(caught.value, grpc.RpcError)
    error: Any = caught.value
    assert error.code() is code_of(cls(""))
    assert pickle.loads(pickle.dumps(type(error))) is type(error)
    again = pickle.loads(pickle.dumps(error))
    assert {type(again), type(error)} == {remote_class(cls)}
    assert again.code() is error.code()


def test_a_bug_of_the_server_is_a_reference_into_its_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService()
    service.error = ZeroDivisionError("the secret detail")
    with peer_of(start(service)) as peer, pytest.raises(HangarError, match="its log has the reason under") as caught:
        list(peer.refs())
    assert "secret" not in str(caught.value)
    reference = str(caught.value).rsplit(" ", 1)[1]
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)


def test_every_status_code_has_a_class() -> None:
    class Failed(grpc.RpcError):
        def __init__(self, code: grpc.StatusCode) -> None:
            self.status = code

        def code(self) -> grpc.StatusCode:
            return self.status

        def details(self) -> str:
            return "text\x1b[31m"

        def trailing_metadata(self) -> Any:
            return (("hangar-error", "NoSuchError"),)

    for code in grpc.StatusCode:
        error = local_error(Failed(code), "grpc://test")
        assert isinstance(error, HangarError)
        assert "\x1b" not in str(error)
    assert set(CODES) <= {cls for name, cls in vars(errors).items() if isinstance(cls, type)}


def test_versions_that_do_not_fit_are_told(start: Start) -> None:
    with peer_of(start(FakeService())) as peer, pytest.raises(UnsupportedVersionError, match="install a newer Hangar"):
        peer.hello(Hello(versions=(99,)))


def test_the_log_names_method_user_and_bytes(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hangar.server"), peer_of(start(FakeService())) as peer:
        peer.hello(Hello())
        deadline = time.monotonic() + 5
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    line = caplog.records[-1].getMessage()
    assert line.startswith("Hello peer=ipv4:127.0.0.1:")
    assert "user=- status=OK seconds=" in line


# ---------------------------------------------------------------------------------------------------- push rights


def test_tokens_decide_who_may_read_and_write(start: Start, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens"
    path.write_text("ada ada-secret-token-1234\nbob bob-secret-token-1234 read\n")
    path.chmod(0o600)
    port = start(FakeService(), token_file=path)
    with peer_of(port, token="ada-secret-token-1234") as peer:
        assert not peer.hello(Hello()).read_only
        peer.abort_push(ID)
    with peer_of(port, token="bob-secret-token-1234") as peer:
        assert peer.hello(Hello()).read_only
        for call in (
            lambda: peer.begin_push(PushStart(ID, ())),
            lambda: peer.send_blobs(ID, iter(())),
            lambda: peer.send_objects(ID, iter(())),
            lambda: peer.send_tombstones(ID, iter(())),
            lambda: peer.finish_push(ID, (), ("", "")),
            lambda: peer.missing(ID),
            lambda: peer.abort_push(ID),
        ):
            with pytest.raises(AccessError, match="not push"):
                call()
    for token, text in (("", "needs a token"), ("wrong-token-12345", "does not know this token")):
        with peer_of(port, token=token) as peer, pytest.raises(AccessError, match=text) as caught:
            peer.hello(Hello())
        assert isinstance(caught.value, grpc.RpcError)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    path.write_text("ada ada-second-token-1234\n")  # revoked while the server runs
    with peer_of(port, token="bob-secret-token-1234") as peer, pytest.raises(AccessError):
        peer.hello(Hello())
    with peer_of(port, token="ada-second-token-1234") as peer:
        peer.hello(Hello())
    assert "secret-token" not in caplog.text
    assert "wrong-token" not in caplog.text
