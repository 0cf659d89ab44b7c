"""Row 1 of the list of what must hold: no acknowledged write or commit is lost when the process is killed.

A writer takes random steps, known to whoever has its seed, and says so after each. It is killed at a random moment; the repository then holds
what it held after the last step that was acknowledged, or that and the next step, whole. The next writer goes on from there.
"""

from __future__ import annotations

import copy
import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.crash.random_steps import choose
from tests.crash.scenarios import repositories
from tests.crash.world import COLUMNS, NESTED, Live, Model, Step, observe, require
from tests.halves import tried
from tests.processes import child

KILLS_OF_ONE = 5
"""Kills that one repository goes through."""
LONGEST_SECONDS = 0.35


@dataclass
class Count:
    kills: int = 0
    acknowledged: int = 0
    found_besides: int = 0
    """Steps that were there and not acknowledged."""


def steps_of(seed: str, model: Model, small: bool) -> Callable[[], Step]:
    """Steps one after another; each is taken on ``model`` too."""
    generator = random.Random(seed)
    number = 0

    def following() -> Step:
        nonlocal number
        number += 1
        step = choose(generator, model, f"{seed} {number}", 60 if small else 4_200)
        step(model)
        return step

    return following


def write(directory: Path, seed: str, model: Model, small: bool, talk: Connection) -> None:
    """The writer: until it is killed."""
    if small:
        repositories.lower_limits()
    following = steps_of(seed, model, small)
    talk.send("begins")
    live = Live(directory)
    while True:
        following()(live)
        talk.send("done")


def kill_and_look(directory: Path, seed: str, model: Model, small: bool, count: Count) -> Model:
    """Have a writer killed, and return the model that what it left equals."""
    moment = random.Random(f"{seed} moment").uniform(0, LONGEST_SECONDS)
    with child(lambda talk: write(directory, seed, copy.deepcopy(model), small, talk)) as process:
        assert process.receive() == "begins"
        time.sleep(moment)
        process.kill()
        acknowledged = sum(message == "done" for message in process.messages())
        assert process.wait() == signal.SIGKILL, process.result()
    after = copy.deepcopy(model)
    following = steps_of(seed, after, small)
    for _ in range(acknowledged):
        following()
    before = copy.deepcopy(after)
    following()
    start = time.monotonic()
    live = Live(directory)
    assert time.monotonic() - start < 1, "the lock of a dead writer was not free at once"
    found = observe(live)
    require(found, before.state(), after.state())
    repositories.require_sound(live, data=True)
    live.close()
    count.kills += 1
    count.acknowledged += acknowledged
    count.found_besides += found != before.state()
    return before if found == before.state() else after


def kill_often(place: Path, seed: int, kills: int, count: Count, names: Iterable[str] = (*COLUMNS, *NESTED)) -> None:
    directory = place / str(seed)
    directory.mkdir()
    repositories.initialize(directory)
    model = Model(names)
    for number in range(kills):
        try:
            model = kill_and_look(directory, f"{seed}-{number}", model, bool(seed % 2), count)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, kill {number}") from error
    live = Live(directory)
    live.reset()
    repositories.goes_on(live) if live.writer.commit_hash else None
    live.close()


@pytest.mark.parametrize("seed", tried(range(6)))
def test_row_1_killed_writers(seed: int, place: Path) -> None:
    count = Count()
    kill_often(place, seed, KILLS_OF_ONE, count)
    assert count.kills == KILLS_OF_ONE
    assert count.acknowledged


@pytest.mark.parametrize("seed", tried(range(2)))
def test_row_1_killed_writers_of_nested_columns(seed: int, place: Path) -> None:
    count = Count()
    kill_often(place, 1_000 + seed, KILLS_OF_ONE, count, NESTED)
    assert count.acknowledged


@pytest.mark.nightly
@pytest.mark.parametrize("names", [(*COLUMNS, *NESTED), tuple(NESTED)], ids=["all", "nested"])
def test_row_1_five_hundred_killed_writers(names: tuple[str, ...], place: Path) -> None:
    count = Count()
    for seed in range(100, 200):
        kill_often(place, seed, KILLS_OF_ONE, count, names)
    print(count)
    assert count.kills == 500
