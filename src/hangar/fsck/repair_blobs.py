"""Repair of blobs from good copies elsewhere in the repository, and of damaged runs.

A copy may be at another location: in an older run, in the table, or in a run or blob file that the database does not
know; or in another repository. A copy is verified by its digest and stored again. In files of raw bytes a flipped bit is corrected too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from hangar import _fs
from hangar.backends.location import CHECK, FILE_MASK, FILE_ROW, HEADER, LENGTH_MASK, OFFSET, STORED, Locations, Words
from hangar.backends.registry import get_backend, stored_backend
from hangar.blobs.catalog import blob_file_path, remove_run, scan_blob_files, scan_runs
from hangar.blobs.index import Digests, Index, Sought, sort_digests
from hangar.blobs.location_update import LocationUpdate
from hangar.blobs.run import open_run
from hangar.blobs.store import BlobStore
from hangar.blobs.verify import intact_at
from hangar.blobs.writer import BlobWriter
from hangar.db import WriteTransaction
from hangar.digest import NDARRAY, STR, Digest, Header, blob_digest, checksum, digest_array, digest_list
from hangar.errors import HangarError
from hangar.fsck.context import RepairContext
from hangar.fsck.repair_files import every_index
from hangar.fsck.report import Repair
from hangar.publishing import publish
from hangar.rollback import BLOB_DIRECTORY, RUN_DIRECTORY, file_id_of
from hangar.wording import plural

__all__ = ["repair_blobs", "repair_runs"]

_TOGETHER: Final = 1_024
"""Blobs that are searched and stored together."""
_PIECE: Final = 2**16


def repair_runs(context: RepairContext) -> Iterator[Repair]:
    """Replace damaged runs by new ones with their valid locations. A run that cannot be opened stays."""
    store = context.stores.blobs
    for problem in context.found.problems:
        if problem.kind != "file" or not problem.file.startswith(f"{RUN_DIRECTORY}/"):
            continue
        path = store.directory / problem.file
        run_id = file_id_of(path.name)
        store.refresh()
        with store.db.read() as transaction:
            registered = {found for found, _ in scan_runs(transaction)}
        try:
            run = None if run_id not in registered or run_id is None else open_run(path, run_id)
        except HangarError:
            continue
        if run is None or run_id is None:
            continue
        change = _Salvage(store, run_id, run.index)
        publish(store.db, context.lock, change)
        kept = context.lost.move(path)
        detail = f"rebuilt {problem.file} with its {plural(change.count, 'valid location')}"
        yield Repair("file", detail, kept)


class _Salvage:
    """Replace a damaged run by a new one with the locations at which intact blobs are."""

    def __init__(self, store: BlobStore, run_id: int, index: Index) -> None:
        self._store = store
        self._run_id = run_id
        self._index = index
        self.count = 0

    def prepare(self) -> None:
        """Read the blobs of the run, and write the new one."""
        store = self._store
        good_digests, good_words = [], []
        for start in range(0, self._index.count, _PIECE):
            part = self._index.part(start, start + _PIECE)
            digests, words = part.digests(), part.locations().words
            intact = intact_at(store, digests, words)
            good_digests.append(digests[intact])
            good_words.append(words[intact])
        digests = np.concatenate([np.empty((0, 32), np.uint8), *good_digests])
        words = np.concatenate([np.empty((0, 5), np.uint64), *good_words])
        order, sought, skipped = sort_digests(np.ascontiguousarray(digests))
        words = words[order]
        # A location of the same blob in another run takes precedence.
        found = store.locator.locate_published(sought)
        left = np.flatnonzero(~skipped & (~found.stored | (found.words == words).all(axis=1)))
        self.count = len(left)
        index = Index.build(sought.take(left), Locations(words[left]))
        self._update = LocationUpdate.prepare(store.db, store.directory, store.locator, index, {}, as_run=True)

    def record(self, transaction: WriteTransaction) -> None:
        """Register the new run and forget the damaged one."""
        self._update.record(transaction)
        remove_run(transaction, self._run_id)

    def committed(self) -> None:
        """Forget the old run."""
        self._store.refresh()

    def rollback(self) -> None:
        """Read the registered runs again."""
        self._store.refresh()


def repair_blobs(context: RepairContext) -> Iterator[Repair]:
    """Store damaged or lost blobs again if an intact copy is found, or one flipped bit can be corrected."""
    lost = digest_array(sorted(context.digests("blob")))
    if not len(lost):
        return
    store = context.stores.blobs
    store.refresh()
    copied, corrected, fetched = 0, 0, 0
    writer = BlobWriter(store, context.lock, own_files=True, keep_orphans=True)
    try:
        with _unrecorded_files(store):
            indexes = list(every_index(store))
            for start in range(0, len(lost), _TOGETHER):
                part = np.ascontiguousarray(lost[start : start + _TOGETHER])
                found = _copies(store, indexes, part)
                copied += len(found)
                for name in digest_list(part):
                    right = None if name in found else _with_bit_corrected(context, indexes, name)
                    if right is not None:
                        found[name] = right
                        corrected += 1
                other = _of_source(context, indexes, [name for name in digest_list(part) if name not in found])
                fetched += len(other)
                found.update(other)
                for digest, (tag, header, blob) in found.items():
                    options = get_backend(tag).check_options({})
                    writer.add_list(tag, [header], [blob], [digest], options, again=True)
                if found:
                    publish(store.db, context.lock, writer)
    finally:
        writer.close()
    store.refresh()
    if copied:
        yield Repair("blob", f"stored {plural(copied, 'blob')} again, from good copies elsewhere in the repository")
    if fetched and context.source is not None:
        yield Repair("blob", f"stored {plural(fetched, 'blob')} again, from {context.source.name}")
    if corrected:
        yield Repair("blob", f"corrected a flipped bit in {plural(corrected, 'blob')}, and stored them again")


_Found = tuple[str, Header, bytes]


def _of_source(context: RepairContext, indexes: list[Index], wanted: list[Digest]) -> dict[bytes, _Found]:
    """Blobs that another repository has, verified by their digests: backend tag, header and bytes."""
    found: dict[bytes, _Found] = {}
    if context.source is None or not wanted:
        return found
    left = set(wanted)
    for header, blob in context.source.blobs(wanted):
        digest = Digest(blob_digest(header, blob))
        if digest in left:
            left.discard(digest)
            found[digest] = (_tag_for(context.stores.blobs, indexes, digest, header), header, blob)
    return found


def _tag_for(store: BlobStore, indexes: list[Index], digest: Digest, header: Header) -> str:
    """Backend tag for a blob: the one that it had, else that of raw bytes."""
    sought = Sought.of(digest_array([digest]))
    for index in indexes:
        hits, rows = index.search(sought)
        if hits[0]:
            with contextlib.suppress(HangarError):
                return _tag(store, index.take(rows, sought)[0])
    return {NDARRAY: "10", STR: "30"}.get(header.kind, "31")


def _copies(store: BlobStore, indexes: list[Index], digests: Digests) -> dict[bytes, _Found]:
    """Intact copies at the locations of all indexes, by digest: backend tag, header and bytes."""
    found: dict[bytes, _Found] = {}
    sought = Sought.of(digests)
    for index in indexes:
        hits, rows = index.search(sought)
        places = np.flatnonzero(hits)
        places = places[[digests[at].tobytes() not in found for at in places.tolist()]] if len(places) else places
        if not len(places):
            continue
        words = index.take(rows[places], sought.take(places))
        names = np.ascontiguousarray(digests[places])
        for at in np.flatnonzero(intact_at(store, names, words)).tolist():
            header, blob = store.read_list_at(words[at : at + 1], digests=names[at : at + 1])[0]
            found[names[at].tobytes()] = (_tag(store, words[at]), header, bytes(blob))
    return found


def _tag(store: BlobStore, words: Words) -> str:
    """Backend tag to store a blob with: the one that it had."""
    return store.files.tag(int(words[FILE_ROW] & FILE_MASK))


def _with_bit_corrected(context: RepairContext, indexes: list[Index], digest: bytes) -> _Found | None:
    """The blob with one flipped bit of its raw bytes corrected; None if that is not possible."""
    store = context.stores.blobs
    sought = Sought.of(digest_array([digest]))
    for index in indexes:
        hits, rows = index.search(sought)
        if not hits[0]:
            continue
        words = index.take(rows, sought)[0]
        length = int(words[STORED]) & LENGTH_MASK
        file_id = int(words[FILE_ROW] & FILE_MASK)
        try:
            header, tag = store.header(int(words[HEADER])), store.files.tag(file_id)
            if not stored_backend(tag).capabilities.raw:
                continue
            with blob_file_path(store.directory, file_id, tag).open("rb") as file:
                file.seek(int(words[OFFSET]))
                data = file.read(length)
        except (HangarError, OSError):
            continue
        seed, check = header.id, int(words[CHECK])
        right = context.bit_flips.correct(data, lambda buffer: checksum(buffer, seed) == check)  # noqa: B023
        if right is not None and blob_digest(header, right) == digest:
            return tag, header, right
    return None


@contextlib.contextmanager
def _unrecorded_files(store: BlobStore) -> Iterator[None]:
    """Let the store read blob files that the database does not know."""
    with store.db.read() as transaction:
        recorded = {file_id for file_id, _ in scan_blob_files(transaction)}
    unknown: dict[int, str] = {}
    for name in _fs.list_directory(store.directory / BLOB_DIRECTORY):
        file_id = file_id_of(name)
        if file_id is not None and file_id not in recorded:
            unknown[file_id] = name.partition(".")[2]
    added = {file_id: tag for file_id, tag in unknown.items() if file_id not in store.files.written}
    store.files.written.update(added)
    try:
        yield
    finally:
        for file_id in added:
            store.files.written.pop(file_id, None)
            store.files.forget(file_id)
