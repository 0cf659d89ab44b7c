from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.diff import (
    AttributeChange,
    Change,
    ChangeCounts,
    Changes,
    ColumnSchemaKey,
    DataKey,
    DataRecordVal,
    DiffOut,
    FlatColumnDataKey,
    NestedColumnDataKey,
    changes,
    compare,
    count_pair,
    pair_columns,
)
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError
from hangar.names import SampleKey
from hangar.objects.build import build
from hangar.objects.commit import FLAT, NESTED, ColumnEntry, column_id
from hangar.objects.node import FIXED_INLINE, TreeForm
from hangar.objects.store import NodeStore
from hangar.schema.keys import encode_key, encode_nested_key
from tests.objects.memory import memory_store, write_out

Samples = Mapping[SampleKey, int]
NestedSamples = Mapping[tuple[SampleKey, SampleKey], int]


def pair_counts(
    store: NodeStore, before: Sequence[ColumnEntry], after: Sequence[ColumnEntry]
) -> dict[str, tuple[int, int, int]]:
    """How many samples were added, deleted and changed, by the name of the column; columns without a change are left out."""
    found: dict[str, tuple[int, int, int]] = {}
    for pair in pair_columns(before, after):
        counts = count_pair(store, pair)
        if any(counts):
            added, deleted, mutated = found.get(pair.entry.name, (0, 0, 0))
            found[pair.entry.name] = (added + counts[0], deleted + counts[1], mutated + counts[2])
    return found


class Side:
    """The columns of one side of a comparison."""

    def __init__(self, store: NodeStore) -> None:
        self.store = store
        self.columns: list[ColumnEntry] = []

    def flat(self, name: str, samples: Samples, **options: Any) -> Side:
        encoded = {encode_key(key): value for key, value in samples.items()}
        return self._add(name, FLAT, encoded, **options)

    def nested(self, name: str, samples: NestedSamples, **options: Any) -> Side:
        encoded = {encode_nested_key(*key): value for key, value in samples.items()}
        return self._add(name, NESTED, encoded, **options)

    def _add(
        self,
        name: str,
        layout: int,
        encoded: Mapping[bytes, int],
        *,
        born: str | None = None,
        schema: str = "schema",
        first_schema: str = "schema",
        attributes: bytes | None = None,
    ) -> Side:
        keys = sorted(encoded)
        form = TreeForm(FIXED_INLINE, 8, layout == NESTED)
        root = build(self.store, form, keys, [encoded[key].to_bytes(8, "little") for key in keys])
        self.columns.append(
            ColumnEntry(
                name,
                column_id(born or name, record_digest("schema", first_schema.encode()), 0),
                record_digest("schema", schema.encode()),
                None if attributes is None else Digest(attributes),
                layout,
                None if root is None else root.digest,
                len(keys),
                0 if root is None else root.samples,
            )
        )
        self.columns.sort(key=lambda column: column.name)
        return self


class Sides(NamedTuple):
    a: Side
    b: Side


@pytest.fixture
def sides() -> Sides:
    store = memory_store()
    return Sides(Side(store), Side(store))


def no_attributes(digest: Digest) -> Mapping[str, Any]:
    raise AssertionError("attributes that are equal are not loaded")


def difference(sides: Sides) -> DiffOut:
    return compare(
        sides.a.store,
        sides.a.columns,
        sides.b.columns,
        attributes_a=None,
        attributes_b=None,
        load_attributes=no_attributes,
    )


def schema_hex(name: str = "schema") -> DataRecordVal:
    return DataRecordVal(record_digest("schema", name.encode()).hex())


NOTHING = DiffOut(Changes({}, ()), Changes({}, ()), Changes({}, ()))


def test_nothing(sides: Sides) -> None:
    assert difference(sides) == NOTHING
    for side in sides:
        side.flat("a", {1: 1}).nested("b", {(1, 2): 3}).flat("empty", {})
    assert difference(sides) == NOTHING
    assert pair_counts(sides.a.store, sides.a.columns, sides.b.columns) == {}


def test_samples_of_flat_columns(sides: Sides) -> None:
    sides.a.flat("a", {1: 1, 2: 2, "x": 3, 2**64 - 1: 4})
    sides.b.flat("a", {1: 1, 2: 9, "x": 3, "y": 5})
    out = difference(sides)
    assert out.added == Changes({}, (FlatColumnDataKey("a", "y"),))
    assert out.deleted == Changes({}, (FlatColumnDataKey("a", 2**64 - 1),))
    assert out.mutated == Changes({}, (FlatColumnDataKey("a", 2),))


def test_samples_of_nested_columns(sides: Sides) -> None:
    sides.a.nested("n", {("s", 1): 1, ("s", 2): 2, (5, "b"): 3})
    sides.b.nested("n", {("s", 1): 7, (5, "b"): 3, (5, "c"): 3, ("st", "a"): 1})
    out = difference(sides)
    assert out.added.samples == (NestedColumnDataKey("n", 5, "c"), NestedColumnDataKey("n", "st", "a"))
    assert out.deleted.samples == (NestedColumnDataKey("n", "s", 2),)
    assert out.mutated.samples == (NestedColumnDataKey("n", "s", 1),)
    assert {key.layout for key in out.added.samples} == {"nested"}


