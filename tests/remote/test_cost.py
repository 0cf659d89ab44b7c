"""What synchronization costs: calls, objects and bytes follow the change, not what exists (row 21)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.digest import Digest, Header, blob_digests
from hangar.objects.records import load_commit
from hangar.remote.peer import BlobFrame
from hangar.remote.selection import blobs_of_columns
from hangar.remote.transfer import ColumnBlobs, fetch_blobs
from tests.counting import calls_of
from tests.remote.world import Place, fetch, fetch_data, places, push_branch

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


class Counting:
    """A peer that counts calls and the bytes of blobs."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self.calls: list[str] = []
        self.nbytes = 0

    def _through(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            if isinstance(frame, BlobFrame):
                self.nbytes += len(frame.data)
            yield frame

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            answer = found(*arguments)
            return self._through(answer) if hasattr(answer, "__next__") else answer

        return call


def height(place: Place, head: Digest) -> int:
    root = load_commit(place.stores.db, head).columns[0].root
    assert root is not None
    return place.stores.nodes.load(root).level + 1


@pytest.mark.parametrize("keys", [100_000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
def test_calls_and_bytes_follow_the_change(tmp_path: Path, keys: int) -> None:
    """Of the table of the issue: one change among a million keys <= 6 round trips and <= 24 KB of nodes."""
    rng = np.random.default_rng(0)

    def first(writer: Any) -> None:
        writer.add_ndarray_column("label", (), np.int64).write(list(range(keys)), np.arange(keys))

    with places(tmp_path, "server", "client", "mirror") as (server, client, mirror):
        server.commit(first)
        fetch(client, server.service)
        push_branch(server, mirror.service, to="copy")
        for count in (1, 100, 1_000):
            chosen = rng.choice(keys, count, replace=False)

            def change(writer: Any, chosen: Any = chosen) -> None:
                writer["label"].write(chosen.tolist(), -chosen - 1)

            head = server.commit(change)
            reading, writing = Counting(server.service), Counting(mirror.service)
            found = fetch(client, reading)
            pushed = push_branch(server, writing, to="copy")
            # Besides these there is one call of hello, once for each connection.
            for peer, nbytes in ((reading, found.nbytes), (writing, pushed.object_nbytes)):
                assert len(peer.calls) + 1 <= min(6, height(server, head) + 2), peer.calls
                assert nbytes <= 16 * 1024 + 8 * 1024 * count
            assert client.trees(head) == mirror.trees(head) == server.trees(head)


def test_a_node_that_is_received_costs_few_calls(tmp_path: Path) -> None:
    """Trees are read, sent, received, verified and stored by batches: both sides together make some calls a node, none a key."""
    keys = 100_000
    with places(tmp_path, "server", "client") as (server, client):
        server.commit(
            lambda writer: writer.add_ndarray_column("label", (), np.int64).write(range(keys), np.arange(keys))
        )
        found: list[Any] = []
        made = calls_of(lambda: found.append(fetch(client, server.service)))
        assert found[0].objects > keys / 100
        assert made["call"] + made["c_call"] < 45 * found[0].objects


def test_a_slice_of_a_chunked_array_comes_with_its_chunks_alone(tmp_path: Path) -> None:
    """Of an array of 32 MB in chunks of 256 KB, the two chunks of a slice; and a change of one chunk sends that chunk."""
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 256, (128, 512, 512), np.uint8)

    def first(writer: Any) -> None:
        column = writer.add_chunked_column("volume", np.uint8, (1, 512, 512))
        column["a"] = volume
        column["b"] = volume[:3]

    with places(tmp_path, "server", "client") as (server, client):
        first_head = server.commit(first)
        fetch(client, server.service)
        column = next(blobs_of_columns(client.stores, [load_commit(client.stores.db, first_head)]))
        assert len(column.digests) == 128  # three of them are shared with the other sample
        peer = Counting(server.service)
        wanted = [digest_of(volume[at : at + 1]) for at in (10, 11)]
        got = fetch_blobs(client.stores, peer, [ColumnBlobs(column.column_id, column.schema, np.stack(wanted))])
        assert (got.blobs, peer.nbytes) == (2, 2 * 512 * 512)
        reader = client.repo.checkout(commit=first_head.hex())
        assert (np.asarray(reader["volume"]["a"][10:12]) == volume[10:12]).all()
        reader.close()

        def second(writer: Any) -> None:
            writer["volume"]["a"][77, 5, 5] = 255 - volume[77, 5, 5]

        head = server.commit(second)
        found = fetch(client, server.service)
        assert found.objects <= 5  # the commit, its leaf, the array record, and the nodes of its chunk map
        new = Counting(server.service)
        fetch_data(client, new, head)
        assert new.nbytes == (128 + 1 - 2) * 512 * 512
        assert client.content(head) == server.content(head)
        # Pushed on, to a repository that has the first commit.
        with places(tmp_path / "more", "third") as (third,):
            client.repo.create_branch("old", base_commit=first_head.hex())
            client.repo.create_branch("new", base_commit=head.hex())
            push_branch(client, third.service, "old", to="copy")
            pushed = push_branch(client, third.service, "new", to="copy")
            assert (pushed.blobs, pushed.blob_nbytes) == (1, 512 * 512)
            assert pushed.objects <= 5
            assert third.content(head) == server.content(head)
            third.check()
        client.check()


def digest_of(chunk: Any) -> Any:
    return blob_digests(Header(1, 6, chunk.shape), np.ascontiguousarray(chunk).reshape(1, -1))[0]


@pytest.mark.nightly
def test_small_samples_cost_no_more_than_five_times_large_ones_per_byte(tmp_path: Path) -> None:
    """100,000 samples of 784 bytes against 20 of 4 MB."""
    rates: dict[str, float] = {}
    with places(tmp_path, "server", "client", "third") as (server, client, third):
        for name, shape, count in (("small", (28, 28), 100_000), ("large", (2_048, 2_048), 20)):
            rng = np.random.default_rng(0)

            def change(writer: Any, name: str = name, shape: Any = shape, count: int = count, rng: Any = rng) -> None:
                column = writer.add_ndarray_column(name, shape, np.uint8, backend="10")
                column.write(list(range(count)), rng.integers(0, 256, (count, *shape), np.uint8))

            head = server.commit(change)
            fetch(client, server.service)
            begun = time.perf_counter()
            got = fetch_data(client, server.service, head)
            rates[name] = got.nbytes / (time.perf_counter() - begun)
            begun = time.perf_counter()
            pushed = push_branch(server, third.service, to="copy")
            rates[name + " pushed"] = pushed.blob_nbytes / (time.perf_counter() - begun)
    assert rates["small"] >= rates["large"] / 5, rates
    assert rates["small pushed"] >= rates["large pushed"] / 5, rates
