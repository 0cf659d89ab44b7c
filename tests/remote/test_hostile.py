"""Hostile peers: streams that never end, bytes that never come, bombs. The server keeps its memory, and serves others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numcodecs import zstd

from hangar import Repository
from hangar.errors import HangarError, InvalidInputError
from hangar.remote.calls import Target
from hangar.remote.codec import NONE, ZSTD, compressed, decoded
from hangar.remote.grpc_client import GrpcPeer
from hangar.remote.options import SERVICE, Timeouts
from hangar.remote.peer import BlobNames, Hello
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire import GRPC_LIMITS
from hangar.remote.wire_blobs import parse_frame
from hangar.remote.wire_frames import FRAME, MAX_OBJECT_BYTES, blobs_in, objects_in
from tests.remote.fake import FakeService, make_blobs
from tests.remote.running import served
from tests.remote.test_server_memory import MIB, fill
from tests.remote.test_transport import ID, Start, peer_of

ROOT = Path(__file__).parents[2]


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Port and process id of a server in another process."""
    command = [sys.executable, "-m", "tests.remote.serve_fake"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.stdin.close()
            process.wait(20)


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def endless(push: bytes) -> Iterator[bytes]:
    yield pb.SendObjectsRequest(push=push).SerializeToString()
    frame = pb.SendObjectsRequest(
        objects=pb.Objects(kind="node", lengths=(2**20).to_bytes(4, "little"), data=bytes(2**20), decoded=2**20)
    ).SerializeToString()
    while True:
        yield frame


def _attributes(push: bytes, start: int, many: int) -> bytes:
    items = [b"\x81\xa1a\xcf" + push[-1:] + (2**40 + start + at).to_bytes(7, "big") for at in range(many)]
    objects = pb.Objects(
        kind="attributes", lengths=(12).to_bytes(4, "little") * many, data=b"".join(items), decoded=12 * many
    )
    return pb.SendObjectsRequest(objects=objects).SerializeToString()


def tiny(push: bytes) -> Iterator[bytes]:
    """Objects without end that are valid, and that nothing names."""
    yield pb.SendObjectsRequest(push=push).SerializeToString()
    for start in count(0, 2_000):
        yield _attributes(push, start, 2_000)


def repeated(push: bytes) -> Iterator[bytes]:
    """The same valid objects again and again, which is not refused: others must get their turn."""
    yield pb.SendObjectsRequest(push=push).SerializeToString()
    frame = _attributes(push, 0, 100)
    while True:
        yield frame


def huge(push: bytes) -> Iterator[bytes]:
    """Announces 2^40 bytes and more."""
    yield pb.SendBlobsRequest(push=push).SerializeToString()
    yield pb.SendBlobsRequest(
        frame=pb.BlobFrame(headers=[b"\x03\0\0"], lengths=(2**40).to_bytes(8, "little"), data=b"x", decoded=2**40)
    ).SerializeToString()


def slow(push: bytes) -> Iterator[bytes]:
    yield pb.SendBlobsRequest(push=push).SerializeToString()
    time.sleep(20)


def empty(push: bytes) -> Iterator[bytes]:
    yield pb.SendBlobsRequest(push=push).SerializeToString()
    for _ in range(1_000_000):
        yield b""


def too_large(push: bytes) -> Iterator[bytes]:
    while True:
        yield bytes(64 * 2**20)


KINDS: list[tuple[str, Callable[[bytes], Iterator[bytes]]]] = [
    ("SendObjects", endless),
    ("SendObjects", tiny),
    ("SendObjects", repeated),
    ("SendBlobs", huge),
    ("SendBlobs", slow),
    ("SendBlobs", empty),
    ("SendObjects", too_large),
    ("GetBlobs", slow),  # a single request that does not come
]


Honest = Callable[[int], None]
"""What an honest client does, with the port of the server."""


def transfer_blobs(port: int) -> None:
    blobs = make_blobs([2**20] * 8)
    with peer_of(port, timeouts=Timeouts()) as peer:
        peer.hello(Hello())
        frames = list(peer.blobs(BlobNames(b"".join(blobs))))
        assert sum(len(frame.data) for frame in frames) == 8 * 2**20
        assert peer.send_blobs(ID, FakeService(blobs).blobs(BlobNames(b"".join(blobs)))) == 8


def attack(port: int, pid: int, honest: Honest, streams: int = 200) -> tuple[int, float]:
    """Growth of the server under hostile streams, and the seconds that an honest client took meanwhile."""
    options = [("grpc.max_send_message_length", 2**30), ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(f"127.0.0.1:{port}", options) for _ in range(streams // 10)]
    before = most = resident(pid)
    pushes = [_begun(channels[number % len(channels)], number) for number in range(streams)]
    calls: list[Any] = []
    for number in range(streams):
        name, kind = KINDS[number % len(KINDS)]
        stub: Any = channels[number % len(channels)].stream_stream(f"/{SERVICE}/{name}")
        calls.append(stub(kind(pushes[number]), timeout=60))
    taken: list[float] = []

    def run() -> None:
        began = time.monotonic()
        honest(port)
        taken.append(time.monotonic() - began)

    time.sleep(1)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(run)
        end = time.monotonic() + 6
        while not work.done() or time.monotonic() < end:
            most = max(most, resident(pid))
            time.sleep(0.05)
        for call in calls:
            call.cancel()
        work.result()
    for channel in channels:
        channel.close()
    return most - before, taken[0]


def _begun(channel: grpc.Channel, number: int) -> bytes:
    """The id of a push that was begun, so that what follows is read."""
    push = number.to_bytes(16, "big")
    update = pb.RefUpdate(name=f"heads/h{number}", new=bytes([number]) * 32, operation=push)
    begin: Any = channel.stream_unary(f"/{SERVICE}/BeginPush")
    with suppress(grpc.RpcError):
        begin(iter([pb.BeginPushRequest(push=push, updates=[update]).SerializeToString()]), timeout=5)
    return push


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_hostile_streams_do_not_take_the_memory_or_the_service() -> None:
    """Row 24: 200 hostile streams; the server grows by less than 64 MB, and serves an honest client."""
    with server() as (port, pid):
        transfer_blobs(port)
        growth, seconds = attack(port, pid, transfer_blobs)
    assert growth < 64 * 2**20, f"{growth / 2**20:.0f} MiB"
    assert seconds < 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_hostile_streams_against_a_repository(tmp_path: Path) -> None:
    """Row 24 with what a server really does: pushes are begun, objects are checked and kept."""
    fill(tmp_path / "r", "medium", "10", 30 * MIB)
    places = iter(range(1_000))

    def honest(port: int) -> None:
        path = tmp_path / f"c{next(places)}"
        path.mkdir()
        with Repository(path, exists=False) as clone:
            clone.clone("Bob", "bob@example.org", f"127.0.0.1:{port}")
            clone.remote.fetch_data("origin", branch="origin/master")
            branch = clone.create_branch(path.name).name
            with closing(clone.checkout(write=True, branch=branch)) as writer:
                writer["data"]["own"] = np.full(150_000, len(path.name), np.uint8)
                writer.commit("own")
            clone.remote.push("origin", branch)

    with served(tmp_path / "r") as (process, port):
        honest(port)
        began = time.monotonic()
        honest(port)
        alone = time.monotonic() - began
        growth, seconds = attack(port, process.pid, honest)
    print(f"{growth / 2**20:.0f} MiB; an honest client {alone:.1f} s alone, {seconds:.1f} s beside 200 hostile streams")
    assert growth < 64 * 2**20, f"{growth / 2**20:.0f} MiB"
    with Repository(tmp_path / "r") as repository:
        assert repository.list_branches() == ["c0", "c1", "c2", "master"]
        assert not repository.fsck(data=True).problems


# ---------------------------------------------------------------------------------------------------- bombs


def test_a_bomb_is_refused_before_memory_is_allocated() -> None:
    """Row 25. The content size is in the head of the frame, and what follows may be anything."""
    small = zstd.compress(bytes(2**20), 1)
    huge_head = b"\x28\xb5\x2f\xfd\xe0" + (10 * 2**30).to_bytes(8, "little") + small[9:]
    cases = [
        (small, ZSTD, 10 * 2**30),  # announced
        (huge_head, ZSTD, 10 * 2**30),
        (huge_head, ZSTD, 1_000),  # announced in the head alone
        (small, ZSTD, 1_000),
        (small + small, ZSTD, 2**20),  # more than the head says
        (small[:-3], ZSTD, 2**20),
        (small[:3], ZSTD, 2**20),
        (b"", ZSTD, 0),
        (b"\x28\xb5\x2f\xfd\x00\x58" + small[9:], ZSTD, 2**20),  # states no size
        (b"abc", NONE, 4),
        (b"abc", 7, 3),
    ]
    before = resident_here()
    for data, codec, size in cases:
        with pytest.raises(InvalidInputError):
            decoded(data, codec, size, FRAME)
    assert resident_here() - before < 32 * 2**20
    assert decoded(small, ZSTD, 2**20, FRAME) == bytes(2**20)


def resident_here() -> int:
    return resident(os.getpid()) if sys.platform == "linux" else 0


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_792, 200_000, 2**20])
def test_compression_gives_back_the_same(size: int) -> None:
    random = np.random.default_rng(size)
    for data in (bytes(size), random.bytes(size), (b"abc" * size)[:size]):
        small, codec = compressed(data)
        assert decoded(small, codec, size, FRAME) == data
        assert len(small) <= size


# ---------------------------------------------------------------------------------------------------- garbage


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    edited = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(edited)))
        action = int(random.integers(3))
        if action == 0:
            edited[at] ^= 1 << int(random.integers(8))
        elif action == 1:
            del edited[at : at + int(random.integers(1, 9))]
        else:
            edited[at:at] = random.bytes(int(random.integers(1, 9)))
        edited = edited or bytearray(b"\0")
    return bytes(edited)


