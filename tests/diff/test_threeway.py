"""The three-way comparison against models: dicts of samples, and columns written out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.diff import AttributeConflict, ColumnSchemaKey, FlatColumnDataKey, NestedColumnDataKey
from hangar.diff.threeway import ColumnMerge, Conflict, Records, Side, ThreeWay, conflict_kind
from hangar.diff.threeway_samples import SampleMerge, merged_samples
from hangar.digest import Digest
from hangar.objects.build import build
from hangar.objects.commit import ColumnEntry, column_id
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema, NdarraySchema
from hangar.schema.keys import encode_key, encode_nested_key
from tests.objects.memory import memory_store

Tree = Mapping[Any, int]
FLAT_TREES = st.dictionaries(st.integers(0, 40), st.integers(0, 3))
NESTED_TREES = st.dictionaries(st.tuples(st.sampled_from([0, 1, "a", "b"]), st.integers(0, 3)), st.integers(0, 2))
FLAT_SCHEMA = NdarraySchema(np.dtype(np.int64), ())
NESTED_SCHEMA = NdarraySchema(np.dtype(np.int64), (), nested=True)


def tree(store: NodeStore, samples: Tree, *, nested: bool) -> Any:
    encoded = {encode_nested_key(*key) if nested else encode_key(key): value for key, value in samples.items()}
    keys = sorted(encoded)
    form = (NESTED_SCHEMA if nested else FLAT_SCHEMA).form
    return build(store, form, keys, [encoded[key].to_bytes(8, "little") for key in keys])


def walked(base: Tree, ours: Tree, theirs: Tree, *, nested: bool, unresolved: Any = ()) -> list[SampleMerge]:
    store = memory_store()
    roots = [
        None if root is None else root.digest
        for root in (tree(store, one, nested=nested) for one in (base, ours, theirs))
    ]
    return list(merged_samples(store, *roots, nested=nested, unresolved=unresolved))


def expected(
    base: Tree, ours: Tree, theirs: Tree, *, nested: bool, unresolved: Any = ()
) -> dict[bytes, tuple[Any, ...]]:
    """What a merge of dicts says, sample by sample and key by key."""
    found = {}
    for key in {*base, *ours, *theirs}:
        values = base.get(key), ours.get(key), theirs.get(key)
        old, here, there = values
        kind = None
        if here == there:
            continue
        if nested:
            whole = [{k: v for k, v in one.items() if k[0] == key[0]} for one in (base, ours, theirs)]
            edited = whole[0] and whole[1] != whole[0] != whole[2]
            if edited and (not whole[1] or not whole[2]):
                kind = "t22" if not whole[2] else "t21"
        encoded = encode_nested_key(*key) if nested else encode_key(key)
        if kind is None and (here != old != there or encoded in unresolved):
            kind = conflict_kind(*values)
        if kind is None and there == old:
            continue
        found[encoded] = (kind, *(None if value is None else value.to_bytes(8, "little") for value in values))
    return found


@given(FLAT_TREES, FLAT_TREES, FLAT_TREES)
def test_samples_of_flat_columns_merge_like_dicts(base: Tree, ours: Tree, theirs: Tree) -> None:
    rows = walked(base, ours, theirs, nested=False)
    assert {row.key: tuple(row[1:5]) for row in rows} == expected(base, ours, theirs, nested=False)
    assert [row.key for row in rows] == sorted(row.key for row in rows)


@given(NESTED_TREES, NESTED_TREES, NESTED_TREES)
def test_samples_of_nested_columns_merge_like_dicts(base: Tree, ours: Tree, theirs: Tree) -> None:
    rows = walked(base, ours, theirs, nested=True)
    assert {row.key: tuple(row[1:5]) for row in rows} == expected(base, ours, theirs, nested=True)


@given(FLAT_TREES, FLAT_TREES, FLAT_TREES, st.sets(st.integers(0, 40)))
def test_a_doubtful_base_is_a_conflict_wherever_the_sides_differ(
    base: Tree, ours: Tree, theirs: Tree, doubtful: set[int]
) -> None:
    unresolved = {encode_key(key) for key in doubtful}
    rows = walked(base, ours, theirs, nested=False, unresolved=unresolved)
    assert {row.key: tuple(row[1:5]) for row in rows} == expected(
        base, ours, theirs, nested=False, unresolved=unresolved
    )


@given(NESTED_TREES, NESTED_TREES, NESTED_TREES)
def test_a_merge_the_other_way_has_the_same_conflicts_mirrored(base: Tree, ours: Tree, theirs: Tree) -> None:
    mirror = {"t1": "t1", "t3": "t3", "t21": "t22", "t22": "t21"}
    one = {row.key: row for row in walked(base, ours, theirs, nested=True) if row.kind}
    other = {row.key: row for row in walked(base, theirs, ours, nested=True) if row.kind}
    assert {key: (mirror[str(row.kind)], row.theirs, row.ours) for key, row in one.items()} == {
        key: (row.kind, row.ours, row.theirs) for key, row in other.items()
    }


# ---------------------------------------------------------------------------------------------------- columns


class World:
    """Columns for the three sides, with schemas and attributes in dicts."""

    def __init__(self) -> None:
        self.store = memory_store()
        self.schemas: dict[bytes, ColumnSchema] = {}
        self.maps: dict[bytes, dict[str, Any]] = {}
        self.records = Records(self.store, lambda digest: self.schemas[digest], lambda digest: self.maps[digest])

    def column(
        self,
        name: str,
        samples: Tree | None = None,
        *,
        born: str | None = None,
        schema: ColumnSchema = FLAT_SCHEMA,
        first: ColumnSchema | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ColumnEntry:
        self.schemas[schema.digest] = schema
        root = tree(self.store, samples or {}, nested=schema.nested)
        entry = ColumnEntry.empty(
            name, column_id(born or name, (first or schema).digest, 0), schema.digest, nested=schema.nested
        )
        return type(entry)(
            *(entry.name, entry.id, entry.schema, self.attributes(attributes), entry.layout), None, 0, 0
        ).with_tree(root)

    def attributes(self, values: Mapping[str, Any] | None) -> Digest | None:
        digest = self.records.add_attributes(dict(values or {}))
        if digest is not None:
            self.maps[digest] = dict(values or {})
        return digest

    def merge(self, base: Any, ours: Any, theirs: Any) -> ThreeWay:
        return ThreeWay(self.records, *(one if isinstance(one, Side) else Side(one) for one in (base, ours, theirs)))

    def names(self, merge: ThreeWay) -> list[str]:
        return [column.merged.name for column in merge.columns if column.merged is not None]


@pytest.fixture
def world() -> World:
    return World()


def only(merge: ThreeWay) -> Conflict:
    (conflict,) = merge.all_conflicts()
    return conflict


def test_columns_added_on_both_sides_are_merged(world: World) -> None:
    base = [world.column("a", {1: 1})]
    merge = world.merge(base, [*base, world.column("b", {1: 1})], [*base, world.column("c", {2: 2})])
    assert world.names(merge) == ["a", "b", "c"]
    assert not merge.summary().conflict


def test_one_column_added_on_both_sides_is_one_column(world: World) -> None:
    merge = world.merge([], [world.column("a", {1: 1, 2: 2})], [world.column("a", {2: 2, 3: 3})])
    assert world.names(merge) == ["a"]
    (column,) = merge.columns
    assert [(row.key, row.kind) for row in merge.samples(column)] == [(encode_key(3), None)]


def test_different_values_added_are_t1(world: World) -> None:
    merge = world.merge([], [world.column("a", {1: 1})], [world.column("a", {1: 2})])
    assert merge.summary().t1.samples == (FlatColumnDataKey("a", 1),)


def test_a_column_deleted_against_changes_below_it(world: World) -> None:
    base, changed = [world.column("a", {1: 1})], [world.column("a", {1: 2})]
    assert set(world.merge(base, [], changed).summary().t21.schema) == {ColumnSchemaKey("a", "flat")}
    assert set(world.merge(base, changed, []).summary().t22.schema) == {ColumnSchemaKey("a", "flat")}
    assert world.names(world.merge(base, changed, [])) == ["a"]
    assert world.names(world.merge(base, base, [])) == []
    assert world.names(world.merge(base, [], base)) == []


@pytest.mark.parametrize("change", [{"name": "z", "born": "a"}, {"attributes": {"unit": "m"}, "name": "a"}])
def test_a_column_deleted_against_a_rename_or_an_attribute(world: World, change: dict[str, Any]) -> None:
    base = [world.column("a", {1: 1})]
    changed = [world.column(change.pop("name"), {1: 1}, **change)]
    conflict = only(world.merge(base, [], changed))
    assert (conflict.subject, conflict.kind) == ("column", "t21")


def test_one_name_with_two_schemas(world: World) -> None:
    ours, theirs = world.column("a", {1: 1}), world.column("a", {(1, 1): 1}, schema=NESTED_SCHEMA)
    merge = world.merge([], [ours], [theirs])
    conflict = only(merge)
    assert conflict == Conflict("clash", "t1", theirs.id, b"a", (None, None), (ours, None), (None, theirs))
    assert list(merge.summary().t1.schema) == [ColumnSchemaKey("a", "flat")]
    assert [column.merged for column in merge.columns if column.merged] == [ours]


def test_renames(world: World) -> None:
    base = [world.column("a", {1: 1})]
    ours, theirs = ([world.column(name, {1: 1}, born="a")] for name in ("b", "c"))
    assert world.names(world.merge(base, base, theirs)) == ["c"]
    assert world.names(world.merge(base, ours, ours)) == ["b"]
    conflict = only(world.merge(base, ours, theirs))
    assert conflict == Conflict("name", "t3", base[0].id, b"", "a", "b", "c")


def test_a_renamed_column_gets_the_changes_of_the_other_side(world: World) -> None:
    merge = world.merge([world.column("a", {1: 1})], [world.column("b", {1: 1}, born="a")], [world.column("a", {1: 2})])
    assert world.names(merge) == ["b"]
    assert not merge.summary().conflict


def test_two_columns_renamed_to_one_name(world: World) -> None:
    base = [world.column("a", {1: 1}), world.column("b", {1: 2})]
    ours = [world.column("x", {1: 1}, born="a"), base[1]]
    theirs = [base[0], world.column("x", {1: 2}, born="b")]
    merge = world.merge(base, ours, theirs)
    assert only(merge).subject == "clash"
    assert world.names(merge) == ["b", "x"]


def test_a_clash_that_frees_no_name_gives_another_clash(world: World) -> None:
    """Theirs moves b away, to a name that is taken here, and gives the name b to a new column: both wait."""
    base = [world.column("b", {1: 2})]
    ours = [base[0], world.column("x", {1: 1})]
    theirs = [world.column("x", {1: 2}, born="b"), world.column("b", {(1, 1): 3}, schema=NESTED_SCHEMA)]
    merge = world.merge(base, ours, theirs)
    assert [(one.subject, one.key) for one in merge.conflicts] == [("clash", b"x"), ("clash", b"b")]
    assert world.names(merge) == ["b", "x"]


def test_names_swapped_on_one_side(world: World) -> None:
    base = [world.column("a", {1: 1}), world.column("b", {1: 2})]
    theirs = [world.column("b", {1: 1}, born="a"), world.column("a", {1: 2}, born="b")]
    merge = world.merge(base, base, theirs)
    assert not merge.conflicts
    assert {column.id: column.merged.name for column in merge.columns if column.merged} == {
        base[0].id: "b",
        base[1].id: "a",
    }


def variable(*shape: int) -> NdarraySchema:
    return NdarraySchema(np.dtype(np.int64), shape, variable=True)


def test_two_widenings_merge_to_the_maximum(world: World) -> None:
    sides = [[world.column("a", schema=variable(*shape), first=variable(2, 2))] for shape in ((2, 2), (5, 3), (4, 9))]
    merge = world.merge(*sides)
    assert not merge.conflicts
    (column,) = merge.columns
    assert column.merged is not None
    assert column.merged.schema == variable(5, 9).digest
    assert merge.records.schema(column.merged.schema).shape == (5, 9)


def test_shapes_whose_maximum_is_too_large_are_a_conflict(world: World) -> None:
    shapes = ((2, 2), (2**30, 2), (2, 2**30))
    sides = [[world.column("a", schema=variable(*shape), first=variable(2, 2))] for shape in shapes]
    conflict = only(world.merge(*sides))
    assert (conflict.subject, conflict.kind) == ("column", "t3")


def test_attributes_merge_key_by_key(world: World) -> None:
    base, ours, theirs = (
        Side([world.column("a", attributes=values)], world.attributes(values))
        for values in ({"x": 1, "y": 1, "z": 1}, {"x": 2, "y": 1, "z": 1, "new": 1}, {"x": 1, "y": 3})
    )
    for sides in ((base, ours, theirs), (base, theirs, ours)):
        merge = world.merge(*sides)
        assert not merge.conflicts
        (column,) = merge.columns
        assert column.merged is not None
        assert column.merged.attributes == merge.attributes
        assert merge.records.attribute_map(merge.attributes) == {"x": 2, "y": 3, "new": 1}


def test_attributes_in_conflict(world: World) -> None:
    base, ours, theirs = (
        Side([world.column("a", attributes=values)], world.attributes(values))
        for values in ({"x": 1}, {"x": 1.0, "k": 1}, {"x": True, "k": 2})
    )
    summary = world.merge(base, ours, theirs).summary()
    found = {"x": AttributeConflict(1, 1.0, True), "k": AttributeConflict(None, 1, 2)}
    assert summary.attributes == {None: found, "a": found}
    assert summary.conflict
    assert summary.total() == 4


def test_a_nested_sample_deleted_whole(world: World) -> None:
    base, ours, theirs = (
        [world.column("a", samples, schema=NESTED_SCHEMA)]
        for samples in ({("s", 1): 1, ("s", 2): 2, (0, 0): 0}, {(0, 0): 0}, {("s", 1): 1, (0, 0): 0})
    )
    summary = world.merge(base, ours, theirs).summary()
    assert summary.t21.samples == (NestedColumnDataKey("a", "s", 1),)


def test_doubts_about_columns_and_attributes(world: World) -> None:
    column = world.column("a", {1: 1}, attributes={"k": 1})
    changed = world.column("a", {1: 1}, attributes={"k": 2})
    base = Side(
        [column], None, {("column", column.id): [b""], ("attribute", column.id): [b"k"], ("name", column.id): [b""]}
    )
    assert only(world.merge(base, [column], [])).kind == "t22"
    assert only(world.merge(base, [column], [changed])).subject == "attribute"
    assert (
        only(world.merge(base, [column], [world.column("b", {1: 1}, born="a", attributes={"k": 1})])).subject == "name"
    )
    assert not list(world.merge(base, [changed], [changed]).all_conflicts())


def test_only_changed_nodes_are_read(world: World) -> None:
    samples = dict.fromkeys(range(100000), 0)
    base, ours, theirs = (
        world.column("a", samples | dict.fromkeys(keys, 1))
        for keys in ((), range(0, 100_000, 1_000), range(500, 100_000, 1_000))
    )
    world.store._db.update(world.store.flush)
    fresh = Records(NodeStore(world.store._db), world.records.load_schema, world.records.load_attributes)
    merge = ThreeWay(fresh, Side([base]), Side([ours]), Side([theirs]))
    column: ColumnMerge = merge.columns[0]
    assert len(list(merge.samples(column))) == 100
    assert fresh.nodes.loads <= 2.5 * 100 * 2
