"""Verifies that stored blobs are intact, before a writer treats a new value as a duplicate.

A location alone does not prove that a blob is stored: its file may have been deleted, truncated or damaged. So the file
must exist and be long enough, and the checksum of the bytes must match. Unencoded blobs are verified without a copy;
encoded blobs are decoded in bounded memory. ``benchmarks/duplicates.py`` measures what this costs.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64, xxh3_64_intdigest

from hangar.backends.base import Backend
from hangar.backends.file import BlobFile
from hangar.backends.location import Locations, Words
from hangar.backends.mapping import size_of
from hangar.backends.raw import LARGE_BYTES, read_large
from hangar.blobs.index import Mask, Positions
from hangar.blobs.store import BlobStore
from hangar.digest import NDARRAY, Header, checksum, checksums
from hangar.errors import (
    AccessError,
    CorruptionError,
    HangarError,
    MissingPackageError,
    RepairedWarning,
    ResourceLimitError,
    UnsupportedVersionError,
    warn_caller,
)
from hangar.schema.dtypes import itemsize_of
from hangar.wording import plural

__all__ = ["Check", "check_intact", "logical_size", "logical_sizes", "warn_of_repair"]

_DECODED_BYTES: Final = 8 * 2**20
"""Maximum of logical bytes that are decoded at a time."""
_NOT_LOST: Final = (AccessError, MissingPackageError, UnsupportedVersionError)
"""Errors of a blob that cannot be read here and now, and may be intact."""


class Check:
    """Result of a check.

    Attributes
    ----------
    intact
        Mask of the intact blobs, bool, shape (n,).
    unread
        Mask of the blobs that could not be read for a reason that is not damage: no permission, or a package that is
        not installed.
    reasons
        Problems of the others, a sentence for each file.
    """

    __slots__ = ("intact", "reasons", "unread")

    def __init__(self, count: int) -> None:
        self.intact: Final[Mask] = np.zeros(count, np.bool_)
        self.unread: Final[Mask] = np.zeros(count, np.bool_)
        self.reasons: Final[list[str]] = []


def check_intact(store: BlobStore, words: Words) -> Check:
    """Read blobs at their locations and verify their checksums.

    Parameters
    ----------
    words
        Locations as uint64 records, shape (n, 5).

    Raises
    ------
    ResourceLimitError
        Out of descriptors or memory. The blobs may be intact.
    """
    locations = Locations(words)
    check = Check(len(words))
    order = np.lexsort((locations.offset, locations.file))
    files = locations.file[order]
    for part in np.split(order, np.flatnonzero(files[1:] != files[:-1]) + 1):
        file_id = int(locations.file[part[0]])
        try:
            file, backend = _open(store, file_id)
            verify = _verify_raw if backend.capabilities.raw else _verify_encoded
            check.intact[part] = verify(store, file, backend, locations.take(part))
        except ResourceLimitError:
            raise
        except _NOT_LOST:
            check.unread[part] = True
        except HangarError as error:
            check.reasons.append(str(error))
        else:
            damaged = len(part) - int(check.intact[part].sum())
            if damaged:
                check.reasons.append(f"{plural(damaged, 'damaged blob')} in {file.path}")
    return check


def logical_sizes(store: BlobStore, words: Words) -> npt.NDArray[np.int64]:
    """Logical sizes of blobs. For text and bytes the stored size, which may be smaller."""
    locations = Locations(words)
    header_ids, which = np.unique(locations.header, return_inverse=True)
    known = np.array([logical_size(store.header(header_id)) for header_id in header_ids.tolist()], np.int64)[which]
    return np.where(known < 0, locations.length.astype(np.int64), known)


def logical_size(header: Header) -> int:
    """Logical size of a blob; -1 if its header does not tell (text and bytes)."""
    return prod(header.shape) * itemsize_of(header.dtype) if header.kind == NDARRAY else -1


def _open(store: BlobStore, file_id: int) -> tuple[BlobFile, Backend]:
    """Open the file that the path names now. A file that was opened earlier may have been removed or replaced."""
    file, backend = store.files.get(file_id)
    if not file.is_current():
        store.files.forget(file_id)
        file, backend = store.files.get(file_id)
    return file, backend


def _verify_raw(store: BlobStore, file: BlobFile, backend: Backend, locations: Locations) -> Mask:
    """Verify the checksums of unencoded blobs in the map, without a copy."""
    size = np.uint64(size_of(file.descriptor))
    inside: Mask = (locations.codec == 0) & (locations.offset <= size)
    # Lengths have 56 bits, so that the sum of one and an offset within the file cannot wrap around.
    inside[inside] = (locations.offset + locations.length)[inside] <= size
    view = file.need(int(size)).bytes.data
    starts, stops = locations.offset.tolist(), (locations.offset + locations.length).tolist()
    header_ids, checks = locations.header.tolist(), locations.check.tolist()
    for at in np.flatnonzero(inside).tolist():
        start, stop, header_id = starts[at], stops[at], header_ids[at]
        if stop - start < LARGE_BYTES:
            found = xxh3_64_intdigest(view[start:stop], header_id)
        else:
            found = _checksum_of_large(file, start, stop, header_id)
        inside[at] = found == checks[at]
    return inside


def _checksum_of_large(file: BlobFile, start: int, stop: int, header_id: int) -> int:
    """Checksum of a large blob, read in pieces: touched pages of a map would count as memory of the process."""
    hasher = xxh3_64(seed=header_id)
    buffer = np.empty(LARGE_BYTES, np.uint8)
    for at in range(start, stop, LARGE_BYTES):
        piece = buffer[: stop - at]
        read_large(file, at, piece)
        hasher.update(piece.data)
    return hasher.intdigest()


def _verify_encoded(store: BlobStore, file: BlobFile, backend: Backend, locations: Locations) -> Mask:
    """Verify encoded blobs by the backend's checksums of stored bytes. Without such, decode a few megabytes at a time."""
    if not store.locator.damage():
        found = backend.verify(file, locations)
        if found is not None:
            return found
    intact = np.zeros(len(locations), np.bool_)
    piece_of = np.cumsum(logical_sizes(store, locations.words)) // _DECODED_BYTES
    for piece in np.split(np.arange(len(locations)), np.flatnonzero(np.diff(piece_of)) + 1):
        _verify_piece(store, file, backend, locations, piece, intact)
    return intact