def test_garbage_gives_errors_of_hangar_alone(start: Start) -> None:
    """Row 29: changed messages of every method, to a server, are answered or refused; it goes on serving."""
    random = np.random.default_rng(3)
    frame = pb.BlobFrame(headers=[b"\x03\0\0"], lengths=(5).to_bytes(8, "little"), data=b"hello", decoded=5)
    objects = pb.Objects(kind="node", lengths=(5).to_bytes(4, "little"), data=b"hello", decoded=5)
    update = pb.RefUpdate(name="heads/a", new=b"c" * 32, operation=ID, annotation=pb.Annotation(message="m", tz=60))
    messages: dict[str, list[Any]] = {
        "Hello": [pb.HelloRequest(versions=[1], capabilities=["a"], software="s")],
        "ListRefs": [pb.ListRefsRequest(prefixes=["heads/"])],
        "GetHistory": [pb.HistoryRequest(wants=b"w" * 32, haves=b"h" * 64)],
        "GetObjects": [pb.ObjectsRequest(wants=[pb.Names(kind="node", digests=b"d" * 64)], below=True)],
        "GetBlobSizes": [pb.BlobNames(digests=b"d" * 96)],
        "CheckBlobs": [pb.CheckBlobsRequest(digests=b"d" * 96, read=True)],
        "GetReachable": [pb.ReachableRequest(commits=b"c" * 96)],
        "GetBlobs": [pb.BlobsRequest(digests=b"d" * 96, start=3)],
        "BeginPush": [pb.BeginPushRequest(push=ID, updates=[update], candidates=b"c" * 32)],
        "SendObjects": [pb.SendObjectsRequest(push=ID), pb.SendObjectsRequest(objects=objects)],
        "SendBlobs": [pb.SendBlobsRequest(push=ID), pb.SendBlobsRequest(frame=frame)],
        "SendTombstones": [
            pb.SendTombstonesRequest(push=ID),
            pb.SendTombstonesRequest(
                page=pb.TombstonePage(tombstones=[pb.Tombstone(digest=b"d" * 32, record=b"\x97\xa1a")])
            ),
        ],
        "FinishPush": [pb.FinishPushRequest(push=ID, updates=[update], name="n", email="e")],
        "AbortPush": [pb.PushName(push=ID)],
    }
    port = start(FakeService(keep=False))
    refused = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name, parts in messages.items():
            stub: Any = channel.stream_stream(f"/{SERVICE}/{name}")
            for _ in range(40):
                encoded = [one.SerializeToString() for one in parts]
                at = int(random.integers(len(encoded)))
                encoded[at] = mutated(encoded[at], random)
                try:
                    list(stub(iter(encoded), timeout=10))
                except grpc.RpcError as error:
                    call: Any = error
                    refused += 1
                    text = str(call.details())
                    assert "Traceback" not in text
                    assert call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED, (name, encoded)
                    assert "its log has the reason" not in text, (name, encoded)
    assert refused > 100
    with peer_of(port) as peer:
        assert peer.hello(Hello()).version == 1


