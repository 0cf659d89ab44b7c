"""Row 2 of the list of what must hold: a crash at every step is survived; and row 3: so is a power loss."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import hangar
from hangar import _fs
from tests.crash import harness
from tests.crash.harness import Scenario, State
from tests.crash.scenarios import SCENARIOS
from tests.halves import is_tried

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])


def check_all(scenario: Scenario, states: Iterator[State]) -> tuple[int, bool]:
    """The number of states, and whether the end was among them. Half of the others are checked in a run (tests/halves.py)."""
    number = 0
    finished = False
    for state in states:
        try:
            if state.finished or is_tried(number, scenario.share):
                scenario.check(state)
        except BaseException as error:
            raise AssertionError(f"{scenario.name}, {state.crash}, after {state.acknowledged}") from error
        number += 1
        finished |= state.finished
    return number, finished


@pytest.mark.parametrize("kills", [6, pytest.param(None, marks=pytest.mark.nightly)], ids=["some", "all"])
@every_scenario
def test_a_process_killed_at_any_point(scenario: Scenario, kills: int | None, place: Path) -> None:
    number, finished = check_all(scenario, harness.crashes(scenario, place, kills))
    assert finished
    assert number > 3


@every_scenario
def test_a_power_loss_at_any_point(scenario: Scenario, place: Path) -> None:
    number, finished = check_all(scenario, harness.power_losses(scenario, place))
    assert finished
    assert number > 3


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 20))
@every_scenario
def test_many_power_losses(scenario: Scenario, seed: int, place: Path) -> None:
    check_all(scenario, harness.power_losses(scenario, place, seed))


def test_every_crash_point_is_hit(place: Path) -> None:
    for module in pkgutil.walk_packages(hangar.__path__, "hangar."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ModuleNotFoundError):  # of an optional package
                importlib.import_module(module.name)
    hit = set().union(*(harness.points_hit(scenario, place / str(i)) for i, scenario in enumerate(SCENARIOS)))
    assert hit == _fs.points