def _verify_piece(
    store: BlobStore, file: BlobFile, backend: Backend, locations: Locations, piece: Positions, intact: Mask
) -> None:
    """Mark the intact blobs of a piece. One damaged blob fails a whole call, so damaged ones are found by bisection."""
    taken = locations.take(piece)
    header_ids = np.unique(taken.header)
    try:
        header = store.header(int(header_ids[0]))
        if len(header_ids) == 1 and header.kind == NDARRAY:
            rows = np.empty((len(piece), logical_size(header)), np.uint8)
            backend.read_rows(file, taken, header, rows)
            sums = checksums(rows, header.id)
        else:
            headers = [store.header(header_id) for header_id in taken.header.tolist()]
            blobs = backend.read_list(file, taken, headers)
            sums = np.array(
                [checksum(blob, one.id) for blob, one in zip(blobs, headers, strict=True)],  # type: ignore[arg-type]
                np.uint64,
            )
    except CorruptionError:
        if len(piece) > 1:
            half = len(piece) // 2
            _verify_piece(store, file, backend, locations, piece[:half], intact)
            _verify_piece(store, file, backend, locations, piece[half:], intact)
        return
    intact[piece] = sums == taken.check


def warn_of_repair(count: int, reasons: list[str]) -> None:
    """Warn the caller of Hangar that the written values replace lost ones."""
    message = f"{plural(count, 'value')} stored before cannot be read any more ({'; '.join(reasons)}): stored again"
    warn_caller(f"{message}. Run `hangar fsck --data` to see what else is affected", RepairedWarning)
