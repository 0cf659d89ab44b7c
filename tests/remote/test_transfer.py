"""Fetch and push between two repositories in one process: what arrives is what was there, digest for digest."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from hangar.backends.location import FILE_BITS, FILE_ROW
from hangar.db.tables import COMMITS, NODES
from hangar.digest import Digest
from hangar.errors import (
    CorruptionError,
    DiskFullError,
    InvalidInputError,
    InvalidStateError,
    NotLocalError,
    PurgedError,
    UnreachableError,
)
from hangar.objects.graph import add_commit
from hangar.objects.records import load_commit
from hangar.objects.walk import walk
from hangar.remote.peer import BlobFrame, BlobNames, Limits, Objects, ObjectsRequest
from hangar.remote.selection import blobs_of_columns
from hangar.remote.service import Service
from hangar.remote.transfer import ColumnBlobs, fetch_blobs, push
from hangar.stores import Stores
from tests.remote.world import WHO, Place, fetch, fetch_data, places, push_branch, update

SAMPLES = 700
pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


def fill(writer: Any) -> None:
    """Columns of every kind, with thousands of small values and some that are larger than a frame."""
    rng = np.random.default_rng(0)
    image = writer.add_ndarray_column("image", (28, 28), np.uint8)
    image.write(list(range(SAMPLES)), rng.integers(0, 256, (SAMPLES, 28, 28), np.uint8))
    label = writer.add_ndarray_column("label", (), np.int16)
    label.write(list(range(SAMPLES)), np.arange(SAMPLES, dtype=np.int16))
    flags = writer.add_ndarray_column("flags", (50,), bool)
    flags.write(list(range(40)), rng.integers(0, 2, (40, 50)).astype(bool))
    big = writer.add_ndarray_column("big", (900, 700), np.float32, backend="01")
    text, raw = writer.add_str_column("text"), writer.add_bytes_column("raw")
    ragged = writer.add_ndarray_column("ragged", (20, 20), np.float64, variable_shape=True)
    boxes = writer.add_ndarray_column("boxes", (3, 15), np.uint8, contains_subsamples=True)
    sparse = writer.add_sparse_column("sparse", np.float32, (40, 30), variable_shape=True)
    photo = writer.add_image_column("photo")
    grown = writer.add_chunked_column("grown", np.int16, (8, 8), contains_subsamples=True)
    with writer:
        for i in range(60):
            text[f"t{i}"] = "ä" * i * 7
            raw[i] = bytes([i]) * i * 9
            ragged[i] = rng.normal(size=(i % 20 + 1, i % 7))
            boxes[i // 3, f"b{i}"] = rng.integers(0, 256, (3, 15), np.uint8)
        big["a"], big["b"] = rng.normal(size=(2, 900, 700)).astype(np.float32)
        raw["large"] = rng.bytes(5_000_000)
        for i in range(12):
            sparse[i] = np.array([[i, 3], [i + 1, 4]]), np.ones(2, np.float32), (30 + i % 3, 20)
            photo[i] = rng.integers(0, 256, (9, 7 + i, 3), np.uint8)
            grown["a", i] = rng.integers(0, 3, (20, i + 1)).astype(np.int16)
    writer.attributes["origin"] = "test"
    image.attributes["classes"] = ["a", "b"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A repository of three commits that no test changes."""
    with places(tmp_path_factory.mktemp("filled"), "server") as (server,):
        server.commit(fill, message="first")

        def second(writer: Any) -> None:
            with writer:
                del writer["image"][3]
                writer["image"][4] = np.zeros((28, 28), np.uint8)
                writer["text"]["t5"] = "other" * 50

        server.commit(second, message="second")
        server.commit(lambda writer: writer.rename_column("raw", "bytes"), message="third")
        yield server


def head_of(place: Place) -> Digest:
    head = place.head()
    assert head is not None
    return head


def assert_same(place: Place, other: Place) -> None:
    """Both have the whole history of ``other``, with equal trees and values."""
    head = head_of(other)
    assert place.trees(head) == other.trees(head)
    for digest, _ in place.trees(head):
        assert place.content(Digest(digest)) == other.content(Digest(digest))


