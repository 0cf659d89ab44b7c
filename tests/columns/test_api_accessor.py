"""The view of one sample of a nested column: every method, argument, default and error of the public API page."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSubsampleReader, FlatSubsampleWriter, is_column
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError, SampleNotFoundError

SUBS: dict[int | str, int] = {0: 10, 3: 11, 2**64 - 1: 12, "b": 13, "left": 14}
"""In key order."""


def fill(writer: WriterCheckout) -> FlatSubsampleWriter:
    column = writer.add_ndarray_column("x", (2, 20), np.int32, contains_subsamples=True)
    column.update({sample: {sub: value(n) for sub, n in SUBS.items()} for sample in (4, "before", "s", "s/after")})
    found = column["s"]
    assert isinstance(found, FlatSubsampleWriter)
    return found


def value(number: int) -> np.ndarray[Any, Any]:
    return np.full((2, 20), number, np.int32)


def numbers(arrays: Any) -> list[int]:
    return [int(array[0, 0]) for array in arrays]


@pytest.fixture
def view(writer: WriterCheckout) -> FlatSubsampleWriter:
    return fill(writer)


@pytest.fixture(scope="module", params=["reader", "writer"])
def any_view(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As a reader sees it, and as a writer does. Not to be changed."""
    repo = Repository(tmp_path_factory.mktemp("view"), exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    found = fill(writer)
    writer.commit("all")
    return repo.checkout()["x"]["s"] if request.param == "reader" else found


def test_introspection(any_view: Any) -> None:
    assert (any_view.sample, any_view.column) == ("s", "x")
    assert any_view.iswriteable == isinstance(any_view, FlatSubsampleWriter)
    assert isinstance(any_view, FlatSubsampleReader)
    assert (any_view.contains_remote_references, any_view.remote_reference_keys) == (False, ())
    assert not is_column(any_view)
    assert "'s'" in repr(any_view)
    assert "5 subsamples" in repr(any_view)


def test_data_and_getitem_of_all(any_view: Any) -> None:
    for found in (any_view.data, any_view[...], any_view[:]):
        assert type(found) is dict
        assert dict(zip(found, numbers(found.values()), strict=True)) == SUBS
        assert list(found) == list(SUBS)


@pytest.mark.parametrize("part", [slice(1, 3), slice(-2, None), slice(None, None, -2), slice(4, 1), slice(9, 12)])
def test_getitem_of_a_slice(any_view: Any, part: slice) -> None:
    found = any_view[part]
    assert list(zip(found, numbers(found.values()), strict=True)) == list(SUBS.items())[part]


def test_getitem(any_view: Any) -> None:
    assert numbers(any_view[sub] for sub in SUBS) == list(SUBS.values())
    assert any_view[np.uint8(3)][0, 0] == 11
    assert numbers(any_view[["left", 0, "left"]]) == [14, 10, 14]
    assert any_view[[]] == []
    for missing in (1, "0", -1, 2**64, "lef", "left\x00", "\ud800"):
        with pytest.raises(SampleNotFoundError, match="sample 's' of column 'x' has no subsample"):
            any_view[missing]
    for wrong in (None, 1.5, True, b"left", ("left",)):
        with pytest.raises(InvalidTypeError):
            any_view[wrong]
    with pytest.raises(InvalidTypeError):
        any_view["a":"b"]
    with pytest.raises(SampleNotFoundError, match="'none'"):
        any_view[["left", "none"]]


def test_get(any_view: Any) -> None:
    assert any_view.get("left")[0, 0] == 14
    assert any_view.get("none") is None
    assert any_view.get("none", 5) == 5
    with pytest.raises(InvalidTypeError):
        any_view.get(1.5)


def test_contains_len_iteration(any_view: Any) -> None:
    assert all(sub in any_view for sub in SUBS)
    assert not any(sub in any_view for sub in (1, "0", None, 1.5, "", "after"))
    assert len(any_view) == 5
    assert list(any_view) == list(any_view.keys()) == list(any_view.keys(local=True)) == list(SUBS)
    assert numbers(any_view.values()) == numbers(any_view.values(local=True)) == list(SUBS.values())
    for items in (any_view.items(), any_view.items(local=True)):
        assert {sub: int(array[0, 0]) for sub, array in items} == SUBS


def test_read_and_at(any_view: Any) -> None:
    out = np.zeros((2, 2, 20), np.int32)
    assert numbers(any_view.read(["left", 3])) == [14, 11]
    assert any_view.read(["left", 3], out) is out
    assert numbers(any_view.read(np.array([3, 0]))) == [11, 10]
    assert numbers(any_view.read(slice(1, 3))) == [11, 12]
    assert numbers(any_view.read(positions=[-1, 0])) == [14, 10]
    assert any_view.read([]).shape == (0, 2, 20)
    assert [any_view.at(i) for i in range(-5, 5)] == [*SUBS, *SUBS]
    for beyond in (5, -6):
        with pytest.raises(PositionNotFoundError, match="has subsamples: 5"):
            any_view.at(beyond)
        with pytest.raises(PositionNotFoundError):
            any_view.read(positions=[beyond])
    with pytest.raises(SampleNotFoundError):
        any_view.read([1])
    assert any_view.read_slice("left", (0, slice(3))).tolist() == [14] * 3
    assert np.asarray(any_view).shape == (5, 2, 20)


def test_arrays_handed_out_are_the_users_own(any_view: Any) -> None:
    for array in (any_view[0], any_view.data[0], any_view[0:1][0], any_view.read([0]), next(iter(any_view.values()))):
        array[...] = 99
    assert any_view[0][0, 0] == 10


def test_setitem_and_write(view: FlatSubsampleWriter) -> None:
    view["left"] = value(1)
    view[7] = value(2)
    view.write([8, "new"], np.stack([value(3), value(4)]))
    assert numbers(view.values()) == [10, 11, 2, 3, 12, 13, 1, 4]
    column: Any = view._of
    assert numbers(column["s/after"].values()) == list(SUBS.values())
    for bad, text in (
        (value(1).astype(np.int64), "dtype: int64 != aset: int32"),
        (value(1)[0], "data shape"),
        (5, "!="),
    ):
        with pytest.raises(InvalidInputError, match=text):
            view[9] = bad
    for key in ("a b", -1, None, 1.5, True):
        with pytest.raises(InvalidInputError, match="is not suitable"):
            view[key] = value(1)  # type: ignore[index]
    for wrong in (1, None):
        with pytest.raises(InvalidTypeError):
            view.write(wrong, [])  # type: ignore[arg-type]
    assert len(view) == 8


def test_append(view: FlatSubsampleWriter) -> None:
    keys: list[int | str] = [view.append(value(n)) for n in range(3)]
    assert keys == sorted(keys, key=str)
    assert all(type(key) is str for key in keys)
    assert numbers(view[keys]) == [0, 1, 2]
    assert len(view) == 8


def test_update(view: FlatSubsampleWriter) -> None:
    view.update({0: value(1)}, kw=value(2))
    view.update([("b", value(3))])
    view.update()
    assert numbers(view[[0, "kw", "b"]]) == [1, 2, 3]
    malformed: Any
    for malformed, error in ((5, TypeError), ([1], TypeError), ([(1, 2, 3)], ValueError)):
        with pytest.raises(error):
            view.update(malformed)
    with pytest.raises(InvalidInputError):
        view.update({"q": value(1), "r": "no array"})
    assert "q" not in view


def test_del_and_pop(repo: Repository, writer: WriterCheckout, view: FlatSubsampleWriter) -> None:
    del view[0]
    assert view.pop("left")[0, 0] == 14
    view.delete([3, "b"])
    assert list(view) == [2**64 - 1]
    for missing in (0, "none", -1):
        with pytest.raises(SampleNotFoundError):
            del view[missing]
        with pytest.raises(SampleNotFoundError):
            view.pop(missing)
    with pytest.raises(InvalidTypeError):
        del view[None]  # type: ignore[arg-type]
    writer.commit("less")
    found: Any = repo.checkout()["x"]
    assert (list(found["s"]), len(found["s/after"])) == ([2**64 - 1], 5)


def test_mutating_while_iterating(view: FlatSubsampleWriter) -> None:
    for sub in view.keys(local=True):
        del view[sub]
    assert len(view) == 0
    column: Any = view._of
    assert "s" not in column


def test_with(writer: WriterCheckout, view: FlatSubsampleWriter) -> None:
    writer.commit("all")

    def fail() -> None:
        with view as same:
            same[0] = value(99)
            assert view[0][0, 0] == 99
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert view[0][0, 0] == 10


def test_pickle(any_view: Any) -> None:
    if any_view.iswriteable:
        with pytest.raises(PermissionError):
            pickle.dumps(any_view)
    else:
        assert numbers(pickle.loads(pickle.dumps(any_view)).values()) == list(SUBS.values())
