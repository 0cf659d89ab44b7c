"""The sweep over all operations: which places of each are tried, and what is wrong after an interrupt at one.

It forks for each place, so it runs in a process that holds little: a fork of one that runs tests costs several times as much.
"""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from tests.halves import tried
from tests.interrupts import sweep
from tests.interrupts.operations import OPERATIONS, found, prepare
from tests.interrupts.sweep import Operation, Place, State

CORE = (
    "checkout/",
    "publishing.py",
    "statements.py",
    "lock.py",
    "stores.py",
    "repository/",
    "convert.py",
    "staging/",
    "refs/",
    "external/importer.py",
    "external/batches.py",
    "db/handle.py",
    "db/environment.py",
    "db/transaction.py",
    "db/registry.py",
    "db/opening.py",
    "blobs/writer.py",
    "blobs/appender.py",
    "blobs/unpublished.py",
    "blobs/location_update.py",
    "blobs/release.py",
    "blobs/moving.py",
    "backends/append.py",
)
"""Where something is held, begun or remembered. Each line of these is interrupted, and some of the others: half of them in a run (tests/halves.py)."""
OTHERS = 10
"""One of so many lines of the other files."""


class Sweep:
    """The prepared repository, the places of each operation, and those that are tried in a quick run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.templates: dict[str, Path] = {}
        for operation in OPERATIONS:
            # Modules that are imported on the way are no part of an operation.
            context = operation.begin(self.fresh(operation))
            operation.act(context)
            operation.go_on(context, "warm")
            operation.look(context)
            context.open().close()
            context.repo.close()
        # So that forked children copy less.
        gc.collect()
        gc.freeze()
        self.before = {operation.name: found(self.fresh(operation)) for operation in OPERATIONS}
        self.after: dict[str, State] = {}
        self.places: dict[str, list[Place]] = {}
        self.sample: dict[str, list[Place]] = {}
        seen: set[tuple[str, int]] = set()
        for operation in OPERATIONS:
            run = self.fresh(operation)
            reached = self.places[operation.name] = sweep.places(operation, run)
            self.after[operation.name] = found(run)
            fresh = {(place.file, place.line): place for place in reversed(reached)}
            new = [place for at, place in fresh.items() if at not in seen]
            core = [place for place in new if place.file.startswith(CORE)]
            others = [place for place in new if not place.file.startswith(CORE)]
            self.sample[operation.name] = tried([*core, *others[::OTHERS]])
            seen.update(fresh)

    def fresh(self, operation: Operation) -> Path:
        """A copy of the repository that is prepared for an operation."""
        name = "" if operation.prepare is None else operation.prepare.__name__
        if name not in self.templates:
            self.templates[name] = self.directory / f"template {name}"
            self.templates[name].mkdir()
            prepare(self.templates[name])
            if operation.prepare is not None:
                operation.prepare(self.templates[name])
        run = self.directory / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.templates[name], run)
        return run

    def problems(self, operation: Operation, places: list[Place]) -> list[str]:
        """What is wrong after an interrupt at each of the places."""
        return [f"{place}: {problem}" for place in places for problem in self._problems(operation, place)]

    def _problems(self, operation: Operation, place: Place) -> Iterator[str]:
        run = self.fresh(operation)
        outcome = sweep.interrupt(operation, run, place)
        yield from outcome.problems
        states = (self.before[operation.name], self.after[operation.name])
        if not outcome.interrupted and not outcome.swallowed:
            yield "nothing was interrupted"
        if outcome.seen not in states:
            yield f"this process sees {outcome.seen}"
        yield from outcome.refused
        now = found(run)
        written = now["columns"]["text"]
        for name in ("main", "thread"):
            if written.pop(name, None) is None and name in outcome.acknowledged:
                yield f"what {name} was told is durable is lost"
        if now not in states:
            yield f"there is {now}"


def of_operation(name: str) -> Operation:
    """The operation of this name."""
    return next(operation for operation in OPERATIONS if operation.name == name)


_prepared: list[Sweep] = []
"""The sweep of this process."""


def begin(directory: Path) -> None:
    """Prepare the sweep of this process."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
    _prepared.append(Sweep(directory))


def counts() -> dict[str, tuple[int, int]]:
    """How many places each operation reaches, and how many of them a quick run tries."""
    (swept,) = _prepared
    return {name: (len(swept.places[name]), len(swept.sample[name])) for name in swept.places}


def problems_of_lines(name: str, part: int, parts: int) -> list[str]:
    """What is wrong after an interrupt at one of so many parts of the places that a quick run tries."""
    (swept,) = _prepared
    return swept.problems(of_operation(name), swept.sample[name][part::parts])


def problems_of_all(name: str) -> list[str]:
    """The same for each place once, and for every 10th time that one is reached again."""
    (swept,) = _prepared
    places = swept.places[name]
    first = sweep.distinct(places)
    known = set(first)
    return swept.problems(of_operation(name), first + [place for place in places[::10] if place not in known])