@pytest.mark.parametrize("streams", [1, 3])
def test_fetch_then_push_gives_the_same_repository(tmp_path: Path, filled: Place, streams: int) -> None:
    with places(tmp_path, "client", "third") as (client, third):
        found = fetch(client, filled.service)
        assert len(found.commits) == 3
        data = fetch_data(client, filled.service, head_of(filled), streams=streams)
        assert not len(data.absent)
        assert data.left == 0
        assert_same(client, filled)
        client.repo.create_branch("work", base_commit=head_of(filled).hex())
        pushed = push_branch(client, third.service, "work", to="master")
        assert pushed.blobs == data.blobs
        assert pushed.blob_nbytes == data.nbytes
        assert_same(third, filled)
        client.check()
        third.check()
        # Nothing is sent twice.
        again = fetch(client, filled.service)
        assert (again.commits, again.objects, again.calls) == ((), 0, 0)
        assert fetch_data(client, filled.service, head_of(filled)).blobs == 0


def test_what_arrives_lies_in_the_backend_that_the_receiver_prefers(tmp_path: Path, filled: Place) -> None:
    with places(tmp_path, "client") as (client,):
        fetch(client, filled.service)
        head = head_of(filled)
        client.repo.create_branch("work", base_commit=head.hex())
        writer = client.repo.checkout(write=True, branch="work")
        writer["image"].change_backend("00")
        writer.close()
        fetch_data(client, filled.service, head)
        assert tags(client, head, "image") == {"00"}
        assert tags(filled, head, "image") == {"10"}
        assert_same(client, filled)
        client.check()


def tags(place: Place, head: Digest, column: str) -> set[str]:
    """Backends in which the data of a column lies."""
    words = place.stores.blobs.locate(np.concatenate(list(all_digests(place, head, column)))).words
    return {place.stores.blobs.files.get(int(row & FILE_BITS))[0].tag for row in words[:, FILE_ROW].tolist()}


def all_digests(place: Place, head: Digest, column: str) -> Iterator[Any]:
    for entry in load_commit(place.stores.db, head).columns:
        if entry.name == column and entry.root is not None:
            for _, node in walk(place.stores.nodes, entry.root):
                if not node.level:
                    yield node.blobs()


class Cut:
    """A reader whose connection is lost after so many frames."""

    def __init__(self, service: Service, frames: int) -> None:
        self._service = service
        self.left = frames
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        if name not in ("history", "objects", "blobs"):
            return found

        def call(*arguments: Any) -> Iterator[Any]:
            for frame in found(*arguments):
                if not self.left:
                    raise UnreachableError("cut")
                self.left -= 1
                self.sent += len(frame.data) if isinstance(frame, BlobFrame) else sum(map(len, frame.items))
                yield frame

        return call


def test_a_fetch_that_is_cut_anywhere_goes_on_where_it_was(tmp_path: Path, filled: Place) -> None:
    filled_small = Service(filled.stores, limits=Limits(frame_bytes=6_000))
    whole = Cut(filled_small, 10**9)
    with places(tmp_path, "whole", "client") as (reference, client):
        fetch(reference, whole)
        expected = whole.sent
        sent = 0
        attempts = 0
        while attempts < 500:
            attempts += 1
            reader = Cut(filled_small, 1)
            try:
                fetch(client, reader)
                sent += reader.sent
                break
            except UnreachableError:
                sent += reader.sent
        assert 10 < attempts < 500
        assert sent <= 1.05 * expected
        assert client.trees(head_of(filled)) == filled.trees(head_of(filled))
        assert not list((client.path / ".hangar" / "quarantine").glob("*"))
        head = head_of(filled)
        data = fetch_data(reference, whole, head)
        for _ in range(50):
            reader = Cut(Service(filled.stores, limits=Limits(frame_bytes=500_000)), 12)
            try:
                fetch_data(client, reader, head)
                break
            except UnreachableError:
                continue
        assert data.blobs
        assert fetch_data(client, filled.service, head).blobs == 0
        assert_same(client, filled)
        client.check()


def test_a_budget_stops_before_it_is_exceeded(tmp_path: Path, filled: Place) -> None:
    with places(tmp_path, "client") as (client,):
        fetch(client, filled.service)
        head = head_of(filled)
        commits = [load_commit(client.stores.db, head)]
        column = list(blobs_of_columns(client.stores, commits, ["image"]))
        first = fetch_blobs(client.stores, filled.service, column, nbytes=100_000)
        assert first.nbytes == 100_000 // 784 * 784
        assert first.left > 0
        assert fetch_data(client, filled.service, head, nbytes=1_000).nbytes <= 1_000
        rest = fetch_blobs(client.stores, filled.service, column)
        assert rest.blobs == first.left
        assert rest.nbytes == first.left_nbytes


