"""Large samples travel as they are stored: they arrive byte for byte, are kept only where a writer would store them so, and are verified."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from hangar.backends.hdf5.codecs import Encoding, encode
from hangar.backends.hdf5.frames import Content, Frame, encode_head
from hangar.backends.hdf5.stored import FrameForm
from hangar.db.tables import LOCATIONS
from hangar.digest import Digest, Header
from hangar.errors import CorruptionError, HangarError, InvalidInputError, UnreachableError, UnsupportedVersionError
from hangar.objects.records import load_commit
from hangar.remote.blob_parts import decoded_pieces, received_form
from hangar.remote.blobs_in import BlobsIn
from hangar.remote.peer import BlobFrame, BlobNames, Limits
from hangar.remote.selection import blobs_of_columns
from hangar.remote.service import Service
from hangar.remote.transfer import FetchedBlobs, fetch_blobs
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire_blobs import parse_frame
from hangar.remote.wire_frames import blobs_in, blobs_out
from tests.remote.world import Place, fetch, fetch_data, places, push_branch, state

SHAPE = (1301, 401)
"""Two megabytes of float32 in four chunks, of which the last is padded."""
pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
LZ4 = {"complib": "blosc:lz4", "complevel": 5, "shuffle": "byte"}
ZSTD = {"complib": "blosc:zstd", "complevel": 1, "shuffle": "bit"}


def smooth(seed: int, shape: tuple[int, ...] = SHAPE, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).integers(0, 9, shape).cumsum(axis=-1)
    return (values % 2 if dtype is bool else values).astype(dtype)


def fill(writer: Any) -> None:
    writer.add_ndarray_column("volume", SHAPE, np.float32, backend="01", backend_options=LZ4)[0] = smooth(0)
    writer["volume"].write([1, 2], np.stack([smooth(1), np.random.default_rng(1).random(SHAPE, np.float32)]))
    writer.add_ndarray_column("dense", (5, 333, 700), np.int16, backend="01", backend_options=ZSTD)[0] = smooth(
        2, (5, 333, 700), np.int16
    )
    writer.add_ndarray_column("mask", (1100, 1000), bool, backend="01", backend_options=ZSTD)[0] = smooth(
        3, (1100, 1000), bool
    )
    ragged = writer.add_ndarray_column("ragged", (3000, 3000), np.uint16, variable_shape=True, backend="00")
    ragged[0], ragged[1], ragged[2] = (smooth(i, (900 + i, 1311), np.uint16) for i in range(3))
    packed = writer.add_ndarray_column("packed", SHAPE, np.int32, backend="01", backend_options={"complib": "gzip"})
    packed[0] = smooth(5, SHAPE, np.int32)
    plain = writer.add_ndarray_column("plain", SHAPE, np.int32, backend="01", backend_options={"complib": None})
    plain[0] = smooth(6, SHAPE, np.int32)
    writer.add_ndarray_column("raw", (2602, 802), np.uint8, backend="10")[0] = smooth(7, (2602, 802), np.uint8)


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of megabytes are compressed without a choice, as those of many megabytes are."""
    monkeypatch.setattr("hangar.backends.heuristic.LARGE_BYTES", 2**20)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with places(tmp_path_factory.mktemp("stored"), "source") as (place,):
        place.commit(fill)
        yield place


class Watched:
    """A peer whose frames of blobs are counted and may be changed."""

    def __init__(self, service: Service, change: Callable[[Iterator[BlobFrame]], Iterator[BlobFrame]] = iter) -> None:
        self._service = service
        self._change = change
        self.stored = self.others = self.nbytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        for frame in self._change(self._service.blobs(names)):
            self.stored += bool(frame.form)
            self.others += not frame.form
            self.nbytes += len(frame.data)
            yield frame


def head_of(place: Place) -> Digest:
    found = place.head()
    assert found is not None
    return found


def frames_in(place: Place, tag: str) -> set[bytes]:
    """The bytes of all frames of samples in the files of a backend."""
    found = set()
    for path in (place.path / ".hangar" / "blobs").glob(f"*.{tag}"):
        data = path.read_bytes()
        at = 8192
        while at < len(data):
            frame = Frame.find(data, at, len(data))
            if frame.content.role < 3:
                found.add(data[at : at + frame.length])
            at += frame.length
    return found


