"""Files of large blobs of which parts have come: a later transfer, also of another process, continues with them.

A file has the name of its blob, and says what the blob is in its first block. The blob is verified when it is whole, so
what a power loss left of the file only costs a second transfer of that blob.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hangar import _fs, forking
from hangar.blobs.journal import QUARANTINE_DIRECTORY
from hangar.blobs.unfinished import PART
from hangar.digest import DIGEST_BYTES, Header
from hangar.errors import HangarError, InvalidInputError

__all__ = ["PartFile", "PartFiles"]

_HEAD: Final = struct.Struct("<8sIIQ")
_MAGIC: Final = b"HANGARPB"
_VERSION: Final = 0
_START: Final = 4_096
"""Offset of the first byte of the blob."""
_MOST: Final = 64
"""Files of one owner that are continued."""
_KEPT_SECONDS: Final = 3 * 86_400
"""A file that did not grow for so long is deleted."""


class PartFile:
    """The first bytes of a blob. The file is locked as long as it is open.

    Attributes
    ----------
    header, total
        Header of the blob, and the bytes that it has in the end.
    done
        Bytes that are here.
    """

    def __init__(self, path: Path, header: Header, total: int, descriptor: int, done: int) -> None:
        self.path = path
        self.header = header
        self.total = total
        self.done = done
        self._descriptor = descriptor

    def add(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self.done += _fs.write_at(self._descriptor, [data], _START + self.done, self.path)

    def cut(self, length: int) -> None:
        """Forget all behind the first bytes."""
        if length < self.done:
            os.ftruncate(self._descriptor, _START + length)
            self.done = length

    def whole(self) -> memoryview:
        """The bytes of the blob, which is complete."""
        return memoryview(mmap.mmap(self._descriptor, _START + self.total, access=mmap.ACCESS_READ))[_START:]

    def close(self, *, remove: bool) -> None:
        """Close the file, and delete it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if remove:
                # Not durably: should the file come back, it is one to continue or to clean away.
                with contextlib.suppress(OSError):
                    self.path.unlink()
            forking.close_private(descriptor)

    def __del__(self) -> None:
        if self._descriptor >= 0 and forking.is_private(self._descriptor):
            forking.close_private(self._descriptor)


class PartFiles:
    """The files of one transfer, or of all fetches.

    Parameters
    ----------
    directory
        The ``.hangar`` of the repository.
    owner
        First part of the names of the files: ``fetch``, or the name of a push.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        self._place = directory / QUARANTINE_DIRECTORY
        self._owner = owner

    def lengths(self) -> dict[bytes, int]:
        """How many bytes of which blobs are here, and not in use by another transfer. Old files are deleted."""
        found: dict[bytes, int] = {}
        for digest, path in self._files():
            with contextlib.suppress(HangarError, OSError), _locked(path) as size:
                if size >= 0 and path.stat().st_mtime + _KEPT_SECONDS < time.time():
                    path.unlink()
                elif size > _START and len(found) < _MOST:
                    known = _read(path)
                    # At least one byte is asked for: without an answer nothing would tell that the blob is whole.
                    length = 0 if known is None else min(size - _START, known[1] - 1)
                    if length:
                        found[digest] = length
        return found

    def find(self, header: Header, total: int, length: int) -> bytes | None:
        """A blob of this header of which so many bytes are here, or more: a sender may begin with a whole piece."""
        for digest, found in sorted(self.lengths().items(), key=lambda item: item[1]):
            if found >= length and _read(self._path(digest)) == (header, total):
                return digest
        return None

    def open(self, digest: bytes, header: Header, total: int, start: int) -> PartFile | None:
        """The file of a blob, to add bytes from ``start`` on; None if another transfer uses it, or lacks what comes before."""
        path = self._path(digest)
        if not self._place.is_dir():
            _fs.make_directory(self._place)
        known = _read(path) == (header, total)
        if start and not known:
            return None
        descriptor = forking.close_in_child(
            _fs.open_file(path, write=True) if _fs.exists(path) else _fs.create_file(path)
        )
        try:
            done = os.fstat(descriptor).st_size - _START if known else 0
            if not _fs.try_lock(descriptor, shared=False) or not _fs.is_file_of(descriptor, path) or done < start:
                forking.close_private(descriptor)
                return None
            if not known:
                os.ftruncate(descriptor, 0)
                encoded = header.encode()
                head = _HEAD.pack(_MAGIC, _VERSION, len(encoded), total) + encoded
                _fs.write_at(descriptor, [head.ljust(_START, b"\0")], 0, path)
            found = PartFile(path, header, total, descriptor, done)
            found.cut(start)
            return found
        except BaseException:
            with contextlib.suppress(OSError):
                forking.close_private(descriptor)
            raise

    def remove(self) -> None:
        """Delete the files that no transfer uses."""
        for _, path in self._files():
            with contextlib.suppress(OSError, HangarError), _locked(path) as size:
                if size >= 0:
                    path.unlink()

    def _path(self, digest: bytes) -> Path:
        return self._place / f"{self._owner}.{digest.hex()}{PART}"

    def _files(self) -> Iterator[tuple[bytes, Path]]:
        for name in _fs.list_directory(self._place):
            if name.startswith(f"{self._owner}.") and name.endswith(PART):
                middle = name[len(self._owner) + 1 : -len(PART)]
                with contextlib.suppress(ValueError):
                    digest = bytes.fromhex(middle)
                    if len(digest) == DIGEST_BYTES:
                        yield digest, self._place / name


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Lock a file until the end of the block; yields its size, -1 if another process or transfer uses it."""
    descriptor = forking.close_in_child(_fs.open_file(path))
    try:
        yield os.fstat(descriptor).st_size if _fs.try_lock(descriptor, shared=False) else -1
    finally:
        forking.close_private(descriptor)


def _read(path: Path) -> tuple[Header, int] | None:
    """Header and size of the blob of a file; None if the file does not say."""
    try:
        with path.open("rb") as file:
            block = file.read(_START)
        magic, version, length, total = _HEAD.unpack_from(block)
        if (magic, version) != (_MAGIC, _VERSION) or len(block) < _START:
            return None
        return Header.decode(block[_HEAD.size : _HEAD.size + length]), total
    except (OSError, struct.error, InvalidInputError):
        return None
