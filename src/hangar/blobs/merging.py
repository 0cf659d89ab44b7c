"""When runs are merged: few enough that a lookup stays cheap, seldom enough that writing does.

Runs are merged from the newest on, so that the order of age, by which the newer location counts, is kept. Merging takes in as many as it
must to stay below the limit, and then on while the next is no larger than what was gathered, so that each location is
rewritten a logarithmic number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hangar import limits

__all__ = ["TABLE_ROWS", "runs_to_merge"]

TABLE_ROWS: Final = 4 * limits.RUN_BLOBS
"""Rows of the table of locations from which on they are put into a run."""
_MOST: Final = limits.MAX_RUNS - 1
"""Runs that may be registered."""


def runs_to_merge(counts: Sequence[int], fresh: int) -> int:
    """How many of the newest runs are merged with a new one.

    Parameters
    ----------
    counts
        Blobs of the registered runs, newest first.
    fresh
        Blobs of the new run.
    """
    if len(counts) < _MOST:
        return 0
    merged, gathered = 0, fresh
    while merged < len(counts) and (len(counts) - merged >= _MOST or counts[merged] <= gathered):
        gathered += counts[merged]
        merged += 1
    return merged
