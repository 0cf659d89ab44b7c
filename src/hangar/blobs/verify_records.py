"""Verifies the database records of blobs, without reading blobs: locations, recorded ends of files, ids, headers.

If a location is beyond the recorded end of its file, the next writer would overwrite the blob. If an id is used twice,
a file would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hangar.backends.location import FILE_MASK, FILE_ROW, HEADER, LENGTH_MASK, OFFSET, ROW_SHIFT, STORED, Words
from hangar.backends.registry import is_installed, stored_backend
from hangar.blobs.catalog import BlobFileRow, first_free_id, get_header, scan_blob_files, scan_runs
from hangar.blobs.recorded import scan_recorded
from hangar.blobs.store import BlobStore
from hangar.errors import HangarError, ResourceLimitError
from hangar.wording import plural

__all__ = ["verify_locations"]


def verify_locations(store: BlobStore) -> Iterator[str]:
    """Yield the problems of the records, a sentence each.

    Raises
    ------
    CorruptionError
        A row of the database is damaged.
    """
    recorded = scan_recorded(store)
    with store.db.read() as transaction:
        # Read together: another process may have published since.
        highest = max(file_id for file_id, _ in [(0, None), *scan_blob_files(transaction), *scan_runs(transaction)])
        if first_free_id(transaction) <= highest:
            yield f"the next id of a file is not above {highest:08x}, which is taken"
    headers: dict[int, bool] = {}
    for words in (index.locations().words for index in recorded.indexes):
        for header_id in np.unique(words[:, HEADER]).tolist():
            if header_id not in headers:
                headers[header_id] = _has_header(store, header_id)
                if not headers[header_id]:
                    yield f"locations name the blob header {header_id:016x}, which is missing or damaged"
        file_ids = words[:, FILE_ROW] & FILE_MASK
        for file_id in np.unique(file_ids).tolist():
            yield from _of_file(file_id, recorded.files.get(file_id), words[file_ids == file_id])


def _of_file(file_id: int, row: BlobFileRow | None, words: Words) -> Iterator[str]:
    if row is None:
        yield f"blob file {file_id:08x} is not recorded, and has {plural(len(words), 'blob')}"
        return
    # Python ints, because offsets of damaged rows may be near 2^64 and the sums would overflow.
    lengths = words[:, STORED] & np.uint64(LENGTH_MASK)
    last = max(map(sum, zip(words[:, OFFSET].tolist(), lengths.tolist(), strict=True)))
    if last > row.end:
        yield f"blob file {file_id:08x} is recorded to end at {row.end:,}, but its blobs end at {last:,}"
    if (
        is_installed(row.tag)
        and stored_backend(row.tag).capabilities.raw
        and bool((words[:, FILE_ROW] >> np.uint64(ROW_SHIFT)).any())
    ):
        yield f"blob file {file_id:08x} has no chunks, and a location names a row in one"


def _has_header(store: BlobStore, header_id: int) -> bool:
    try:
        with store.db.read() as transaction:
            get_header(transaction, header_id)
    except ResourceLimitError:
        raise
    except HangarError:
        return False
    return True
