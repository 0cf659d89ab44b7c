"""Brackets and batches as people write them: what works, and what names the way that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.errors import (
    ClosedError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    LockedError,
    RevisionNotFoundError,
    SampleNotFoundError,
)


@pytest.fixture
def filled(writer: WriterCheckout) -> WriterCheckout:
    flat = writer.add_ndarray_column("flat", (), np.int64)
    flat.write(range(10), range(10))
    nested = writer.add_ndarray_column("nested", (), np.int64, contains_subsamples=True)
    nested.write([(s, sub) for s in (0, 1) for sub in (0, 1)], range(4))
    return writer


def test_values_are_written_through_the_checkout(filled: WriterCheckout) -> None:
    filled["flat", 3] = 33
    filled["flat", "new"] = np.array(5)
    filled["nested", 0, 1] = 44
    filled["nested", "s"] = {7: 8}
    assert [filled["flat", 3].item(), filled["flat", "new"].item()] == [33, 5]
    assert [filled["nested", 0, 1].item(), filled["nested", "s", 7].item()] == [44, 8]
    wrong: list[tuple[Any, type[Exception]]] = [
        (("nosuch", 1), ColumnNotFoundError),
        (("flat", 1, 2), InvalidTypeError),
        ("flat", InvalidTypeError),
        (("flat",), InvalidTypeError),
        (("nested", 1, 2, 3), InvalidTypeError),
        ((1, 2), InvalidTypeError),
        (("flat", "a b"), InvalidInputError),
    ]
    for index, error in wrong:
        with pytest.raises(error):
            filled[index] = 1
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        filled["flat", 3] = 1.5
    filled.close()
    with pytest.raises(ClosedError):
        filled["flat", 3] = 1


def test_arrays_and_slices_in_brackets_name_read(filled: WriterCheckout) -> None:
    flat: Any = filled["flat"]
    for index in (np.array([1, 2]), np.array([True] * 10), np.arange(10) > 5, slice(0, 2), slice(None)):
        with pytest.raises(InvalidTypeError, match=r"brackets take one key or a list of keys, .*: use read\(keys\), or read\(positions=\.\.\.\)"):  # fmt: skip
            flat[index]
    nested: Any = filled["nested"]
    for index in (np.array([1, 2]), slice(0, 2)):
        with pytest.raises(InvalidTypeError, match=r"use read\(keys\)"):
            nested[index]
    for several in (range(2), {1, 2}, iter([1, 2])):
        with pytest.raises(InvalidTypeError, match=r"brackets take one key or a list of keys, .*: use read\(keys\)"):
            flat[several]


def test_masks_are_told_how_to_read_by_them(filled: WriterCheckout) -> None:
    flat: Any = filled["flat"]
    mask = np.arange(10) > 7
    advice = r"read\(positions=np\.flatnonzero\(mask\)\)"
    calls: tuple[Callable[[], Any], ...] = (
        lambda: flat[mask],
        lambda: flat.read(mask),
        lambda: flat.read(positions=mask),
        lambda: flat.read(positions=[True]),
    )
    for call in calls:
        with pytest.raises(InvalidTypeError, match=advice):
            call()
    assert flat.read(positions=np.flatnonzero(mask)).tolist() == [8, 9]
    with pytest.raises(InvalidTypeError, match="a batch of keys is a sequence, not int64"):
        flat.read(np.int64(1))


def test_columns_backwards(filled: WriterCheckout) -> None:
    names = sorted(filled.keys(), reverse=True)
    assert list(reversed(filled)) == list(reversed(filled.columns)) == names


def test_generators_are_keys(filled: WriterCheckout) -> None:
    flat, nested = filled["flat"], filled["nested"]

    def keys() -> Iterator[int]:
        yield from (3, 1, 2)

    def missing() -> Iterator[int]:
        yield from (3, 99, 2)

    def pairs() -> Iterator[tuple[int, int]]:
        yield from ((1, 0), (0, 1))

    read: Callable[[Any], Any] = flat.read
    read_nested: Callable[[Any], Any] = nested.read
    assert read(keys()).tolist() == read(dict.fromkeys([3, 1, 2]).keys()).tolist() == read(iter([3, 1, 2])).tolist() == [3, 1, 2]  # fmt: skip
    assert read(map(str, ())).tolist() == []
    assert read_nested(pairs()).tolist() == [2, 1]
    assert [sorted(one) for one in read_nested(sample for sample in (1, 0))] == [[0, 1], [0, 1]]
    assert nested[1].read(sub for sub in (1, 0)).tolist() == [3, 2]
    for call in (read, flat.delete):
        with pytest.raises(SampleNotFoundError, match="99"):
            call(missing())
    for wrong in ({3, 1}, frozenset([3]), "31", b"31", 5, None):
        with pytest.raises((InvalidTypeError, InvalidInputError)):
            read(wrong)
    flat.delete(keys())
    assert list(flat) == [0, *range(4, 10)]
    nested.delete(sample for sample in (0,))
    assert list(nested) == [1]


def test_the_lock_that_this_process_holds_is_told_as_such(repo: Repository, writer: WriterCheckout) -> None:
    with pytest.raises(
        LockedError, match=r"this process holds the writer lock already .* close\(\) the write checkout"
    ):
        repo.checkout(write=True)
    with pytest.raises(LockedError, match="this process"):
        Repository(repo.path).checkout(write=True)


def test_a_revision_given_as_a_branch_is_told_where_it_goes(repo: Repository, filled: WriterCheckout) -> None:
    filled.commit("one")
    filled.close()
    for text in ("master~1", "master^", "master@{1}"):
        wanted = "this is a revision of a commit, which in Python is given as commit="
        with pytest.raises(RevisionNotFoundError, match=wanted):
            repo.checkout(branch=text)
        with pytest.raises(RevisionNotFoundError, match=wanted):
            repo.log(text)
        with pytest.raises(RevisionNotFoundError, match=wanted):
            repo.checkout(True, branch=text)