def test_lying_frames_are_refused() -> None:
    header = b"\x03\0\0"

    def number(*values: int, width: int = 8) -> bytes:
        return b"".join(value.to_bytes(width, "little") for value in values)

    good: dict[str, Any] = {
        "headers": [header],
        "lengths": number(2, 3),
        "data": b"hello",
        "decoded": 5,
        "places": number(0, 1, width=4),
    }
    assert len(blobs_in(parse_frame(pb.BlobFrame(**good).SerializeToString()), 2)) == 2
    changes: list[dict[str, Any]] = [
        {"headers": []},
        {"headers": [header] * 3},
        {"headers": [b"x" * 301]},
        {"lengths": b""},
        {"lengths": number(2, 4)},
        {"lengths": number(2, 2**64 - 1)},
        {"lengths": number(2**63, 2**63 + 5)},
        {"lengths": b"1234567"},
        {"lengths": number(5), "start": 1, "places": number(0, width=4)},
        {"start": 1},
        {"header_of": number(0, width=4)},
        {"header_of": number(0, 1, width=4)},
        {"places": number(0, 2, width=4)},
        {"places": b""},
        {"decoded": 6},
        {"decoded": 2**40},
        {"codec": 9},
        {"lengths": number(*[0] * (GRPC_LIMITS.frame_items + 1))},
    ]
    for change in changes:
        with pytest.raises(InvalidInputError):
            blobs_in(parse_frame(pb.BlobFrame(**(good | change)).SerializeToString()), 2)
    large = MAX_OBJECT_BYTES + 1
    for messages in (
        [pb.Objects(kind="node", lengths=number(large, width=4), data=b"x", decoded=1)],
        [pb.Objects(kind="node", lengths=number(5, width=4), data=b"x", decoded=1, start=1)],
        [pb.Objects(kind="node", lengths=number(5, width=4), data=b"x", decoded=1)],
        [pb.Objects(kind="node", lengths=number(5, width=4), data=b"x", decoded=1)] * 2,
        [pb.Objects(kind="node", lengths=number(1, 1, width=4), data=b"x", decoded=1)],
        [pb.Objects(kind="node", lengths=number(1, width=4), data=b"xy", decoded=2)],
        [pb.Objects(kind="n" * 65, lengths=number(1, width=4), data=b"x", decoded=1)],
        [pb.Objects(kind="node", lengths=number(5, width=4), data=b"", decoded=0)],
    ):
        with pytest.raises(InvalidInputError):
            list(objects_in(messages))


