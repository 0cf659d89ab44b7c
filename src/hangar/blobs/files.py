"""Cache of the blob files that a repository keeps open for reading.

An open file takes one file descriptor. At most ``limits.OPEN_BLOB_FILES`` are kept open, and at most a quarter of the
descriptors that the process may have. When the process runs out of descriptors, or of memory to map files, every
repository closes the files that are not being read. A file that is dropped while another thread reads it is closed
after that read. Threads share the cache without a lock: a race can only open a file twice.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import Any, Final

from hangar import _fs, limits
from hangar.backends.base import Backend
from hangar.backends.file import BlobFile
from hangar.backends.mapping import release_pages
from hangar.backends.registry import stored_backend
from hangar.blobs.catalog import blob_file_path, get_blob_file
from hangar.bounded import BoundedCache
from hangar.config import Config, parse_bytes
from hangar.db import Database
from hangar.errors import CorruptionError

__all__ = ["OpenFiles", "most_open"]

_LEAST_OPEN: Final = 8


def most_open() -> int:
    """Maximum number of blob files that one repository keeps open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limits.OPEN_BLOB_FILES if soft < 0 else min(limits.OPEN_BLOB_FILES, max(_LEAST_OPEN, soft // 4))


class OpenFiles:
    """Open blob files by id.

    Attributes
    ----------
    chunk_bytes
        Size of the cache of decoded chunks where ``cache.chunks`` is not configured. Set it before the first read.
    raw
        Open files of raw backends, for fast paths. They must not change it.
    written
        Backend tag by id of the files that writers of this process have open for appending. They may be unpublished.
    """

    __slots__ = ("__weakref__", "_chunks", "_db", "_directory", "_open", "chunk_bytes", "raw", "written")

    def __init__(self, db: Database, directory: Path) -> None:
        self._db = db
        self._directory = directory
        self._open: dict[int, tuple[BlobFile, Backend]] = {}
        self.raw: Final[dict[int, BlobFile]] = {}
        self.written: Final[dict[int, str]] = {}
        self._chunks: BoundedCache[Any, Any] | None = None
        self.chunk_bytes = limits.CHUNK_CACHE_BYTES
        _fs.register_cache(self)

    def get(self, file_id: int) -> tuple[BlobFile, Backend]:
        """A file and its backend; opens the file if needed.

        Raises
        ------
        CorruptionError
            The file is not recorded, damaged, or has the header of another file.
        PathNotFoundError, StorageError
            The file does not exist, or cannot be read.
        MissingPackageError
            The backend it needs is not installed.
        """
        found = self._open.get(file_id)
        if found is not None:
            return found
        tag = self.tag(file_id)
        backend = stored_backend(tag)
        chunks = None if backend.capabilities.raw else self.chunk_cache()
        opened = BlobFile(blob_file_path(self._directory, file_id, tag), file_id, tag, chunks), backend
        while len(self._open) >= most_open():
            # Another thread may be making room too.
            with contextlib.suppress(StopIteration, RuntimeError):
                self.forget(next(iter(self._open)))
        self._open[file_id] = opened
        if backend.capabilities.raw:
            self.raw[file_id] = opened[0]
        return opened

    def opened(self, file_id: int) -> tuple[BlobFile, Backend] | None:
        """A file and its backend, if the file is open."""
        return self._open.get(file_id)

    def tag(self, file_id: int) -> str:
        """Backend tag of a file.

        Raises
        ------
        CorruptionError
            The file is not recorded.
        """
        tag = self.written.get(file_id)
        if tag is not None:
            return tag
        with self._db.read() as transaction:
            row = get_blob_file(transaction, file_id)
        if row is None:
            raise CorruptionError(f"blob file {file_id:08x} is not in the database")
        return row.tag

    def chunk_cache(self) -> BoundedCache[Any, Any]:
        """The cache of decoded chunks that all files of the repository share: by file id and offset; those of chunked arrays by digest."""
        chunks = self._chunks
        if chunks is None:
            configured = Config(self._directory).get("cache.chunks")
            most = self.chunk_bytes if configured is None else parse_bytes("cache.chunks", configured)
            chunks = self._chunks = BoundedCache(most)
        return chunks

    def forget(self, file_id: int) -> None:
        """Drop a file, if it is open."""
        self._open.pop(file_id, None)
        self.raw.pop(file_id, None)

    def release_pages(self) -> None:
        """Let go of the pages of the maps of all files that were read. The files stay open."""
        for file, _ in list(self._open.values()):
            release_pages(file.mapped.map)

    def clear(self) -> None:
        """Drop all files."""
        self._open.clear()
        self.raw.clear()
        if self._chunks is not None:
            self._chunks.clear()
