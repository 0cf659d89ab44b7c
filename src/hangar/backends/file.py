"""A blob file that is open for reading: mapped into memory and leased.

Every blob file, whatever its backend, begins with the same 64 bytes, which say that it is one, of which backend and which id. The
length of the file is checked before it is mapped, and again before each read beyond what was mapped, so a short file is an
error and never a signal. The shared lock on the file is the lease that keeps others from removing it; it ends with the object.
What lies behind the header is the backend's affair.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar import _fs
from hangar.digest import checksum
from hangar.errors import CorruptionError, UnsupportedVersionError

__all__ = ["FILE_HEADER_BYTES", "BlobFile", "decode_file_header", "encode_file_header"]

_HEADER = struct.Struct("<8sII8s32sQ")
_MAGIC = b"HANGARBF"
_VERSION = 0
FILE_HEADER_BYTES: Final = _HEADER.size
_MAX_MAP_BYTES = 2**62


def encode_file_header(tag: str, file_id: int) -> bytes:
    """The first 64 bytes of a blob file; a backend may write more than these ahead of its data."""
    data = _HEADER.pack(_MAGIC, _VERSION, file_id, tag.encode(), bytes(32), 0)[:-8]
    return data + struct.pack("<Q", checksum(data, 0))


def decode_file_header(data: bytes, path: Path) -> tuple[str, int]:
    """Backend tag and id of a blob file.

    Raises
    ------
    CorruptionError
        This is no header, or a damaged one.
    UnsupportedVersionError
        A newer Hangar wrote it.
    """
    if len(data) < FILE_HEADER_BYTES:
        raise CorruptionError(f"blob file {path} is too short to have a header")
    magic, version, file_id, tag, _, check = _HEADER.unpack_from(data)
    if magic != _MAGIC or check != checksum(data[: FILE_HEADER_BYTES - 8], 0):
        raise CorruptionError(f"blob file {path} does not begin with an undamaged header")
    if version != _VERSION:
        raise UnsupportedVersionError(f"blob file {path} has version {version}, which needs a newer Hangar")
    try:
        return tag.rstrip(b"\0").decode("ascii"), file_id
    except UnicodeDecodeError:
        raise CorruptionError(f"blob file {path} names no backend") from None


class BlobFile:
    """One blob file, open for reading.

    Parameters
    ----------
    path
        The file.
    file_id
        Id it must have.
    tag
        Backend it must be of.

    Attributes
    ----------
    map
        The mapped file.
    bytes
        The same as an array: uint8, shape (size,), not writable.
    size
        Bytes that are mapped.
    descriptor
        Of the file, for reading.

    Raises
    ------
    CorruptionError
        The file is damaged, too short, or another one.
    PathNotFoundError, StorageError
        It is not there, or cannot be read.
    """

    __slots__ = ("bytes", "descriptor", "file_id", "map", "path", "size", "tag")

    def __init__(self, path: Path, file_id: int, tag: str) -> None:
        self.descriptor = -1
        self.descriptor = _fs.open_file(path)
        self.path = path
        self.file_id = file_id
        self.tag = tag
        self.size = 0
        # gc takes this lock alone before it removes a file; where it has it, the file is about to go.
        if not _fs.try_lock(self.descriptor, shared=True):
            raise CorruptionError(f"blob file {path} is being removed")
        self._map()
        if decode_file_header(self.map[:FILE_HEADER_BYTES], path) != (tag, file_id):
            raise CorruptionError(f"blob file {path} has the header of another blob file")

    def _map(self) -> None:
        try:
            size = os.fstat(self.descriptor).st_size
            if size < FILE_HEADER_BYTES:
                raise CorruptionError(f"blob file {self.path} is too short to have a header")
            mapped = mmap.mmap(self.descriptor, min(size, _MAX_MAP_BYTES), access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError):
                error = OSError(str(error))
            _fs.raise_for(error, "map", self.path)
        # Another thread may be reading: what it sees of the size never runs ahead of what it sees of the map.
        self.map = mapped
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(mapped, np.uint8)
        self.size = len(mapped)

    def need(self, end: int) -> None:
        """Make sure that bytes up to ``end`` are mapped.

        Raises
        ------
        CorruptionError
            The file is shorter.
        """
        if end > self.size:
            self._map()
            if end > self.size:
                raise CorruptionError(f"blob file {self.path} ends at byte {self.size}, and a blob at byte {end}")

    def has(self, end: int) -> bool:
        """Whether bytes up to ``end`` are mapped and still there."""
        # The position of the descriptor is never used, and this is the cheapest way to ask for the length.
        return end <= self.size <= os.lseek(self.descriptor, 0, os.SEEK_END)

    def check_length(self) -> None:
        """Raise CorruptionError where the file has become shorter than what is mapped of it."""
        size = os.lseek(self.descriptor, 0, os.SEEK_END)
        if size < self.size:
            raise CorruptionError(f"blob file {self.path} was cut: it had {self.size} bytes and has {size}")

    def need_all(self, offsets: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> None:
        """Make sure that all of ``offsets`` to ``offsets + lengths`` (uint64) is mapped.

        Raises
        ------
        CorruptionError
            Some of it lies outside the file.
        """
        if not offsets.size:
            return
        self.check_length()
        if int(offsets.max()) > _MAX_MAP_BYTES:
            raise CorruptionError(f"a blob lies far behind the end of blob file {self.path}")
        # Lengths have 56 bits, so the sums cannot wrap around.
        self.need(int((offsets + lengths).max()))

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
