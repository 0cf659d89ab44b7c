"""Shared code of append-only backends: the writer and the reading of unencoded blobs of any kind.

A file is a header followed by blobs, each as its logical bytes. Appends are written at the recorded end with
``pwrite``, never through the memory map, where a full disk would raise SIGBUS. Bytes of a crashed writer behind that
end are overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hangar import _fs
from hangar.backends.base import Backend, Blob, FileWriter, Options, Payload, Rows
from hangar.backends.file import FILE_HEADER_BYTES, BlobFile, decode_file_header, encode_file_header
from hangar.backends.location import FILE_BITS, FILE_ROW, OFFSET, STORED, Location, Locations
from hangar.backends.parts import Parts
from hangar.backends.raw import RawParts, gather_list, read_large
from hangar.digest import Header
from hangar.errors import CorruptionError, HangarError, StorageError
from hangar.threads import start_thread
from hangar.wording import plural

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AppendWriter", "RawBackend"]

_PIECE_BYTES: Final = 8 * 2**20
_EARLY_BYTES: Final = 32 * 2**20
"""When so much was appended, write-back is started early, on a thread. More often costs more than it gains: a tenth of a fetch at 8 MiB."""


class AppendWriter(FileWriter):
    """Appends to one blob file; see :class:`~hangar.backends.base.FileWriter`."""

    _descriptor = -1
    """-1 while there is none. A class attribute, because an interrupt may end the construction before its first line."""

    def __init__(self, path: Path, file_id: int, tag: str, end: int | None) -> None:
        self.path = path
        self.file_id = file_id
        self._tag = tag
        self._early = threading.Thread()
        # Bytes that were appended since write-back was started last.
        self._fresh = 0
        self._descriptor = _fs.create_file(path) if end is None else _fs.open_file(path, write=True)
        try:
            # Every process that has the file open holds this shared lock (a lease). A leased file is not removed.
            leased = _fs.try_lock(self._descriptor, shared=True) and _fs.is_file_of(self._descriptor, path)
            if not leased:
                raise _removed(path, new=end is None)
            self.end = self._begin(tag) if end is None else self._continue(tag, end)
        except BaseException:
            ours = _fs.is_file_of(self._descriptor, path)
            self.close()
            if end is None and ours:
                with contextlib.suppress(HangarError):
                    _fs.remove_file(path)
            raise

    def _begin(self, tag: str) -> int:
        return _fs.write_at(self._descriptor, [encode_file_header(tag, self.file_id)], 0, self.path)

    def _continue(self, tag: str, end: int) -> int:
        try:
            size = os.fstat(self._descriptor).st_size
            data = os.pread(self._descriptor, FILE_HEADER_BYTES, 0)
        except OSError as error:
            _fs.raise_for(error, "read", self.path)
        if decode_file_header(data, self.path) != (tag, self.file_id):
            raise CorruptionError(f"blob file {self.path} has the header of another blob file")
        if not FILE_HEADER_BYTES <= end <= size:
            raise CorruptionError(f"blob file {self.path} has {plural(size, 'byte')}; {end} are recorded")
        return end

    def is_current(self) -> bool:
        """Whether the path still names this file, with its header and all bytes up to ``end``."""
        try:
            whole = os.fstat(self._descriptor).st_size >= self.end
            header = os.pread(self._descriptor, FILE_HEADER_BYTES, 0)
        except OSError:
            return False
        return (
            whole
            and header == encode_file_header(self._tag, self.file_id)
            and _fs.is_file_of(self._descriptor, self.path)
        )

    def write(self, payload: Payload, options: Options) -> Locations:
        """Append a batch."""
        ends = self.end + np.cumsum(payload.lengths)
        offsets = ends - payload.lengths
        start = self.end
        self._append(payload.buffers)
        if len(ends) and self.end != int(ends[-1]):
            written, self.end = self.end - start, start
            raise ValueError(f"a batch whose samples have {int(ends[-1]) - start} bytes came as {written}")
        return Locations.at(file=self.file_id, offset=offsets, length=payload.lengths)

    def _append(self, buffers: Sequence[Buffer]) -> None:
        """Write at ``end`` and advance it. Write-back is started now and then."""
        written = _fs.write_at(self._descriptor, buffers, self.end, self.path)
        self.end += written
        self._fresh += written
        if self._fresh >= _EARLY_BYTES and not self._early.is_alive():
            self._fresh = 0
            started = start_thread(partial(_write_back, self.path), "hangar-write-back", daemon=True)
            self._early = started or self._early

    def sync(self) -> None:
        """Sync all appended bytes."""
        if self._early.ident is not None:
            self._early.join()
        _fs.sync_file(self._descriptor, self.path)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # A writer that was not closed: its lease ends here.
        self.close()


def _removed(path: Path, *, new: bool) -> HangarError:
    """Error for a file that another process removes. A new file was removed as an orphan before it had its lease; its id is used up."""
    if not new:
        return CorruptionError(f"blob file {path} is being removed")
    error = StorageError(f"blob file {path} was removed by another process as soon as it was created")
    error.errno = errno.EEXIST
    return error


def _write_back(path: Path) -> None:
    """Start write-back of dirty pages now, so that the disk works while the caller computes.

    It uses its own descriptor: Linux reports a write-back error once per open file description, so the final sync
    reports it too.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RawBackend(Backend):
    """Backend that stores blobs unencoded in append-only files. A subclass sets its tag and capabilities."""

    def open_writer(self, path: Path, file_id: int, end: int | None) -> FileWriter:
        """Open a blob file for appending."""
        return AppendWriter(path, file_id, self.tag, end)

    def shares(self, file: BlobFile, locations: Locations) -> npt.NDArray[np.float64]:
        """Bytes of each blob: no two share any."""
        lengths: npt.NDArray[np.float64] = locations.length.astype(np.float64)
        return lengths

    def holds_only(self, file: BlobFile, locations: Locations) -> bool:
        """Whether the blobs at ``locations`` cover the file."""
        order = np.argsort(locations.offset, kind="stable")
        starts = locations.offset[order].astype(np.int64)
        ends = np.concatenate(([FILE_HEADER_BYTES], starts + locations.length[order].astype(np.int64)))
        size = os.fstat(file.descriptor).st_size
        return bool((starts <= np.maximum.accumulate(ends)[:-1]).all()) and int(ends.max()) >= size

    def read_list(self, file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Blob]:
        """Logical bytes of each location."""
        offsets, lengths = locations.offset, locations.length
        mapped = file.need_all(offsets, lengths)
        kinds = {header.kind for header in headers}
        return gather_list(file, mapped, offsets, lengths, kinds, np.zeros(len(offsets), np.uint64))[0]

    def read_pieces(self, file: BlobFile, place: Location, header: Header) -> Iterator[Blob]:
        """Logical bytes of one location, a few megabytes at a time."""
        offset, length = place[OFFSET], place[STORED]
        file.need_all(np.array([offset], np.uint64), np.array([length], np.uint64))
        buffer = np.empty(min(length, _PIECE_BYTES), np.uint8)
        for start in range(0, length, _PIECE_BYTES):
            piece = buffer[: min(_PIECE_BYTES, length - start)]
            read_large(file, offset + start, piece)
            yield piece

    def parts(self, file: BlobFile, place: Location, nbytes: int) -> Parts | None:
        """The parts of a blob: some kilobytes each."""
        if place[STORED] != nbytes:
            return None
        file.need(place[OFFSET] + nbytes)
        return RawParts(place[FILE_ROW] & FILE_BITS, place[OFFSET], nbytes)

    def read_rows(self, file: BlobFile, locations: Locations, header: Header, out: Rows) -> None:
        """Read the logical bytes of locations of one size into ``out``."""
        offsets, lengths = locations.offset, locations.length
        if not (lengths == out.shape[1]).all():
            raise CorruptionError(
                f"a blob in {file.path} does not have the {plural(out.shape[1], 'byte')} that its header says"
            )
        mapped = file.need_all(offsets, lengths)
        for row, offset in zip(out, offsets.tolist(), strict=True):
            row[:] = mapped.bytes[offset : offset + len(row)]
