"""Every recorded location, in one state of the database: what checks, and giving back space, go through."""

from __future__ import annotations

from typing import NamedTuple

from hangar.blobs.catalog import BlobFileRow, scan_blob_files
from hangar.blobs.index import Index
from hangar.blobs.location_update import index_of_rows
from hangar.blobs.run import Run
from hangar.blobs.store import BlobStore
from hangar.db.tables import LOCATIONS
from hangar.digest import DIGEST_BYTES
from hangar.errors import CorruptionError

__all__ = ["Recorded", "scan_recorded"]


class Recorded(NamedTuple):
    """All recorded locations.

    Attributes
    ----------
    files
        Rows of the blob files, by id.
    table
        Locations in the table of the database, an index in memory; None where there are none.
    runs
        The registered runs that can be opened, newest first.
    damaged
        Why the others cannot.
    """

    files: dict[int, BlobFileRow]
    table: Index | None
    runs: tuple[Run, ...]
    damaged: list[str]

    @property
    def indexes(self) -> list[Index]:
        """The table and the runs, in the order in which they count when runs are merged: of one digest the first that has it."""
        return [*([] if self.table is None else [self.table]), *(run.index for run in self.runs)]


def scan_recorded(store: BlobStore) -> Recorded:
    """Read all that is recorded of locations.

    Raises
    ------
    CorruptionError
        A row of the database is damaged. Runs are not read here: what is wrong inside of one, ``Run.verify`` says.
    """
    with store.db.read() as transaction:
        files = dict(scan_blob_files(transaction))
        rows = list(transaction.scan(LOCATIONS))
        damaged = store.locator.reload(transaction)
    if any(len(key) != DIGEST_BYTES for key, _ in rows):
        raise CorruptionError("table 'locations' has a key that is no digest")
    return Recorded(files, index_of_rows(rows) if rows else None, store.locator.runs(), damaged)
