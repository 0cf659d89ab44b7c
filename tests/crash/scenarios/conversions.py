"""Columns converted to other backends and back: what was there reads the same after every crash, and the same call finishes the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hangar import convert
from hangar.blobs import moving
from tests.crash.harness import Acknowledge, Scenario, State
from tests.crash.scenarios import repositories
from tests.crash.scenarios.repositories import checker, numbers, prepare, require_sound
from tests.crash.world import Actions, Live, Step, observe, require

STEPS: Sequence[Step] = (
    lambda w: w.convert("image", "toy"),
    lambda w: w.put("image", 200, 200),
    lambda w: w.convert("image", "10"),
)
BATCH_BYTES = 700


def prepare_more(directory: Path) -> None:
    """What there is elsewhere, with a run."""
    prepare(directory)
    repositories.lower_limits()
    live = Live(directory)
    live.write("image", numbers(100, 14))
    live.close()


def fill_more(world: Actions) -> None:
    repositories.fill(world)
    world.write("image", numbers(100, 14))


def run(directory: Path, acknowledge: Acknowledge) -> None:
    moving._BATCH_BYTES = moving._PUBLISH_BYTES = BATCH_BYTES  # type: ignore[misc]
    convert._GATHERED_BLOBS = 10  # type: ignore[misc]
    repositories.runner(STEPS)(directory, acknowledge)


def check(state: State) -> None:
    finish(state)
    _check(state)


def finish(state: State) -> None:
    """What is left is whole; converting again ends it, with nothing but the backend changed."""
    live = Live(state.directory)
    before = observe(live)
    require_sound(live, data=True)
    live.convert("image", before["backends"]["image"])
    require(observe(live), before)
    require_sound(live, data=True)
    live.close()


_check = checker(STEPS, fill_more)

SCENARIOS = (Scenario("conversions", run, check, prepare_more, variants=1),)
