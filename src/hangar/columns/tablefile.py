"""Cache files in ``.hangar/cache``: named arrays of one tree, with a checksum for each file.

They hold only derived data, so any of them may be deleted at any time. A file that is damaged, cut, of another version
or of another tree is not used and is replaced. Files are written under a temporary name and renamed, so several
processes may write the same file. Write errors are ignored. The size of the directory is bounded: the least recently
used files are removed. A directory that is a symbolic link is not used, and files with other names are not touched.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64

from hangar import _fs, limits
from hangar.backends.mapping import map_file
from hangar.digest import checksum
from hangar.errors import HangarError, PathNotFoundError

__all__ = ["CacheFiles", "TableFile"]

_HEADER: Final = struct.Struct("<8sIIQQ32s")
"""Magic, version, length of the description, checksums of the description and of the arrays, digest of the tree."""
_MAGIC: Final = b"HANGARTB"
_VERSION: Final = 0
_ALIGNED: Final = 64
_SUFFIX: Final = ".table"
_NAME: Final = re.compile(r"[0-9a-f]{64}\.(table|[0-9]+-[0-9]+)")
"""Names of cache files: digest of the tree, and ``.table`` or, for a temporary file, process id and time of the writer."""
_KINDS: Final = "biufcSVU"
"""Kinds of dtypes without references to Python objects."""
_STALE_SECONDS: Final = 3_600
"""A temporary file of this age belongs to a process that died."""

Arrays = Mapping[str, npt.NDArray[Any]]


class _Part(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int


class TableFile:
    """The arrays of one file.

    Attributes
    ----------
    arrays
        Arrays by name. Not writable.
    descriptor
        File descriptor of the mapped file; -1 if the arrays are in memory.
    """

    __slots__ = ("arrays", "descriptor", "size")

    def __init__(self, arrays: Arrays, descriptor: int, size: int) -> None:
        self.arrays = arrays
        self.descriptor = descriptor
        self.size = size

    def whole(self) -> bool:
        """Whether a mapped file is still as long as its map. A read beyond the end of the file raises SIGBUS."""
        return self.descriptor < 0 or os.lseek(self.descriptor, 0, os.SEEK_END) >= self.size

    def __del__(self) -> None:
        # Missing if an interrupt ended the construction before its first line.
        descriptor = getattr(self, "descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)


class CacheFiles:
    """The cache directory of one repository.

    Parameters
    ----------
    directory
        The repository's ``.hangar``.
    """

    __slots__ = ("_directory",)

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "cache"

    def _path(self, root: bytes) -> Path:
        return self._directory / f"{root.hex()}{_SUFFIX}"

    def load(self, root: bytes, *, mapped: bool) -> TableFile | None:
        """Load the arrays of a tree; None if there is no valid file.

        Parameters
        ----------
        root
            Digest of the tree.
        mapped
            Whether to map a large file; else it is read into memory.
        """
        path = self._path(root)
        try:
            if not self._is_ours():
                return None
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        kept = False
        try:
            size = os.fstat(descriptor).st_size
            mapped = mapped and size >= limits.MAPPED_TABLE_BYTES
            data: Any = map_file(descriptor, size) if mapped else _read(descriptor, size)
            arrays = _decode(np.frombuffer(data, np.uint8), root)
            if arrays is None:
                self.remove(root)
                return None
            with contextlib.suppress(OSError):
                os.utime(path)
            kept = mapped
            return TableFile(arrays, descriptor if mapped else -1, size)
        except (OSError, MemoryError, HangarError):
            return None
        finally:
            if not kept:
                os.close(descriptor)

    def save(self, root: bytes, arrays: Arrays) -> None:
        """Save the arrays of a tree; errors are ignored."""
        path = self._path(root)
        own = path.with_name(f"{root.hex()}.{os.getpid()}-{time.monotonic_ns()}")
        with contextlib.suppress(OSError, HangarError):
            try:
                self._directory.mkdir(exist_ok=True)
                if not self._is_ours():
                    return
                self._make_room(sum(array.nbytes for array in arrays.values()))
                with own.open("xb") as file:
                    for piece in _encode(root, arrays):
                        file.write(piece)
                own.replace(path)
            finally:
                own.unlink(missing_ok=True)

    def roots(self) -> list[bytes]:
        """Digests of the trees that have a file."""
        try:
            names = [path.name for path in self._directory.iterdir()] if self._is_ours() else []
        except OSError:
            return []
        return [bytes.fromhex(name[:64]) for name in names if _NAME.fullmatch(name) and name.endswith(_SUFFIX)]

    def remove(self, root: bytes) -> None:
        """Remove the file of a tree."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                self._path(root).unlink()

    def damaged(self) -> list[str]:
        """Names of files that are not valid, and of leftovers; they are not used."""
        found = []
        with contextlib.suppress(OSError):
            for path in sorted(self._directory.iterdir()) if self._is_ours() else ():
                if path.suffix != _SUFFIX and _NAME.fullmatch(path.name):
                    continue  # a process may be writing it
                try:
                    root = bytes.fromhex(path.stem) if path.suffix == _SUFFIX else b""
                    sound = _decode(np.memmap(path, np.uint8, "r"), root) is not None
                except (OSError, ValueError, HangarError):
                    sound = False
                if not sound:
                    found.append(path.name)
        return found

    def clear(self) -> None:
        """Remove all cache files, unfinished ones too.

        Raises
        ------
        StorageError, AccessError
            One of them cannot be removed.
        """
        if self._is_ours():
            for name in _fs.list_directory(self._directory):
                if _NAME.fullmatch(name):
                    with contextlib.suppress(PathNotFoundError):
                        _fs.remove_file(self._directory / name)

    def _is_ours(self) -> bool:
        """Whether the directory is a real directory of the repository, not a symbolic link."""
        return not self._directory.is_symlink()

    def _make_room(self, nbytes: int) -> None:
        found = []
        for path in self._directory.iterdir():
            if not _NAME.fullmatch(path.name):
                continue
            with contextlib.suppress(OSError):
                status = path.lstat()
                if path.suffix != _SUFFIX and time.time() - status.st_mtime > _STALE_SECONDS:
                    path.unlink()
                else:
                    found.append((status.st_mtime, status.st_size, path))
        held = nbytes + sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if held <= limits.CACHE_DIRECTORY_BYTES:
                break
            if path.suffix == _SUFFIX:
                path.unlink(missing_ok=True)
                held -= size


