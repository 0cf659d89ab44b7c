from __future__ import annotations

import copy
import pickle

import pytest

from hangar import diff
from hangar.diff import (
    AttributeChange,
    Changes,
    ColumnSchemaKey,
    Conflicts,
    DataRecordVal,
    DiffAndConflicts,
    DiffOut,
    FlatColumnDataKey,
    NestedColumnDataKey,
)


def changes(*keys: FlatColumnDataKey) -> Changes:
    return Changes({ColumnSchemaKey("a", "flat"): DataRecordVal("00")}, keys)


def test_keys_are_hashable_iterable_and_know_their_layout() -> None:
    flat, nested, schema = FlatColumnDataKey("a", 1), NestedColumnDataKey("b", "s", 2), ColumnSchemaKey("c", "nested")
    assert (flat.layout, nested.layout, schema.layout) == ("flat", "nested", "nested")
    assert (list(flat), list(nested), list(schema)) == (["a", 1], ["b", "s", 2], ["c", "nested"])
    assert (flat.column, flat.sample) == ("a", 1)
    assert (nested.column, nested.sample, nested.subsample) == ("b", "s", 2)
    assert len({flat, nested, schema, FlatColumnDataKey("a", 1), FlatColumnDataKey("a", "1")}) == 4
    assert list(DataRecordVal("00")) == ["00"]


def test_diff_out_is_three_changes_and_two_properties() -> None:
    one, two, three = (changes(FlatColumnDataKey("a", n)) for n in range(3))
    attributes: diff.AttributeChanges = {None: {"unit": AttributeChange(None, "m")}}
    out = DiffOut(one, two, three, renamed=(("a", "b"),), attributes=attributes)
    added, deleted, mutated = out
    assert (added, deleted, mutated) == (out.added, out.deleted, out.mutated) == (one, two, three)
    assert len(out) == 3
    assert out.renamed == (("a", "b"),)
    assert out.attributes == attributes


def test_diff_out_without_more_is_equal_to_its_tuple() -> None:
    out = DiffOut(changes(), changes(), changes())
    assert out.renamed == ()
    assert out.attributes == {}
    assert out == (changes(), changes(), changes())
    assert out == DiffOut(changes(), changes(), changes())
    assert not out != DiffOut(changes(), changes(), changes())  # noqa: SIM202 - the operator itself is tested
    assert out != DiffOut(changes(FlatColumnDataKey("a", 1)), changes(), changes())
    assert out != 3


def test_a_renaming_alone_is_a_difference() -> None:
    out = DiffOut(changes(), changes(), changes())
    assert out != DiffOut(changes(), changes(), changes(), renamed=(("a", "b"),))
    assert out != DiffOut(changes(), changes(), changes(), attributes={None: {"a": AttributeChange(1, 2)}})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_diff_out_pickles_and_copies(protocol: int) -> None:
    out = DiffOut(
        changes(), changes(), changes(), renamed=(("a", "b"),), attributes={"c": {"k": AttributeChange(1, None)}}
    )
    for twin in (pickle.loads(pickle.dumps(out, protocol)), copy.copy(out), copy.deepcopy(out)):
        assert twin == out
        assert twin.renamed == out.renamed
        assert twin.attributes == out.attributes
        assert type(twin) is DiffOut


def test_replace_drops_what_is_no_field() -> None:
    out = DiffOut(changes(), changes(), changes(), renamed=(("a", "b"),))
    assert out._replace(added=changes(FlatColumnDataKey("a", 1))).renamed == ()


def test_no_conflicts() -> None:
    none = Conflicts.none()
    assert none == (Changes({}, ()), Changes({}, ()), Changes({}, ()), Changes({}, ()), False)
    assert none.conflict is False
    out = DiffAndConflicts(DiffOut(changes(), changes(), changes()), none)
    assert out.conflict is none
    assert none.t1.schema is not none.t3.schema
