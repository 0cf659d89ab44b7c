"""State that the steps of a repair share: the stores, the lock, and the directory for replaced content."""

from __future__ import annotations

from dataclasses import dataclass, field

from hangar.db import WriteTransaction
from hangar.db.tables import Table
from hangar.fsck.bitflip import BitFlipCorrector
from hangar.fsck.lostfound import LostFound, Row
from hangar.fsck.report import FsckReport
from hangar.fsck.source import RepairSource
from hangar.lock import WriterLock
from hangar.stores import Stores

__all__ = ["Changes", "RepairContext"]


@dataclass(slots=True)
class RepairContext:
    """The state of one repair.

    Attributes
    ----------
    found
        What the check found.
    source
        Another repository that has what is damaged here; None: only what is here is used.
    bit_flips
        Corrects flipped bits, with one bound for the whole repair.
    """

    stores: Stores
    lock: WriterLock
    found: FsckReport
    lost: LostFound
    source: RepairSource | None = None
    bit_flips: BitFlipCorrector = field(default_factory=BitFlipCorrector)

    def digests(self, *kinds: str) -> list[bytes]:
        """Digests of the problems of some kinds."""
        found = (bytes.fromhex(one.digest) for one in self.found.problems if one.kind in kinds and one.digest)
        return list(dict.fromkeys(found))


@dataclass(slots=True)
class Changes:
    """Changes of rows that are collected, kept in lost-found, and then made in one transaction.

    Attributes
    ----------
    put, delete
        Rows to set and to delete.
    old
        Rows that are replaced, to be kept.
    """

    put: list[tuple[Table, bytes, bytes]] = field(default_factory=list)
    delete: list[tuple[Table, bytes]] = field(default_factory=list)
    old: list[Row] = field(default_factory=list)

    def add(self, other: Changes) -> None:
        """Add other changes."""
        self.put += other.put
        self.delete += other.delete
        self.old += other.old

    def drop(self, table: Table, key: bytes, row: bytes, why: str) -> None:
        """Delete a row, which is kept in lost-found."""
        self.delete.append((table, key))
        self.old.append(Row(table.name, key.hex(), row.hex(), why))

    def replace(self, table: Table, key: bytes, row: bytes, new: tuple[bytes, bytes], why: str) -> None:
        """Replace a row by another, which may have another key."""
        self.drop(table, key, row, why)
        self.put.append((table, *new))

    def keep(self, lost: LostFound) -> str:
        """Write the replaced rows to lost-found; returns the path, or nothing if there are none."""
        return lost.keep_rows(self.old) if self.old else ""

    def make(self, transaction: WriteTransaction) -> None:
        """Make the changes."""
        for table, key in self.delete:
            transaction.delete(table, key)
        for table, key, value in self.put:
            transaction.put(table, key, value)