def test_a_hostile_server_gives_errors_of_hangar(start: Start) -> None:
    """A fetch trusts a server no more than a server a push."""
    random = np.random.default_rng(9)
    replies: dict[str, bytes] = {
        "Hello": pb.HelloReply(
            version=1, limits=pb.Limits(frame_bytes=2**20, frame_items=9, names=9, blob_bytes=2**20)
        ).SerializeToString(),
        "GetBlobs": pb.BlobFrame(
            headers=[b"\x03\0\0"], lengths=(5).to_bytes(8, "little"), data=b"hello", decoded=5, places=bytes(4)
        ).SerializeToString(),
    }
    answer = [b""]

    def run(messages: Any, context: Any) -> Iterator[bytes]:
        yield answer[0]

    server = grpc.server(ThreadPoolExecutor(2))
    handlers: Any = {name: grpc.stream_stream_rpc_method_handler(run) for name in replies}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with GrpcPeer(Target("t", f"127.0.0.1:{port}", None, ())) as peer:
        for _ in range(150):
            answer[0] = mutated(replies["Hello"], random)
            with suppress(HangarError):
                peer.hello(Hello())
            answer[0] = mutated(replies["GetBlobs"], random)
            with suppress(HangarError):
                list(peer.blobs(BlobNames(b"d" * 32)))
    server.stop(0)
