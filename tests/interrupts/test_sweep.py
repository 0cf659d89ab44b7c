"""An interrupt at each place leaves the state before or after, no lock taken, and what is written next is durable when it returns."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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
PARTS = 6
LEAST_PLACES = 30_000
LEAST_TRIED = 600


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


@pytest.fixture(scope="module")
def swept() -> Iterator[Sweep]:
    # In memory where possible: nothing here depends on what a disk does.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Sweep(Path(directory))
    gc.unfreeze()


def test_the_sweep_is_wide(swept: Sweep) -> None:
    for operation in OPERATIONS:
        assert len(swept.places[operation.name]) >= operation.least
    assert sum(map(len, swept.places.values())) >= LEAST_PLACES
    assert sum(map(len, swept.sample.values())) >= LEAST_TRIED


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_lines_of_an_operation(swept: Sweep, operation: Operation, part: int) -> None:
    """Each line that holds something once, in the first operation that reaches it."""
    assert swept.problems(operation, swept.sample[operation.name][part::PARTS]) == []


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_line_and_entry_of_an_operation(swept: Sweep, operation: Operation) -> None:
    """Each line and each entry that the operation reaches, once; and every 10th time that it is reached again."""
    places = swept.places[operation.name]
    first = sweep.distinct(places)
    assert swept.problems(operation, first + [place for place in places[::10] if place not in set(first)]) == []
