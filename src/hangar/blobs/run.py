"""Run files: the locations of one large batch of blobs, immutable, sorted by digest, mapped into memory.

A run is a header of 64 bytes, the prefix column (8 bytes a blob) and the entries (64 bytes a blob), as ``index`` describes them. It is
written once, whole and durably, and only then named by the database. Opening one costs the same whatever its size: the header is
checked then, the body when ``verify`` is asked to. Until it is, a damaged body cannot give wrong data: a digest that does
not match is not found, and a location that does not belong to its digest fails the checksum of the read.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Final

import numpy as np

from hangar import _fs
from hangar.blobs.index import ENTRY_BYTES, ENTRY_WORDS, Index
from hangar.digest import checksum
from hangar.errors import CorruptionError, UnsupportedVersionError

__all__ = ["Run", "run_bytes", "write_run"]

_HEADER = struct.Struct("<8sIIQQQ16sQ")
_MAGIC = b"HANGARRN"
_VERSION = 0
_RUN_HEADER_BYTES: Final = _HEADER.size


def run_bytes(count: int) -> int:
    """Size of the file of a run of ``count`` blobs."""
    return _RUN_HEADER_BYTES + (8 + ENTRY_BYTES) * count


def write_run(path: Path, run_id: int, index: Index) -> None:
    """Write ``index`` as a run file, durably."""
    prefixes = np.ascontiguousarray(index.prefixes, "<u8")
    entries = np.ascontiguousarray(index.entries, "<u8")
    sums = checksum(prefixes.data, 0), checksum(entries.data, 0)
    head = _HEADER.pack(_MAGIC, _VERSION, run_id, index.count, *sums, bytes(16), 0)[:-8]
    _fs.write_new_file(path, [head, struct.pack("<Q", checksum(head, 0)), prefixes.data, entries.data])


class Run:
    """A run file, open for searching.

    Attributes
    ----------
    index
        What it holds, mapped.

    Raises
    ------
    CorruptionError
        The file is no run of this id and count, or its header is damaged.
    PathNotFoundError, StorageError
        It is not there, or cannot be read.
    """

    __slots__ = ("_sums", "count", "index", "path", "run_id")

    def __init__(self, path: Path, run_id: int, count: int) -> None:
        self.path = path
        self.run_id = run_id
        self.count = count
        mapped = self._map(run_bytes(count))
        magic, version, found_id, found_count, *sums, _, check = _HEADER.unpack_from(mapped)
        if magic != _MAGIC or check != checksum(mapped[: _RUN_HEADER_BYTES - 8], 0):
            raise CorruptionError(f"run {path} does not begin with an undamaged header")
        if version != _VERSION:
            raise UnsupportedVersionError(f"run {path} has version {version}, which needs a newer Hangar")
        if (found_id, found_count) != (run_id, count):
            raise CorruptionError(f"run {path} has the header of another run")
        self._sums = tuple(sums)
        prefixes = np.frombuffer(mapped, "<u8", count, _RUN_HEADER_BYTES)
        entries = np.frombuffer(mapped, "<u8", count * ENTRY_WORDS, _RUN_HEADER_BYTES + 8 * count)
        self.index = Index(prefixes, entries.reshape(count, ENTRY_WORDS))

    def _map(self, size: int) -> mmap.mmap:
        descriptor = _fs.open_file(self.path)
        try:
            found = os.fstat(descriptor).st_size
            if found != size:
                raise CorruptionError(f"run {self.path} has {found} bytes; one of {self.count} blobs has {size}")
            return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        except OSError as error:
            _fs.raise_for(error, "map", self.path)
        finally:
            os.close(descriptor)

    def verify(self) -> None:
        """Check every byte of the file.

        Raises
        ------
        CorruptionError
            Something in it changed since it was written.
        """
        index = self.index
        if (checksum(index.prefixes.data, 0), checksum(index.entries.data, 0)) != self._sums:
            raise CorruptionError(f"run {self.path} is damaged: its checksums do not match")
