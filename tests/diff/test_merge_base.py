"""Merge bases in criss-cross histories, against the recursive strategy written out over dicts.

The model knows no generations and no trees: ancestors are sets, a base is a dict, and a value that the merge of several
bases leaves open is UNKNOWN. Clocks are random.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hangar.diff.merge_base import merge_base
from hangar.diff.threeway import Side, ThreeWay
from hangar.digest import Digest
from hangar.objects.build import build
from hangar.objects.commit import ColumnEntry, Commit, column_id
from hangar.objects.graph import record_generation
from hangar.objects.records import load_commit, store_commit
from hangar.objects.scan import scan
from hangar.schema import NdarraySchema
from hangar.schema.keys import decode_key, encode_key
from tests.objects.memory import MemoryDatabase, memory_store

SCHEMA = NdarraySchema(np.dtype(np.uint8), ())
UNKNOWN: Any = "unknown"
Samples = dict[int, int]


class History:
    """Commits of one column of labels, by digest: their samples and parents."""

    def __init__(self, seed: int = 0) -> None:
        self.db: Any = MemoryDatabase()
        self.db.rows["schemas"] = {SCHEMA.digest: SCHEMA.data}
        self.nodes = memory_store(self.db)
        self.random = random.Random(seed)
        self.samples: dict[Digest, Samples] = {}
        self.parents: dict[Digest, list[Digest]] = {}

    def commit(self, samples: Samples, *parents: Digest) -> Digest:
        keys = sorted(samples)
        tree = build(self.nodes, SCHEMA.form, list(map(encode_key, keys)), [bytes((samples[key],)) for key in keys])
        entry = ColumnEntry.empty("labels", column_id("labels", SCHEMA.digest, 0), SCHEMA.digest, nested=False)
        commit = Commit(
            parents=list(dict.fromkeys(parents)),
            columns=[entry.with_tree(tree)],
            attributes=None,
            author="a",
            email="e",
            time_ns=self.random.randrange(-(10**18), 10**18),
            tz=0,
            message=str(len(self.samples)),
            meta={},
        )

        def publish(transaction: Any) -> Digest:
            self.nodes.flush(transaction)
            digest = store_commit(transaction, commit)
            record_generation(transaction, digest, commit.parents)
            return digest

        digest: Digest = self.db.update(publish)
        self.samples[digest], self.parents[digest] = samples, commit.parents
        return digest

    def merged(self, ours: Digest, theirs: Digest) -> tuple[Samples, set[int], int]:
        """The result of a merge, with ours where there is a conflict; the conflicts; and the number of bases."""
        base, records, bases = merge_base(self.db, memory_store(self.db), ours, theirs)
        merge = ThreeWay(records, base, *(Side.of(load_commit(self.db, digest)) for digest in (ours, theirs)))
        (column,) = merge.columns
        assert column.merged is not None
        root = column.merged.root
        cells = {} if root is None else {int(decode_key(key)): cell[0] for key, cell in scan(records.nodes, root)}
        conflicts = set()
        for row in merge.samples(column):
            key = int(decode_key(row.key))
            if row.kind is not None:
                conflicts.add(key)
            elif row.theirs is None:
                cells.pop(key)
            else:
                cells[key] = row.theirs[0]
        return cells, conflicts, len(bases)

    # ------------------------------------------------------------------ the model

    def before(self, digest: Digest) -> set[Digest]:
        found: set[Digest] = set()
        waiting = [digest]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.parents[one]
        return found

    def base(self, ours: Sequence[Digest], theirs: Digest) -> tuple[dict[int, Any], int]:
        common = set().union(*map(self.before, ours)) & self.before(theirs)
        best = sorted(one for one in common if not any(one in self.before(other) - {other} for other in common))
        made: dict[int, Any] = dict(self.samples[best[0]]) if best else {}
        for i in range(1, len(best)):
            below = self.base(best[:i], best[i])[0]
            made, conflicts = merge_dicts(below, made, self.samples[best[i]])
            made |= dict.fromkeys(conflicts, UNKNOWN)
        return made, len(best)

    def expected(self, ours: Digest, theirs: Digest) -> tuple[Samples, set[int], int]:
        base, count = self.base((ours,), theirs)
        return (*merge_dicts(base, self.samples[ours], self.samples[theirs]), count)


def merge_dicts(base: dict[int, Any], ours: dict[int, Any], theirs: Samples) -> tuple[dict[int, Any], set[int]]:
    """The merge of two dicts; where there is a conflict it has what ours has."""
    merged, conflicts = dict(ours), set()
    for key in {*base, *ours, *theirs}:
        old, here, there = base.get(key), ours.get(key), theirs.get(key)
        if here is UNKNOWN or (here != there and (old is UNKNOWN or here != old != there)):
            conflicts.add(key)
        elif here != there and here == old:
            merged.pop(key, None)
            if there is not None:
                merged[key] = there
    return merged, conflicts


EDIT = st.tuples(
    st.just("edit"), st.integers(0, 2), st.dictionaries(st.integers(0, 5), st.integers(0, 3) | st.none(), max_size=3)
)
MERGE = st.tuples(st.sampled_from(["merge", "cross"]), st.permutations(range(3)), st.booleans())


@given(st.lists(EDIT | MERGE, max_size=24), st.integers(0, 2**16))
def test_merges_in_random_histories_are_those_of_the_model(steps: list[Any], seed: int) -> None:
    history = History(seed)
    heads = [history.commit(dict.fromkeys(range(4), 0))] * 3

    def merge(ours: Digest, theirs: Digest, with_theirs: bool) -> Digest:
        found = history.merged(ours, theirs)
        assert found == history.expected(ours, theirs)
        other = history.merged(theirs, ours)
        assert other[1:] == found[1:]
        assert {k: v for k, v in other[0].items() if k not in found[1]} == {
            k: v for k, v in found[0].items() if k not in found[1]
        }
        samples, conflicts, _ = found
        for key in conflicts if with_theirs else ():
            samples.pop(key, None)
            if key in history.samples[theirs]:
                samples[key] = history.samples[theirs][key]
        return history.commit(samples, ours, theirs)

    for kind, which, change in steps:
        if kind == "edit":
            samples = {**history.samples[heads[which]], **change}
            heads[which] = history.commit({k: v for k, v in samples.items() if v is not None}, heads[which])
        else:
            one, other = which[:2]
            ours, theirs = heads[one], heads[other]
            heads[one] = merge(ours, theirs, change)
            if kind == "cross":
                heads[other] = merge(theirs, ours, not change)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        merge(heads[one], heads[other], False)


def criss_cross(levels: int) -> tuple[History, Digest, Digest]:
    """Two branches that merge each other again and again, at the same time."""
    history = History()
    one = other = history.commit({0: 0, 1: 0})
    for level in range(1, levels + 1):
        one = history.commit({**history.samples[one], 0: level % 200}, one)
        other = history.commit({**history.samples[other], 1: level % 200}, other)
        merged = {0: level % 200, 1: level % 200}
        one, other = history.commit(merged, one, other), history.commit(merged, other, one)
    return history, one, other


def test_a_conflict_between_the_bases_loses_nothing() -> None:
    """Both sides had resolved the conflict, each in its own way: neither resolution is taken for granted."""
    history = History()
    root = history.commit({0: 0})
    left, right = history.commit({0: 1}, root), history.commit({0: 2}, root)
    ours, theirs = history.commit({0: 1}, left, right), history.commit({0: 2}, right, left)
    assert history.merged(ours, theirs) == ({0: 1}, {0}, 2)
    gone = history.commit({}, right, left)
    assert history.merged(ours, gone) == ({0: 1}, {0}, 2)
    assert history.merged(gone, ours) == ({}, {0}, 2)
    assert history.merged(ours, history.commit({0: 1}, right, left)) == ({0: 1}, set(), 2)


def test_a_long_criss_cross_history_needs_no_deep_stack() -> None:
    history, one, other = criss_cross(1_500)
    ours = history.commit({**history.samples[one], 0: 250}, one)
    theirs = history.commit({**history.samples[other], 1: 251}, other)
    assert history.merged(ours, theirs) == ({0: 250, 1: 251}, set(), 2)


def test_unrelated_commits_have_no_base() -> None:
    history = History()
    one, other = history.commit({0: 0}), history.commit({0: 1})
    assert merge_base(history.db, history.nodes, one, other)[2] == []
