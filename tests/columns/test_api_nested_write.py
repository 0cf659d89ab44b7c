"""Nested columns, written, closed and pickled: every method, argument, default and error of the public API page has a test named after it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import ReaderCheckout, WriterCheckout
from hangar.columns import NestedSampleReader, NestedSampleWriter
from hangar.errors import (
    AccessError,
    ClosedError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    SampleNotFoundError,
)
from tests.columns.nested import CONTENT, FLATTENED, PAIRS, content, fill, numbers, value


@pytest.fixture
def column(writer: WriterCheckout) -> NestedSampleWriter:
    return fill(writer)


def test_a_reader_has_no_writing_methods(repo: Repository, writer: WriterCheckout, column: NestedSampleWriter) -> None:
    writer.commit("all")
    read = repo.checkout()["x"]
    for name in ("__setitem__", "__delitem__", "write", "update", "pop", "delete", "change_backend"):
        assert hasattr(column, name)
        assert not hasattr(read, name)
        assert not hasattr(read["a"], name)


def test_setitem_adds_and_overwrites(repo: Repository, writer: WriterCheckout, column: NestedSampleWriter) -> None:
    column["a"] = {"b": value(60), "new": value(61)}
    column["fresh"] = [(1, value(70)), (2, value(71))]
    column["a", 5] = value(62)
    column["a"] = {}
    assert numbers(column["a", ...]) == {0: 5, 5: 62, "b": 60, "new": 61}
    assert numbers(column["fresh", ...]) == {1: 70, 2: 71}
    assert (len(column), column.num_subsamples) == (6, 13)
    writer.close()
    assert numbers(repo.checkout(write=True)["x"]["fresh", ...]) == {1: 70, 2: 71}


def test_a_sample_without_subsamples_does_not_exist(column: NestedSampleWriter) -> None:
    column["nothing"] = {}
    assert "nothing" not in column
    view = column["a"]
    del view[0]
    assert "a" in column
    del view["b"]
    assert "a" not in column
    assert (len(view), view.data, list(column)) == (0, {}, [3, 2**64 - 1, "a/b", "é"])
    view["back"] = value(1)
    assert numbers(column["a", ...]) == {"back": 1}


@pytest.mark.parametrize("key", ["a b", "", "x" * 256, -1, 2**64, 1.5, True, None, b"x", "a\n"])
def test_writing_refuses_bad_keys(column: NestedSampleWriter, key: Any) -> None:
    for write in (
        lambda: column.__setitem__(key, {1: value(1)}),
        lambda: column.__setitem__("ok", {key: value(1)}),
        lambda: column.__setitem__(("ok", key), value(1)),
        lambda: column.update({"ok": {"x": value(1), key: value(1)}}),
        lambda: column.write([("ok", 1), (key, 1)], [value(1)] * 2),
        lambda: column.write([("ok", 1), ("ok", key)], [value(1)] * 2),
        lambda: column["a"].__setitem__(key, value(1)),
    ):
        with pytest.raises(InvalidInputError, match="is not suitable"):
            write()
    assert content(column) == CONTENT


def test_writing_refuses_bad_values(column: NestedSampleWriter) -> None:
    for bad, text in (
        (np.zeros((3, 20)), "dtype: float64 != aset: float32"),
        (value(1)[:2], r"data shape \(2, 20\) != fixed schema \(3, 20\)"),
        ([1.0], "argument type: .*list"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            column["ok"] = {1: value(1), 2: bad}
        with pytest.raises(InvalidInputError, match=text):
            column["a"][2] = bad
    for malformed, error in ((5, TypeError), (None, TypeError), ([1], TypeError), ([(1, 2, 3)], ValueError)):
        with pytest.raises(error):
            column["ok"] = malformed
    assert content(column) == CONTENT


def test_write(column: NestedSampleWriter) -> None:
    stack = np.stack([value(i) for i in range(4)])
    column.write([("n", 1), ("m", 1), ("n", 0), ("n", 1)], stack)
    assert numbers(column["n", ...]) == {0: 2, 1: 3}
    column.write(np.array([[1, 1], [1, 2]]), stack[:2])
    assert numbers(column[1, ...]) == {1: 0, 2: 1}
    column.write(iter([("z", "z")]), (part for part in stack[:1]))
    assert numbers(column["z", ...]) == {"z": 0}
    column.write([], [])
    with pytest.raises(InvalidInputError, match="2 keys and 1 value"):
        column.write([("q", 1), ("q", 2)], [value(1)])
    for keys in ([1, 2], ["ab", "cd"], [(1, 2, 3), (1, 2)]):
        with pytest.raises(InvalidInputError, match="is a pair"):
            column.write(keys, stack[:2])  # type: ignore[arg-type]
    for wrong in (1, None, 1.5):
        with pytest.raises(InvalidTypeError, match="a batch of keys"):
            column.write(wrong, [])  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="a batch of values"):
            column.write([("q", 1)], wrong)
    assert "q" not in column


def test_update(column: NestedSampleWriter) -> None:
    column.update({"a": {0: value(50)}, 9: {1: value(51)}}, kw={"s": value(52)})
    column.update([(9, {2: value(53)}), ("other", column["a/b"])])
    column.update(kw=[("t", value(54))])
    column.update()
    assert numbers(column["a", ...]) == {0: 50, "b": 6}
    assert numbers(column[9, ...]) == {1: 51, 2: 53}
    assert numbers(column["kw", ...]) == {"s": 52, "t": 54}
    assert numbers(column["other", ...]) == {"c": 7}
    malformed: Any
    for malformed, error in ((5, TypeError), ([1], TypeError), ([(1, 2, 3)], ValueError), ({1: 5}, TypeError)):
        with pytest.raises(error):
            column.update(malformed)
    with pytest.raises(InvalidInputError):
        column.update({"q": {1: value(1)}, "r": {1: "no array"}})
    assert "q" not in column


def test_del_and_pop(repo: Repository, writer: WriterCheckout, column: NestedSampleWriter) -> None:
    writer.commit("all")
    del column[3]
    assert numbers(column.pop("a")) == CONTENT["a"]
    del column["é", "x"]
    column.delete(["a/b"])
    assert content(column) == {2**64 - 1: {0: 4}, "é": {2**64 - 1: 8}}
    column.delete([("é", 2**64 - 1)])
    assert list(column) == [2**64 - 1]
    for missing in (3, "none", -1, ("é", "x")):
        with pytest.raises(SampleNotFoundError):
            del column[missing]
    with pytest.raises(SampleNotFoundError):
        column.pop(3)
    with pytest.raises(SampleNotFoundError):
        column.delete([2**64 - 1, "none"])
    with pytest.raises(InvalidTypeError):
        del column[None]
    assert list(column) == [2**64 - 1]
    writer.commit("gone")
    assert list(repo.checkout()["x"]) == [2**64 - 1]


def test_change_backend(writer: WriterCheckout, column: NestedSampleWriter) -> None:
    text = writer.add_str_column("t", contains_subsamples=True)
    with pytest.raises(InvalidInputError):
        text.change_backend("10")
    with pytest.raises(InvalidTypeError):
        column.change_backend("10", {"level": 3})
    with column, pytest.raises(InvalidStateError):
        column.change_backend("10")
    column.change_backend("10")
    assert column.backend == "10"


def test_with_blocks_join_the_outermost(repo: Repository, writer: WriterCheckout, column: NestedSampleWriter) -> None:
    writer.commit("all")

    def fail() -> None:
        with column:
            column["a"] = {1: value(1)}
            with column["a"] as view:
                view[2] = value(2)
            assert numbers(column["a", ...]) == {0: 5, 1: 1, 2: 2, "b": 6}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert content(column) == CONTENT
    assert writer.diff.status() == "CLEAN"
    with repo.checkout()["x"] as read, read["a"] as view:
        assert numbers(view.data) == CONTENT["a"]


def test_mutating_while_iterating(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("n", (), np.int64, contains_subsamples=True)
    pairs = np.stack([np.arange(9_000) // 3, np.arange(9_000) % 3], axis=1)
    column.write(pairs, np.arange(9_000))
    seen = []
    for sample, view in column.items(local=True):
        seen.append((sample, sorted(view)))
        if sample == 0:
            column.write(pairs + 10_000, np.arange(9_000))
        elif sample in (1, 2_999):
            del column[sample]
        elif sample == 2:
            column[3] = {0: np.array(-1)}
        elif sample == 3:
            assert view.data[0] == -1
    assert [sample for sample, _ in seen] == list(range(3_000))
    assert len(column) == 2_998 + 3_000
    for key in column.keys(local=True):
        if isinstance(key, int):
            del column[key]
            break


def test_pickle(repo: Repository, writer: WriterCheckout, column: NestedSampleWriter) -> None:
    for refused in (column, column["a"]):
        with pytest.raises(AccessError):
            pickle.dumps(refused)
    writer.commit("all")
    read = repo.checkout()
    for again in (pickle.loads(pickle.dumps(read["x"])), pickle.loads(pickle.dumps(read))["x"]):
        assert content(again) == CONTENT
    view = pickle.loads(pickle.dumps(read["x"]["a"]))
    read.close()
    assert (view.sample, view.column, numbers(view.data)) == ("a", "x", CONTENT["a"])


def test_after_close_everything_refuses(writer: WriterCheckout, column: NestedSampleWriter) -> None:
    view = column["a"]
    writer.close()
    uses: list[Any] = [use for o in (column, view) for use in (o.keys, o.values, o.items)]
    uses += [lambda o=o, f=f: f(o) for o in (column, view) for f in (len, repr)]
    for use in (
        *uses,
        lambda: column["a"],
        lambda: column["a", 0],
        lambda: column.update({}),
        lambda: column.write([], []),
        lambda: column.num_subsamples,
        lambda: column.read([]),
        lambda: view[0],
        lambda: view.data,
        lambda: view.sample,
        lambda: view.update({}),
        lambda: view.__setitem__(0, value(1)),
        lambda: 5 in view,
        view.__enter__,
        lambda: pickle.dumps(column),
        lambda: pickle.dumps(view),
    ):
        with pytest.raises(ClosedError):
            use()


def test_views_of_a_reset_staging_area_refuse(writer: WriterCheckout, column: NestedSampleWriter) -> None:
    writer.commit("all")
    view = column["a"]
    view[5] = value(1)
    writer.reset_staging_area()
    with pytest.raises(ClosedError):
        view[5] = value(1)
    assert content(writer["x"]) == CONTENT


# ---------------------------------------------------------------------- other kinds, and checkouts


@pytest.mark.parametrize("kind", ["str", "bytes", "label", "ragged", "away"])
def test_other_kinds(repo: Repository, writer: WriterCheckout, kind: str) -> None:
    made: dict[str, Any] = {
        "str": lambda n: "ü" * (n * 30),
        "bytes": lambda n: b"\xff" * (n * 30),
        "label": np.int16,
        "ragged": lambda n: np.full((n % 3, n), n, np.float32),
        "away": lambda n: np.full(2, n, np.uint8),
    }
    column: Any
    if kind == "str":
        column = writer.add_str_column("k", True)
    elif kind == "bytes":
        column = writer.add_bytes_column("k", contains_subsamples=True)
    else:
        how: dict[str, Any] = {
            "label": {"shape": (), "dtype": np.int16},
            "ragged": {"shape": (9, 9), "dtype": np.float32, "variable_shape": True},
            "away": {"shape": 2, "dtype": np.uint8, "inline": False},
        }[kind]
        column = writer.add_ndarray_column("k", **how, contains_subsamples=True)
    make = made[kind]
    wanted = {s: {sub: make(n) for sub, n in subs.items()} for s, subs in CONTENT.items()}
    column.update(wanted)
    writer.commit("k")
    for found in (column, repo.checkout()["k"]):
        assert repr({s: v.data for s, v in found.items()}) == repr(
            {s: {sub: np.asarray(v) if kind == "label" else v for sub, v in subs.items()} for s, subs in wanted.items()}
        )
        if kind in ("str", "bytes"):
            assert found.read(PAIRS) == [make(n) for n in FLATTENED]
            with pytest.raises(InvalidInputError, match="out="):
                found.read(PAIRS, out=np.zeros(9))
        elif kind == "ragged":
            assert [v.shape for v in found[PAIRS]] == [make(n).shape for n in FLATTENED]
            with pytest.raises(InvalidInputError, match="stacked"):
                found.read(PAIRS)
        else:
            assert found.read(PAIRS).tolist() == [make(n).tolist() for n in FLATTENED]


def test_checkouts(repo: Repository, writer: WriterCheckout, column: NestedSampleWriter) -> None:
    writer.add_ndarray_column("flat", (), np.int64).write([1, 2], np.arange(2))
    writer.commit("all")
    read: ReaderCheckout = repo.checkout()
    for checkout in (writer, read):
        found: Any = checkout
        assert isinstance(found["x"], NestedSampleReader)
        assert numbers(found["x", "a"].data) == CONTENT["a"]
        assert found["x", "a", "b"][0, 0] == 6
        assert numbers(found["x", "a", ...]) == CONTENT["a"]
        values = found[("x", "a", "b"), ("flat", 2), ("x", 3, ...)]
        assert (values[0][0, 0], values[1], numbers(values[2])) == (6, 1, CONTENT[3])
        assert found.get(("x", "a", "none"), 7) == 7
        assert found.get([("x", "none"), ("x", "none", 1)]) == [None, None]
        with pytest.raises(SampleNotFoundError):
            found["x", "a", "none"]
        with pytest.raises(SampleNotFoundError, match="flat"):
            found["flat", 1, 1]
        with pytest.raises(InvalidTypeError):
            found["x", "a", 1, 1]
        assert found.columns.contains_remote_references == {"flat": False, "x": False}
        assert found.columns.remote_sample_keys == {"flat": (), "x": ()}
