"""Repair of the rows of blob files, headers and locations, from the files themselves and the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hangar import _fs
from hangar.backends.file import FILE_HEADER_BYTES, decode_file_header
from hangar.backends.location import FILE_MASK, FILE_ROW, HEADER, LENGTH_MASK, OFFSET, STORED
from hangar.blobs.catalog import (
    BLOB_DIRECTORY,
    BlobFileRow,
    claim_ids,
    put_blob_file,
    put_headers,
    scan_blob_files,
    scan_runs,
)
from hangar.blobs.index import Index
from hangar.blobs.location_update import index_of_rows
from hangar.blobs.ownership import NO_EPOCH
from hangar.blobs.run import Run, open_run
from hangar.blobs.store import BlobStore
from hangar.db import WriteTransaction
from hangar.db.tables import HEADERS, LOCATIONS, SCHEMAS
from hangar.digest import BYTES, STR, Header
from hangar.errors import HangarError
from hangar.fsck.context import RepairContext
from hangar.fsck.report import Repair
from hangar.publishing import publish_rows
from hangar.rollback import RUN_DIRECTORY, file_id_of
from hangar.schema import open_schema
from hangar.wording import plural

__all__ = ["every_index", "repair_files"]


def every_index(store: BlobStore) -> Iterator[Index]:
    """Every index of locations that can be read: the table, then the runs on disk, registered or not, the newest first."""
    with store.db.read() as transaction:
        rows = list(transaction.scan(LOCATIONS))
    if rows:
        yield index_of_rows(rows)
    for run in runs_on_disk(store):
        yield run.index


def runs_on_disk(store: BlobStore) -> Iterator[Run]:
    """Every run in the directory that can be opened, the newest first."""
    place = store.directory / RUN_DIRECTORY
    for name in reversed(_fs.list_directory(place)):
        run_id = file_id_of(name)
        if run_id is not None:
            try:
                yield open_run(place / name, run_id)
            except HangarError:
                continue


def repair_files(context: RepairContext) -> Iterator[Repair]:
    """Record blob files whose rows were lost, and correct ends and ids that are too low."""
    yield from _repair_headers(context)
    store = context.stores.blobs
    store.refresh()
    ends = _ends(store)
    with store.db.read() as transaction:
        recorded = dict(scan_blob_files(transaction))
        highest = max([0, *recorded, *(run_id for run_id, _ in scan_runs(transaction))])
    on_disk = dict(_files_on_disk(store.directory))
    rows: dict[int, BlobFileRow] = {}
    for file_id, end in ends.items():
        row = recorded.get(file_id)
        found = on_disk.get(file_id)
        if found is None or found[1] < end:
            continue
        if row is None:
            # No writer appends to a file of this epoch.
            rows[file_id] = BlobFileRow(found[0], end, NO_EPOCH, True)
        elif row.end < end:
            rows[file_id] = BlobFileRow(row.tag, end, row.owner, row.sealed)

    def write(transaction: WriteTransaction) -> None:
        for file_id, row in rows.items():
            put_blob_file(transaction, file_id, row)
        if highest:
            claim_ids(transaction, max([highest, *rows]))

    if rows or any("the next id of a file" in problem.detail for problem in context.found.problems):
        publish_rows(store.db, context.lock, write)
        store.refresh()
        yield Repair(
            "file", f"recorded {plural(len(rows), 'blob file')} again, as locations and the files themselves say"
        )


def _ends(store: BlobStore) -> dict[int, int]:
    """For each blob file, the end of the last blob that a registered location names in it."""
    with store.db.read() as transaction:
        registered = {run_id for run_id, _ in scan_runs(transaction)}
        rows = list(transaction.scan(LOCATIONS))
    indexes = [run.index for run in runs_on_disk(store) if run.run_id in registered and _is_sound(run)]
    if rows:
        indexes.append(index_of_rows(rows))
    ends: dict[int, int] = {}
    for index in indexes:
        words = index.locations().words
        lasts = words[:, OFFSET] + (words[:, STORED] & np.uint64(LENGTH_MASK))
        files = words[:, FILE_ROW] & FILE_MASK
        for file_id in np.unique(files).tolist():
            ends[file_id] = max(ends.get(file_id, 0), int(lasts[files == file_id].max()))
    return ends


def _is_sound(run: Run) -> bool:
    try:
        run.verify()
    except HangarError:
        return False
    return True


def _files_on_disk(directory: Path) -> Iterator[tuple[int, tuple[str, int]]]:
    """Id, backend tag and size of the blob files on disk whose headers are sound."""
    place = directory / BLOB_DIRECTORY
    for name in _fs.list_directory(place):
        path = place / name
        try:
            with path.open("rb") as file:
                tag, file_id = decode_file_header(file.read(FILE_HEADER_BYTES), path)
            size = path.stat().st_size
        except (HangarError, OSError):
            continue
        if (file_id, f".{tag}") == (file_id_of(name), path.suffix):
            yield file_id, (tag, size)


def _repair_headers(context: RepairContext) -> Iterator[Repair]:
    """Record lost headers that locations name, from the schemas whose values all have the same header."""
    store = context.stores.blobs
    with store.db.read() as transaction:
        known = {int.from_bytes(key, "big") for key, _ in transaction.scan(HEADERS)}
        schemas = [data for _, data in transaction.scan(SCHEMAS)]
    used: set[int] = set()
    for index in every_index(store):
        used.update(np.unique(index.locations().words[:, HEADER]).tolist())
    missing = used - known
    if not missing:
        return
    found: dict[int, Header] = {}
    for data in schemas:
        try:
            schema = open_schema(data)
        except HangarError:
            continue
        known_header = schema.uniform or (schema.kind_name == "sparse" and not schema.variable)
        headers = [schema.header] if known_header else _SCALARS
        found.update((header.id, header) for header in headers if header.id in missing)
    if found:
        publish_rows(store.db, context.lock, lambda transaction: put_headers(transaction, found))
        yield Repair("location", f"recorded {plural(len(found), 'blob header')} again, from the schemas of columns")


_SCALARS = [Header(kind, 0, ()) for kind in (STR, BYTES)]
