"""Indexes in files without a name: the locations of many unpublished blobs do not have to be in memory.

A server receives many pushes at the same time, and each blob of them takes 72 bytes in an index. The file is mapped, so
that its pages can be let go, and it ends with its map. Nobody else can open it, so it cannot become shorter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from hangar import _fs
from hangar.backends.location import Words
from hangar.backends.mapping import map_file, release_pages
from hangar.blobs.index import ENTRY_BYTES, ENTRY_WORDS, Index
from hangar.blobs.run import merged_pieces

__all__ = ["SpilledIndex", "spilled", "unnamed_file"]

_PIECE_BLOBS: Final = 2**16
"""Blobs that are merged in memory at a time."""


class SpilledIndex(Index):
    """An index in a file without a name."""

    __slots__ = ("_map",)

    def __init__(self, prefixes: Words, entries: Words, mapped: Any) -> None:
        super().__init__(prefixes, entries)
        self._map = mapped

    def release_pages(self) -> None:
        """Let go of the pages that were read."""
        release_pages(self._map)


def spilled(indexes: Sequence[Index], directory: Path) -> SpilledIndex:
    """Merge indexes of some blobs into one in a file. If two have the same digest, the earlier one in the sequence wins.

    Parameters
    ----------
    directory
        On the file system for the file.

    Raises
    ------
    DiskFullError, StorageError
        The file cannot be written.
    """
    most = sum(index.count for index in indexes)
    with unnamed_file(directory) as file:
        count = 0
        for piece in merged_pieces(indexes, _PIECE_BLOBS):
            _fs.write_at(file.fileno(), [np.ascontiguousarray(piece.prefixes).data], 8 * count, directory)
            entries = np.ascontiguousarray(piece.entries).data
            _fs.write_at(file.fileno(), [entries], 8 * most + ENTRY_BYTES * count, directory)
            count += piece.count
        try:
            mapped = map_file(file.fileno(), 8 * most + ENTRY_BYTES * count)
        except OSError as error:
            _fs.raise_for(error, "map a file in", directory)
    prefixes = np.frombuffer(mapped, np.uint64, count)
    entries_of = np.frombuffer(mapped, np.uint64, count * ENTRY_WORDS, 8 * most).reshape(count, ENTRY_WORDS)
    return SpilledIndex(prefixes, entries_of, mapped)


def unnamed_file(directory: Path) -> IO[bytes]:
    """New file without a name, on the file system of a directory. It ends when it is closed and not mapped any more.

    Raises
    ------
    DiskFullError, StorageError
        It cannot be made.
    """
    try:
        return tempfile.TemporaryFile(dir=directory)
    except OSError as error:
        _fs.raise_for(error, "make a file in", directory)
