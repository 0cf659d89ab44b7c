"""Takes over the blobs that a dead process received: those of its journal that are whole.

Every blob is read again and compared with its digest, from the disk and not from the cache of the system: an error of
the disk that nobody saw, because the process died before its sync, would be in the cache only.
"""

from __future__ import annotations

import contextlib
import os

import numpy as np

from hangar import _fs
from hangar.backends.file import FILE_HEADER_BYTES
from hangar.backends.location import Locations, Words
from hangar.blobs.catalog import blob_file_path
from hangar.blobs.index import Digests, Index, sort_digests
from hangar.blobs.journal import Entries
from hangar.blobs.store import BlobStore
from hangar.blobs.verify import intact_at
from hangar.blobs.writer import BlobWriter
from hangar.errors import HangarError

__all__ = ["take_over"]

_AT_ONCE = 65_536


def take_over(store: BlobStore, writer: BlobWriter, entries: Entries) -> None:
    """Give a writer the blobs of a journal, to publish them. Blobs that are damaged, or published already, are left out."""
    taken = [file_id for file_id, end in _ends(entries).items() if _take_file(store, writer, entries, file_id, end)]
    writer.unpublished.headers.update((header.id, header) for header in entries.headers)
    known = np.array([header.id for header in entries.headers], np.uint64)
    files = np.array(taken, np.uint64)
    for digests, locations in reversed(entries.batches):  # a later location of a blob replaces an earlier one
        for start in range(0, len(digests), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            found = locations.words[part]
            good = np.isin(locations.take(part).file, files) & np.isin(locations.take(part).header, known)
            _add_intact(store, writer, digests[part][good], found[good])
    store.locator.update_indexes()


def _ends(entries: Entries) -> dict[int, int]:
    """Where the last blob of each file ends."""
    ends = dict.fromkeys(entries.files, FILE_HEADER_BYTES)
    for _, locations in entries.batches:
        last = locations.offset + locations.length
        for file_id in np.unique(locations.file).tolist():
            if file_id in ends:
                ends[file_id] = max(ends[file_id], int(last[locations.file == file_id].max()))
    return ends


def _take_file(store: BlobStore, writer: BlobWriter, entries: Entries, file_id: int, end: int) -> bool:
    tag = entries.files[file_id]
    path = blob_file_path(store.directory, file_id, tag)
    with contextlib.suppress(FileNotFoundError):
        # A file that lost its end in a power loss is taken up to where it ends now.
        end = min(end, path.stat().st_size)
    if not writer.take_over(file_id, tag, end):
        return False
    descriptor = _fs.open_file(path)
    try:
        _fs.sync_file(descriptor, path)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return True


def _add_intact(store: BlobStore, writer: BlobWriter, digests: Digests, words: Words) -> None:
    if not len(digests):
        return
    order, sought, repeats = sort_digests(np.ascontiguousarray(digests))
    keep = np.flatnonzero(~repeats & ~writer.unpublished.holds(sought) & ~store.locator.locate_published(sought).stored)
    sought, words = sought.take(keep), words[order[keep]]
    if not len(keep):
        return
    try:
        good = np.flatnonzero(intact_at(store, sought.words.view(np.uint8), words))
    except HangarError:
        return
    if len(good):
        writer.unpublished.add(Index.build(sought.take(good), Locations(words[good])))