def test_a_partial_clone_pushes_what_it_changed(tmp_path: Path, filled: Place) -> None:
    """Without the data of the rest: the server has that."""
    with places(tmp_path, "server", "client") as (server, client):
        push_all(filled, server)
        fetch(client, server.service)
        head = head_of(server)
        client.repo.create_branch("work", base_commit=head.hex())
        new = client.commit(lambda writer: writer["image"].__setitem__(9, np.ones((28, 28), np.uint8)), "work")
        pushed = push_branch(client, server.service, "work", to="master")
        assert (pushed.blobs, pushed.blob_nbytes) == (1, 784)
        assert server.head() == new
        server.check()
        with places(tmp_path / "more", "empty") as (empty,), pytest.raises(NotLocalError, match="fetch-data"):
            push_branch(client, empty.service, "work")


def push_all(place: Place, other: Place) -> None:
    push_branch(place, other.service)


def test_unrelated_histories_exchange_only_the_nodes_that_differ(tmp_path: Path) -> None:
    """Two repositories that were filled separately: the trees are compared level by level."""

    def labels(extra: int) -> Any:
        def change(writer: Any) -> None:
            column = writer.add_ndarray_column("label", (), np.int64)
            column.write(list(range(30_000)), np.arange(30_000))
            column[extra] = -1

        return change

    with places(tmp_path, "one", "two") as (one, two):
        one.commit(labels(7))
        two.commit(labels(20_007))
        found = fetch(one, two.service)
        assert found.objects <= 6
        pushed = push_branch(one, two.service, to="other")
        assert pushed.objects <= 6
        one.check()
        two.check()


def test_a_remote_that_lacks_what_it_names_changes_nothing(tmp_path: Path, filled: Place) -> None:
    class Forgetful(Cut):
        def objects(self, request: ObjectsRequest) -> Iterator[Objects]:
            for frame in self._service.objects(request):
                if frame.kind != "node":
                    yield frame

    with places(tmp_path, "client") as (client,):
        with pytest.raises(CorruptionError, match="which it names"):
            fetch(client, Forgetful(filled.service, 10**9))
        with client.stores.db.read() as transaction:
            assert transaction.count(COMMITS) == transaction.count(NODES) == 0
        assert not list((client.path / ".hangar" / "quarantine").glob("*"))


def test_bytes_that_were_not_asked_for_are_refused(tmp_path: Path, filled: Place) -> None:
    class Liar(Cut):
        def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
            for number, frame in enumerate(self._service.blobs(names)):
                data = bytearray(frame.data)
                if number == 2:
                    data[0] ^= 1
                yield BlobFrame(frame.headers, frame.header_of, frame.lengths, bytes(data), frame.start, frame.group)

    with places(tmp_path, "client") as (client,):
        fetch(client, filled.service)
        with pytest.raises(CorruptionError, match="not asked for"):
            fetch_data(client, Liar(Service(filled.stores, limits=Limits(50_000)), 0), head_of(filled))
        client_blobs(client)
        fetch_data(client, filled.service, head_of(filled))
        assert_same(client, filled)


def client_blobs(client: Place) -> None:
    report = client.repo.fsck(data=True)
    assert not [one for one in report.problems if one.kind == "blob"]


def test_purged_data_is_not_fetched_and_not_pushed_again(tmp_path: Path) -> None:
    secret = np.full((28, 28), 77, np.uint8)

    def change(writer: Any) -> None:
        writer.add_ndarray_column("image", (28, 28), np.uint8).write([0, 1], np.stack([secret, secret * 0]))

    with places(tmp_path, "server", "client", "late") as (server, client, late):
        server.commit(change)
        fetch(client, server.service)
        head = head_of(server)
        fetch_data(client, server.service, head)
        fetch(late, server.service)
        client.repo.create_branch("work", base_commit=head.hex())
        server.repo.purge("image", [0], reason="licence")
        # The server has it no more, and does not take it again.
        data = fetch_data(late, server.service, head)
        assert data.blobs == 1
        assert len(data.absent) == 1

        def again(writer: Any) -> None:
            writer["image"][5] = secret

        client.commit(again, "work")
        push_branch(client, server.service, "work", to="other")
        reader = server.repo.checkout(branch="other")
        with pytest.raises(PurgedError):
            reader["image"][5]
        reader.close()


