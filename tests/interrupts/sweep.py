"""Interrupt an operation at every place: at each entry of a function of Hangar, and at each line that it reaches.

An operation is run once in a forked child that only counts. Then a child is forked for each place, in which ``KeyboardInterrupt`` is raised there. As in
a notebook the exception, with its traceback, is kept. The child looks at what it sees then, goes on writing, in the same thread and in another one,
and is killed. What it was told is durable must be there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import hangar
from hangar import forking

PACKAGE = str(Path(hangar.__file__).parent) + os.sep
STUCK_SECONDS = 20.0

State = Any
"""What is in a repository, as JSON has it."""


@dataclass(frozen=True)
class Place:
    """One place that an operation reaches."""

    number: int
    event: str
    file: str
    line: int
    function: str
    turn: int
    """How often this event of the line is reached up to here. Unlike the number it does not depend on random digests."""

    def __str__(self) -> str:
        return f"{self.number}: {self.event} of {self.function} ({self.file}:{self.line})"


@dataclass
class Outcome:
    """What a child that was interrupted says before it is killed."""

    place: str
    interrupted: bool = False
    swallowed: bool = False
    """It struck in a finalizer, where Python prints what is raised and goes on."""
    seen: State = None
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Tracer:
    """Counts the places that this thread reaches, and interrupts at one of them."""

    def __init__(self, at: Place | int | None = None) -> None:
        self.at = at
        """A place, or the number of one; None to count."""
        self.number = 0
        self.places: list[Place] = []
        self.reached: Counter[tuple[str, str, int]] = Counter()

    def run(self, operation: Callable[[], None]) -> None:
        sys.settrace(self._global)
        try:
            operation()
        finally:
            sys.settrace(None)
            # A tracer interrupts also between the end of a block and the release of its lock, where no signal is handled.
            # A lock that is left would stop the other threads of this process for ever.
            with contextlib.suppress(RuntimeError):
                while True:
                    forking._lock.release()

    def _global(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        self._reach(frame, "entry")
        return self._local

    def _local(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self._reach(frame, "line")
        return self._local

    def _reach(self, frame: FrameType, event: str) -> None:
        self.number += 1
        if isinstance(self.at, int):
            if self.number == self.at:
                raise KeyboardInterrupt
            return
        code = frame.f_code
        line = frame.f_lineno
        if self.at is not None and (line != self.at.line or event != self.at.event):
            return
        file = code.co_filename.removeprefix(PACKAGE)
        self.reached[event, file, line] += 1
        turn = self.reached[event, file, line]
        if self.at is None:
            self.places.append(Place(self.number, event, file, line, code.co_name, turn))
        elif file == self.at.file and turn == self.at.turn:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Operation:
    """Something that a user calls.

    Parameters
    ----------
    begin
        Opens what the operation needs, in a directory; not interrupted.
    act
        The operation.
    look
        What this process sees afterwards; None where there is nothing to look with.
    go_on
        Writes a value of that name, from this or another thread, and returns when it is durable.
    """

    name: str
    begin: Callable[[Path], Any]
    act: Callable[[Any], None]
    look: Callable[[Any], State]
    go_on: Callable[[Any, str], None]
    least: int
    """Places that there are at least: a sweep of a few would show nothing."""
    prepare: Callable[[Path], None] | None = None
    """What the repository needs in addition for this operation."""


def places(operation: Operation, directory: Path) -> list[Place]:
    """All places that an operation reaches."""

    def count() -> list[tuple[Any, ...]]:
        tracer = Tracer()
        context = operation.begin(directory)
        tracer.run(lambda: operation.act(context))
        return [(p.number, p.event, p.file, p.line, p.function, p.turn) for p in tracer.places]

    return [Place(*found) for found in _in_child(count)]


def distinct(found: list[Place]) -> list[Place]:
    """The first time of each place in the source."""
    first: dict[tuple[str, str, int], Place] = {}
    for place in found:
        first.setdefault((place.event, place.file, place.line), place)
    return list(first.values())


def interrupt(operation: Operation, directory: Path, place: Place) -> Outcome:
    """Run an operation in a child, interrupt it, go on, and kill the child."""
    return Outcome(**_in_child(lambda: vars(_interrupted(operation, directory, place)), kill=True))


def _interrupted(operation: Operation, directory: Path, place: Place) -> Outcome:
    outcome = Outcome(str(place))
    ignored: list[sys.UnraisableHookArgs] = []
    sys.unraisablehook = ignored.append
    context = operation.begin(directory)
    kept: BaseException | None = None
    try:
        Tracer(place).run(lambda: operation.act(context))
    except KeyboardInterrupt as error:
        kept = error
        outcome.interrupted = True
    try:
        outcome.seen = operation.look(context)
    except Exception:  # noqa: BLE001 - shown by the test
        outcome.problems.append(f"looking: {traceback.format_exc()}")
    _go_on(operation, context, "main", outcome)
    thread = threading.Thread(target=_go_on, args=(operation, context, "thread", outcome), daemon=True)
    thread.start()
    thread.join(STUCK_SECONDS)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        where = "".join(traceback.format_stack(frame)[-4:]) if frame else ""
        outcome.problems.append(f"another thread waits for ever: {where}")
    outcome.swallowed = any(isinstance(error.exc_value, KeyboardInterrupt) for error in ignored)
    outcome.problems += [
        f"{error.err_msg or 'exception ignored'} in {error.object!r}: {error.exc_value!r}"
        for error in ignored
        if not isinstance(error.exc_value, KeyboardInterrupt)
    ]
    del kept
    return outcome


def _go_on(operation: Operation, context: Any, name: str, outcome: Outcome) -> None:
    try:
        operation.go_on(context, name)
        outcome.acknowledged.append(name)
    except hangar.HangarError as error:
        outcome.refused.append(f"{name}: {type(error).__name__}: {error}")
    except BaseException:  # noqa: BLE001 - shown by the test
        outcome.problems.append(f"writing in {name}: {traceback.format_exc()}")


def _in_child(function: Callable[[], Any], *, kill: bool = False) -> Any:
    """The result of a function in a forked child, which is killed when it has said it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            signal.alarm(int(3 * STUCK_SECONDS))
            try:
                said = json.dumps([True, function()])
            except BaseException:  # noqa: BLE001 - raised in the parent
                said = json.dumps([False, traceback.format_exc()])
            with os.fdopen(writing, "w") as file:
                file.write(said)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    if not text:
        raise AssertionError("the child ended without a word")
    good, result = json.loads(text)
    if not good:
        raise AssertionError(result)
    return result
