"""Blocks and writes under real timer signals, which strike where CPython lets them, and go on."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import InvalidStateError
from tests.interrupts.sweep import _in_child

LONGEST_SECONDS = 0.004


@pytest.fixture
def place() -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)


def value(number: int) -> np.ndarray[Any, Any]:
    return np.full(20, number % 256, np.uint8)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Run:
    """Blocks of two samples each, interrupted at random times; what was acknowledged, and what is wrong."""

    def __init__(self, place: Path, seed: int) -> None:
        repo = Repository(place, exists=False)
        repo.init("Ada", "ada@example.org")
        self.writer = repo.checkout(write=True)
        self.one = self.writer.add_ndarray_column("one", (20,), np.uint8, backend="10")
        self.two = self.writer.add_ndarray_column("two", (20,), np.uint8, backend="00")
        self.random = random.Random(seed)
        self.acknowledged: list[int] = []
        self.interrupted = self.stuck = self.halves = 0
        self.kept: BaseException | None = None

    def block(self, number: int) -> None:
        with self.writer:
            self.one[number] = value(number)
            with self.two:
                self.two.write([number], [value(number)])

    def turn(self, number: int) -> None:
        try:
            signal.setitimer(signal.ITIMER_REAL, self.random.uniform(0.00001, LONGEST_SECONDS))
            try:
                self.block(number)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self.acknowledged.append(number)
        except KeyboardInterrupt as error:
            # Kept as a notebook does.
            self.kept = error
            self.interrupted += 1
        self.stuck += self.writer.session.in_batch
        self.halves += (number in self.one) != (number in self.two)

    def next_write(self, number: int) -> None:
        """A write of another thread, and one of this: durable when they return."""
        thread = threading.Thread(target=self.block, args=(number + 1_000_000,), daemon=True)
        thread.start()
        thread.join(30)
        if thread.is_alive():
            self.stuck += 1
        else:
            self.acknowledged.append(number + 1_000_000)
        self.block(number + 2_000_000)
        self.acknowledged.append(number + 2_000_000)


def run(place: Path, turns: int, seed: int) -> dict[str, Any]:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, interrupt)
    made = Run(place, seed)
    for number in range(10 * turns):  # on a busy machine fewer signals strike inside a block
        made.turn(number)
        if number % 20 == 19:
            made.next_write(number)
        if number + 1 >= turns and made.interrupted >= turns // 10:
            break
    return {name: getattr(made, name) for name in ("acknowledged", "interrupted", "stuck", "halves")}


@pytest.mark.parametrize("turns", [200, pytest.param(3_000, marks=pytest.mark.nightly)])
def test_interrupted_blocks(place: Path, turns: int) -> None:
    said = _in_child(lambda: run(place, turns, turns))
    assert said["interrupted"] >= turns // 10, "the times do not fit this machine"
    assert said["stuck"] == 0
    assert said["halves"] == 0
    repo = Repository(place)
    writer = repo.checkout(write=True)
    one, two = set(writer["one"]), set(writer["two"])
    assert one == two
    assert one.issuperset(said["acknowledged"])
    assert repo.fsck(data=True).problems == ()
    writer.close()
    repo.close()


def test_an_exception_of_another_kind(place: Path) -> None:
    """A handler may raise anything; so does one that gives up after some time."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    def act() -> list[Any]:
        signal.alarm(0)
        made = Run(place, 0)
        signal.signal(signal.SIGALRM, give_up)
        spill = made.writer.session.spill_if_large

        def late() -> None:
            signal.raise_signal(signal.SIGALRM)
            spill()

        said: list[str] = []
        try:
            with made.writer:
                made.one[0] = value(0)
                made.writer.session.spill_if_large = late  # type: ignore[method-assign]
                try:
                    made.one[1] = value(1)
                except TimeoutError:
                    said.append("given up")
                made.writer.session.spill_if_large = spill  # type: ignore[method-assign]
        except InvalidStateError:
            said.append("nothing of the block was stored")
        made.one[2] = value(2)
        return [said, sorted(made.one)]

    assert _in_child(act) == [["given up", "nothing of the block was stored"], [2]]
