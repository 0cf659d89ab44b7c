"""The measured figures, and the best of several rounds.

The best and not the mean, because other load on the machine only makes a round slower. All rounds are in the JSON output.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.epochs import MEASURES
from benchmarks.outcome import Outcome
from benchmarks.peers import BASELINE

__all__ = ["RATES", "Results"]

RATES = frozenset({"get", "batch", "positions", "list", "scan", *MEASURES})
"""Measures where higher is better (samples a second). Lower is better for all others (seconds, bytes)."""


@dataclass
class Results:
    """All figures of one run."""

    counts: dict[str, int] = field(default_factory=dict)
    """Samples of each workload."""
    raw_bytes: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)
    """Workload, peer, one outcome a round."""
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    single: dict[str, float | str] = field(default_factory=dict)
    """Figures of Hangar alone: start-up, memory, import and export."""

    def add(self, workload: str, peer: str, outcome: Outcome | None, failure: str | None) -> None:
        if outcome is not None:
            self.rounds.setdefault(workload, {}).setdefault(peer, []).append(outcome)
        elif failure is not None:
            self.failures.setdefault(workload, {})[peer] = failure

    def best(self, workload: str, peer: str, measure: str) -> float | None:
        """The best round; None where there is no figure."""
        found = [outcome.get(measure) for outcome in self.rounds.get(workload, {}).get(peer, [])]
        figures = [one for one in found if isinstance(one, (int, float))]
        if not figures:
            return None
        return max(figures) if measure in RATES else min(figures)

    def ratio(self, workload: str, peer: str, measure: str, to: str = BASELINE) -> float | None:
        """Ratio of a peer's figure to another peer's, in this run."""
        one, other = self.best(workload, peer, measure), self.best(workload, to, measure)
        return None if one is None or not other else one / other

    def reason(self, workload: str, peer: str, measure: str) -> str | None:
        """Why there is no figure."""
        for outcome in self.rounds.get(workload, {}).get(peer, []):
            found = outcome.get(measure)
            if isinstance(found, str):
                return found
        return None
