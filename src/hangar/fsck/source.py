"""Where a repair may get records and blobs from: another repository. The repair verifies every byte by its digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from hangar.digest import Header, RecordClass

__all__ = ["RepairSource"]


class RepairSource(Protocol):
    """Another repository, which has what is damaged here."""

    @property
    def name(self) -> str:
        """Its name, for messages."""

    def records(self, kind: RecordClass, digests: Sequence[bytes]) -> Iterator[bytes]:
        """Those of some records that it has, in any order."""

    def blobs(self, digests: Sequence[bytes]) -> Iterator[tuple[Header, bytes]]:
        """Those of some blobs that it has, in any order: header and logical bytes."""
