"""Selections: which items there are, the errors for what cannot be, and reading of batches."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hangar.columns.positions
from hangar import Repository
from hangar.checkout import ReaderCheckout
from hangar.checkout.session import ReaderSession
from hangar.columns.base import StagedSource
from hangar.columns.opening import open_reader
from hangar.columns.positions import PositionReader
from hangar.dataset.selection import Selection, select
from hangar.errors import (
    AccessError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    PositionNotFoundError,
    SampleNotFoundError,
)
from tests.counting import calls_of
from tests.dataset.content import COUNT, FLAT, NESTED, same, subsamples, value
from tests.processes import Child

ITEMS = [5, 0, 59, 5, -1]
KEYS = [105, 100, 159, 105, 159]


def read(selection: Selection, numbers: Any = ITEMS) -> tuple[Any, ...]:
    return selection.gather(selection.items(numbers))


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("name", FLAT)
def test_flat_columns_of_all_kinds(name: str, prepare: bool, reader: ReaderCheckout) -> None:
    selection = select(reader.columns[name])
    if prepare:
        selection.prepare()
    assert len(selection) == COUNT
    (values,) = read(selection)
    assert isinstance(values, np.ndarray) == (name in ("image", "label"))
    assert all(same(value(name, key), one) for key, one in zip(KEYS, values, strict=True))
    assert selection.keys(selection.items(ITEMS)) == KEYS


@pytest.mark.parametrize("name", NESTED)
def test_whole_samples_of_nested_columns(name: str, reader: ReaderCheckout) -> None:
    selection = select(reader.columns[name])
    assert len(selection) == COUNT
    (values,) = read(selection)
    assert [
        same({s: value(name, 10 * key + s) for s in subsamples(key)}, one)
        for key, one in zip(KEYS, values, strict=True)
    ] == [True] * 5
    assert selection.keys(selection.items(ITEMS)) == KEYS
    chosen = select(reader.columns[name], [(key, ...) for key in KEYS])
    assert all(map(same, values, read(chosen, slice(None))[0]))
    assert chosen.keys(chosen.items(slice(1, 3))) == KEYS[1:3]


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("name", NESTED)
def test_pairs_of_nested_columns(name: str, prepare: bool, reader: ReaderCheckout) -> None:
    pairs = [(101, 1), (159, 0), (100, 0), (101, 1)]
    selection = select(reader.columns[name], pairs)
    if prepare:
        selection.prepare()
    (values,) = read(selection, slice(None))
    assert isinstance(values, np.ndarray) == (name == "boxes")
    assert all(same(value(name, 10 * sample + sub), one) for (sample, sub), one in zip(pairs, values, strict=True))
    assert selection.keys(selection.items([2, 0])) == [pairs[2], pairs[0]]


def test_several_columns_and_a_range(reader: ReaderCheckout) -> None:
    selection = select([reader.columns[name] for name in FLAT], index_range=slice(10, 50, 3))
    keys = list(range(100, 160))[10:50:3]
    assert len(selection) == len(keys)
    assert selection.nbytes == 0
    assert selection.names == FLAT
    for name, values in zip(FLAT, read(selection, slice(None)), strict=True):
        assert all(same(value(name, key), one) for key, one in zip(keys, values, strict=True))
    assert selection.keys(selection.items([2])) == [(keys[2],) * 5]


def test_chosen_keys_of_several_columns_of_any_layout(reader: ReaderCheckout) -> None:
    keys = [(105, (103, 0)), (100, (101, 1)), (159, (100, 0))]
    selection = select([reader.columns["image"], reader.columns["boxes"]], keys)
    images, boxes = read(selection, [2, 0])
    assert images[:, 0, 0].tolist() == [159, 105]
    assert boxes[:, 0].tolist() == [1000, 1030]
    assert selection.nbytes == 2 * 3 * 4
    whole = select([reader.columns["label"], reader.columns["notes"]], [(100, (101, ...)), (101, (102, ...))])
    assert read(whole, [0])[1][0].keys() == {0, 1, 2}


def test_keys_as_arrays(reader: ReaderCheckout) -> None:
    keys = np.array([[103, 101], [100, 159]])
    images, labels = read(select([reader.columns["image"], reader.columns["label"]], keys), [0, 1])
    assert images[:, 0, 0].tolist() == [103, 100]
    assert labels.tolist() == [101 % 7, 159 % 7]
    assert read(select(reader.columns["image"], keys[:, 0]), [1])[0][0, 0, 0] == 100
    assert read(select(reader.columns["boxes"], np.array([[101, 1]])), [0])[0][0, 0] == 1011


def test_text_keys(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", (), np.int64)
    column.update({f"k{i:03d}": i for i in range(300)} | {7: 1000, 9: 1001})
    writer.add_ndarray_column("y", (), np.int64).update(dict.fromkeys(column, -1))
    writer.commit("text")
    reader = repo.checkout()
    both = select([reader.columns["x"], reader.columns["y"]])
    assert read(both, [0, 1, 2, 301])[0].tolist() == [1000, 1001, 0, 299]
    keys = ["k299", 9, "k000"]
    chosen = select(reader.columns["x"], keys)
    chosen.prepare()
    assert read(chosen, slice(None))[0].tolist() == [299, 1001, 0]
    assert chosen.keys(chosen.items([1, 2])) == [9, "k000"]
    with pytest.raises(SampleNotFoundError, match="'k300'"):
        select(reader.columns["x"], ["k001", "k300"])


def test_reading_into_memory_of_the_caller(reader: ReaderCheckout) -> None:
    selection = select([reader.columns["image"], reader.columns["text"]])
    out = np.zeros((3, 4, 5), np.uint8)
    images, texts = selection.gather(selection.items([1, 2, 3]), (out, None))
    assert images is out
    assert out[:, 0, 0].tolist() == [101, 102, 103]
    assert texts == [value("text", key) for key in (101, 102, 103)]
    first, second = (selection.gather(selection.items([1]))[0] for _ in range(2))
    first[:] = 0
    assert second[0, 0, 0] == 101


def test_taking_some_items(reader: ReaderCheckout) -> None:
    columns = [reader.columns["image"], reader.columns["label"]]
    selection = select(columns)
    for numbers in ([5, 3, 3], slice(2, 9), np.arange(60)[::-7]):
        taken = selection.take(numbers)
        assert all(map(same, read(taken, slice(None)), selection.gather(selection.items(numbers))))
        again = taken.take([1, 0])
        assert same(read(again, slice(None))[0], read(taken, [1, 0])[0])
    # Columns with the same keys share one array of positions.
    assert selection.take([5, 3]).nbytes == 8
    assert select(columns, index_range=slice(3, 60, 2)).take([2, 1]).keys(range(2)) == [(107, 107), (105, 105)]


# ---------------------------------------------------------------------- life


def test_it_outlives_its_checkout(reader: ReaderCheckout, repo: Repository) -> None:
    selection = select(reader.columns["image"])
    reader.close()
    assert read(selection, [1])[0][0, 0, 0] == 101
    with repo.checkout(write=True) as writer:
        writer.columns["image"][101] = np.zeros((4, 5), np.uint8)
        writer.commit("changed")
    assert read(selection, [1])[0][0, 0, 0] == 101


@pytest.mark.parametrize("opened", [False, True])
def test_it_pickles_as_commit_names_and_positions(opened: bool, reader: ReaderCheckout, repo: Repository) -> None:
    selection = select([reader.columns["image"], reader.columns["label"]], [(101, 102), (159, 100)])
    if opened:
        read(selection, [0])
    data = pickle.dumps(selection)
    assert len(data) < 1000
    repo.close()
    images, labels = read(pickle.loads(data), [0, 1])
    assert images[:, 0, 0].tolist() == [101, 159]
    assert labels.tolist() == [102 % 7, 100 % 7]
    assert Child(lambda _: read(pickle.loads(data), [1])[0][0, 0, 0]).result() == 159
    all_of = select(pickle.loads(pickle.dumps(Repository(Path(repo.path)).checkout())).columns["image"])
    assert len(pickle.dumps(all_of)) < 500


def test_a_batch_costs_the_same_whatever_its_size(reader: ReaderCheckout) -> None:
    selection = select([reader.columns["image"], reader.columns["label"]])
    selection.prepare()
    small, large = np.arange(4), np.arange(60)[::-1].copy()
    for _ in range(3):
        selection.gather(small)
    assert calls_of(lambda: selection.gather(large)) == calls_of(lambda: selection.gather(small))


def test_memory_of_an_epoch(repo: Repository) -> None:
    """Tables of locations, keys and positions together: at most 24 bytes a sample."""
    count = 40_000
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("image", (4, 5), np.int32).write(
        np.arange(count), np.arange(count * 20, dtype=np.int32).reshape(count, 4, 5)
    )
    writer.commit("many")
    column: Any = repo.checkout().columns["image"]
    selection = select(column, np.random.default_rng(0).permutation(count))
    selection.prepare()
    table = selection.columns[0].reader.column._table
    assert table is not None
    assert table.table is not None
    assert selection.nbytes + table.table.nbytes <= 24 * count


def test_the_table_is_built_for_the_second_batch_if_an_epoch_pays_for_it(
    reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[str] = []
    monkeypatch.setattr(PositionReader, "prepare", lambda self, whole: prepared.append(self.name))
    selection = select([reader.columns["image"], reader.columns["text"]])
    few = select(reader.columns["boxes"], [(100, 0), (101, 0)])
    for number in range(3):
        read(selection, [1])
        read(few, [1])
        assert prepared == (["image", "text"] if number else [])


def test_equal_integer_keys_are_compared_without_a_look_at_the_leaves(
    reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hangar.columns.positions, "leaves", None)
    assert len(select([reader.columns["image"], reader.columns["label"]])) == COUNT


def test_nothing_is_left_open(reader: ReaderCheckout) -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        read(select(reader.columns["image"]))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


# ---------------------------------------------------------------------- errors


def test_no_columns_and_what_is_none(reader: ReaderCheckout) -> None:
    for given in (
        [],
        (),
        None,
        5,
        "image",
        ["image"],
        [reader.columns["image"], 5],
        reader,
        reader.columns["boxes"][100],
    ):
        with pytest.raises(InvalidTypeError, match="column"):
            select(given)


def test_columns_that_may_change(repo: Repository, reader: ReaderCheckout) -> None:
    with repo.checkout(write=True) as writer:
        for given in (writer.columns["image"], [reader.columns["label"], writer.columns["image"]]):
            with pytest.raises(AccessError, match="belongs to a writer"):
                select(given)
        staging = writer.session.staging
        session = ReaderSession(writer.session.stores)
        shown = open_reader(session, StagedSource(staging, staging.columns["image"]))
        with pytest.raises(AccessError, match="shows the staging area"):
            select(shown)


def test_columns_that_do_not_fit(repo: Repository, reader: ReaderCheckout) -> None:
    with pytest.raises(ValueError, match="'image' is flat, 'boxes' is nested"):
        select([reader.columns["image"], reader.columns["boxes"]])
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("empty", (), np.int64)
    writer.add_ndarray_column("empty_too", (), np.int64, contains_subsamples=True)
    with writer:
        del writer.columns["label"][120]
        writer.columns["text"]["more"] = "x"
        del writer.columns["boxes"][120]
        writer.columns["blob"].pop(130)
        writer.columns["blob"]["a"] = b"x"
    writer.commit("differ")
    columns = repo.checkout().columns
    for name in ("empty", "empty_too"):
        with pytest.raises(InvalidStateError, match=f"No local data found in column '{name}'"):
            select(columns[name])
    for one, other, key in (
        ("image", "label", "120"),
        ("image", "text", "'more'"),
        ("boxes", "notes", "120"),
        ("image", "blob", "130"),
        ("blob", "image", "'a'"),
    ):
        with pytest.raises(KeyError, match=f"different keys, such as {key}"):
            select([columns[one], columns[other]])
    assert len(select([columns["image"], columns["ragged"]])) == COUNT
    with pytest.raises(KeyError, match="no sample 1"):
        select(columns["empty"], [1])


@pytest.mark.parametrize(
    ("name", "keys", "error"),
    [
        ("image", [100, 5], SampleNotFoundError),
        ("image", ["a"], SampleNotFoundError),
        ("image", [1.5], InvalidTypeError),
        ("image", [(100, 0)], InvalidTypeError),
        ("image", "abc", InvalidTypeError),
        ("image", 5, InvalidTypeError),
        ("image", {100, 101}, InvalidTypeError),
        ("image", [], InvalidInputError),
        ("image", np.array([True, False]), InvalidTypeError),
        ("boxes", [(100, 7)], SampleNotFoundError),
        ("boxes", [(7, ...)], SampleNotFoundError),
        ("boxes", [(100, ...), (100, 0)], InvalidTypeError),
        ("boxes", [(100, 0, 1)], InvalidTypeError),
        ("text", [100, "missing"], SampleNotFoundError),
    ],
)
def test_keys_that_are_none(name: str, keys: Any, error: type[Exception], reader: ReaderCheckout) -> None:
    with pytest.raises(error):
        select(reader.columns[name], keys)


def test_tuples_of_keys_that_do_not_fit(reader: ReaderCheckout) -> None:
    columns = [reader.columns["image"], reader.columns["label"]]
    for keys in ([100, 101], [(100, 101, 102)], ["ab"], np.arange(4)):
        with pytest.raises(InvalidInputError, match="for 2 columns a key is a tuple of 2 keys"):
            select(columns, keys)
    with pytest.raises(SampleNotFoundError, match="'label' has no sample 7"):
        select(columns, [(100, 100), (101, 7)])


def test_ranges_that_select_nothing(reader: ReaderCheckout) -> None:
    column = reader.columns["image"]
    for wrong in (slice(60, 70), slice(5, 5), slice("a", None), slice(0, 9, 0)):
        with pytest.raises(InvalidInputError, match="select"):
            select(column, index_range=wrong)
    with pytest.raises(InvalidTypeError, match="index_range is a slice"):
        select(column, index_range=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="not both"):
        select(column, [100], slice(0, 1))
    with pytest.raises(PositionNotFoundError, match="the data set has items: 60"):
        select(column).items([60])
