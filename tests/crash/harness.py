"""The crash harness: what a scenario leaves when its process is killed, or the power fails, at any step.

A scenario is prepared once in an empty directory and then run, over and over for ``crashes`` (a forked child ends itself at the n-th
crash point, for every n) and once for ``power_losses`` (a recording of every crash point, sync and acknowledgement, from which
``tests.crash.power`` plays back what a disk may hold). Either yields ``State``s: a directory as it is found afterwards, and what had been
acknowledged by then. A test is a loop over them::

    for state in harness.crashes(scenario, tmp_path):
        scenario.check(state)

The recorder opens and reads every file but LMDB's lock file: closing that one would end LMDB's own locks in this process.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hangar import _fs
from tests.crash import power
from tests.crash.recorder import Recorder
from tests.processes import child

KILLED = 137

Acknowledge = Callable[[Any], None]
"""Called by a scenario when an operation has returned: with what it promised, any value that can be pickled."""


@dataclass(frozen=True)
class State:
    """What is found after a crash.

    Attributes
    ----------
    directory
        A fresh copy; the check may change it.
    acknowledged
        What the scenario had acknowledged.
    crash
        For messages: at which point, and for a power loss which variant.
    finished
        The scenario was through.
    """

    directory: Path
    acknowledged: tuple[Any, ...]
    crash: str
    finished: bool = False


@dataclass(frozen=True)
class Scenario:
    """Something that must survive a crash at any step.

    Parameters
    ----------
    run
        The steps. Gets the directory, which is empty or as ``prepare`` left it, and ``acknowledge``.
    check
        Asserts that what it finds is what was acknowledged, or that and the one step after it, whole.
    prepare
        Makes the state before, which is taken to be safely on disk.
    """

    name: str
    run: Callable[[Path, Acknowledge], None]
    check: Callable[[State], None]
    prepare: Callable[[Path], None] | None = None
    variants: int = 3
    """Torn variants of a power loss, for each crash point, beside the four regular ones."""
    share: int = 2
    """One of so many states is checked in a run of the quick suite (tests/halves.py)."""


def crashes(scenario: Scenario, place: Path, kills: int | None = None) -> Iterator[State]:
    """A process killed at each crash point in turn, and once not at all.

    Parameters
    ----------
    kills
        How many real kills, spread over the points, since each runs the scenario anew; None for all. The files at the other
        points are those of one recorded run (equal states once).
    """
    moments = [moment for moment in record(scenario, place).moments if moment.name in _fs.points]
    total = len(moments)
    killed = set(range(total)) if kills is None else {total * i // kills for i in range(kills)}
    yield from _recorded_kills(scenario, place, [moment for i, moment in enumerate(moments) if i not in killed])
    yield from _real_kills(scenario, place, [*sorted(killed), total])


def _recorded_kills(scenario: Scenario, place: Path, moments: list[power.Moment]) -> Iterator[State]:
    seen: set[bytes] = set()
    directory = place / "killed"
    for moment in moments:
        files = power.play_back(moment, power.KILL)
        identity = power.identity(files, len(moment.acknowledged))
        if identity not in seen:
            seen.add(identity)
            shutil.rmtree(directory, ignore_errors=True)
            power.materialize(files, directory)
            yield State(directory, moment.acknowledged, f"killed at {moment.name}, played back")


def _real_kills(scenario: Scenario, place: Path, numbers: list[int]) -> Iterator[State]:
    template = _prepared(scenario, place)
    finished = False
    for number in numbers:
        if finished:
            break
        directory = place / "killed"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(template, directory)
        with child(lambda talk, n=number, d=directory: _run_to(scenario, d, n + 1, talk)) as process:  # type: ignore[misc]
            messages = list(process.messages())
            status = os.waitstatus_to_exitcode(process.wait())
            if status not in (0, KILLED):
                process.result()
            finished = status == 0
        point = next((value for kind, value in messages if kind == "point"), "the end")
        acknowledged = tuple(value for kind, value in messages if kind == "acknowledged")
        yield State(directory, acknowledged, f"killed at hit {number + 1}, {point}", finished)


class _Stop:
    """Ends the process at the n-th crash point."""

    def __init__(self, number: int, talk: Connection) -> None:
        self._left = number
        self._talk = talk

    def point(self, name: str) -> None:
        assert name in _fs.points, f"crash point {name} is not registered"
        self._left -= 1
        if not self._left:
            self._talk.send(("point", name))
            os._exit(KILLED)

    def synced_file(self, path: str) -> None:
        pass

    def synced_directory(self, path: str) -> None:
        pass


def _run_to(scenario: Scenario, directory: Path, number: int, talk: Connection) -> None:
    _fs.observer = _Stop(number, talk)
    scenario.run(directory, lambda value: talk.send(("acknowledged", value)))


def power_losses(scenario: Scenario, place: Path, seed: int = 0) -> Iterator[State]:
    """The power lost at each crash point, sync and acknowledgement, in several variants each; equal states once."""
    recording = record(scenario, place)
    seen: set[bytes] = set()
    for index, moment in enumerate(recording.moments):
        for variant in power.variants(scenario.variants, f"{scenario.name} {seed} {index}"):
            files = power.play_back(moment, variant)
            finished = moment.name == power.END
            identity = power.identity(files, len(moment.acknowledged))
            if identity in seen and not finished:
                continue
            seen.add(identity)
            directory = place / "power"
            shutil.rmtree(directory, ignore_errors=True)
            power.materialize(files, directory)
            crash = f"power lost at moment {index}, {moment.name}; {variant.name}"
            yield State(directory, moment.acknowledged, crash, finished)


def record(scenario: Scenario, place: Path) -> power.Recording:
    """Run a scenario once in a child, recording."""
    directory = place / "recorded"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(_prepared(scenario, place), directory)
    output = place / "recording"

    def run(_: Connection) -> None:
        recorder = Recorder(directory)
        _fs.observer = recorder
        scenario.run(directory, recorder.acknowledge)
        _fs.observer = None
        output.write_bytes(pickle.dumps(recorder.finish()))

    with child(run) as process:
        process.result()
    recording = pickle.loads(output.read_bytes())
    assert isinstance(recording, power.Recording)
    output.unlink()
    return recording


def points_hit(scenario: Scenario, place: Path) -> set[str]:
    """The names of the crash points that a scenario reaches."""
    return {moment.name for moment in record(scenario, place).moments} & _fs.points


def _prepared(scenario: Scenario, place: Path) -> Path:
    template = place / "prepared"
    shutil.rmtree(template, ignore_errors=True)
    template.mkdir(parents=True)
    if scenario.prepare is not None:
        prepare = scenario.prepare
        with child(lambda _: prepare(template)) as process:
            process.result()
    return template
