"""Blob file open for reading: memory-mapped and leased.

Every blob file begins with a header of 64 bytes: magic bytes, backend tag and file id. The rest is defined by the
backend. The length of the file is checked before it is mapped, and again before each read. So a short file gives an
error and no SIGBUS. A shared lock on the file (the lease) keeps other processes from removing it; the lease ends with
the object.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar import _fs
from hangar.backends.mapping import map_file, size_of
from hangar.bounded import BoundedCache
from hangar.digest import checksum
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.wording import plural

__all__ = ["FILE_HEADER_BYTES", "MAX_OFFSET", "BlobFile", "Mapped", "decode_file_header", "encode_file_header"]

_HEADER = struct.Struct("<8sII8s32sQ")
_MAGIC = b"HANGARBF"
_VERSION = 0
FILE_HEADER_BYTES: Final = _HEADER.size
MAX_OFFSET: Final = 2**62
"""Above every real file size: a larger offset is damage."""


def encode_file_header(tag: str, file_id: int) -> bytes:
    """Header of a blob file, 64 bytes. A backend may write more bytes before its data."""
    data = _HEADER.pack(_MAGIC, _VERSION, file_id, tag.encode(), bytes(32), 0)[:-8]
    return data + struct.pack("<Q", checksum(data, 0))


def decode_file_header(data: bytes, path: Path) -> tuple[str, int]:
    """Backend tag and id of a blob file.

    Raises
    ------
    CorruptionError
        Not a header, or a damaged one.
    UnsupportedVersionError
        A newer Hangar wrote it.
    """
    if len(data) < FILE_HEADER_BYTES:
        raise CorruptionError(f"blob file {path} is too short to have a header")
    magic, version, file_id, tag, _, check = _HEADER.unpack_from(data)
    if magic != _MAGIC or check != checksum(data[: FILE_HEADER_BYTES - 8], 0):
        raise CorruptionError(f"the header of blob file {path} is damaged")
    if version != _VERSION:
        raise UnsupportedVersionError(f"blob file {path} has version {version}, which needs a newer Hangar")
    try:
        return tag.rstrip(b"\0").decode("ascii"), file_id
    except UnicodeDecodeError:
        raise CorruptionError(f"blob file {path} names no backend") from None


class Mapped:
    """Memory map of a blob file. It stays readable when the file is renamed or removed.

    Attributes
    ----------
    map
        The mapped file, as a buffer; a slice is ``bytes``.
    bytes
        The same as an array: uint8, shape (size,), not writable.
    size
        Number of mapped bytes.
    """

    __slots__ = ("bytes", "map", "size")

    def __init__(self, mapped: Any) -> None:
        self.map: Final = mapped
        self.bytes: Final[npt.NDArray[np.uint8]] = np.frombuffer(mapped, np.uint8)
        self.bytes.flags.writeable = False
        self.size: Final = len(mapped)


class BlobFile:
    """One blob file, open for reading.

    Parameters
    ----------
    path
        The file.
    file_id
        Expected id.
    tag
        Expected backend tag.

    Attributes
    ----------
    descriptor
        File descriptor, for reading.
    chunks
        Cache of decoded chunks by file id and offset, shared by the files of a store; None: no cache.
    mapped
        The latest memory map. Read from the result of :meth:`need`, which checks the length.

    Raises
    ------
    CorruptionError
        The file is damaged, too short, or has another id or tag.
    PathNotFoundError, StorageError
        The file does not exist, or cannot be read.
    """

    __slots__ = ("chunks", "descriptor", "file_id", "mapped", "path", "tag")

    def __init__(
        self, path: Path, file_id: int, tag: str, chunks: BoundedCache[tuple[int, int], Any] | None = None
    ) -> None:
        self.descriptor = -1
        self.chunks = chunks
        self.descriptor = _fs.open_file(path)
        self.path = path
        self.file_id = file_id
        self.tag = tag
        # gc locks a file exclusively before it removes the file.
        if not _fs.try_lock(self.descriptor, shared=True):
            raise CorruptionError(f"blob file {path} is being removed")
        self.mapped = self._map(FILE_HEADER_BYTES)
        if decode_file_header(self.mapped.map[:FILE_HEADER_BYTES], path) != (tag, file_id):
            raise CorruptionError(f"blob file {path} has the header of another blob file")

    def _map(self, end: int) -> Mapped:
        try:
            size = os.fstat(self.descriptor).st_size
            if size < end:
                raise CorruptionError(
                    f"blob file {self.path} has {plural(size, 'byte')}, and should have {end} or more"
                )
            return Mapped(map_file(self.descriptor, size))
        except OSError as error:
            _fs.raise_for(error, "map", self.path)

    def need(self, end: int) -> Mapped:
        """The mapped file, with at least ``end`` bytes.

        Raises
        ------
        CorruptionError
            The file is shorter than that, or shorter than before.
        """
        mapped = self.mapped
        if end > mapped.size:
            # A race of two threads is harmless: each reads from its own map, and either one is kept.
            mapped = self.mapped = self._map(end)
        elif not self.whole(mapped):
            raise CorruptionError(f"blob file {self.path} was truncated: it had {plural(mapped.size, 'byte')}")
        return mapped

    def whole(self, mapped: Mapped) -> bool:
        """Whether the file is as long as its map. A read beyond the end of the file raises SIGBUS."""
        return size_of(self.descriptor) >= mapped.size

    def is_current(self) -> bool:
        """Whether the path still names this file, undamaged in header and length."""
        mapped = self.mapped
        return (
            self.whole(mapped)
            and mapped.map[:FILE_HEADER_BYTES] == encode_file_header(self.tag, self.file_id)
            and _fs.is_file_of(self.descriptor, self.path)
        )

    def need_all(self, offsets: npt.NDArray[np.uint64], lengths: npt.NDArray[np.uint64]) -> Mapped:
        """The mapped file, with all ranges from ``offsets`` to ``offsets + lengths`` in it.

        Raises
        ------
        CorruptionError
            A range is outside the file.
        """
        if not offsets.size:
            return self.need(0)
        if int(offsets.max()) > MAX_OFFSET:
            raise CorruptionError(f"a location points far beyond the end of blob file {self.path}")
        # Lengths have 56 bits, so the sums cannot wrap around.
        return self.need(int((offsets + lengths).max()))

    def __del__(self) -> None:
        # Missing if an interrupt ended the construction before its first line.
        descriptor = getattr(self, "descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)
