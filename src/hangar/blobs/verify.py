"""Checking everything that is stored: blob files, runs, and every blob against its digest.

Nothing is changed, and nothing that is wrong stops the check: each thing found is told with its digest, where it has one, and its
file. Blobs are read in the order in which they lie on disk, a few megabytes at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hangar.backends.file import BlobFile
from hangar.backends.location import LENGTH_MASK, OFFSET, PLACE, STORED, Locations, Words
from hangar.backends.registry import get_backend
from hangar.blobs.catalog import blob_file_path, run_path, scan_blob_files, scan_runs
from hangar.blobs.index import Digests
from hangar.blobs.run import Run
from hangar.blobs.store import BlobStore
from hangar.db.tables import LOCATIONS
from hangar.digest import DIGEST_BYTES, blob_digest, digest_array
from hangar.errors import HangarError
from hangar.progress import Progress, Reporter, report

__all__ = ["Damage", "verify_blobs", "verify_files"]

_CHUNK_BLOBS: Final = 65_536
_CHUNK_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong.

    Attributes
    ----------
    digest
        The blob concerned, or None where it is a file as a whole.
    file
        Path of the file, below ``.hangar``; empty where it is not known.
    detail
        What is the matter.
    """

    digest: bytes | None
    file: str
    detail: str


def verify_files(store: BlobStore) -> Iterator[Damage]:
    """Check that each recorded file is there, is what it should be and holds what was recorded, and every byte of the runs."""
    with store.db.read() as transaction:
        runs = scan_runs(transaction)
        files = scan_blob_files(transaction)
    for run_id, run_row in runs:
        path = run_path(store.directory, run_id)
        try:
            Run(path, run_id, run_row.count).verify()
        except HangarError as error:
            yield Damage(None, _below(path, store), str(error))
    for file_id, row in files:
        path = store.directory
        try:
            path = blob_file_path(store.directory, file_id, row.tag)
            get_backend(row.tag)
            BlobFile(path, file_id, row.tag).need(row.end)
        except HangarError as error:
            yield Damage(None, _below(path, store), str(error))


def verify_blobs(store: BlobStore, progress: Progress = None) -> Iterator[Damage]:
    """Read every blob that has a location and compare it with its digest."""
    with store.db.read() as transaction:
        rows = list(transaction.scan(LOCATIONS))
    try:
        store.refresh()
        parts = [run.index.digests() for run in store.locator.runs()]
    except HangarError as error:
        yield Damage(None, "", str(error))
        parts = []
    keys = [key for key, _ in rows if len(key) == DIGEST_BYTES]
    parts.append(digest_array(keys))
    with report(progress, sum(map(len, parts)), "blobs", "checking") as reporter:
        for digests in parts:
            for start in range(0, len(digests), _CHUNK_BLOBS):
                yield from _verify(store, digests[start : start + _CHUNK_BLOBS], reporter)


def _verify(store: BlobStore, digests: Digests, reporter: Reporter) -> Iterator[Damage]:
    """Check some thousand blobs, in the order in which they lie on disk."""
    try:
        words = store.locator.locate(digests)
    except HangarError:
        for at in range(len(digests)):
            yield from _verify_batch(store, digests[at : at + 1], None)
            reporter.advance()
        return
    order = np.lexsort((words[:, OFFSET], words[:, PLACE] & np.uint64(0xFFFF_FFFF)))
    lengths = (words[order, STORED] & np.uint64(LENGTH_MASK)).astype(np.float64)
    chunk_of = (np.cumsum(lengths) // _CHUNK_BYTES).astype(np.int64)
    cuts = np.flatnonzero(np.diff(chunk_of)) + 1
    for part in np.split(order, cuts):
        yield from _verify_batch(store, digests[part], words[part])
        reporter.advance(len(part))


def _verify_batch(store: BlobStore, digests: Digests, words: Words | None) -> Iterator[Damage]:
    names = [digest.tobytes() for digest in digests]
    try:
        blobs = store.read_list(names)
    except HangarError as error:
        if len(names) == 1:
            yield Damage(names[0], "" if words is None else _file_of(store, words), str(error))
            return
        for at in range(len(names)):
            yield from _verify_batch(store, digests[at : at + 1], None if words is None else words[at : at + 1])
        return
    for at, (name, (header, blob)) in enumerate(zip(names, blobs, strict=True)):
        if blob_digest(header, blob) != name:  # type: ignore[arg-type]
            file = "" if words is None else _file_of(store, words[at : at + 1])
            yield Damage(name, file, f"blob {name.hex()} does not have the content that its digest names")


def _file_of(store: BlobStore, words: Words) -> str:
    """The file that a location names."""
    file_id = int(Locations(words).file[0])
    try:
        return _below(store.files.get(file_id)[0].path, store)
    except HangarError:
        return f"blobs/{file_id:08x}"


def _below(path: Path, store: BlobStore) -> str:
    return path.relative_to(store.directory).as_posix()
