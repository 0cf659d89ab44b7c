"""Garbage collections of a repository with deleted branches: what is named reads the same after every crash, and the next one finishes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hangar.blobs import moving
from hangar.gc import policy
from tests.crash.harness import Acknowledge, Scenario, State
from tests.crash.scenarios import repositories
from tests.crash.scenarios.repositories import checker, numbers, prepare, require_sound
from tests.crash.world import Actions, Live, Step, observe, require

STEPS: Sequence[Step] = (
    lambda w: w.collect("all"),
    lambda w: w.put("image", 300, 300),
    lambda w: w.commit("after"),
    lambda w: w.collect(None),
)
BATCH_BYTES = 2_000


def leave_garbage(world: Actions) -> None:
    """A branch with values of every backend, which is deleted; staged changes go on."""
    world.commit("fourth")
    world.create_branch("gone")
    world.switch("gone")
    world.write("image", numbers(400, 30))
    world.write("ragged", numbers(400, 8))
    world.write("rows", numbers(400, 12))
    world.write("text", numbers(400, 20, 2))
    world.write("label", numbers(400, 40))
    world.commit("on gone")
    world.switch("master")
    world.remove_branch("gone")
    world.put("image", 200, 200)
    world.put("text", "staged", 6)


def prepare_garbage(directory: Path) -> None:
    prepare(directory)
    repositories.lower_limits()
    live = Live(directory)
    leave_garbage(live)
    live.close()


def fill_all(world: Actions) -> None:
    repositories.fill(world)
    leave_garbage(world)


def eager() -> None:
    """Small files are rewritten too."""
    policy._LEAST_FREE = 1  # type: ignore[misc]
    moving._BATCH_BYTES = moving._PUBLISH_BYTES = BATCH_BYTES  # type: ignore[misc]


def run(directory: Path, acknowledge: Acknowledge) -> None:
    eager()
    repositories.runner(STEPS)(directory, acknowledge)


def check(state: State) -> None:
    finish(state)
    _check(state)


def finish(state: State) -> None:
    """What is left is whole; collecting again ends it, with nothing but space changed."""
    live = Live(state.directory)
    before = observe(live)
    require_sound(live, data=True)
    live.collect("all")
    require(observe(live), before)
    require_sound(live, data=True)
    live.writer.close()
    assert not live.repo.gc(dry_run=True).blobs.removed
    assert not live.repo.gc(dry_run=True).commits.removed
    live.writer = live.repo.checkout(write=True)
    live.close()


_check = checker(STEPS, fill_all)

SCENARIOS = (Scenario("collections", run, check, prepare_garbage, variants=1),)