def test_they_arrive_byte_for_byte(tmp_path: Path, source: Place) -> None:
    """With a fetch and with a push; where no backend was chosen, that of the schema decides."""
    with places(tmp_path, "client", "third") as (client, third):
        peer = Watched(source.service)
        fetch(client, peer)
        done = fetch_data(client, peer, head_of(source))
        assert done.blobs == 11
        assert peer.stored >= 9
        assert client.content(head_of(source)) == source.content(head_of(source))
        # gzip is decoded by the sender, and lz4 is what a writer here uses then.
        assert len(frames_in(client, "01") & frames_in(source, "01")) == 6
        assert frames_in(client, "00") == frames_in(source, "00")
        client.check()
        client.repo.create_branch("work", base_commit=head_of(source).hex())
        push_branch(client, third.service, "work", to="master")
        assert frames_in(client, "01") & frames_in(source, "01") == frames_in(third, "01") & frames_in(source, "01")
        assert third.content(head_of(source)) == source.content(head_of(source))
        third.check()
        third.repo.convert_backend("volume", backend="01", backend_options=LZ4)
        third.repo.gc()
        third.check()
        assert third.content(head_of(source)) == source.content(head_of(source))


def test_a_choice_of_the_receiver_decides(tmp_path: Path, source: Place) -> None:
    with places(tmp_path, "client") as (client,):
        fetch(client, source.service)
        client.repo.create_branch("work", base_commit=head_of(source).hex())
        writer = client.repo.checkout(write=True, branch="work")
        writer["volume"].change_backend("01", ZSTD)
        writer["ragged"].change_backend("10")
        writer.close()
        fetch_data(client, source.service, head_of(source))
        assert client.content(head_of(source)) == source.content(head_of(source))
        frames = [Frame.find(data, 0, len(data)) for data in frames_in(client, "01")]
        volumes = [frame for frame in frames if frame.content.header == volume_header()]
        assert {frame.encoding.codec for frame in volumes} == {5}
        assert not frames_in(client, "00")
        client.check()


def volume_header() -> bytes:
    return Header(1, 11, SHAPE).encode()


def test_who_does_not_ask_gets_logical_bytes(source: Place) -> None:
    names = names_of(source)
    assert not any(frame.form for frame in source.service.blobs(BlobNames(names)))
    assert any(frame.form for frame in source.service.blobs(BlobNames(names, stored=True)))


def names_of(place: Place) -> bytes:
    """Digests of all blobs of a place."""
    with place.stores.db.read() as transaction:
        return b"".join(bytes(key) for key, _ in transaction.raw_rows(LOCATIONS))


# ---------------------------------------------------------------------------------------------------- moved and cut


@pytest.mark.parametrize("decoded_from", [0, 1, 2])
def test_a_blob_that_is_moved_while_it_is_sent_arrives(tmp_path: Path, source: Place, decoded_from: int) -> None:
    """Some parts come as they are stored, the others decoded, in either order."""
    plain = {
        frame.places: dict[int, bytes]() for frame in source.service.blobs(BlobNames(names_of(source))) if frame.start
    }

    def mixed(frames: Iterator[BlobFrame]) -> Iterator[BlobFrame]:
        count = 0
        for frame in frames:
            if not frame.form:
                yield frame
                continue
            count = 0 if not frame.start else count + 1
            turn = count >= decoded_from if decoded_from < 2 else count == 0
            yield decoded(frame) if turn else frame

    with places(tmp_path, "client") as (client,):
        limits = Limits(frame_bytes=150_000)
        peer = Watched(Service(source.stores, limits=limits), mixed)
        fetch(client, peer)
        fetch_data(client, peer, head_of(source))
        assert peer.others
        assert client.content(head_of(source)) == source.content(head_of(source))
        client.check()
    assert plain


