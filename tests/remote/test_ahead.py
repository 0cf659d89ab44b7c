"""Reading ahead: the same items and errors, bounded, and no thread is left."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from hangar.remote.ahead import Ahead
from tests.alive import hangar_threads


def test_items_and_errors_come_in_order() -> None:
    def numbers() -> Iterator[int]:
        yield from range(100)
        raise ZeroDivisionError("at the end")

    found: list[int] = []
    with Ahead(numbers, 3) as items:
        with pytest.raises(ZeroDivisionError, match="at the end"):
            found.extend(iter(items.take, -1))
        with pytest.raises(ZeroDivisionError):  # again, for whoever asks again
            items.take()
    assert found == list(range(100))


def test_it_does_not_run_further_ahead_than_allowed_and_ends_when_it_is_left() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            made.append(number)
            yield number

    hangar_threads()  # Idle ones end now, not in between.
    before = threading.active_count()
    with Ahead(numbers, 2) as items:
        assert items.take() == 0
        time.sleep(0.1)
        assert len(made) <= 5
    assert threading.active_count() == before


def test_waiting_has_an_end() -> None:
    release = threading.Event()

    def slow() -> Iterator[int]:
        release.wait(20)
        yield 1

    with Ahead(slow, 1) as items:
        with pytest.raises(TimeoutError):
            items.take(0.05)
        release.set()
        assert items.take(5) == 1
        assert list(items) == []
