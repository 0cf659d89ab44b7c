"""What was measured, and the best of several rounds.

The best and not the mean: whatever else the machine does only ever makes a round slower. All rounds are in the JSON output.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.outcome import Outcome
from benchmarks.peers import FLOOR

__all__ = ["RATES", "Results"]

RATES = frozenset({"get", "batch", "positions", "list", "scan"})
"""Measures of which more is better (samples a second); of all others (seconds, bytes) less is."""


@dataclass
class Results:
    """Everything of one run."""

    counts: dict[str, int] = field(default_factory=dict)
    """Samples of each workload."""
    raw_bytes: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)
    """Workload, peer, one outcome a round."""
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    single: dict[str, float | str] = field(default_factory=dict)
    """What concerns Hangar alone: start-up, memory, import and export."""

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

    def ratio(self, workload: str, peer: str, measure: str, to: str = FLOOR) -> float | None:
        """Of a peer to another, in this run."""
        one, other = self.best(workload, peer, measure), self.best(workload, to, measure)
        return None if one is None or not other else one / other

    def reason(self, workload: str, peer: str, measure: str) -> str | None:
        """Why there is no figure."""
        for outcome in self.rounds.get(workload, {}).get(peer, []):
            found = outcome.get(measure)
            if isinstance(found, str):
                return found
        return None
