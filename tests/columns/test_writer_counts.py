"""What single operations of a writer cost, counted: Python calls and read transactions. Counts are exact on any machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import count, cycle
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.db import Database
from hangar.errors import LockedError
from hangar.lock import force_release
from hangar.staging.rows import decode_entry
from tests.columns.test_counts import events

COUNT = 1_000

Act = Callable[[], Any]


@pytest.fixture
def filled(writer: WriterCheckout) -> WriterCheckout:
    rng = np.random.default_rng(0)
    writer.add_ndarray_column("label", (), np.int64).write(range(COUNT), np.arange(COUNT))
    writer.add_ndarray_column("image", (28, 28), np.uint8).write(
        range(COUNT), rng.integers(0, 256, (COUNT, 28, 28), np.uint8)
    )
    writer.commit("filled")
    return writer


def operations(writer: WriterCheckout) -> dict[str, Act]:
    """Operations on single samples; each may be repeated."""
    label: Any = writer["label"]
    image: Any = writer["image"]
    images = cycle(np.random.default_rng(1).integers(0, 256, (100, 28, 28), np.uint8))
    keys = count(COUNT // 2)
    one = np.int64(-1)
    label[8] = one

    def delete(column: Any) -> None:
        del column[next(keys)]

    return {
        "write": lambda: label.__setitem__(7, one),
        "write an image": lambda: image.__setitem__(7, next(images)),
        "read": lambda: label[77],
        "read a changed sample": lambda: label[8],
        "read an image": lambda: image[77],
        "contains": lambda: 77 in label,
        "delete": lambda: delete(label),
    }


IN_BLOCK = {
    "write": 38,
    "write an image": 44,
    "read": 22,
    "read a changed sample": 28,
    "read an image": 35,
    "contains": 18,
    "delete": 50,
}
"""Python calls of each operation in a ``with`` block."""
FEW = 3
"""So many more are not worth a failure; a second look at the lock is more."""


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[Database]:
    """Gets an item for each read transaction."""
    begun: list[Database] = []
    read = Database.read

    def counted(db: Database) -> Any:
        begun.append(db)
        return read(db)

    monkeypatch.setattr(Database, "read", counted)
    return begun


@pytest.mark.parametrize("name", IN_BLOCK)
def test_calls_of_an_operation_in_a_block(filled: WriterCheckout, name: str) -> None:
    act = operations(filled)[name]
    with filled:
        seen = events(act)
        assert seen["call"] <= IN_BLOCK[name] + FEW, seen
    with filled["label"]:
        assert events(act)["call"] == seen["call"]


@pytest.mark.parametrize(
    ("name", "looks"), [("write", 1), ("read", 1), ("read a changed sample", 1), ("contains", 1), ("delete", 2)]
)
def test_the_lock_is_looked_at_once(
    filled: WriterCheckout, transactions: list[Database], name: str, looks: int
) -> None:
    """And once more by what reads before it writes."""
    act = operations(filled)[name]
    with filled:
        for _ in range(3):  # the first reads build the table of samples
            act()
        transactions.clear()
        act()
        assert len(transactions) == looks


def test_calls_of_a_block_and_of_a_write_outside(filled: WriterCheckout) -> None:
    def block() -> None:
        with filled:
            pass

    assert events(block)["call"] <= 36
    numbers = count()
    label: Any = filled["label"]
    assert events(lambda: label.__setitem__(7, np.int64(next(numbers))))["call"] <= 280


def test_numbers_of_numpy_are_converted_together(filled: WriterCheckout) -> None:
    """A list of NumPy's scalars costs no call for each of them."""
    label: Any = filled["label"]
    found = {}
    with filled:
        for number in (100, 1_000):
            values = list(np.arange(number) * 3)
            found[number] = events(partial(label.write, range(number), values))["call"]
            assert [int(value) for value in label[list(range(number))]] == [3 * i for i in range(number)]
    assert found[100] == found[1_000]


@pytest.mark.parametrize("name", IN_BLOCK)
def test_a_lock_that_was_taken_over_is_noticed_by_the_next_operation(filled: WriterCheckout, name: str) -> None:
    act = operations(filled)[name]
    label: Any = filled["label"]

    def block() -> None:
        with filled:
            label[1] = -1
            act()
            assert force_release(filled.session.stores.db)
            with pytest.raises(LockedError):
                act()

    with pytest.raises(LockedError):
        block()


@pytest.mark.parametrize("name", IN_BLOCK)
def test_a_fork_in_a_block_is_refused(filled: WriterCheckout, name: str) -> None:
    act = operations(filled)[name]
    with filled:
        act()
        child = os.fork()
        if not child:
            status = 1
            try:
                act()
            except LockedError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        act()


def test_opening_a_writer_reads_staged_rows_once(
    repo: Repository, filled: WriterCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    label: Any = filled["label"]
    label.write(range(100), np.arange(100) - 100)
    filled.close()
    rows: list[bytes] = []

    def counted(key: bytes, value: bytes) -> Any:
        rows.append(key)
        return decode_entry(key, value)

    monkeypatch.setattr("hangar.staging.staged.decode_entry", counted)
    again: Any = Repository(repo.path).checkout(write=True)
    assert len(rows) == len(set(rows)) == 100
    assert again["label"][5] == -95
    again.close()
