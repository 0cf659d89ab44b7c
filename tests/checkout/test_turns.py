"""With statements on a writer whose end is skipped: nothing stays open, nothing is half there, nobody waits for ever."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.checkout import session as session_module
from hangar.checkout.turns import Statement
from hangar.columns import FlatSampleWriter
from hangar.errors import InvalidStateError
from hangar.statements import FreshExit, Running, is_running
from tests.checkout.samples import numbers, value


@contextlib.contextmanager
def interrupted_at(function: Callable[..., Any], skip: int = 0) -> Iterator[list[BaseException]]:
    """Interrupt a function as it is entered, after ``skip`` times, and keep the exception with its traceback, as a notebook does."""
    left = [skip]

    def trace(frame: Any, event: str, argument: object) -> None:
        if frame.f_code is function.__code__:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

    kept: list[BaseException] = []
    sys.settrace(trace)
    try:
        yield kept
    except KeyboardInterrupt as error:
        kept.append(error)
    finally:
        sys.settrace(None)
    assert left[0] < 0
    assert kept


def in_block(writer: WriterCheckout) -> bool:
    return writer.session.in_batch


LEAVE = session_module.WriterSession.leave
ENTRIES = [Statement.__dict__["__exit__"]._end, LEAVE]


def stored(repo: Repository, writer: WriterCheckout) -> dict[Any, int]:
    """What a new writer finds."""
    writer.close()
    assert repo.fsck(data=True).problems == ()
    with repo.checkout(write=True) as again:
        found = numbers(again["x"])
    again.close()
    return found


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_write_is_dropped_and_the_next_one_is_durable(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter, entry: Callable[..., Any]
) -> None:
    with interrupted_at(entry) as kept:
        column[1] = value(1)
    assert numbers(column) == {}
    column[2] = value(2)
    writer.session.abandon()
    again = repo.checkout(write=True)
    assert numbers(again["x"]) == {2: 2}
    again.close()
    assert kept


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("then", ["write", "close", "commit", "nothing"])
def test_a_block_is_dropped_as_a_whole(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter, entry: Callable[..., Any], then: str
) -> None:
    column[1] = value(1)
    with interrupted_at(entry, skip=2) as kept, writer:
        column[3] = value(3)
        del column[1]
    if then == "write":
        column[2] = value(2)
    elif then == "commit":
        writer.commit("what was there before")
    elif then == "nothing":
        assert numbers(column) == {1: 1}
    assert stored(repo, writer) == {1: 1} | ({2: 2} if then == "write" else {})
    assert kept


@pytest.mark.parametrize("entry", ENTRIES)
def test_another_thread_goes_on(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter, entry: Callable[..., Any]
) -> None:
    with interrupted_at(entry) as kept, writer:
        pass
    thread = threading.Thread(target=lambda: column.__setitem__(2, value(2)), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert stored(repo, writer) == {2: 2}
    assert kept


def test_threads_take_turns(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    """Also while one of them is interrupted again and again."""

    def write(first: int) -> None:
        for number in range(first, first + 10):
            with column:
                column[number] = value(number)
                column[number + 100] = value(number)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        with interrupted_at(LEAVE):
            column[200] = value(200)
    for thread in threads:
        thread.join(60)
    expected = {n: n for first in (0, 20, 40) for n in range(first, first + 10)}
    assert stored(repo, writer) == expected | {n + 100: n for n in expected}


def test_a_block_in_which_a_write_was_interrupted_stores_nothing(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    """Where the block caught the interrupt and went on: half of it would be stored."""
    column[1] = value(1)

    def go_on() -> None:
        with writer:
            column[2] = value(2)
            with interrupted_at(LEAVE):
                column[3] = value(3)
            assert numbers(column) == {1: 1}
            with pytest.raises(InvalidStateError, match="nothing of the block was stored"):
                column[4] = value(4)

    with pytest.raises(InvalidStateError, match="nothing of the block was stored"):
        go_on()
    column[5] = value(5)
    assert stored(repo, writer) == {1: 1, 5: 5}


def test_the_inner_of_two_blocks_is_skipped_and_the_outer_one_goes_on(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    """Only its end was interrupted, which does nothing."""
    with writer:
        column[1] = value(1)
        with interrupted_at(LEAVE), column:
            pass
        column[2] = value(2)
    assert not in_block(writer)
    assert stored(repo, writer) == {1: 1, 2: 2}


def test_a_write_inside_a_write_is_refused(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    """A signal handler may do that in the middle of anything."""
    spill = writer.session.spill_if_large
    errors: list[BaseException] = []

    def handler() -> None:
        for act in (lambda: column.__setitem__(2, value(2)), lambda: writer.commit("in a handler"), writer.close):
            try:
                act()
            except InvalidStateError as error:
                errors.append(error)
        spill()

    writer.session.spill_if_large = handler  # type: ignore[method-assign]
    column[1] = value(1)
    with writer:
        column[3] = value(3)
    writer.session.spill_if_large = spill  # type: ignore[method-assign]
    assert len(errors) == 6
    assert stored(repo, writer) == {1: 1, 3: 3}


def test_blocks_of_an_exit_stack(repo: Repository, writer: WriterCheckout, column: FlatSampleWriter) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(writer)
        stack.enter_context(column)
        column[1] = value(1)
        assert in_block(writer)
    assert not in_block(writer)
    forgotten = contextlib.ExitStack()
    forgotten.enter_context(writer)
    column[2] = value(2)
    del forgotten
    assert numbers(column) == {1: 1}
    with contextlib.suppress(ZeroDivisionError), contextlib.ExitStack() as stack:
        stack.enter_context(column)
        column[3] = value(3)
        raise ZeroDivisionError
    assert stored(repo, writer) == {1: 1}


def test_blocks_that_are_opened_and_ended_by_calls(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    writer.__enter__()
    column.__enter__()
    column[1] = value(1)
    column.__exit__(None, None, None)
    assert in_block(writer)
    writer.__exit__(None, None, None)
    assert not in_block(writer)
    with pytest.raises(InvalidStateError):
        writer.__exit__(None, None, None)
    enter, leave = type(writer).__enter__, type(writer).__exit__
    enter(writer)
    column[2] = value(2)
    leave(writer, ValueError, ValueError(), None)
    assert stored(repo, writer) == {1: 1}


def test_a_block_that_its_thread_left_open_ends_with_the_thread(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    thread = threading.Thread(target=writer.__enter__)
    thread.start()
    thread.join()
    column[1] = value(1)
    assert stored(repo, writer) == {1: 1}


def test_a_statement_runs_until_it_is_left() -> None:
    class Manager:
        def __init__(self) -> None:
            self.running: Running | None = None
            self.ended = 0

        def __enter__(self) -> Manager:
            return self

        __exit__ = FreshExit(lambda manager, *_: _end(manager))

    def _end(manager: Manager) -> None:
        assert is_running(manager)
        manager.ended += 1

    with Manager() as manager:
        assert is_running(manager)
    assert not is_running(manager)
    assert manager.ended == 1
    with interrupted_at(_end) as kept, Manager() as manager:
        pass
    assert not is_running(manager)
    assert not manager.ended
    assert kept
