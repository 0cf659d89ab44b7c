"""The changed entries of one column, in memory, on top of its tree.

One dict says what each changed key holds now. Two sets name the keys of it that the database does not have yet, and those that the merged
tree does not have yet. Keys are sorted only when somebody asks for a range of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from itertools import islice

__all__ = ["Overlay"]

_FEW = 32
"""New keys up to this number are inserted into the sorted ones one by one; more are sorted together with them."""


class Overlay:
    """Changes to a tree: encoded key -> cell, None where the entry is deleted.

    Attributes
    ----------
    cells
        What each changed key holds now.
    unsaved
        Keys whose row in the database is older, or missing.
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
        """The entries that the database does not have yet."""
        return {key: self.cells[key] for key in self.unsaved}

    def below(self, prefix: bytes) -> list[bytes]:
        """The changed keys that begin with ``prefix``, a sample's in a nested column, in order."""
        keys = self._sorted
        # A dict keeps the order in which its keys came first, and no key ever leaves: the new ones are the last.
        new = list(islice(reversed(self.cells), len(self.cells) - len(keys)))
        if len(new) <= _FEW:
            for key in new:
                insort(keys, key)
        else:
            keys += new
            keys.sort()
        return keys[bisect_left(keys, prefix) : bisect_left(keys, prefix + b"\xff")]
