"""The functions that read a tree: by key (``lookup``), by position (``order``), by range (``scan``).

All take the digest of the root.
"""

from __future__ import annotations

from hangar.objects.lookup import find_ints, find_keys, find_pairs, get, get_many
from hangar.objects.order import (
    leaves_at,
    rank,
    select,
    select_cells,
    select_keys,
    select_refs,
    select_sample,
    slice_refs,
)
from hangar.objects.scan import entries_below, leaves, scan, scan_samples, starts_with

__all__ = [
    "entries_below",
    "find_ints",
    "find_keys",
    "find_pairs",
    "get",
    "get_many",
    "leaves",
    "leaves_at",
    "rank",
    "scan",
    "scan_samples",
    "select",
    "select_cells",
    "select_keys",
    "select_refs",
    "select_sample",
    "slice_refs",
    "starts_with",
]
