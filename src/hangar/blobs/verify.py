"""Verifies all stored data: blob files, runs, and every blob against its digest.

Nothing is changed, and damage does not stop the check: each problem is reported with its digest, if it has one, and its
file. Blobs are read in the order of their offsets on disk, a few megabytes at a time, large ones in pieces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3
from xxhash import xxh3_64

from hangar import _fs
from hangar.backends.file import BlobFile
from hangar.backends.location import (
    CHECK,
    FILE_BITS,
    FILE_MASK,
    FILE_ROW,
    HEADER,
    LENGTH_MASK,
    LOCATION_WORDS,
    OFFSET,
    STORED,
    Location,
    Locations,
    Words,
)
from hangar.backends.registry import stored_backend
from hangar.blobs.catalog import (
    BLOB_DIRECTORY,
    RUN_DIRECTORY,
    blob_file_path,
    get_blob_file,
    removed_blob_files,
    run_path,
    scan_blob_files,
    scan_runs,
)
from hangar.blobs.index import Digests, Mask, Positions, Sought
from hangar.blobs.intact import logical_sizes
from hangar.blobs.recorded import scan_recorded
from hangar.blobs.run import Run
from hangar.blobs.store import BlobStore
from hangar.blobs.unfinished import unfinished_pushes
from hangar.digest import blob_digest
from hangar.errors import NOT_DAMAGE, CorruptionError, HangarError, MissingPackageError
from hangar.progress import Progress, Reporter, report
from hangar.wording import plural

__all__ = ["Damage", "intact_at", "surplus", "verify_blobs", "verify_files"]

Reason = str | MissingPackageError
"""Problem of a blob, or the package that is needed to check it."""
_CHUNK_BLOBS: Final = 65_536
_CHUNK_BYTES: Final = 16 * 2**20
_OTHER_CONTENT: Final = "its content is not what the digest names"


class Damage(msgspec.Struct, frozen=True):
    """A problem that was found.

    Attributes
    ----------
    digest
        Digest of the blob; None for a problem of a whole file.
    file
        Path of the file, relative to ``.hangar``; empty if not known.
    detail
        Description of the problem.
    unchecked
        Not damage: the check needs a package that is not installed.
    """

    digest: bytes | None
    file: str
    detail: str
    unchecked: bool = False


def missing_backends(store: BlobStore) -> dict[str, str]:
    """Tags of needed backends that are not installed, with a message for each."""
    with store.db.read() as transaction:
        tags = {row.tag for _, row in scan_blob_files(transaction)}
    found: dict[str, str] = {}
    for tag in sorted(tags):
        try:
            stored_backend(tag)
        except MissingPackageError as error:
            found[tag] = str(error)
    return found


def verify_files(store: BlobStore) -> Iterator[Damage]:
    """Check that each recorded file exists, has the right header and is long enough; verify every byte of the runs."""
    with store.db.read() as transaction:
        runs = scan_runs(transaction)
        files = scan_blob_files(transaction)
    for run_id, run_row in runs:
        path = run_path(store.directory, run_id)
        try:
            Run(path, run_id, run_row.count).verify()
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            if run_id in _now(store)[0]:
                yield Damage(None, _below(path, store), str(error))
    for file_id, row in files:
        path = store.directory
        try:
            path = blob_file_path(store.directory, file_id, row.tag)
        except HangarError as error:
            yield Damage(None, _below(path, store), str(error))
            continue
        try:
            BlobFile(path, file_id, row.tag).need(row.end)
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            if file_id in _now(store)[1] and not _is_enough(store, path, file_id, row.tag):
                yield Damage(None, _below(path, store), str(error))


def surplus(store: BlobStore) -> Iterator[Damage]:
    """Bytes on disk that the database does not know. They are not damage.

    An unfinished batch leaves such bytes, and a batch in progress has them. So does a database that was replaced by an
    older copy, which :func:`hangar.rollback.find_rollback` recognises.
    """
    with store.db.read() as transaction:
        runs = {run_path(store.directory, run_id).name for run_id, _ in scan_runs(transaction)}
        files = scan_blob_files(transaction)
        known = {blob_file_path(store.directory, file_id, row.tag).name: row.end for file_id, row in files}
        going = {blob_file_path(store.directory, *one).name for one in removed_blob_files(transaction)}
    pushed = {path.name: push for push in unfinished_pushes(store.directory) for path in push.blob_files}
    for path in _files_in(store.directory / BLOB_DIRECTORY):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # removed since it was listed
        end = known.get(path.name)
        if end is None and path.name not in going:
            detail = f"the database does not know this file of {plural(size, 'byte')}"
            if path.name in pushed:
                detail = f"an unfinished push brought this file of {plural(size, 'byte')}; it may be continued"
            yield Damage(None, _below(path, store), detail)
        elif end is not None and size > end:
            detail = f"it has {plural(size, 'byte')}, and the database knows of {end:,}"
            yield Damage(None, _below(path, store), detail)
    for path in _files_in(store.directory / RUN_DIRECTORY):
        if path.name not in runs:
            yield Damage(None, _below(path, store), "the database does not know this run")


def _files_in(directory: Path) -> list[Path]:
    return [directory / name for name in _fs.list_directory(directory)]


def _is_enough(store: BlobStore, path: Path, file_id: int, tag: str) -> bool:
    """Whether a lost or damaged file still has all needed bytes, because the lost blobs were stored again elsewhere."""
    try:
        needed = _needed_bytes(store, file_id)
        if needed:
            BlobFile(path, file_id, tag).need(needed)
    except HangarError:
        return False
    return True


def _now(store: BlobStore) -> tuple[set[int], set[int]]:
    """Ids of the runs and blob files that are recorded now. A file that is no longer recorded was moved, not damaged."""
    with store.db.read() as transaction:
        return {run_id for run_id, _ in scan_runs(transaction)}, {
            file_id for file_id, _ in scan_blob_files(transaction)
        }


def _needed_bytes(store: BlobStore, file_id: int) -> int:
    """Number of bytes of a file that are still needed: the end of its last blob that was not stored again elsewhere."""
    store.refresh()
    needed = 0
    for index in scan_recorded(store).indexes:
        digests = index.digests()[index.locations().file == file_id]
        if len(digests):
            found = Locations(store.locator.locate(Sought.of(digests)).words)
            here = found.take(found.file == file_id)
            needed = max(needed, int((here.offset + here.length).max(initial=0)))
    return needed


def verify_blobs(store: BlobStore, progress: Progress = None) -> Iterator[Damage]:
    """Read every blob that has a location and compare its content with its digest."""
    store.refresh()
    try:
        indexes = scan_recorded(store).indexes
    except NOT_DAMAGE:
        raise
    except HangarError as error:
        yield Damage(None, "db/data.mdb", str(error))
        indexes = [run.index for run in store.locator.runs()]
    with report(progress, sum(index.count for index in indexes), "blobs", "checking") as reporter:
        for index in indexes:
            for start in range(0, index.count, _CHUNK_BLOBS):
                try:
                    digests = index.part(start, start + _CHUNK_BLOBS).digests()
                except CorruptionError as error:
                    yield Damage(None, "", str(error))  # the run was truncated since it was opened
                    break
                yield from _verify(store, digests, reporter)


def intact_at(store: BlobStore, digests: Digests, places: Words) -> Mask:
    """Mask of the blobs whose content at given locations is what their digests name; there is no second look-up.

    Parameters
    ----------
    digests
        uint8, shape (n, 32).
    places
        Their locations: uint64, shape (n, 5).
    """
    intact = np.ones(len(digests), np.bool_)
    sizes = _sizes(store, places)
    order = np.lexsort((places[:, OFFSET], places[:, FILE_ROW] & FILE_MASK))
    for at in order[sizes[order] >= _CHUNK_BYTES].tolist():
        intact[at] = _problem_of_large(store, digests[at].tobytes(), places[at]) is None
    order = order[sizes[order] < _CHUNK_BYTES]
    chunk_of = (np.cumsum(sizes[order]) // _CHUNK_BYTES).astype(np.int64)
    for part in np.split(order, np.flatnonzero(np.diff(chunk_of)) + 1) if len(order) else ():
        for at, _ in _failing(store, digests, places, part):
            intact[at] = False
    return intact


def _verify(store: BlobStore, digests: Digests, reporter: Reporter) -> Iterator[Damage]:
    """Check some thousand blobs, in the order of their offsets on disk."""
    places = _locate(store, digests)
    order = np.lexsort((places[:, OFFSET], places[:, FILE_ROW] & FILE_MASK))
    sizes = _sizes(store, places)
    large = sizes >= _CHUNK_BYTES
    suspects: list[int] = []
    for at in order[large[order]].tolist():
        if _problem_of_large(store, digests[at].tobytes(), places[at]) is not None:
            suspects.append(at)
        reporter.advance()
    order = order[~large[order]]
    chunk_of = (np.cumsum(sizes[order]) // _CHUNK_BYTES).astype(np.int64)
    for part in np.split(order, np.flatnonzero(np.diff(chunk_of)) + 1) if len(order) else ():
        suspects += [at for at, _ in _failing(store, digests, places, part)]
        reporter.advance(len(part))
    if suspects:
        # Blobs may have been moved during the check: only those that fail again after a new look-up are damaged.
        store.refresh()
        places = _locate(store, digests)
        for at, reason in _still_failing(store, digests, places, suspects):
            if isinstance(reason, MissingPackageError):
                yield Damage(None, "", str(reason), unchecked=True)
                continue
            digest = digests[at].tobytes()
            file = _file_of(store, int(places[at, FILE_ROW] & FILE_MASK))
            yield Damage(digest, file, f"blob {digest.hex()}: {reason}")


def _sizes(store: BlobStore, places: Words) -> npt.NDArray[np.float64]:
    """Size of each blob in memory; the stored size if a header cannot be read."""
    try:
        return logical_sizes(store, places).astype(np.float64)
    except NOT_DAMAGE:
        raise
    except HangarError:
        stored: npt.NDArray[np.float64] = (places[:, STORED] & np.uint64(LENGTH_MASK)).astype(np.float64)
        return stored


def _problem_of_large(store: BlobStore, digest: bytes, words: Words) -> Reason | None:
    """Check a large blob piece by piece; return the problem, or None."""
    location: Location = tuple(words.tolist())
    header_id = location[HEADER]
    try:
        header = store.header(header_id)
        file, backend = store.files.get(location[FILE_ROW] & FILE_BITS)
        digester, checker = blake3(key=header.key), xxh3_64(seed=header_id)
        for piece in backend.read_pieces(file, location, header):
            digester.update(piece)  # type: ignore[arg-type]
            checker.update(piece)  # type: ignore[arg-type]
    except NOT_DAMAGE:
        raise
    except HangarError as error:
        return error if isinstance(error, MissingPackageError) else str(error)
    if checker.intdigest() != location[CHECK]:
        return f"its checksum does not match in {file.path}"
    return None if digester.digest() == digest else _OTHER_CONTENT


def _still_failing(
    store: BlobStore, digests: Digests, places: Words, suspects: list[int]
) -> Iterator[tuple[int, Reason]]:
    """Yield the suspects that fail again, with the problem."""
    large = _sizes(store, places)[suspects] >= _CHUNK_BYTES
    for at, is_large in zip(suspects, large.tolist(), strict=True):
        if is_large:
            reason = _problem_of_large(store, digests[at].tobytes(), places[at])
            if reason is not None:
                yield at, reason
    small = np.array(suspects)[~large]
    if len(small):
        yield from _failing(store, digests, places, small)


def _locate(store: BlobStore, digests: Digests) -> Words:
    """Locations of blobs; zeros for a blob without one, or with a damaged row."""
    try:
        return store.locate(digests).words
    except NOT_DAMAGE:
        raise
    except HangarError:
        words = np.zeros((len(digests), LOCATION_WORDS), np.uint64)
        for at in range(len(digests)):
            with contextlib.suppress(CorruptionError):
                words[at] = store.locate(digests[at : at + 1]).words[0]
        return words


def _failing(store: BlobStore, digests: Digests, places: Words, part: Positions) -> Iterator[tuple[int, Reason]]:
    """Yield the blobs of a part that cannot be read or do not match their digests; found by bisection."""
    try:
        blobs = store.read_list_at(places[part], digests=digests[part])
    except NOT_DAMAGE:
        raise
    except HangarError as error:
        if len(part) == 1:
            yield int(part[0]), error if isinstance(error, MissingPackageError) else str(error)
        else:
            yield from _failing(store, digests, places, part[: len(part) // 2])
            yield from _failing(store, digests, places, part[len(part) // 2 :])
        return
    for at, (header, blob) in zip(part.tolist(), blobs, strict=True):
        if blob_digest(header, blob) != digests[at].tobytes():  # type: ignore[arg-type]
            yield at, _OTHER_CONTENT


def _file_of(store: BlobStore, file_id: int) -> str:
    """Path of a blob file relative to ``.hangar``; empty if not known."""
    try:
        with store.db.read() as transaction:
            row = get_blob_file(transaction, file_id)
        return "" if row is None else _below(blob_file_path(store.directory, file_id, row.tag), store)
    except NOT_DAMAGE:
        raise
    except HangarError:
        return ""


def _below(path: Path, store: BlobStore) -> str:
    return path.relative_to(store.directory).as_posix()