def decoded(frame: BlobFrame) -> BlobFrame:
    """The same part with its logical bytes."""
    header, total = Header.decode(frame.headers[0]), int.from_bytes(frame.lengths, "little")
    form = received_form(frame.form, header, total)
    memory = np.empty(form.piece_bytes, np.uint8)
    data = b"".join(piece.tobytes() for _, piece in decoded_pieces(form, frame.data, frame.start, memory))
    return replace(frame, data=data, form=b"", decoded=0)


def test_a_stored_blob_is_continued_where_it_was_cut(source: Place) -> None:
    """From a byte where a piece begins it goes on as it is stored, from another one decoded."""
    names = next(
        frame.places for frame in source.service.blobs(BlobNames(names_of(source), stored=True)) if frame.start
    )
    digest = names_of(source)[32 * int.from_bytes(names, "little") :][:32]
    whole = list(source.service.blobs(BlobNames(digest, stored=True)))
    begin = whole[1].start if len(whole) > 1 else 0
    assert [frame.start for frame in source.service.blobs(BlobNames(digest, 0, begin, True))] == [
        frame.start for frame in whole[1:]
    ] or begin == 0
    rest = list(source.service.blobs(BlobNames(digest, 0, begin + 5, True)))
    assert rest[0].start == begin + 5
    assert not any(frame.form for frame in rest)


