"""Plugin for ``.npz`` archives: each array is a sample, or each row of one array.

Nothing is unpickled, and nothing is extracted to the file system. The sizes that an archive declares are checked before
memory is allocated.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from typing import IO, Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.plugins._members import check_member_name
from hangar.external.plugins._trees import LazyArray, Tree, TreePlugin
from hangar.external.plugins.arrays import fill, read_header
from hangar.external.records import MAX_HEADER_BYTES, FileHeader
from hangar.external.safe_io import open_input

__all__ = ["HEADER_MEMBER", "NpzPlugin"]

HEADER_MEMBER: Final = "hangar.json"


class NpzPlugin(TreePlugin):
    """Reads ndarray values, and exported columns of any type, from ``.npz`` archives."""

    format = "npz"

    @contextmanager
    def open_tree(self, fpath: str) -> Iterator[Tree]:
        """As in the base class."""
        with open_input(fpath) as file, ExitStack() as streams:
            size = os.fstat(file.fileno()).st_size
            try:
                archive = streams.enter_context(zipfile.ZipFile(file))
                yield _tree(archive, streams, size, fpath)
            except HangarError:
                raise
            except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError) as error:
                raise InvalidInputError(f"{fpath} is not a readable archive of arrays: {error}") from error
            except (EOFError, ValueError, KeyError) as error:  # zlib.error is none of these, see _Member
                raise InvalidInputError(f"{fpath} is not a readable archive of arrays: {error}") from error


def _tree(archive: zipfile.ZipFile, streams: ExitStack, size: int, fpath: str) -> Tree:
    arrays: dict[str, LazyArray] = {}
    faults: list[tuple[str, HangarError]] = []
    header = None
    for member in archive.infolist():
        if member.is_dir():
            continue
        name = member.filename.removesuffix(".npy")
        try:
            check_member_name(member.filename, fpath)
            if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
                raise InvalidInputError(f"{fpath} ({member.filename}) is a link or a device, which is refused")
            if member.filename == HEADER_MEMBER:
                with archive.open(member) as stream:
                    header = FileHeader.decode(stream.read(MAX_HEADER_BYTES + 1), fpath)
            else:
                arrays[name] = _Member(archive, streams, member, min(member.compress_size, size), fpath)
        except HangarError as error:
            faults.append((name, error))
    return Tree(arrays, faults, header)


class _Member:
    """An array in an archive. Its rows are decompressed as they are read, in order."""

    def __init__(
        self, archive: zipfile.ZipFile, streams: ExitStack, member: zipfile.ZipInfo, stored: int, fpath: str
    ) -> None:
        self._archive, self._streams, self._member = archive, streams, member
        self._where = f"{fpath} ({member.filename})"
        self.stored = stored
        self._stream: IO[bytes] | None = None
        self._row = 0
        with self._open() as stream:
            self.shape, self._fortran, self.dtype = read_header(stream, self._where)
        if prod(self.shape) * self.dtype.itemsize > member.file_size:
            raise InvalidInputError(f"{self._where} is truncated: its header declares more than the archive has")

    def _open(self) -> IO[bytes]:
        try:
            return self._archive.open(self._member)
        except Exception as error:  # zlib.error, RuntimeError for an encrypted member ...
            raise InvalidInputError(f"{self._where} cannot be read: {error}") from error

    def read(self, start: int, stop: int) -> Any:
        if self._fortran and len(self.shape) > 1:
            return self.read_all()[start:stop]
        if self._stream is None or start != self._row:
            self._stream = self._streams.enter_context(self._open())
            read_header(self._stream, self._where)
            self._skip(self._stream, start)
        self._row = stop
        return self._decoded(self._take(self._stream, (stop - start, *self.shape[1:])))

    def read_all(self) -> Any:
        with self._open() as stream:
            read_header(stream, self._where)
            flat = self._take(stream, (prod(self.shape),))
        return self._decoded(flat.reshape(self.shape, order="F" if self._fortran else "C"))

    def _skip(self, stream: IO[bytes], rows: int) -> None:
        left = rows * prod(self.shape[1:]) * self.dtype.itemsize
        while left > 0:
            got = len(stream.read(min(left, 2**20)))
            if not got:
                return
            left -= got

    def _take(self, stream: IO[bytes], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        array = np.empty(shape, self.dtype)
        try:
            got = fill(stream, array.reshape(-1).view(np.uint8).data) if array.nbytes else 0
        except Exception as error:  # zlib.error, BadZipFile (checksum) ...
            raise InvalidInputError(f"{self._where} cannot be read: {error}") from error
        if got != array.nbytes:
            raise InvalidInputError(f"{self._where} is truncated")
        return array

    def _decoded(self, array: np.ndarray[Any, Any]) -> Any:
        if array.dtype.kind == "S":
            try:
                return [one.decode("utf-8") for one in array.ravel().tolist()]
            except UnicodeDecodeError as error:
                raise InvalidInputError(f"{self._where} holds text that is not UTF-8: {error.reason}") from None
        if array.dtype.kind == "U":
            return str(array[()]) if array.ndim == 0 else array.ravel().tolist()
        return array
