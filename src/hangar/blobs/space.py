"""Measures the blob files: how many bytes of each are still needed. Changes nothing.

A blob is *dead* if the caller says so, otherwise *live*; the newest location of a live blob counts. All other bytes of
a file are free space: dead blobs, old copies of moved blobs, and what killed writers left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hangar.backends.location import FILE_BITS, FILE_MASK, FILE_ROW, Locations, Words
from hangar.blobs.catalog import BlobFileRow, blob_file_path
from hangar.blobs.index import ENTRY_WORDS, Digests, Index, Mask
from hangar.blobs.recorded import Recorded, scan_recorded
from hangar.blobs.removal import locked_alone
from hangar.blobs.run import merged_pieces
from hangar.blobs.store import BlobStore
from hangar.errors import NOT_DAMAGE, CorruptionError, HangarError, MissingPackageError
from hangar.rollback import kept_files

__all__ = ["FileSpace", "IsDead", "SpaceUsage", "file_column", "live_blobs_in", "measure_space"]

IsDead = Callable[[Digests], Mask]
"""Which blobs of a batch are not needed any more: digests, uint8, shape (n, 32), to a mask."""

OPEN: Final = "a process has it open"
KEPT: Final = "it is kept because the database was replaced by an older copy"
SPARED: Final = "a process is writing without the writer lock"
_PIECE: Final = 2**18
_FILE_ROW_COLUMN: Final = ENTRY_WORDS - 5 + FILE_ROW


@dataclass(slots=True)
class FileSpace:
    """Use of one blob file.

    Attributes
    ----------
    file_id, row
        The file, and its row in the database.
    size
        Size on disk; 0 if it is lost.
    live
        Number of live blobs whose newest location it has.
    nbytes
        Bytes that these take in it.
    fixed
        Reason why it can be neither rewritten nor removed now; empty if it can.
    """

    file_id: int
    row: BlobFileRow
    size: int
    live: int = 0
    nbytes: float = 0.0
    fixed: str = ""

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.file_id:08x}.{self.row.tag}"

    @property
    def free(self) -> int:
        """Bytes that a copy of the live blobs would not need."""
        return max(0, self.size - round(self.nbytes)) if self.live else self.size


@dataclass(slots=True)
class SpaceUsage:
    """Result of :func:`measure_space`.

    Attributes
    ----------
    files
        Use of every recorded file, by id.
    live, dead
        Number of blobs that have a location.
    dead_nbytes
        Stored bytes of the dead ones.
    runs
        Number of registered runs.
    repeated
        Number of locations that a newer one of the same blob replaced.
    """

    files: dict[int, FileSpace] = field(default_factory=dict)
    live: int = 0
    dead: int = 0
    dead_nbytes: float = 0.0
    runs: int = 0
    repeated: int = 0


def measure_space(store: BlobStore, dead: IsDead, spared: Collection[int] = (), *, measure: bool = True) -> SpaceUsage:
    """Examine all recorded files.

    Parameters
    ----------
    dead
        Which blobs are not needed any more.
    spared
        Files that must stay as they are, with all their blobs.
    measure
        Whether to compute the bytes of live and dead blobs, which reads the heads of chunks.

    Raises
    ------
    CorruptionError
        A run is damaged, so that not all locations are known.
    """
    store.refresh()
    recorded = scan_recorded(store)
    require_sound(recorded)
    found = SpaceUsage(runs=len(recorded.runs))
    found.files = {
        file_id: FileSpace(file_id, row, _size(store, file_id, row)) for file_id, row in recorded.files.items()
    }
    distinct = 0
    for piece in merged_pieces(recorded.indexes):
        distinct += piece.count
        _count(store, found, piece, dead, spared, measure)
    found.repeated = sum(index.count for index in recorded.indexes) - distinct
    _find_fixed(store, found, spared)
    return found


def require_sound(recorded: Recorded) -> None:
    """Raise CorruptionError unless every location is known."""
    if recorded.damaged:
        raise CorruptionError(recorded.damaged[0])
    for run in recorded.runs:
        run.verify()


def _size(store: BlobStore, file_id: int, row: BlobFileRow) -> int:
    try:
        return blob_file_path(store.directory, file_id, row.tag).stat().st_size
    except FileNotFoundError:
        return 0


def _count(
    store: BlobStore, found: SpaceUsage, piece: Index, dead: IsDead, spared: Collection[int], measure: bool
) -> None:
    words = piece.locations().words
    files = (words[:, FILE_ROW] & FILE_MASK).astype(np.int64)
    gone = dead(piece.digests())
    if spared:
        gone &= ~np.isin(files, list(spared))
    found.dead += int(gone.sum())
    found.live += piece.count - int(gone.sum())
    for file_id in np.unique(files).tolist():
        use = found.files.get(file_id)
        if use is None:
            continue  # damage, which `hangar fsck` reports; the location goes nowhere
        here = np.flatnonzero(files == file_id)
        live = here[~gone[here]]
        use.live += len(live)
        if measure:
            shares = _shares(store, use, words[here])
            use.nbytes += float(shares[~gone[here]].sum())
            found.dead_nbytes += float(shares[gone[here]].sum())


def _shares(store: BlobStore, use: FileSpace, words: Words) -> Words:
    try:
        file, backend = store.files.get(use.file_id)
        return backend.shares(file, Locations(words))  # type: ignore[return-value]
    except MissingPackageError as error:
        use.fixed = str(error)
    except NOT_DAMAGE:
        raise
    except HangarError as error:
        use.fixed = f"it is damaged: {error}"
    return np.zeros(len(words))  # type: ignore[return-value]


def _find_fixed(store: BlobStore, found: SpaceUsage, spared: Collection[int]) -> None:
    # Our own shared locks would look like those of others.
    store.files.clear()
    with store.db.read() as transaction:
        kept = kept_files(transaction)
    for file_id, use in found.files.items():
        if file_id in spared:
            use.fixed = SPARED
        elif file_id <= kept:
            use.fixed = KEPT
        elif not use.fixed:
            # For a moment each, because a reader that opens the file meanwhile has to look again.
            with locked_alone(store.directory, {file_id: use.row.tag}) as locked:
                use.fixed = "" if file_id in locked else OPEN


def file_column(index: Index) -> Words:
    """File ids of the locations of an index."""
    files: Words = index.entries[:, _FILE_ROW_COLUMN] & FILE_MASK
    return files


def live_blobs_in(
    indexes: Sequence[Index], dead: IsDead, wanted: Collection[int]
) -> Iterator[tuple[int, Digests, Words]]:
    """Living blobs of some files: file id, digests and newest locations of each file, in pieces."""
    ids = np.array(sorted(wanted), np.uint64)
    for piece in merged_pieces(indexes):
        here = np.flatnonzero(np.isin(file_column(piece), ids))
        if not here.size:
            continue
        taken = Index(piece.prefixes[here], piece.entries[here])
        digests, words = taken.digests(), taken.locations().words
        live = ~dead(digests)
        digests, words = digests[live], words[live]
        files = words[:, FILE_ROW] & FILE_MASK
        for file_id in np.unique(files).tolist():
            part = np.flatnonzero(files == np.uint64(file_id))
            yield int(file_id) & FILE_BITS, digests[part], words[part]
