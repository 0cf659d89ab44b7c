"""Run file: an immutable, memory-mapped index of the locations of many blobs, sorted by digest (a sorted string table).

A run is a header of 64 bytes, the prefix column (8 bytes a blob) and the entries (64 bytes a blob), as ``index``
describes them. It is written and synced as a whole, and then registered in the database. Opening a run verifies only
its header, in constant time; ``verify`` checks the body. Without that, a damaged body still cannot give wrong data: a
damaged digest is not found, and a damaged location fails the checksum of the read.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from xxhash import xxh3_64

from hangar import _fs
from hangar.backends.mapping import map_file, release_pages, size_of
from hangar.blobs.index import ENTRY_BYTES, ENTRY_WORDS, Index
from hangar.digest import checksum
from hangar.errors import CorruptionError, HangarError, UnsupportedVersionError
from hangar.wording import plural

__all__ = ["Run", "merged_pieces", "open_run", "run_bytes", "write_run"]

_HEADER = struct.Struct("<8sIIQQQ16sQ")
_MAGIC = b"HANGARRN"
_VERSION = 0
_RUN_HEADER_BYTES: Final = _HEADER.size
_PIECE_BLOBS: Final = 2**18
"""Number of blobs that are merged in memory at a time."""


def run_bytes(count: int) -> int:
    """Size of the file of a run of ``count`` blobs."""
    return _RUN_HEADER_BYTES + (8 + ENTRY_BYTES) * count


def write_run(path: Path, run_id: int, indexes: Sequence[Index], select: Callable[[Index], Index] | None = None) -> int:
    """Merge ``indexes`` into one run, sync it, and return its number of blobs.

    If two indexes have the same digest, the earlier one in the sequence wins. Memory is bounded: large indexes are
    merged in pieces, in two passes, because the size of the columns must be known first.

    Parameters
    ----------
    select
        Returns the part of a merged piece that goes into the run, always the same; None: all of it.
    """
    total = sum(index.count for index in indexes)
    if total <= _PIECE_BLOBS:
        index = Index.merge(indexes)
        if select is not None:
            index = select(index)
        prefixes, entries = _columns(index)
        sums = checksum(prefixes, 0), checksum(entries, 0)
        _fs.write_new_file(path, [_header(run_id, index.count, *sums), prefixes, entries])
        return index.count
    if select is None:
        count = total - sum(map(_repeats, _pieces(indexes)))
    else:
        count = sum(select(piece).count for piece in merged_pieces(indexes))
    pieces = merged_pieces(indexes) if select is None else map(select, merged_pieces(indexes))
    descriptor = _fs.create_file(path)
    try:
        _write_columns(descriptor, path, run_id, count, pieces)
        _fs.sync_file(descriptor, path)
    except BaseException:
        with contextlib.suppress(HangarError):
            _fs.remove_file(path)
        raise
    finally:
        os.close(descriptor)
    _fs.sync_directory(path.parent)
    return count


def _write_columns(descriptor: int, path: Path, run_id: int, count: int, pieces: Iterable[Index]) -> None:
    ends = [_RUN_HEADER_BYTES, _RUN_HEADER_BYTES + 8 * count]
    hashers = [xxh3_64(seed=0), xxh3_64(seed=0)]
    for piece in pieces:
        for column, data in enumerate(_columns(piece)):
            hashers[column].update(data)
            ends[column] += _fs.write_at(descriptor, [data], ends[column], path)
    if ends[1] != run_bytes(count):
        raise CorruptionError(f"runs that are merged into {path} are not in order")
    _fs.write_at(descriptor, [_header(run_id, count, *(hasher.intdigest() for hasher in hashers))], 0, path)


def merged_pieces(indexes: Sequence[Index], blobs: int = 0) -> Iterator[Index]:
    """Merge ``indexes`` as :func:`write_run` does, about so many blobs at a time (0: some hundred thousand), in the order of digests."""
    filled = [index for index in indexes if index.count]
    return map(Index.merge, _pieces(filled, blobs)) if filled else iter(())


def _pieces(indexes: Sequence[Index], blobs: int = 0) -> Iterator[list[Index]]:
    """Split sorted indexes at common digests, into pieces of about so many blobs."""
    largest = max(indexes, key=lambda index: index.count)
    step = max(1, (blobs or _PIECE_BLOBS) * largest.count // sum(index.count for index in indexes))
    starts = [0] * len(indexes)
    for place in [*range(step, largest.count, step), None]:
        bound = None if place is None else largest.prefixes[place]
        stops = [index.count if bound is None else int(index.prefixes.searchsorted(bound)) for index in indexes]
        yield [index.part(start, stop) for index, start, stop in zip(indexes, starts, stops, strict=True)]
        starts = stops


def _repeats(piece: Sequence[Index]) -> int:
    """Number of entries of a piece that repeat a digest."""
    prefixes = np.concatenate([index.prefixes for index in piece])
    prefixes.sort()
    if not (prefixes[1:] == prefixes[:-1]).any():
        return 0
    return len(prefixes) - Index.merge(piece).count


def _columns(index: Index) -> tuple[memoryview, memoryview]:
    return np.ascontiguousarray(index.prefixes, "<u8").data, np.ascontiguousarray(index.entries, "<u8").data


def _header(run_id: int, count: int, prefix_sum: int, entry_sum: int) -> bytes:
    data = _HEADER.pack(_MAGIC, _VERSION, run_id, count, prefix_sum, entry_sum, bytes(16), 0)[:-8]
    return data + struct.pack("<Q", checksum(data, 0))


class _RunFile:
    """File of a run: its memory map, and a descriptor to check that the file is still as long as the map."""

    _descriptor = -1

    def __init__(self, path: Path, size: int, count: int) -> None:
        self._descriptor = _fs.open_file(path)
        self._path = path
        self._size = size
        found = size_of(self._descriptor)
        if found != size:
            raise CorruptionError(f"run {path} has {plural(found, 'byte')}; one of {plural(count, 'blob')} has {size}")
        try:
            self.map = map_file(self._descriptor, size)
        except OSError as error:
            _fs.raise_for(error, "map", path)

    def check(self) -> None:
        """Check that the file was not truncated: a read beyond its end raises SIGBUS."""
        if os.lseek(self._descriptor, 0, os.SEEK_END) < self._size:
            raise CorruptionError(f"run {self._path} was truncated: it had {plural(self._size, 'byte')}")

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Run:
    """A run file, open for searching.

    Attributes
    ----------
    index
        Its locations, in the memory map.

    Raises
    ------
    CorruptionError
        The file is not a run of this id and count, or its header is damaged.
    PathNotFoundError, StorageError
        The file does not exist, or cannot be read.
    """

    __slots__ = ("_file", "_sums", "count", "index", "path", "run_id")

    def __init__(self, path: Path, run_id: int, count: int) -> None:
        self.path = path
        self.run_id = run_id
        self.count = count
        file = _RunFile(path, run_bytes(count), count)
        mapped = file.map
        magic, version, found_id, found_count, *sums, _, check = _HEADER.unpack_from(mapped)
        if magic != _MAGIC or check != checksum(mapped[: _RUN_HEADER_BYTES - 8], 0):
            raise CorruptionError(f"the header of run {path} is damaged")
        if version != _VERSION:
            raise UnsupportedVersionError(f"run {path} has version {version}, which needs a newer Hangar")
        if (found_id, found_count) != (run_id, count):
            raise CorruptionError(f"run {path} has the header of another run")
        self._sums = tuple(sums)
        prefixes = np.frombuffer(mapped, "<u8", count, _RUN_HEADER_BYTES)
        entries = np.frombuffer(mapped, "<u8", count * ENTRY_WORDS, _RUN_HEADER_BYTES + 8 * count)
        self._file = file
        self.index = Index(prefixes, entries.reshape(count, ENTRY_WORDS), file.check)

    def release_pages(self) -> None:
        """Let go of the pages of the map that were read."""
        release_pages(self._file.map)

    def verify(self) -> None:
        """Check every byte of the file.

        Raises
        ------
        CorruptionError
            The file is damaged.
        """
        self._file.check()
        index = self.index
        if (checksum(index.prefixes.data, 0), checksum(index.entries.data, 0)) != self._sums:
            raise CorruptionError(f"run {self.path} is damaged: its checksums do not match")


def open_run(path: Path, run_id: int) -> Run:
    """A run of any number of blobs, which the size of the file tells. Raises the errors of :class:`Run`."""
    try:
        size = path.stat().st_size
    except OSError as error:
        _fs.raise_for(error, "look at", path)
    return Run(path, run_id, max(0, size - _RUN_HEADER_BYTES) // (8 + ENTRY_BYTES))
