"""The bulk read of leaves gives what the decoder of nodes gives, and verifies what it verifies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hangar import CorruptionError, Repository
from hangar.columns.sampletable import build_table
from hangar.digest import Digest
from hangar.objects import bulk
from hangar.objects.bulk import blobs_of, cells_of, int_leaves
from hangar.objects.node import Node, TreeForm, decode_node, encode_node
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from tests.counting import calls_of
from tests.objects.memory import int_key

COUNT = 6_000
KEYS: dict[str, Any] = {
    "consecutive": range(COUNT),
    "sparse": (np.arange(COUNT) * 7 + 2**40).tolist(),
    "text": [f"s{i:07}" for i in range(COUNT)],
    "both": [*range(COUNT // 2), *(f"s{i:07}" for i in range(COUNT // 2))],
    "few": range(5),
    "one": ["a"],
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    made = Repository(tmp_path_factory.mktemp("bulk"), exists=False)
    made.init("Ada", "ada@example.org")
    writer = made.checkout(write=True)
    for name, keys in KEYS.items():
        writer.add_ndarray_column(name, (), np.int64).write(keys, np.arange(len(keys)) * 3)
        images = np.arange(len(keys) * 40, dtype=np.uint8).reshape(-1, 40)
        images[:, :4] = np.arange(len(keys), dtype="<u4").view(np.uint8).reshape(-1, 4)
        writer.add_ndarray_column(f"{name}-image", (40,), np.uint8).write(keys, images)
    writer.add_ndarray_column("empty-shape", (0,), np.int64).write(range(COUNT), np.empty((COUNT, 0), np.int64))
    pairs = [(i // 8, i % 8) for i in range(COUNT)]
    writer.add_ndarray_column("nested", (), np.int64, contains_subsamples=True).write(pairs, np.arange(COUNT))
    writer.commit("all")
    writer.close()
    yield made
    made.close()


def by_decoder(nodes: NodeStore, root: bytes, form: TreeForm) -> tuple[list[bytes], list[bytes]]:
    found = [leaf for leaf, _, _ in leaves(nodes, root)]
    return [cell for leaf in found for cell in leaf.cells()], [key for leaf in found for key in leaf.keys]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("batch", [3, 1_024])
def test_it_agrees_with_the_decoder(repo: Repository, batch: int, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_LEAVES", batch)
    if plain:
        monkeypatch.setattr(bulk, "_cells", lambda *_: None)
    checkout = repo.checkout()
    for name in checkout.columns:
        column: Any = checkout[name]
        root, form = column._source.root(), column._schema.form
        found = list(cells_of(column._nodes, root.digest, form, keys=not form.nested))
        cells, keys = by_decoder(column._nodes, root.digest, form)
        rows = np.concatenate([one.rows for one in found])
        assert rows.shape == (len(cells), form.width)
        assert rows.tobytes() == b"".join(cells)
        for one in found:
            part, keys = keys[: len(one.rows)], keys[len(one.rows) :]
            ints = not form.nested and all(len(key) == 9 and key[0] == 0x10 for key in part)
            expected = [int.from_bytes(key[1:], "big") for key in part] if ints else []
            assert one.keys.tolist() == expected, name


def test_no_call_for_an_entry(repo: Repository) -> None:
    column: Any = repo.checkout()["sparse"]
    root = column._source.root()
    made = calls_of(lambda: list(cells_of(column._nodes, root.digest, column._schema.form, keys=True)))
    assert made["call"] + made["c_call"] < COUNT / 8, made


def test_the_table_leaves_the_cache_of_nodes_alone(repo: Repository) -> None:
    column: Any = repo.checkout()["sparse-image"]
    nodes = NodeStore(column._nodes._db)
    build_table(nodes, column._table._stores.blobs, column._source.root(), column._schema)
    assert not any(node.level == 0 for node in nodes.recent.values())


def test_pending_nodes_are_read(repo: Repository) -> None:
    column: Any = repo.checkout()["few"]
    root = column._source.root()
    node = column._nodes.load(root.digest)
    nodes = NodeStore(column._nodes._db)
    refs = np.arange(5, dtype="<i8").tobytes()
    digest = nodes.add(Node(0, 0, 1, node.keys, refs, node.sizes, [], []))
    assert nodes.encoded([root.digest, digest, root.digest])[1] == nodes.pending[digest]
    (found,) = cells_of(nodes, digest, column._schema.form, keys=True)
    assert found.rows.tobytes() == refs


def test_a_leaf_of_another_form_is_refused(repo: Repository) -> None:
    column: Any = repo.checkout()["few"]
    node = column._nodes.load(column._source.root().digest)
    for kind, refs, sizes in ((0, bytes(160), b""), (1, bytes(20), b"\x04")):
        digest = column._nodes.add(Node(0, 0, kind, node.keys, refs, sizes, [], []))
        with pytest.raises(CorruptionError, match="another form"):
            list(cells_of(column._nodes, digest, column._schema.form, keys=True))
        column._nodes.drop(digest)


@pytest.mark.parametrize("what", ["refs", "count"])
def test_damaged_parts_are_left_to_the_decoder(repo: Repository, what: str) -> None:
    column: Any = repo.checkout()["few"]
    node = column._nodes.load(column._source.root().digest)
    parts = list(msgspec.structs.astuple(node))
    if what == "refs":
        parts[4] = parts[4][:-1]
    else:
        parts[3] = parts[3][:-1]
    data = msgspec.msgpack.encode(parts)
    with pytest.raises(CorruptionError):
        decode_node(data)
    assert bulk._cells([data], column._schema.form, True) is None


def test_the_blobs_of_a_tree_are_those_of_its_leaves_and_shared_nodes_are_read_once(tmp_path: Path) -> None:
    texts = {f"k{i:05}": "x" * (i % 150) + str(i) for i in range(COUNT)}
    made = Repository(tmp_path, exists=False)
    made.init("Ada", "ada@example.org")
    with closing(made.checkout(write=True)) as writer:
        writer.add_str_column("text").update(texts)
        writer.add_ndarray_column("image", (40,), np.uint8).write(
            range(COUNT),
            np.arange(COUNT * 40).astype(np.uint8).reshape(-1, 40) ^ (np.arange(COUNT)[:, None] >> 5).astype(np.uint8),
        )
        writer.add_ndarray_column("label", (), np.int64).write(range(COUNT), np.arange(COUNT))
        writer.commit("all")
        before = {name: writer[name]._source.root().digest for name in ("text", "image", "label")}
        writer["text"]["k00070"] = "y" * 100
        writer["image"][70] = np.arange(40, dtype=np.uint8)
        writer.commit("one")
    checkout = made.checkout()
    for name, old in before.items():
        column: Any = checkout[name]
        nodes, root, form = column._nodes, column._source.root().digest, column._schema.form
        named = {one: [node.blobs() for node, _, _ in leaves(nodes, one)] for one in (old, root)}
        seen: set[Digest] = set()
        found = list(blobs_of(nodes, old, form, seen))
        assert b"".join(part.tobytes() for part in found) == b"".join(part.tobytes() for part in named[old])
        again = list(blobs_of(nodes, root, form, seen))
        new = sum(map(len, again))
        if name == "label":
            assert not found + again
        else:
            assert sum(map(len, found)) > COUNT / 3
            assert 0 < new <= 2 * 256
            assert {row.tobytes() for part in again for row in part} - {
                row.tobytes() for part in found for row in part
            } == {row.tobytes() for part in named[root] for row in part} - {
                row.tobytes() for part in named[old] for row in part
            }
        assert list(blobs_of(nodes, root, form, seen)) == []
    made.close()


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 256, 257])
@pytest.mark.parametrize("width", [1, 8, 32])
def test_leaves_with_int_keys_are_exactly_their_encoding(width: int, count: int) -> None:
    """No change of a byte of the head, the first or last key or the values is accepted, unless the decoder accepts and encodes it too."""
    kind, sizes = (0, b"") if width == 32 else (1, bytes((width,)))
    form = TreeForm(kind, width, nested=False)
    keys = [int_key(3 * at) for at in range(count)]
    data = encode_node(Node(0, 0, kind, keys, bytes(range(width)) * count, sizes, [], []))
    other = encode_node(Node(0, 0, kind, [int_key(1000)], bytes(width), sizes, [], []))
    found = int_leaves([data, other], form)
    if count > 256:
        assert found is None
        return
    assert found is not None
    assert found.ends == [count, count + 1]
    assert found.keys.tobytes() == b"".join([*keys, int_key(1000)])
    assert found.rows.tobytes() == bytes(range(width)) * count + bytes(width)
    assert int_leaves([data, other], TreeForm(kind, width, nested=True)) is None
    rng = np.random.default_rng(count)
    places = [*range(min(len(data), 24)), *range(max(0, len(data) - width * count - 12), len(data))][:150]
    accepted = 0
    for place in places:
        for value in {0x00, 0x0F, 0x10, 0x90, 0xC4, 0xC5, 0xCC, 0xDC, 0xDD, *rng.integers(0, 256, 8).tolist()} - {
            data[place]
        }:
            changed = data[:place] + bytes((value,)) + data[place + 1 :]
            if int_leaves([changed, other], form) is not None:
                node = decode_node(changed)
                assert encode_node(node) == changed
                assert (node.level, node.kind, node.width) == (0, kind, width)
                assert all(len(key) == 9 and key[0] == 0x10 for key in node.keys)
                accepted += 1
        assert int_leaves([data[:place] + data[place + 1 :], other], form) is None
        assert int_leaves([data[:place] + b"\x00" + data[place:], other], form) is None
    assert accepted  # other numbers and values are other good leaves
