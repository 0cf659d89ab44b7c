"""The result of a round, and the settings for its length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract import Cannot

__all__ = ["Outcome", "Settings", "attempt", "same"]

Outcome = dict[str, "float | str"]
"""Measure to value (seconds, samples a second, bytes); a str says why there is none."""


class Settings:
    """How long and how often.

    Parameters
    ----------
    seconds
        For each kind of read, after a third of it unmeasured.
    commits
        Of a hundred changes each.
    """

    def __init__(self, seconds: float = 0.3, commits: int = 11, directory: Path | None = None) -> None:
        self.seconds = seconds
        self.commits = commits
        self.directory = directory


def attempt(outcome: Outcome, name: str, work: Callable[[], float]) -> None:
    """Store the result of ``work``, or the reason why it failed: one failure is one cell of the table."""
    try:
        outcome[name] = work()
    except Cannot as error:
        outcome[name] = f"- {error}"
    except Exception as error:  # noqa: BLE001 - whatever a peer raises
        outcome[name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"


def same(found: Any, expected: Any) -> None:
    equal = np.array_equal(found, expected) if isinstance(expected, np.ndarray) else found == expected
    if not equal:
        raise ValueError("read something else than was written")
