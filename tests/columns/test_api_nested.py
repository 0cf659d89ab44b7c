"""Nested columns, read: every method, argument, default and error of the public API page has a test named after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import (
    FlatSubsampleReader,
    FlatSubsampleWriter,
    NestedSampleReader,
    NestedSampleWriter,
    is_column,
    is_writer_column,
)
from hangar.diff import FlatColumnDataKey
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError, SampleNotFoundError
from tests.columns.nested import CONTENT, FLATTENED, PAIRS, content, fill, numbers, value


@pytest.fixture(scope="module", params=["reader", "writer", "staged"])
def any_column(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The column as a reader sees it, as a writer does, and with some of it only staged. Not to be changed."""
    repo = Repository(tmp_path_factory.mktemp("nested"), exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    column = fill(writer)
    if request.param == "staged":
        del column["a"]
        writer.commit("some")
        column["a"] = {sub: value(n) for sub, n in CONTENT["a"].items()}
    else:
        writer.commit("all")
    return repo.checkout()["x"] if request.param == "reader" else column


def test_getitem_of_a_sample(any_column: Any) -> None:
    view = any_column["a"]
    assert isinstance(view, FlatSubsampleWriter if any_column.iswriteable else FlatSubsampleReader)
    assert view.sample == "a"
    assert type(any_column[np.int64(3)].sample) is int
    for missing in ("none", 4, -1, 2**64, "bad key", "\ud800", "a/"):
        with pytest.raises(SampleNotFoundError, match="has no sample"):
            any_column[missing]
    for wrong in (None, 1.5, True, b"a", ..., slice(1)):
        with pytest.raises(InvalidTypeError):
            any_column[wrong]


@pytest.mark.parametrize("brackets", [tuple, list])
def test_getitem_of_a_subsample(any_column: Any, brackets: Any) -> None:
    for pair, number in zip(PAIRS, FLATTENED, strict=True):
        assert np.array_equal(any_column[brackets(pair)], value(number))
    for missing in (("a", 1), ("none", 0), (3, "0"), (-1, 0), (3, 2**64), ("a", "b/"), ("a\x00\x20b", "c")):
        with pytest.raises(SampleNotFoundError):
            any_column[brackets(missing)]
    for wrong in ((3, None), (3, True), (1.5, 0), (3, 0, 0), (3,)):
        with pytest.raises(InvalidTypeError):
            any_column[brackets(wrong)]


@pytest.mark.parametrize("missing", [("a\0\x10" + "\0" * 5, "x"), ("a\0\x10" + "\0" * 7, 0), ("a\0 b", "c")])
def test_no_key_with_a_zero_byte_is_found(writer: WriterCheckout, missing: tuple[str, Any]) -> None:
    """In the tree a zero byte ends the name of a sample: keys with one in them must not read as other keys do."""
    column: Any = fill(writer)
    column["a", 0x2078] = value(1)
    uses: tuple[Callable[[], Any], ...] = (
        lambda: column[missing[0]],
        lambda: column[missing],
        lambda: column[[missing]],
        lambda: column.read([missing]),
        lambda: column.read([missing[0]]),
        lambda: column.delete([missing]),
    )
    for found in uses:
        with pytest.raises(SampleNotFoundError):
            found()
    assert missing not in column
    assert missing[0] not in column


def test_getitem_of_all_subsamples(any_column: Any) -> None:
    for sample, subs in CONTENT.items():
        found = any_column[sample, ...]
        assert type(found) is dict
        assert numbers(found) == subs
        assert list(found) == list(subs)
    with pytest.raises(SampleNotFoundError):
        any_column["none", ...]


def test_getitem_of_a_batch(any_column: Any) -> None:
    got = any_column[[("a", "b"), (3, 0), ("a", "b")]]
    assert [int(v[0, 0]) for v in got] == [6, 1, 6]
    assert [numbers(d) for d in any_column[[("a", ...), (3, ...)]]] == [CONTENT["a"], CONTENT[3]]
    mixed = any_column[[("a", ...), (3, 0)]]
    assert (numbers(mixed[0]), int(mixed[1][0, 0])) == (CONTENT["a"], 1)
    assert any_column[[]] == []
    with pytest.raises(SampleNotFoundError, match="'none'"):
        any_column[[(3, 0), ("none", 0)]]
    with pytest.raises(InvalidTypeError):
        any_column[[(3, 0), (3, 0, 0)]]


def test_get(any_column: Any) -> None:
    assert numbers(any_column.get("a").data) == CONTENT["a"]
    assert any_column.get("none") is None
    assert any_column.get("none", 5) == 5
    assert any_column.get(("a", 0))[0, 0] == 5
    assert any_column.get(("a", "none"), "default") == "default"
    assert numbers(any_column.get((3, ...))) == CONTENT[3]
    with pytest.raises(InvalidTypeError):
        any_column.get(1.5)


def test_contains(any_column: Any) -> None:
    for sample, sub in PAIRS:
        assert sample in any_column
        assert (sample, sub) in any_column
    for missing in ("none", "3", 4, -1, None, 1.5, ("a", 1), ("a",), (1, 2, 3), [3, "left", 1], "a/"):
        assert missing not in any_column


def test_len_and_num_subsamples(any_column: Any) -> None:
    assert len(any_column) == len(CONTENT) == 5
    assert any_column.num_subsamples == len(PAIRS) == 9


def test_iteration_keys_values_items(any_column: Any) -> None:
    assert list(any_column) == list(any_column.keys()) == list(any_column.keys(local=True)) == list(CONTENT)
    for views in (any_column.values(), any_column.values(local=True)):
        assert [numbers(view.data) for view in views] == list(CONTENT.values())
    for items in (any_column.items(), any_column.items(local=True)):
        assert {sample: numbers(dict(view.items())) for sample, view in items} == CONTENT
    assert [[int(v[0, 0]) for v in view.values()] for view in any_column.values()] == [
        list(subs.values()) for subs in CONTENT.values()
    ]
    views = list(any_column.values())
    assert [view["left"][0, 0] if "left" in view else None for view in views] == [3, None, None, None, None]
    assert [numbers(view.data) for view in views] == list(CONTENT.values())


def test_read_of_pairs(any_column: Any) -> None:
    order = [8, 0, 0, 5]
    wanted = np.stack([value(FLATTENED[i]) for i in order])
    assert np.array_equal(any_column.read([PAIRS[i] for i in order]), wanted)
    assert np.array_equal(any_column.read([list(PAIRS[i]) for i in order]), wanted)
    out = np.zeros((4, 3, 20), np.float32)
    assert any_column.read([PAIRS[i] for i in order], out=out) is out
    assert np.array_equal(out, wanted)
    assert np.array_equal(any_column.read(np.array([[3, 7], [3, 0]])), np.stack([value(2), value(1)]))
    assert any_column.read([]).shape == (0, 3, 20)
    assert any_column.read(np.empty((0, 2), np.int64)).shape == (0, 3, 20)
    for missing in ([("a", 1)], [(3, 0), ("none", 0)], np.array([[3, 8]]), np.array([[-1, 0]])):
        with pytest.raises(SampleNotFoundError):
            any_column.read(missing)
    for wrong in ([(3, 0), 3], [(3, 0), (3, ...)], [(3, 0, 0)], np.zeros((1, 3), int), 5, "ab", None, [(3, 1.5)]):
        with pytest.raises(InvalidTypeError):
            any_column.read(wrong)
    for bad in (np.zeros((3, 3, 20), np.float32), np.zeros((4, 3, 20))):
        with pytest.raises(InvalidInputError, match="out has"):
            any_column.read([PAIRS[i] for i in order], out=bad)


def test_named_tuples_are_pairs(any_column: Any) -> None:
    pairs = [FlatColumnDataKey._make(pair) for pair in PAIRS]
    assert [int(v[0, 0]) for v in any_column[pairs]] == FLATTENED
    assert any_column.read(pairs)[:, 0, 0].tolist() == FLATTENED
    assert numbers(any_column.read([FlatColumnDataKey._make(("a", ...))])[0]) == CONTENT["a"]


def test_read_of_samples(any_column: Any) -> None:
    for keys in (["a", 3], [("a", ...), (3, ...)]):
        assert [numbers(d) for d in any_column.read(keys)] == [CONTENT["a"], CONTENT[3]]
    assert [numbers(d) for d in any_column.read(np.array([3]))] == [CONTENT[3]]
    with pytest.raises(SampleNotFoundError):
        any_column.read(["none"])
    with pytest.raises(InvalidInputError, match="out="):
        any_column.read(["a"], out=np.zeros((2, 3, 20), np.float32))


def test_read_by_position(any_column: Any) -> None:
    samples = list(CONTENT.values())
    for part in (slice(None), slice(1, 3), slice(-2, None), slice(4, 1), slice(None, None, -2)):
        assert [numbers(d) for d in any_column.read(part)] == samples[part]
        assert [numbers(d) for d in any_column.read(positions=part)] == samples[part]
    assert [numbers(d) for d in any_column.read(positions=[4, 0, -1])] == [samples[4], samples[0], samples[4]]
    assert any_column.read(positions=[]) == []
    for beyond in ([5], [-6]):
        with pytest.raises(PositionNotFoundError, match="has samples: 5"):
            any_column.read(positions=beyond)
    for wrong in ([1.5], slice("a", "b"), 3):
        with pytest.raises(InvalidTypeError):
            any_column.read(positions=wrong)
    with pytest.raises(InvalidTypeError, match="one of them"):
        any_column.read([3], positions=[3])


def test_at(any_column: Any) -> None:
    assert [any_column.at(i) for i in range(5)] == [any_column.at(i - 5) for i in range(5)] == list(CONTENT)
    for beyond in (5, -6):
        with pytest.raises(PositionNotFoundError):
            any_column.at(beyond)
    with pytest.raises(InvalidTypeError):
        any_column.at("0")


def test_read_slice(any_column: Any) -> None:
    assert any_column.read_slice(("a", 0), (slice(0, 2), 1)).tolist() == [5, 5]
    with pytest.raises(SampleNotFoundError):
        any_column.read_slice(("a", 1), 0)
    with pytest.raises(IndexError, match="has no part"):
        any_column.read_slice(("a", 0), 3)


def test_no_array(any_column: Any) -> None:
    with pytest.raises(InvalidTypeError, match="nested"):
        np.asarray(any_column)


def test_introspection(any_column: Any) -> None:
    assert (any_column.column, any_column.column_type, any_column.column_layout) == ("x", "ndarray", "nested")
    assert (any_column.schema_type, any_column.dtype, any_column.shape) == ("fixed_shape", np.float32, (3, 20))
    assert (any_column.contains_subsamples, any_column.contains_remote_references) == (True, False)
    assert any_column.remote_reference_keys == ()
    assert (any_column.backend_options, type(any_column.backend)) == ({}, str)
    assert is_column(any_column)
    assert is_writer_column(any_column) == any_column.iswriteable == isinstance(any_column, NestedSampleWriter)
    assert isinstance(any_column, NestedSampleReader)
    assert "5 samples, 9 subsamples" in repr(any_column)


def test_arrays_handed_out_are_the_users_own(any_column: Any) -> None:
    views = list(any_column.values())
    for array in (
        any_column["a", 0],
        any_column[[("a", 0)]][0],
        any_column["a", ...][0],
        any_column.read([("a", 0)]),
        any_column.read(["a"])[0][0],
        views[2].data[0],
        dict(any_column.items())["a"].data[0],
        next(view for view in any_column.values() if view.sample == "a").data[0],
    ):
        assert array.flags.writeable
        array[...] = 99
    assert content(any_column) == CONTENT
