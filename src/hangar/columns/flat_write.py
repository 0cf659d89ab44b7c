"""Writing to flat columns."""

from __future__ import annotations

from typing import Any

from hangar.columns.evolve import ColumnWriter
from hangar.columns.flat import FlatSampleReader
from hangar.columns.keyed import KeyedWriter, generated_key

__all__ = ["FlatSampleWriter"]


class FlatSampleWriter(ColumnWriter, KeyedWriter, FlatSampleReader):
    """A flat column of the staging area."""

    def append(self, value: Any) -> str:
        """Add a value under a new, unique key and return the key. Such keys sort by time."""
        key = generated_key()
        self[key] = value
        return key
