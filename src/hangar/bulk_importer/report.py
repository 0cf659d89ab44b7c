"""Report of a bulk import: what was imported, and which items failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hangar.progress import format_bytes
from hangar.wording import plural

__all__ = ["FailedItem", "ImportReport"]


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that could not be imported. Nothing of it was stored.

    Attributes
    ----------
    index
        Its index in the items.
    item
        The item.
    kind
        Name of the class of the exception.
    message
        What was wrong.
    traceback
        Where in the function, as Python prints it; ``''`` if the function was not at fault.
    """

    index: int
    item: Any
    kind: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of a bulk import.

    Attributes
    ----------
    items
        Number of items of the import.
    imported
        Items imported by this call.
    resumed
        Items that an earlier call of the same import had staged already; they were not read again.
    failed
        Items that failed, in order.
    samples
        Values written by this call, by column.
    nbytes
        Bytes of these values.
    seconds
        Duration.
    """

    items: int
    imported: int = 0
    resumed: int = 0
    failed: tuple[FailedItem, ...] = ()
    samples: Mapping[str, int] = field(default_factory=dict)
    nbytes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        text = f"imported {self.imported:,} of {plural(self.items, 'item')}, {format_bytes(self.nbytes)}"
        if self.resumed:
            text += f"; {self.resumed:,} were staged already"
        if self.failed:
            first = self.failed[0]
            text += f"; {self.failed_text}, the first is item {first.index}: {first.message}"
        return text

    @property
    def failed_text(self) -> str:
        """The number of items that failed, in words."""
        return f"{plural(len(self.failed), 'item')} failed"