def test_columns_that_came_and_went(sides: Sides) -> None:
    sides.a.flat("old", {1: 1, 2: 2}).flat("same", {1: 1}).flat("was empty", {})
    sides.b.nested("new", {(1, 2): 3}).flat("same", {1: 1}).flat("is empty", {})
    out = difference(sides)
    assert out.added == Changes(
        {ColumnSchemaKey("is empty", "flat"): schema_hex(), ColumnSchemaKey("new", "nested"): schema_hex()},
        (NestedColumnDataKey("new", 1, 2),),
    )
    assert out.deleted == Changes(
        {ColumnSchemaKey("old", "flat"): schema_hex(), ColumnSchemaKey("was empty", "flat"): schema_hex()},
        (FlatColumnDataKey("old", 1), FlatColumnDataKey("old", 2)),
    )
    assert out.mutated == Changes({}, ())
    assert pair_counts(sides.a.store, sides.a.columns, sides.b.columns) == {"new": (1, 0, 0), "old": (0, 2, 0)}


def test_a_column_that_is_on_one_side_alone_is_counted_unread(sides: Sides) -> None:
    sides.b.flat("new", {n: n for n in range(2_000)})
    write_out(sides.b.store)
    empty = NodeStore(sides.b.store._db)
    assert pair_counts(empty, [], sides.b.columns) == {"new": ChangeCounts(2_000, 0, 0)}
    assert pair_counts(empty, sides.b.columns, []) == {"new": ChangeCounts(0, 2_000, 0)}
    hollow = Side(empty).flat("new", {}).columns
    assert pair_counts(empty, hollow, sides.b.columns) == {"new": ChangeCounts(2_000, 0, 0)}
    assert empty.loads == 0


def test_a_renamed_column_is_one_column(sides: Sides) -> None:
    sides.a.flat("old", {1: 1, 2: 2}).flat("z", {})
    sides.b.flat("new", {1: 1, 2: 3}, born="old").flat("a", {}, born="z")
    out = difference(sides)
    assert out.renamed == (("z", "a"), ("old", "new"))
    assert out.mutated == Changes({}, (FlatColumnDataKey("new", 2),))
    assert out.added == out.deleted == Changes({}, ())
    assert pair_counts(sides.a.store, sides.a.columns, sides.b.columns) == {"new": (0, 0, 1)}


def test_a_widened_column_is_mutated_under_its_new_name(sides: Sides) -> None:
    sides.a.flat("a", {1: 1})
    sides.b.flat("b", {1: 1}, born="a", schema="wider")
    out = difference(sides)
    assert out.mutated == Changes({ColumnSchemaKey("b", "flat"): schema_hex("wider")}, ())
    assert out.renamed == (("a", "b"),)


def test_two_columns_that_had_one_name(sides: Sides) -> None:
    sides.a.flat("a", {1: 1, 2: 2})
    sides.b.nested("a", {(1, 1): 1}, schema="other", first_schema="other")
    out = difference(sides)
    assert out.added == Changes(
        {ColumnSchemaKey("a", "nested"): schema_hex("other")}, (NestedColumnDataKey("a", 1, 1),)
    )
    assert out.deleted.schema == {ColumnSchemaKey("a", "flat"): schema_hex()}
    assert out.mutated == Changes({}, ())
    assert pair_counts(sides.a.store, sides.a.columns, sides.b.columns) == {"a": (1, 2, 0)}
    assert [change.kind for change in changes(sides.a.store, sides.a.columns, sides.b.columns)] == [
        "deleted",
        "deleted",
        "added",
    ]


def test_names_that_were_swapped(sides: Sides) -> None:
    sides.a.flat("a", {1: 1}).flat("b", {2: 2})
    sides.b.flat("b", {1: 1}, born="a").flat("a", {2: 2}, born="b")
    out = difference(sides)
    assert out.renamed == (("b", "a"), ("a", "b"))
    assert out == DiffOut(*NOTHING, renamed=out.renamed)


def test_attributes(sides: Sides) -> None:
    records: dict[bytes, dict[str, Any]] = {
        b"1": {"same": 1, "gone": 2, "changed": 3, "kind": 1},
        b"2": {"same": 1, "new": "x", "changed": [3], "kind": True},
        b"3": {"x": 1.0},
    }
    sides.a.flat("c", {}, attributes=b"1").flat("old", {}, attributes=b"3").flat("same", {}, attributes=b"9")
    sides.b.flat("d", {}, born="c", attributes=b"2").flat("new", {}, attributes=b"3").flat("same", {}, attributes=b"9")
    out = compare(
        sides.a.store,
        sides.a.columns,
        sides.b.columns,
        attributes_a=None,
        attributes_b=Digest(b"3"),
        load_attributes=lambda digest: records[digest],
    )
    assert out.attributes == {
        None: {"x": AttributeChange(None, 1.0)},
        "d": {
            "changed": AttributeChange(3, [3]),
            "gone": AttributeChange(2, None),
            "kind": AttributeChange(1, True),
            "new": AttributeChange(None, "x"),
        },
        "new": {"x": AttributeChange(None, 1.0)},
        "old": {"x": AttributeChange(1.0, None)},
    }
    assert out.mutated == Changes({}, ())


