"""Merge policy of runs: few runs keep look-ups cheap, rare merges keep writes cheap (as in a log-structured merge tree).

The newest runs are merged, so that the order by age stays the same: the newer location of a blob wins. A merge takes as
many runs as needed to stay below the limit, and then more while the next run is not larger than the merged ones. So
each location is rewritten a logarithmic number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hangar import limits

__all__ = ["TABLE_ROWS", "runs_to_merge"]

TABLE_ROWS: Final = 4 * limits.RUN_BLOBS
"""From this number of rows on, the table of locations is moved into a run."""
_MOST: Final = limits.MAX_RUNS - 1
"""Maximum number of registered runs."""


def runs_to_merge(counts: Sequence[int], fresh: int) -> int:
    """Number of the newest runs to merge with a new one.

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
