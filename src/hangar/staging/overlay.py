"""In-memory overlay of the changed entries of one column.

One dict maps each changed key to its new cell. Two sets contain the keys of this dict that are not in the database
yet, and those that are not in the merged tree yet. Keys are sorted only for range queries.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from itertools import islice

__all__ = ["Overlay"]

_FEW = 32
"""Up to this many new keys are inserted into the sorted list one by one; more are appended and the list is sorted."""


class Overlay:
    """Changes to a tree: encoded key -> cell, None where the entry is deleted.

    Attributes
    ----------
    cells
        New cell of each changed key.
    unsaved
        Keys whose row in the database is outdated or missing.
    unmerged
        Keys that changed after the merged tree was made (see ``WorkingColumn.merged_tree``).
    """

    __slots__ = ("_sorted", "cells", "unmerged", "unsaved")

    def __init__(self) -> None:
        self.cells: dict[bytes, bytes | None] = {}
        self.unsaved: set[bytes] = set()
        self.unmerged: set[bytes] = set()
        self._sorted: list[bytes] = []

    def __len__(self) -> int:
        return len(self.cells)

    def set(self, key: bytes, cell: bytes | None) -> None:
        """Change one entry."""
        self.cells[key] = cell
        self.unsaved.add(key)
        self.unmerged.add(key)

    def update(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Change many entries."""
        self.cells.update(rows)
        self.unsaved.update(rows)
        self.unmerged.update(rows)

    def unsaved_rows(self) -> dict[bytes, bytes | None]:
        """The entries that are not in the database yet."""
        return {key: self.cells[key] for key in self.unsaved}

    def below(self, prefix: bytes) -> list[bytes]:
        """The changed keys that begin with the sample prefix ``prefix`` of a nested column, in order."""
        keys = self._sorted
        # A dict keeps insertion order, and no key is ever removed, so the new keys are the last ones.
        new = list(islice(reversed(self.cells), len(self.cells) - len(keys)))
        if len(new) <= _FEW:
            for key in new:
                insort(keys, key)
        else:
            keys += new
            keys.sort()
        return keys[bisect_left(keys, prefix) : bisect_left(keys, prefix + b"\xff")]
