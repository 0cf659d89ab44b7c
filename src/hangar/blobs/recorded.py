"""Snapshot of all recorded locations, for verification and for releasing disk space."""

from __future__ import annotations

from typing import NamedTuple

from hangar.blobs.catalog import BlobFileRow, scan_blob_files
from hangar.blobs.index import Index
from hangar.blobs.location_update import index_of_rows
from hangar.blobs.run import Run
from hangar.blobs.store import BlobStore
from hangar.db.tables import FILES, LOCATIONS
from hangar.digest import DIGEST_BYTES
from hangar.errors import CorruptionError

__all__ = ["Recorded", "scan_recorded"]


class Recorded(NamedTuple):
    """All recorded locations.

    Attributes
    ----------
    files
        Rows of the blob files, by id.
    rows
        Rows of the table of locations in the database, by digest.
    table
        Index of these locations; None if there are none.
    runs
        The registered runs that can be opened, newest first.
    damaged
        Why the other runs cannot be opened.
    """

    files: dict[int, BlobFileRow]
    rows: dict[bytes, bytes]
    table: Index | None
    runs: tuple[Run, ...]
    damaged: list[str]

    @property
    def indexes(self) -> list[Index]:
        """The table and the runs, in the order of precedence: the first one that has a digest wins when runs are merged."""
        return [*([] if self.table is None else [self.table]), *(run.index for run in self.runs)]


def scan_recorded(store: BlobStore) -> Recorded:
    """Read all recorded locations.

    Raises
    ------
    CorruptionError
        A row of the database is damaged or lost. The content of runs is not verified here; ``Run.verify`` does that.
    """
    with store.db.read() as transaction:
        # A lost row of a run would make the files that it names look free.
        transaction.check_count(FILES)
        files = dict(scan_blob_files(transaction))
        rows = list(transaction.scan(LOCATIONS))
        runs, damaged = store.locator.reload(transaction)
    if any(len(key) != DIGEST_BYTES for key, _ in rows):
        raise CorruptionError("table 'locations' has a key that is no digest")
    return Recorded(files, dict(rows), index_of_rows(rows) if rows else None, runs, damaged)
