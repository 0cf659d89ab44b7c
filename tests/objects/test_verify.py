"""The structural checks: a good tree passes, and every way of being wrong is found and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from hangar.db.tables import NODES
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError
from hangar.objects.apply import apply
from hangar.objects.build import build
from hangar.objects.node import ARRAYS, BY_DIGEST, FIXED_INLINE, Node, Root, TreeForm, encode_node
from hangar.objects.store import NodeStore
from hangar.objects.verify import Problem, TreeVerifier, verify
from hangar.objects.walk import walk
from tests.objects.memory import FORMS, MemoryDatabase, cell_of, int_key, memory_store, nested_key, write_out

SIZE = 12_000


def good_tree(name: str = "label", size: int = SIZE) -> tuple[NodeStore, TreeForm, Root]:
    form = FORMS[name]
    store = memory_store()
    keys = [nested_key(i // 100, i) if form.nested else int_key(i) for i in range(size)]
    root = build(store, form, keys, [cell_of(form, i) for i in range(size)])
    assert root is not None
    return store, form, root


@pytest.mark.parametrize("size", [1, 20, 500, SIZE])
@pytest.mark.parametrize("name", sorted(FORMS))
def test_good_trees_pass(name: str, size: int) -> None:
    store, form, root = good_tree(name, size)
    assert list(verify(store, form, root)) == []


def messages(problems: list[Problem]) -> str:
    return "\n".join(f"{problem.digest.hex()}: {problem.message}" for problem in problems)


def with_leaf(store: NodeStore, root: Root, index: int, **changes: Any) -> Root:
    """The tree with one leaf replaced, its parents changed to match as far as digests go."""
    top = store.load(root.digest)
    path: list[tuple[Node, int]] = []
    node = top
    while node.level:
        spot = index if node.level == 1 else 0
        path.append((node, spot))
        node = store.load(node.child(spot))
    new = msgspec.structs.replace(node, **changes)
    digest = store.add(new)
    for parent, spot in reversed(path):
        refs = bytearray(parent.refs)
        refs[32 * spot : 32 * spot + 32] = digest
        counts = list(parent.counts)
        counts[spot] = new.entries
        keys = list(parent.keys)
        keys[spot] = new.keys[-1]
        new = msgspec.structs.replace(parent, refs=bytes(refs), counts=counts, keys=keys)
        digest = store.add(new)
    return Root(digest, new.entries, new.entries)


def leaf_parent(store: NodeStore, root: Root) -> Node:
    node = store.load(root.digest)
    while node.level > 1:
        node = store.load(node.child(0))
    return node


def leaf_at(store: NodeStore, root: Root, index: int) -> Node:
    return store.load(leaf_parent(store, root).child(index))


def test_keys_that_do_not_ascend() -> None:
    store, form, root = good_tree()
    leaf = leaf_at(store, root, 3)
    keys = [leaf.keys[1], leaf.keys[0], *leaf.keys[2:]]
    assert "do not ascend" in messages(list(verify(store, form, with_leaf(store, root, 3, keys=keys))))


def test_a_key_twice() -> None:
    store, form, root = good_tree()
    leaf = leaf_at(store, root, 3)
    keys = [leaf.keys[1], *leaf.keys[1:]]
    assert "do not ascend" in messages(list(verify(store, form, with_leaf(store, root, 3, keys=keys))))


def test_a_leaf_that_begins_before_the_one_before_it_ends() -> None:
    store, form, root = good_tree()
    leaf = leaf_at(store, root, 3)
    keys = [leaf_at(store, root, 2).keys[-1], *leaf.keys[1:]]
    assert "before its predecessor ends" in messages(list(verify(store, form, with_leaf(store, root, 3, keys=keys))))


@pytest.mark.parametrize("index", [0, 3])
def test_a_node_that_ends_too_early_or_too_late(index: int) -> None:
    store, form, root = good_tree()
    leaf, behind = leaf_at(store, root, index), leaf_at(store, root, index + 1)
    short = with_leaf(store, root, index, keys=leaf.keys[:-1], refs=leaf.refs[:-8])
    assert "boundary rule" in messages(list(verify(store, form, short)))
    long = with_leaf(store, root, index, keys=[*leaf.keys, behind.keys[0]], refs=leaf.refs + behind.refs[:8])
    assert "boundary rule" in messages(list(verify(store, form, long)))


def test_a_short_last_node_is_wrong_in_the_middle() -> None:
    form = FORMS["label"]
    database = MemoryDatabase()
    store = memory_store(database)
    keys = [int_key(i) for i in range(SIZE)]
    cells = [cell_of(form, i) for i in range(SIZE)]
    good = build(store, form, keys, cells)
    assert good is not None
    leaf = leaf_at(store, good, 0)
    shorter = build(store, form, keys[:10], cells[:10])
    assert shorter is not None
    verifier = TreeVerifier(store, form)
    assert list(verifier.problems(shorter)) == []
    # Known as the last of its level, the same node is refused with others behind it.
    bad = with_leaf(store, good, 0, keys=leaf.keys[:10], refs=leaf.refs[:80])
    assert shorter.digest in store.load(bad.digest).children() + store.load(store.load(bad.digest).child(0)).children()
    assert "boundary rule" in messages(list(verifier.problems(bad)))


def with_root(store: NodeStore, root: Root, **changes: Any) -> Root:
    node = msgspec.structs.replace(store.load(root.digest), **changes)
    return Root(store.add(node), root.entries, root.samples)


def test_wrong_counts() -> None:
    store, form, root = good_tree()
    top = store.load(root.digest)
    counts = [top.counts[0] + 1, top.counts[1] - 1, *top.counts[2:]]
    found = messages(list(verify(store, form, with_root(store, root, counts=counts))))
    assert f"has {top.counts[0]:,} entries, not {top.counts[0] + 1:,}" in found


def test_wrong_samples() -> None:
    store, form, root = good_tree("nested label")
    top = store.load(root.digest)
    samples = [top.samples[0] + 1, top.samples[1] - 1, *top.samples[2:]]
    found = messages(list(verify(store, form, with_root(store, root, samples=samples))))
    assert "adds" in found
    assert "has sample counts" in messages(list(verify(store, form, with_root(store, root, samples=[]))))


def test_a_wrong_last_key() -> None:
    store, form, root = good_tree()
    top = store.load(root.digest)
    keys = [top.keys[0] + b"\x00", *top.keys[1:]]
    assert "does not end with the last key" in messages(list(verify(store, form, with_root(store, root, keys=keys))))


@pytest.mark.parametrize(("entries", "samples"), [(1, 0), (0, 1), (-1, -1)])
def test_the_root_is_counted_wrongly_by_who_names_it(entries: int, samples: int) -> None:
    store, form, root = good_tree()
    wrong = Root(root.digest, root.entries + entries, root.samples + samples)
    assert len(list(verify(store, form, wrong))) == 1


def test_a_root_with_a_single_child() -> None:
    store, form, root = good_tree()
    top = store.load(root.digest)
    higher = Node(0, top.level + 1, 0, [top.keys[-1]], root.digest, b"", [root.entries], [])
    assert "single child" in messages(list(verify(store, form, Root(store.add(higher), root.entries, root.samples))))


def test_a_child_on_the_wrong_level() -> None:
    store, form, root = good_tree()
    top = store.load(root.digest)
    higher = msgspec.structs.replace(top, level=top.level + 1)
    assert "is on level" in messages(list(verify(store, form, Root(store.add(higher), root.entries, root.samples))))


def test_leaves_of_another_form() -> None:
    store, _, root = good_tree()
    for other in (TreeForm(FIXED_INLINE, 4, False), FORMS["digest"], FORMS["text"]):
        assert "its entries have kind 1, width 8" in messages(list(verify(store, other, root)))
    assert "has sample counts" in messages(list(verify(store, FORMS["nested label"], root)))


def test_keys_without_a_sample_in_a_nested_column() -> None:
    store = memory_store()
    leaf = Node(0, 0, FIXED_INLINE, [b"\x10abc"], b"abc", b"\x03", [], [])
    found = list(verify(store, FORMS["nested label"], Root(store.add(leaf), 1, 1)))
    assert "not valid in a nested column" in messages(found)


def test_an_encoding_that_is_not_canonical() -> None:
    database = MemoryDatabase()
    store = memory_store(database)
    form = FORMS["digest"]
    leaf = Node(0, 0, 0, [int_key(1)], b"d" * 32, b"", [], [])
    twisted = encode_node(leaf).replace(b"\x98\x00", b"\x98\xcc\x00", 1)
    digest = record_digest("node", twisted)
    database.rows[NODES.name] = {digest: twisted}
    assert "not in canonical form" in messages(list(verify(store, form, Root(digest, 1, 1))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x98\x00\x00", b"\x98\xcc\x00\x00"),
        (b"\x98\x00\x00", b"\x98\x00\xcc\x00"),
        (b"\xc4\x09\x10", b"\xc5\x00\x09\x10"),
        (b"\xdc", b"\xdd\x00\x00"),
        (b"\xc4\x01\x08\x90", b"\xc5\x00\x01\x08\x90"),
        (b"\x08\x90\x90", b"\x08\x90\xdc\x00\x00"),
    ],
)
def test_a_leaf_below_other_nodes_is_not_canonical(old: bytes, new: bytes) -> None:
    store, form, root = good_tree()
    leaf = leaf_at(store, root, 3)
    good = encode_node(leaf)
    twisted = good.replace(old, new, 1)
    assert twisted != good
    digest = record_digest("node", twisted)
    store.pending[digest] = twisted
    node = store.load(root.digest)
    path = []
    while node.level:
        spot = 3 if node.level == 1 else 0
        path.append((node, spot))
        node = store.load(node.child(spot))
    named = digest
    for parent, spot in reversed(path):
        refs = bytearray(parent.refs)
        refs[32 * spot : 32 * spot + 32] = named
        named = store.add(msgspec.structs.replace(parent, refs=bytes(refs)))
    found = list(verify(store, form, Root(named, root.entries, root.samples)))
    assert [problem.digest for problem in found] == [digest]
    assert "not in canonical form" in messages(found)


@pytest.mark.parametrize("kind", [BY_DIGEST, ARRAYS])
@pytest.mark.parametrize("every", [False, True])
def test_leaves_of_digests_have_no_sizes_and_those_of_arrays_are_decoded(kind: int, every: bool) -> None:
    form = TreeForm(kind, 32, False)
    size = 1_500  # few enough for all leaves to have one parent
    database = MemoryDatabase()
    store = memory_store(database)
    root = build(store, form, [int_key(i) for i in range(size)], [cell_of(form, i) for i in range(size)])
    assert root is not None
    assert store.load(root.digest).level == 1
    decoded: list[int] = []
    rows: list[Digest] = []

    def checked(digests: Sequence[Digest], nodes: Sequence[Node]) -> None:
        decoded.extend(node.level for node in nodes)

    def checked_rows(digests: Sequence[Digest], entries: Any) -> None:
        rows.extend(digests)

    verifier = TreeVerifier(store, form, None, checked, checked_rows)
    assert list(verifier.problems(root)) == []
    # The records that leaves of arrays name are verified where those leaves are.
    assert (0 in decoded) == (kind == ARRAYS) == (not rows)
    twisted = root
    for index in range(len(leaf_parent(store, root).keys)) if every else [3]:
        twisted = with_leaf(store, twisted, index, sizes=b"\x20")
    write_out(store)
    found = list(TreeVerifier(memory_store(database), form, None, checked, checked_rows).problems(twisted))
    assert "a node of digests has sizes" in messages(found)


def stored(name: str = "label") -> tuple[MemoryDatabase, TreeForm, Root]:
    form = FORMS[name]
    database = MemoryDatabase()
    writer = memory_store(database)
    root = build(writer, form, [int_key(i) for i in range(SIZE)], [cell_of(form, i) for i in range(SIZE)])
    write_out(writer)
    assert root is not None
    return database, form, root


def test_what_cannot_be_read_is_named_and_the_rest_is_looked_at() -> None:
    database, form, root = stored()
    rows = database.rows[NODES.name]
    first, second = (digest for digest, data in list(rows.items())[5:7] if digest != root.digest)
    del rows[first]
    rows[second] = b"damaged"
    found = {problem.digest: problem.message for problem in verify(memory_store(database), form, root)}
    assert set(found) == {first, second}
    assert "missing" in found[Digest(first)]
    assert "damaged" in found[Digest(second)]
    del rows[root.digest]
    assert [problem.digest for problem in verify(memory_store(database), form, root)] == [root.digest]


def test_trees_of_many_commits_are_checked_at_the_cost_of_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    database, form, root = stored()
    store = memory_store(database)
    verifier = TreeVerifier(store, form)
    reads = database.reads
    assert list(verifier.problems(root)) == []
    assert store.loads == len(database.rows[NODES.name])
    # The children of a node are loaded together.
    assert database.reads - reads <= 1 + sum(1 for _, node in walk(store, root.digest) if node.level)
    trees = [apply(store, form, root, [int_key(500 * i)], [b"changed!"]) for i in range(20)]
    checked = 0
    load_many, encoded = NodeStore.load_many, NodeStore.encoded

    def loading(store: NodeStore, digests: Sequence[bytes]) -> list[Node]:
        nonlocal checked
        checked += len(digests)
        return load_many(store, digests)

    def reading(store: NodeStore, digests: Sequence[bytes]) -> list[bytes]:
        nonlocal checked
        checked += len(digests)
        return encoded(store, digests)

    monkeypatch.setattr(NodeStore, "load_many", loading)
    monkeypatch.setattr(NodeStore, "encoded", reading)
    for tree in trees:
        assert tree is not None
        assert list(verifier.problems(tree)) == []
    assert 20 * 3 <= checked <= 20 * 4


# ---------------------------------------------------------------------- walk


def test_a_walk_meets_every_node_once_and_parents_first() -> None:
    database, _, root = stored()
    store = memory_store(database)
    met = list(walk(store, root.digest))
    order = {digest: i for i, (digest, _) in enumerate(met)}
    assert set(order) == set(database.rows[NODES.name])
    assert len(order) == len(met)
    assert all(order[child] > order[digest] for digest, node in met if node.level for child in node.children())
    assert [key for _, node in met if not node.level for key in node.keys] == [int_key(i) for i in range(SIZE)]


def test_a_walk_leaves_out_what_was_seen() -> None:
    database, form, root = stored()
    store = memory_store(database)
    seen: set[Digest] = set()
    everything = sum(1 for _ in walk(store, root.digest, seen))
    assert everything == len(seen)
    assert list(walk(store, root.digest, seen)) == []
    after = apply(store, form, root, [int_key(77)], [b"changed!"])
    assert after is not None
    assert len(list(walk(store, after.digest, seen))) == len(store.pending)


def test_a_walk_stops_at_what_cannot_be_right() -> None:
    database, _, root = stored()
    store = memory_store(database)
    top = store.load(root.digest)
    higher = store.add(msgspec.structs.replace(top, level=top.level + 1))
    with pytest.raises(CorruptionError):
        list(walk(store, higher))
    del database.rows[NODES.name][top.child(0)]
    with pytest.raises(CorruptionError):
        list(walk(memory_store(database), root.digest))
