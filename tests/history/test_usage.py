"""Which commit, column and sample names a digest: compared with a scan of every tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from hangar import Repository
from hangar.db.tables import NODES
from hangar.digest import Digest, digest_list
from hangar.errors import CorruptionError, HangarError
from hangar.history.roots import live_roots
from hangar.history.usage import Usage, Use
from hangar.objects.graph import ancestors
from hangar.objects.node import DIGEST_TAG, MIXED
from hangar.objects.scan import leaves
from hangar.objects.walk import walk
from hangar.schema.keys import decode_key, split_nested_key
from hangar.stores import Stores

Place = tuple[Digest | None, str, object, object, Digest]


@pytest.fixture
def stores(repo: Repository) -> Stores:
    """Flat and nested columns of blobs, texts in the tree and out of it, labels; a renamed column, two branches, changes staged."""
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (40,), np.uint8)
    column.write(range(600), np.arange(600).repeat(40).astype(np.uint8).reshape(600, 40))
    writer.add_ndarray_column("label", (), np.int32).write(range(2_000), np.arange(2_000, dtype=np.int32))
    texts = writer.add_str_column("text")
    texts.write([f"t{i}" for i in range(100)], [f"{'long' * 20}{i}" if i % 3 == 0 else f"{i}" for i in range(100)])
    nested = writer.add_ndarray_column("boxes", (50,), np.float32, contains_subsamples=True)
    for i in range(30):
        nested[f"s{i}"] = {j: np.full(50, i % 7 + j, np.float32) for j in range(4)}
    writer.add_bytes_column("empty")
    writer.commit("one")
    column[3] = np.zeros(40, np.uint8)
    column["three"] = np.full(40, 3, np.uint8)
    writer.commit("two")
    writer.rename_column("x", "y")
    writer.commit("renamed")
    writer.close()
    repo.create_branch("side", "master~1")
    writer = repo.checkout(write=True, branch="side")
    writer["text"].delete(["t0"])
    writer["text"]["new"] = "long" * 20 + "3"
    writer["label"][7] = np.int32(70)
    writer.commit("beside")
    writer["boxes"]["later"] = {0: np.full(50, 3, np.float32)}
    writer.close()
    return repo.checkout().session.stores


def trees(stores: Stores) -> Iterator[tuple[Digest | None, object, object]]:
    roots = live_roots(stores)
    assert roots.staged is not None
    for entry in roots.staged.entries():
        yield None, roots.staged.nodes, entry
    for digest, commit in ancestors(stores.db, roots.commits):
        for entry in commit.columns:
            yield digest, stores.nodes, entry


def every_place(stores: Stores) -> Counter[Place]:
    """Every blob that any tree names, by a scan of all."""
    found: Counter[Place] = Counter()
    for commit, nodes, entry in trees(stores):
        if entry.root is None:  # type: ignore[attr-defined]
            continue
        for leaf, _, _ in leaves(nodes, entry.root):  # type: ignore[attr-defined, arg-type]
            if leaf.kind == MIXED:
                pairs = [
                    (key, cell[1:]) for key, cell in zip(leaf.keys, leaf.cells(), strict=True) if cell[0] == DIGEST_TAG
                ]
            else:
                pairs = list(zip(leaf.keys, digest_list(leaf.blobs()), strict=False))
            for key, digest in pairs:
                sample, subsample = split_nested_key(key) if entry.layout else (decode_key(key), None)  # type: ignore[attr-defined]
                found[commit, entry.name, sample, subsample, Digest(digest)] += 1  # type: ignore[attr-defined]
    return found


def place(use: Use) -> Place:
    return use.commit, use.column, use.sample, use.subsample, use.digest


def test_every_place_is_found_as_a_scan_finds_it(stores: Stores) -> None:
    truth = every_place(stores)
    digests = sorted({key[-1] for key in truth})
    assert len(digests) > 250
    for wanted in (digests, digests[::7], digests[:1], digests[5:7], [bytes(32)]):
        expected = Counter({key: times for key, times in truth.items() if key[-1] in wanted})
        usage = Usage(stores, wanted)
        assert Counter(map(place, usage.uses())) == expected
        assert usage.counts() == Counter(key[-1] for key in expected.elements())
        by_commit = {(use.commit, name) for use in usage.commits() for name in use.columns}
        assert by_commit == {key[:2] for key in expected}
        samples = {(use.column_id, use.sample, use.subsample, use.digest) for use in usage.samples()}
        ids = {(commit, entry.name): entry.id for commit, _, entry in trees(stores)}  # type: ignore[attr-defined]
        assert samples == {(ids[key[:2]], *key[2:]) for key in expected}


def test_a_bound_gives_the_newest_places_of_each_digest(stores: Stores) -> None:
    wanted = {key[-1] for key in every_place(stores)}
    usage = Usage(stores, wanted)
    every: dict[Digest, list[Use]] = {}
    for use in usage.uses():
        every.setdefault(use.digest, []).append(use)
    bounded: dict[Digest, list[Use]] = {}
    for use in usage.uses(most=2):
        bounded.setdefault(use.digest, []).append(use)
    assert bounded == {digest: uses[:2] for digest, uses in every.items()}


def test_nodes_schemas_and_attributes_are_found(repo: Repository, stores: Stores) -> None:
    commit = next(
        commit for digest, commit in ancestors(stores.db, live_roots(stores).commits) if commit.message == "one"
    )
    label = next(entry for entry in commit.columns if entry.name == "label")
    assert label.root is not None
    nodes = list(walk(stores.nodes, label.root))
    leaf, node = nodes[-1]
    usage = Usage(stores, [leaf, label.root, label.schema])
    found = {(use.kind, use.column, use.commit is None) for use in usage.uses()}
    assert found == {(kind, "label", staged) for kind in ("node", "schema") for staged in (True, False)} - (
        set() if usage.counts()[leaf] == 5 else {("node", "label", True)}
    )
    last = next(use for use in usage.uses() if use.digest == leaf)
    assert (last.sample, last.entries) == (1_999, len(node.keys))
    assert last.after == (1_999 - len(node.keys), None)
    assert usage.counts()[label.schema] == 5


def test_a_damaged_node_is_named_though_it_cannot_be_read(stores: Stores) -> None:
    commit = next(commit for _, commit in ancestors(stores.db, live_roots(stores).commits) if commit.message == "one")
    entry = next(entry for entry in commit.columns if entry.name == "boxes")
    assert entry.root is not None
    leaf = next(digest for digest, node in walk(stores.nodes, entry.root) if node.level == 0)
    stores.db.update(lambda transaction: transaction.put(NODES, leaf, b"garbage"))
    fresh = Stores(stores.directory)
    uses = list(Usage(fresh, [leaf]).uses())
    assert {use.column for use in uses} == {"boxes"}
    assert all(isinstance(use.sample, str) and isinstance(use.subsample, int) for use in uses)
    with pytest.raises(CorruptionError, match=leaf.hex()):
        Usage(fresh, [bytes(32)])
    failed: list[tuple[Digest, HangarError]] = []
    other = Usage(fresh, [bytes(32)], failed=lambda digest, error: failed.append((digest, error)))
    assert [digest for digest, _ in failed] == [leaf]
    assert list(other.uses()) == []


def test_a_shared_subtree_is_loaded_once_and_a_listing_loads_only_what_it_needs(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (40,), np.uint8)
    column.write(range(20_000), np.random.default_rng(1).integers(0, 256, (20_000, 40), np.uint8))
    writer.commit("all")
    for i in range(30):
        column[i] = np.full(40, 255 - i, np.uint8)
        writer.commit(str(i))
    writer.close()
    stores = Stores(repo.checkout().session.stores.directory)
    distinct: set[Digest] = set()
    for _, commit in ancestors(stores.db, live_roots(stores).commits):
        for entry in commit.columns:
            assert entry.root is not None
            list(walk(stores.nodes, entry.root, distinct))
    value = next(iter(every_place_of(stores, 15_000)))
    stores = Stores(stores.directory)
    usage = Usage(stores, [value])
    assert stores.nodes.loads <= len(distinct)
    stores.nodes = type(stores.nodes)(stores.db)
    usage._nodes = stores.nodes
    uses = list(usage.uses(most=1))
    assert len(uses) == 1
    assert stores.nodes.loads <= 4


def every_place_of(stores: Stores, key: int) -> Iterator[Digest]:
    commit = next(iter(ancestors(stores.db, live_roots(stores).commits)))[1]
    assert commit.columns[0].root is not None
    for leaf, _, _ in leaves(stores.nodes, commit.columns[0].root):
        for name, digest in zip(leaf.keys, digest_list(leaf.blobs()), strict=True):
            if decode_key(name) == key:
                yield digest