def test_chunks_and_samples_are_fetched_by_digest_alone(tmp_path: Path, filled: Place) -> None:
    with places(tmp_path, "client") as (client,):
        fetch(client, filled.service)
        head = head_of(filled)
        column = next(
            part for part in blobs_of_columns(client.stores, [load_commit(client.stores.db, head)], ["image"])
        )
        found = fetch_blobs(
            client.stores, filled.service, [ColumnBlobs(column.column_id, column.schema, column.digests[10:13])]
        )
        assert (found.blobs, found.nbytes) == (3, 3 * 784)


def test_a_large_blob_is_gathered_in_a_file(tmp_path: Path, filled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.remote.blob_parts.MEMORY_BYTES", 100_000)
    with places(tmp_path, "client", "third") as (client, third):
        fetch(client, filled.service)
        fetch_data(client, filled.service, head_of(filled))
        client.repo.create_branch("work", base_commit=head_of(filled).hex())
        push_branch(client, third.service, "work", to="master")
        assert_same(third, filled)
        third.check()


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_full_disk_loses_nothing(tmp_path: Path, filled: Place) -> None:
    """Files of a process end at some size: the fetch fails, and succeeds when there is space."""
    head = head_of(filled)
    for number, limit in enumerate((20_000, 100_000, 300_000, 2_000_000)):
        with places(tmp_path / str(number), "client") as (client,):
            pid = os.fork()
            if pid == 0:
                try:
                    stores = Stores(client.path / ".hangar")
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                    child = Place.__new__(Place)
                    child.stores = stores
                    fetch(child, filled.service)
                    fetch_data(child, filled.service, head)
                    os._exit(0)
                except DiskFullError:
                    os._exit(7)
                except BaseException:  # noqa: BLE001
                    os._exit(1)
            assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 7
            assert not client.repo.fsck(data=True).problems
            fetch(client, filled.service)
            fetch_data(client, filled.service, head)
            assert client.trees(head) == filled.trees(head)
            assert not client.repo.fsck(data=True).problems


def test_a_column_cannot_name_data_of_another_type(tmp_path: Path) -> None:
    """Of a tree that the server has: its nodes need not be sent, and are looked at again under the other schema."""

    def fill(writer: Any) -> None:
        writer.add_ndarray_column("pixels", (6, 8), np.uint8).write([0, 1], np.zeros((2, 6, 8), np.uint8) + np.uint8(3))
        writer.add_ndarray_column("signed", (6, 8), np.int8).write([5], np.ones((1, 6, 8), np.int8))

    with places(tmp_path, "server", "client") as (server, client):
        base = server.commit(fill)
        fetch(client, server.service)
        old = load_commit(client.stores.db, base)
        pixels, signed = old.columns
        assert pixels.tree is not None
        swapped = structs.replace(
            old, parents=[base], columns=[pixels, signed.with_tree(pixels.tree)], message="swapped"
        )
        head = client.stores.db.update(lambda transaction: add_commit(transaction, swapped))
        with pytest.raises(InvalidInputError, match="another type"):
            push(client.stores, server.service, [update("heads/new", None, head)], who=WHO)
        assert server.head("new") is None
        server.check()


def test_nothing_to_push_to_a_repository_that_went_away(tmp_path: Path, filled: Place) -> None:
    """A push whose session is gone says so, and begins anew when it is asked for again."""
    with places(tmp_path, "server") as (server,):

        class Restarted(Service):
            def send_blobs(self, push: bytes, frames: Any) -> int:
                self.close()
                return super().send_blobs(push, frames)

        wanted = update("heads/new", None, head_of(filled))
        with pytest.raises(InvalidStateError, match="begin it again"):
            push(filled.stores, Restarted(server.stores), [wanted], who=WHO)
        push(filled.stores, server.service, [wanted], who=WHO)
        assert server.head("new") == head_of(filled)
        server.check()


def test_stores_of_another_process_are_seen(tmp_path: Path, filled: Place) -> None:
    """A commit that is made after the service was opened is served."""
    with places(tmp_path, "server", "client") as (server, client):
        stores = Stores(server.path / ".hangar")
        service = Service(stores)
        server.commit(fill)
        fetch(client, service)
        assert client.trees(head_of(server)) == server.trees(head_of(server))
        service.close()
        stores.close()