def test_a_longer_one_is_decoded_into_a_file(tmp_path: Path, source: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From which another process could go on."""
    monkeypatch.setattr("hangar.remote.blob_parts.MEMORY_BYTES", 1_000)
    with places(tmp_path, "client") as (client,):
        fetch(client, source.service)
        fetch_data(client, source.service, head_of(source))
        assert client.content(head_of(source)) == source.content(head_of(source))
        client.check()


@pytest.mark.parametrize("nbytes", [1_000, 300_000, 2**20])
def test_unencoded_ones_are_kept_as_they_come(
    tmp_path: Path, source: Place, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not in crumbs, each of which would keep more memory than it has bytes."""
    kept: list[int] = []
    store = BlobsIn._store_kept

    def stored(self: BlobsIn, parts: Any) -> None:
        kept.append(len(parts.pieces))
        store(self, parts)

    monkeypatch.setattr(BlobsIn, "_store_kept", stored)
    with places(tmp_path, "client") as (client,):
        peer = Watched(Service(source.stores, limits=Limits(frame_bytes=nbytes)))
        fetch(client, peer)
        client.repo.create_branch("work", base_commit=head_of(source).hex())
        head = load_commit(client.stores.db, head_of(source))
        done = fetch_blobs(client.stores, peer, list(blobs_of_columns(client.stores, [head], ["raw"])))
        assert done.blobs == 1
        assert kept == ([] if nbytes == 1_000 else [-(-2602 * 802 // nbytes)])
        reader = client.repo.checkout(branch="work")
        assert np.array_equal(reader["raw"][0], smooth(7, (2602, 802), np.uint8))
        reader.close()
        client.check()


def test_what_came_of_one_is_left_to_the_next_fetch(tmp_path: Path, source: Place) -> None:
    asked: list[int] = []

    class Cut(Watched):
        def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
            asked.append(names.start)
            for frame in super().blobs(names):
                yield frame
                if frame.form and not frame.start and frame.nbytes < int.from_bytes(frame.lengths, "little"):
                    raise UnreachableError("cut")

    with places(tmp_path, "client") as (client,):
        service = Service(source.stores, limits=Limits(frame_bytes=450_000))
        fetch(client, service)
        for _ in range(9):
            with contextlib.suppress(UnreachableError):
                fetch_data(client, Cut(service), head_of(source))
        assert len([start for start in asked if start]) > 3
        assert client.content(head_of(source)) == source.content(head_of(source))
        client.check()


# ---------------------------------------------------------------------------------------------------- hostile senders


def volume_frames(source: Place) -> list[BlobFrame]:
    """The frames of one smooth volume."""
    service = Service(source.stores, limits=Limits(frame_bytes=450_000))
    found: dict[bytes, list[BlobFrame]] = {}
    for frame in service.blobs(BlobNames(names_of(source), stored=True)):
        if frame.form and frame.headers[0] == volume_header():
            found.setdefault(frame.places, []).append(frame)
    smallest = min(found.values(), key=lambda frames: sum(len(frame.data) for frame in frames))
    assert len(smallest) > 1
    assert len(pieces_of(smallest[0])) > 1
    return smallest


def remade(frame: BlobFrame, first: list[bytes] | None = None, /, **changes: Any) -> BlobFrame:
    """A frame whose head is another one, with right checksums."""
    old = Frame.find(frame.form, 0, 2**63)
    content = old.content._replace(**{key: value for key, value in changes.items() if key in Content._fields})
    encoding = old.encoding._replace(**{key: value for key, value in changes.items() if key in Encoding._fields})
    sizes, checks = list(old.stored), list(old.checks)
    for number, piece in enumerate(first or []):
        sizes[number], checks[number] = len(piece), xxh3_64_intdigest(piece)
    count = changes.get("pieces", len(sizes))
    sizes, checks = (sizes * 9)[:count], (checks * 9)[:count]
    return replace(frame, form=encode_head(content, encoding, sizes, checks))


def reserved(form: bytes) -> bytes:
    """The head with a byte that has no meaning yet, and its right checksum."""
    changed = form[:20] + b"\1" + form[21:-8]
    return changed + xxh3_64_intdigest(changed).to_bytes(8, "little")


def pieces_of(frame: BlobFrame) -> list[bytes]:
    sizes = Frame.find(frame.form, 0, 2**63).stored
    found, at = [], 0
    for size in sizes:
        if at + size > len(frame.data):
            break
        found.append(bytes(frame.data[at : at + size]))
        at += size
    return found


def stored_mutations(frames: list[BlobFrame]) -> dict[str, list[BlobFrame]]:
    """Streams of one stored blob of which each is wrong in one thing."""
    first, rest = frames[0], frames[1:]
    pieces, head = pieces_of(first), Frame.find(first.form, 0, 2**63)
    content = head.content
    data = bytes(first.data)

    def padded() -> list[BlobFrame]:
        """All is right but for the padding of one piece, which no digest covers."""
        number = content.pieces_per_slab - 1
        start, stop = content.span(number)
        assert stop - start < content.piece_bytes
        everything = b"".join(bytes(frame.data) for frame in frames)
        at = sum(head.stored[:number])
        memory = np.zeros(content.piece_bytes, np.uint8)
        FrameForm(first.form, head).decode(
            number, np.frombuffer(everything[at : at + head.stored[number]], np.uint8), memory
        )
        memory[-1] = 1
        piece = bytes(encode(memory, head.encoding, content.item_bytes))
        sizes, checks = list(head.stored), list(head.checks)
        sizes[number], checks[number] = len(piece), xxh3_64_intdigest(piece)
        form = encode_head(content, head.encoding, sizes, checks)
        whole = everything[:at] + piece + everything[at + head.stored[number] :]
        return [replace(first, form=form, data=whole, decoded=content.nbytes)]

    other = bytes(encode(np.full(content.piece_bytes, 7, np.uint8), head.encoding, 4))
    zstd = bytes(encode(np.full(content.piece_bytes, 7, np.uint8), Encoding(5, 1, 0), 4))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    swapped = pieces[1] + pieces[0] + data[len(pieces[0]) + len(pieces[1]) :]
    return {
        "a flipped bit": [replace(first, data=bytes(flipped)), *rest],
        "a byte too few": [replace(first, data=data[:-1]), *rest],
        "a byte too many": [replace(first, data=data + b"\0"), *rest],
        "no data": [replace(first, data=b"", decoded=0), *rest],
        "pieces that change places with each other": [replace(first, data=swapped), *rest],
        "another announced size": [replace(first, decoded=first.decoded - 4), *rest],
        "an announced size of nothing": [replace(first, decoded=0), *rest],
        "an announced size below zero": [replace(first, decoded=-4), *rest],
        "a huge announced size": [replace(first, decoded=2**40), *rest],
        "the first part twice": [first, first],
        "the second part alone": rest,
        "the first part alone": [first],
        "the second part without its form": [first, replace(rest[0], form=b"", decoded=0), *rest[1:]],
        "a start within a piece": [first, replace(rest[0], start=rest[0].start + 4), *rest[1:]],
        "a start below zero": [replace(first, start=-4), *rest],
        "two lengths": [replace(first, lengths=first.lengths * 2), *rest],
        "another length": [replace(one, lengths=(SHAPE[0] * 4).to_bytes(8, "little")) for one in frames],
        "a length of 2**40": [replace(one, lengths=(2**40).to_bytes(8, "little")) for one in frames],
        "another header": [replace(one, headers=(Header(1, 11, SHAPE[::-1]).encode(),)) for one in frames],
        "another piece with its checksum": [
            remade(replace(first, data=other + data[len(pieces[0]) :]), [other]),
            *rest,
        ],
        "a piece with another codec": [remade(replace(first, data=zstd + data[len(pieces[0]) :]), [zstd]), *rest],
        "padding that is not zero": padded(),
        "a form of nothing but zeros": [replace(one, form=bytes(100)) for one in frames],
        "a form that is cut off": [replace(one, form=one.form[:-9]) for one in frames],
        "a form with a byte too many": [replace(one, form=one.form + b"\0") for one in frames],
        "a form with a flipped bit": [replace(one, form=one.form[:40] + b"\xff" + one.form[41:]) for one in frames],
        "a form with a reserved byte": [replace(one, form=reserved(one.form)) for one in frames],
        "a form of half the magic": [replace(one, form=b"HG") for one in frames],
        **{
            f"a form with {name} {value}": [remade(one, **{name: value}) for one in frames]
            for name, value in [
                ("role", 1),
                ("role", 2),
                ("role", 3),
                ("header", b""),
                ("header", Header(1, 10, SHAPE).encode()),
                ("item_bytes", 1),
                ("item_bytes", 0),
                ("rows", 2),
                ("rows", 0),
                ("axis", 1),
                ("pieces", content.pieces - content.pieces_per_slab),
                ("pieces", content.pieces + content.pieces_per_slab),
                ("pieces", 1),
                ("pieces", 0),
                ("piece_bytes", content.piece_bytes * 2),
                ("piece_bytes", 2**26),
                ("piece_bytes", 2**32 - 4),
                ("piece_bytes", 0),
                ("slab_bytes", content.slab_bytes * 2),
                ("slab_bytes", 2**60),
                ("codec", 5),
                ("codec", 3),
                ("codec", 6),
                ("codec", 7),
                ("codec", 99),
                ("codec", 0),
                ("shuffle", 2),
                ("shuffle", 3),
                ("level", 10),
            ]
        },
    }


ACCEPTED = {
    # What decodes to the right bytes is decoded, and stored as a writer here stores it.
    "a form with item_bytes 1",
    "a form with axis 1",
    "a form with codec 3",
    "a form with shuffle 2",
    "the second part without its form",
}


def fetch_volumes(client: Place, peer: Any) -> FetchedBlobs:
    head = load_commit(client.stores.db, Digest(next(iter(client.stores.refs.items("remotes/")))[1] or b""))
    return fetch_blobs(client.stores, peer, list(blobs_of_columns(client.stores, [head], ["volume"])))


def raise_if_absent(done: FetchedBlobs, name: str) -> None:
    """A stream without a blob is no error of the stream."""
    assert not done.blobs, name
    raise CorruptionError(name)


def test_stored_blobs_that_are_wrong_in_one_thing_are_refused(tmp_path: Path, source: Place) -> None:
    """By a fetch, which keeps nothing of them, and the honest fetch succeeds afterwards."""
    frames = volume_frames(source)
    mutations = stored_mutations(frames)
    assert len(mutations) >= 50
    with places(tmp_path, "client") as (client,):
        fetch(client, source.service)
        before = frames_in(client, "01")
        for name, sent in mutations.items():
            if name in ACCEPTED:
                continue
            peer = Watched(source.service, lambda _, sent=sent: iter(sent))  # type: ignore[misc]
            with pytest.raises((CorruptionError, InvalidInputError, UnsupportedVersionError)):
                raise_if_absent(fetch_volumes(client, peer), name)
            assert not client.repo.fsck(data=True).problems, name
            assert frames_in(client, "01") == before, name
        peer = Watched(source.service, lambda _: iter(mutations["a form with axis 1"]))
        assert fetch_volumes(client, peer).blobs == 1
        fetch_data(client, source.service, head_of(source))
        assert client.content(head_of(source)) == source.content(head_of(source))
        client.check()


def test_random_bytes_of_stored_blobs_give_errors_of_hangar(tmp_path: Path, source: Place) -> None:
    """Also where all checksums are right, so that the decoder sees them; whatever is accepted is what was asked for."""
    frames = volume_frames(source)
    first = frames[0]
    pieces = pieces_of(first)
    chance = random.Random(0)
    memory = np.empty(2**22, np.uint8)
    header, total = Header.decode(first.headers[0]), int.from_bytes(first.lengths, "little")
    refused = 0
    for _ in range(1_500):
        piece = bytearray(pieces[0])
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            at = chance.randrange(16) if chance.random() < 0.3 else chance.randrange(len(piece))
            piece[at] = chance.choice((0, 255, chance.randrange(256), piece[at] ^ 1))
        form_bytes = bytearray(remade(first, [bytes(piece)]).form)
        if chance.random() < 0.2:
            form_bytes[chance.randrange(len(form_bytes) - 8)] ^= 1 << chance.randrange(8)
            form_bytes[-8:] = xxh3_64_intdigest(bytes(form_bytes[:-8])).to_bytes(8, "little")
        try:
            form = received_form(bytes(form_bytes), header, total)
            for _ in decoded_pieces(form, bytes(piece), 0, memory[: form.piece_bytes]):
                pass
        except HangarError:
            refused += 1
    assert refused > 300


def test_sizes_of_stored_frames_are_checked_in_the_message(source: Place) -> None:
    """Before anything is decoded: what is announced, and the sizes of data and form."""
    frame = volume_frames(source)[0]
    message = blobs_out(frame, True).SerializeToString()
    asked = int(np.frombuffer(frame.places, "<u4")[0]) + 1
    assert blobs_in(parse_frame(message), asked) == replace(frame, data=blobs_in(parse_frame(message), asked).data)
    assert bytes(blobs_in(parse_frame(message), asked).data) == bytes(frame.data)
    for change in (
        {"form": b""},
        {"form": bytes(2**16 + 1)},
        {"data": b""},
        {"data": bytes(2**20 + 1)},
        {"decoded": 0},
        {"decoded": 8 * 2**20 + 1},
        {"decoded": 2**40},
        {"start": 2**50},
        {"lengths": frame.lengths * 2},
    ):
        fields = pb.BlobFrame.FromString(message)
        for name, value in change.items():
            setattr(fields, name, value)
        with pytest.raises(InvalidInputError):
            blobs_in(parse_frame(fields.SerializeToString()), asked)


def test_a_pushed_stored_blob_that_is_wrong_leaves_no_trace(tmp_path: Path, source: Place) -> None:
    with places(tmp_path, "client", "server") as (client, server):
        fetch(client, source.service)
        fetch_data(client, source.service, head_of(source))
        client.repo.create_branch("work", base_commit=head_of(source).hex())
        server.commit(lambda writer: writer.add_ndarray_column("base", (), np.uint8).write([0], np.zeros(1, np.uint8)))
        push_branch(server, server.service, to="warm")  # what the first push of all makes is there
        before = state(server)

        class Flipping:
            def __getattr__(self, name: str) -> Any:
                return getattr(server.service, name)

            def send_blobs(self, push: bytes, frames: Iterator[BlobFrame]) -> int:
                return server.service.send_blobs(push, map(flip, frames))

        def flip(frame: BlobFrame) -> BlobFrame:
            data = bytearray(frame.data)
            data[-1] ^= 1
            return replace(frame, data=bytes(data)) if frame.form else frame

        with pytest.raises(InvalidInputError, match="cannot be decoded"):
            push_branch(client, Flipping(), "work", to="work")
        assert state(server) == before
        push_branch(client, server.service, "work", to="work")
        assert server.content(head_of(source)) == source.content(head_of(source))
        server.check()