def _read(descriptor: int, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        step = os.preadv(descriptor, [view[done:]], done)
        if not step:
            raise OSError("the file was cut")
        done += step
    return data


def _encode(root: bytes, arrays: Arrays) -> list[Any]:
    parts: list[_Part] = []
    start = 0
    hasher = xxh3_64()
    pieces: list[Any] = []
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        padding = bytes(-len(data) % _ALIGNED)
        parts.append(_Part(name, array.dtype.str, array.shape, start))
        for piece in (data.data, padding):
            hasher.update(piece)
            pieces.append(piece)
        start += len(data) + len(padding)
    described = msgspec.msgpack.encode(parts)
    body = hasher.intdigest()
    head = _HEADER.pack(_MAGIC, _VERSION, len(described), _head_check(root, described, body), body, root)
    return [head, described, bytes(_start(len(described)) - len(head) - len(described)), *pieces]


def _start(described: int) -> int:
    """Offset of the arrays, after a description of so many bytes."""
    return -(-(_HEADER.size + described) // _ALIGNED) * _ALIGNED


def _head_check(root: bytes, described: bytes, body: int) -> int:
    return checksum(root + described + body.to_bytes(8, "little"), _VERSION)


def _decode(data: npt.NDArray[np.uint8], root: bytes) -> Arrays | None:
    """Decode the arrays of a file; None if it is not a valid file of this tree."""
    if len(data) < _HEADER.size:
        return None
    magic, version, length, head, body, found = _HEADER.unpack_from(data.data)
    start = _start(length)
    if (magic, version, found) != (_MAGIC, _VERSION, root) or start > len(data):
        return None
    described = data[_HEADER.size : _HEADER.size + length].tobytes()
    if head != _head_check(root, described, body) or body != checksum(data[start:].data, 0):
        return None
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        for part in msgspec.msgpack.Decoder(list[_Part]).decode(described):
            arrays[part.name] = _array(data[start:], part)
    except (msgspec.DecodeError, TypeError, ValueError, OverflowError):
        # The checksums match, so this is no accidental damage. The file is not used anyway.
        return None
    return arrays


def _array(data: npt.NDArray[np.uint8], part: _Part) -> npt.NDArray[Any]:
    dtype = np.dtype(part.dtype)
    if dtype.kind not in _KINDS or part.start < 0 or min(part.shape, default=0) < 0:
        raise ValueError("no array of a cache file")
    array = data[part.start : part.start + math.prod(part.shape) * dtype.itemsize].view(dtype).reshape(part.shape)
    array.flags.writeable = False
    return array