def test_attributes_of_two_columns_that_had_one_name(sides: Sides) -> None:
    records: dict[bytes, dict[str, Any]] = {b"1": {"unit": "m", "old": 1}, b"2": {"unit": "s", "new": 2}}
    sides.a.flat("a", {}, attributes=b"1")
    sides.b.flat("a", {}, schema="other", first_schema="other", attributes=b"2")
    out = compare(
        sides.a.store,
        sides.a.columns,
        sides.b.columns,
        attributes_a=None,
        attributes_b=None,
        load_attributes=lambda digest: records[digest],
    )
    assert out.attributes == {
        "a": {"unit": AttributeChange("m", "s"), "old": AttributeChange(1, None), "new": AttributeChange(None, 2)}
    }


def test_pairs_are_sorted_by_last_name(sides: Sides) -> None:
    sides.a.flat("m", {}).flat("z", {})
    sides.b.flat("b", {}, born="z").flat("a", {})
    pairs = pair_columns(sides.a.columns, sides.b.columns)
    assert [(p.before and p.before.name, p.after and p.after.name) for p in pairs] == [
        (None, "a"),
        ("z", "b"),
        ("m", None),
    ]
    assert [p.entry.name for p in pairs] == ["a", "b", "m"]


def test_changes_come_as_a_stream_in_key_order(sides: Sides) -> None:
    sides.a.flat("a", dict.fromkeys(range(500), 1))
    sides.b.flat("a", {n: 1 + (n % 2) for n in range(500)})
    stream = changes(sides.a.store, sides.a.columns, sides.b.columns)
    assert next(stream) == Change("a", "mutated", FlatColumnDataKey("a", 1))
    rest = [change.key.sample for change in stream]
    assert rest == list(range(3, 500, 2))


def test_shared_subtrees_are_not_loaded(sides: Sides) -> None:
    samples: Samples = dict.fromkeys(range(50_000), 1)
    sides.a.flat("a", samples).flat("b", samples)
    sides.b.flat("a", {**samples, 25_000: 2}).flat("b", samples)
    write_out(sides.a.store)
    fresh = NodeStore(sides.a.store._db)
    out = compare(
        fresh, sides.a.columns, sides.b.columns, attributes_a=None, attributes_b=None, load_attributes=no_attributes
    )
    assert out.mutated.samples == (FlatColumnDataKey("a", 25_000),)
    assert fresh.loads <= 2 * 4


def test_keys_that_cannot_be_right(sides: Sides) -> None:
    sides.b._add("a", FLAT, {b"\x30odd": 1})
    with pytest.raises(CorruptionError, match="not a sample key"):
        difference(sides)


KEYS = st.one_of(st.integers(0, 8), st.integers(0, 2**64 - 1), st.sampled_from(["a", "b", "ab", "ü"]))
VALUES = st.integers(0, 3)
COLUMNS = st.dictionaries(st.sampled_from("pq"), st.dictionaries(KEYS, VALUES, max_size=12))
NESTED_COLUMNS = st.dictionaries(st.sampled_from("rs"), st.dictionaries(st.tuples(KEYS, KEYS), VALUES, max_size=12))


def model(columns: Sequence[Mapping[str, Mapping[Any, int]]]) -> dict[DataKey, int]:
    flat, nested = columns
    return {
        **{FlatColumnDataKey(name, key): value for name, samples in flat.items() for key, value in samples.items()},
        **{
            NestedColumnDataKey(name, *key): value for name, samples in nested.items() for key, value in samples.items()
        },
    }


@given(st.tuples(COLUMNS, NESTED_COLUMNS), st.tuples(COLUMNS, NESTED_COLUMNS))
def test_compare_follows_a_model(
    first: Sequence[Mapping[str, Mapping[Any, int]]], second: Sequence[Mapping[str, Mapping[Any, int]]]
) -> None:
    store = memory_store()
    sides = Sides(Side(store), Side(store))
    for side, (flat, nested) in zip(sides, (first, second), strict=True):
        for name, samples in flat.items():
            side.flat(name, samples)
        for name, nested_samples in nested.items():
            side.nested(name, nested_samples)
    out, a, b = difference(sides), model(first), model(second)
    assert set(out.added.samples) == b.keys() - a.keys()
    assert set(out.deleted.samples) == a.keys() - b.keys()
    assert set(out.mutated.samples) == {key for key in a.keys() & b.keys() if a[key] != b[key]}
    assert len(set(out.added.samples)) == len(out.added.samples)
    counts = pair_counts(store, sides.a.columns, sides.b.columns)
    totals = [sum(count[i] for count in counts.values()) for i in range(3)]
    assert totals == [len(kind.samples) for kind in out]
    assert {name for name, _ in out.added.schema} == {*second[0], *second[1]} - {*first[0], *first[1]}
