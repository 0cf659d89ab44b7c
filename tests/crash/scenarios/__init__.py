"""The scenarios that are tried against every crash. A new module adds its ``Scenario``s to ``SCENARIOS`` below."""

from __future__ import annotations

from tests.crash.harness import Scenario
from tests.crash.scenarios import (
    arrays,
    blobs,
    collections,
    containers,
    conversions,
    database,
    files,
    locks,
    merges,
    purges,
    repairs,
    repositories,
    transfers,
)

SCENARIOS: tuple[Scenario, ...] = (
    *files.SCENARIOS,
    *database.SCENARIOS,
    *locks.SCENARIOS,
    *blobs.SCENARIOS,
    *repositories.SCENARIOS,
    *conversions.SCENARIOS,
    *containers.SCENARIOS,
    *collections.SCENARIOS,
    *purges.SCENARIOS,
    *repairs.SCENARIOS,
    *merges.SCENARIOS,
    *arrays.SCENARIOS,
    *transfers.SCENARIOS,
)
