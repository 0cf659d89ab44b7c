"""The graph of commits, against plain sets; clocks mean nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hangar.db.tables import COMMITS, GRAPH
from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.objects.commit import Commit
from hangar.objects.graph import ancestors, generation, is_ancestor, merge_bases, record_generation
from hangar.objects.records import store_commit
from tests.objects.memory import MemoryDatabase


class Graph:
    """Commits by name. Their clocks are wrong on purpose."""

    def __init__(self, seed: int = 0) -> None:
        self.database: Any = MemoryDatabase()
        self.random = random.Random(seed)
        self.digests: dict[str, Digest] = {}
        self.parents: dict[str, list[str]] = {}

    def add(self, name: str, *parents: str) -> Digest:
        made = Commit(
            parents=[self.digests[parent] for parent in parents],
            columns=[],
            attributes=None,
            author="a",
            email="e",
            time_ns=self.random.randrange(-(10**18), 10**18),
            tz=0,
            message=name,
            meta={},
        )

        def publish(transaction: Any) -> Digest:
            digest = store_commit(transaction, made)
            record_generation(transaction, digest, made.parents)
            return digest

        self.digests[name] = self.database.update(publish)
        self.parents[name] = list(parents)
        return self.digests[name]

    def before(self, name: str) -> set[str]:
        """The commit and all its ancestors."""
        found = {name}
        for parent in self.parents[name]:
            found |= self.before(parent)
        return found

    def bases(self, ours: str, theirs: str) -> set[str]:
        common = self.before(ours) & self.before(theirs)
        return {name for name in common if not any(name in self.before(other) - {other} for other in common)}

    def names(self, digests: Any) -> list[str]:
        named = {digest: name for name, digest in self.digests.items()}
        return [named[digest] for digest in digests]

    def generation(self, name: str) -> int:
        with self.database.read() as transaction:
            return generation(transaction, self.digests[name])


def random_graph(seed: int, size: int = 24) -> Graph:
    graph = Graph(seed)
    for i in range(size):
        known = list(graph.digests)
        count = graph.random.choice([1, 1, 1, 2, 2, 3]) if known else 0
        recent = known[-6:] if graph.random.random() < 0.8 else known
        graph.add(str(i), *graph.random.sample(recent, min(count, len(recent))))
    if graph.random.random() < 0.5:
        graph.add("apart")
    return graph


@pytest.mark.parametrize("seed", range(25))
def test_generations_ancestors_and_bases(seed: int) -> None:
    graph = random_graph(seed)
    lengths: dict[str, int] = {}
    for name, parents in graph.parents.items():
        lengths[name] = 1 + max((lengths[parent] for parent in parents), default=0)
        assert graph.generation(name) == lengths[name]
    if seed % 2:
        # Derived data: lost, in part or whole, it is worked out again.
        graph.database.rows[GRAPH.name] = {
            digest: row for digest, row in graph.database.rows[GRAPH.name].items() if seed % 4 == 1 and digest[0] < 128
        }
        assert all(graph.generation(name) == length for name, length in lengths.items())
    names = list(graph.digests)
    for name in names:
        met = graph.names(digest for digest, _ in ancestors(graph.database, [graph.digests[name]]))
        assert set(met) == graph.before(name)
        assert len(met) == len(set(met))
        assert all(met.index(parent) > met.index(child) for child in met for parent in graph.parents[child])
    for _ in range(40):
        a, b = graph.random.choice(names), graph.random.choice(names)
        only = ancestors(graph.database, [graph.digests[a]], [graph.digests[b]])
        assert set(graph.names(digest for digest, _ in only)) == graph.before(a) - graph.before(b)
        assert is_ancestor(graph.database, graph.digests[a], graph.digests[b]) == (a in graph.before(b))
        bases = merge_bases(graph.database, graph.digests[a], graph.digests[b])
        assert set(graph.names(bases)) == graph.bases(a, b)
        assert len(bases) == len(set(bases))


def test_a_criss_cross_has_two_bases() -> None:
    graph = Graph()
    graph.add("root")
    graph.add("a1", "root")
    graph.add("b1", "root")
    graph.add("a2", "a1", "b1")
    graph.add("b2", "b1", "a1")
    bases = merge_bases(graph.database, graph.digests["a2"], graph.digests["b2"])
    assert set(graph.names(bases)) == {"a1", "b1"}


def test_histories_without_a_common_commit() -> None:
    graph = Graph()
    a, b = graph.add("a"), graph.add("b")
    assert merge_bases(graph.database, a, b) == []
    assert not is_ancestor(graph.database, a, b)
    assert merge_bases(graph.database, a, a) == [a]


def test_several_heads_are_walked_as_one() -> None:
    graph = random_graph(3)
    heads = [graph.digests["20"], graph.digests["17"], graph.digests["20"]]
    met = graph.names(digest for digest, _ in ancestors(graph.database, heads))
    assert set(met) == graph.before("20") | graph.before("17")
    assert all(met.index(parent) > met.index(child) for child in met for parent in graph.parents[child])
    assert list(ancestors(graph.database, [])) == []


def test_the_first_commits_are_met_without_reading_all() -> None:
    graph = Graph()
    graph.add("0")
    for i in range(1, 300):
        graph.add(str(i), str(i - 1))
    reads = graph.database.reads
    walk = ancestors(graph.database, [graph.digests["299"]])
    assert [graph.names([next(walk)[0]])[0] for _ in range(5)] == ["299", "298", "297", "296", "295"]
    assert graph.database.reads - reads <= 6
    reads = graph.database.reads
    found = ancestors(graph.database, [graph.digests["299"]], [graph.digests["296"]])
    assert graph.names(digest for digest, _ in found) == ["299", "298", "297"]
    assert graph.database.reads - reads <= 6
    # Whether something recent is an ancestor is found without going back to the beginning.
    reads = graph.database.reads
    assert is_ancestor(graph.database, graph.digests["295"], graph.digests["299"])
    assert not is_ancestor(graph.database, graph.digests["299"], graph.digests["295"])
    graph.add("apart")
    graph.add("apart 2", "apart")
    graph.add("side", "297")
    assert not is_ancestor(graph.database, graph.digests["298"], graph.digests["side"])
    merge_bases(graph.database, graph.digests["295"], graph.digests["299"])
    assert graph.database.reads - reads < 30


def test_a_long_history_needs_no_deep_stack() -> None:
    graph = Graph()
    graph.add("0")
    for i in range(1, 5_000):
        graph.add(str(i), str(i - 1))
    graph.database.rows[GRAPH.name].clear()
    assert graph.generation("4999") == 5_000


def test_damage_is_named() -> None:
    graph = Graph()
    a = graph.add("a")
    b = graph.add("b", "a")
    del graph.database.rows[COMMITS.name][a]
    with pytest.raises(CorruptionError, match=a.hex()):
        list(ancestors(graph.database, [b]))
    graph.database.rows[GRAPH.name][b] = b"garbage"
    with pytest.raises(CorruptionError, match=b.hex()):
        graph.generation("b")
    graph.database.rows[GRAPH.name].clear()
    with pytest.raises(CorruptionError, match=a.hex()):
        graph.generation("b")
