"""Quarantine: objects that were received and are not verified yet, in one file outside of the database.

Objects of all classes are appended to the file as they come, and found by digest through a dict in memory (about 200
bytes each). Nothing here is part of the repository: the file may be deleted at any time when no process has it locked. A
fetch keeps the file when it is interrupted, and the next one reads it again: what is cut off at its end is ignored, and
all digests are computed anew.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from hangar import _fs, forking
from hangar.blobs.journal import QUARANTINE_DIRECTORY
from hangar.blobs.unfinished import OBJECTS
from hangar.digest import Digest, RecordClass, record_digests
from hangar.errors import HangarError, LockedError

__all__ = ["CLASSES", "Quarantine", "quarantine_path"]

CLASSES: Final[tuple[RecordClass, ...]] = ("commit", "schema", "attributes", "node", "array")
"""Classes of objects that travel. Their place here is their number in the file."""
_ITEM: Final = struct.Struct("<BI")
_READ_BYTES: Final = 2**22
_GAP_BYTES: Final = 2**12
"""Objects that are no farther apart are read with one call."""
_LENGTH_BITS: Final = 32
_LENGTH: Final = 2**_LENGTH_BITS - 1
_TOGETHER: Final = 1_024


class Quarantine:
    """Received objects, by class and digest. Used by one thread at a time.

    Parameters
    ----------
    path
        The file. If it exists, its objects are read.

    Attributes
    ----------
    count, nbytes
        Number of the objects, and their bytes.

    Raises
    ------
    LockedError
        Another process, or another object of this one, uses the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.nbytes = 0
        self._end = 0
        # Where each object is in the file: its offset, and its length in the low bits.
        self._places: dict[RecordClass, dict[bytes, int]] = {kind: {} for kind in CLASSES}
        _fs.make_directory(path.parent)
        while not self._lock():
            forking.close_private(self._descriptor)  # it was removed as stale before it was locked
        try:
            self._load()
        except BaseException:
            forking.close_private(self._descriptor)
            raise

    def _lock(self) -> bool:
        """Open the file, make it if there is none, and lock it; whether it is still there then."""
        try:
            self._descriptor = forking.close_in_child(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            _fs.raise_for(error, "open", self.path)
        try:
            if not _fs.try_lock(self._descriptor, shared=False):
                if not _fs.is_file_of(self._descriptor, self.path):
                    return False
                raise LockedError(f"{self.path} is in use: another transfer of the same data is in progress")
            return _fs.is_file_of(self._descriptor, self.path)
        except BaseException:
            forking.close_private(self._descriptor)
            raise

    # ------------------------------------------------------------------ writing

    def add(self, kind: RecordClass, datas: Sequence[bytes]) -> list[Digest]:
        """Add objects; return their digests, in order. Those that are here already are not written again."""
        places = self._places[kind]
        digests = record_digests(kind, datas)
        fresh = {digest: data for digest, data in zip(digests, datas, strict=True) if digest not in places}
        if fresh:
            number = CLASSES.index(kind)
            parts = [part for data in fresh.values() for part in (_ITEM.pack(number, len(data)), data)]
            _fs.write_at(self._descriptor, [b"".join(parts)], self._end, self.path)
            self._record(kind, fresh.items())
        return digests

    def _record(self, kind: RecordClass, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Note where objects are that were appended."""
        places = self._places[kind]
        for digest, data in records:
            length = len(data)
            self._end += _ITEM.size + length
            if digest not in places:
                places[digest] = (self._end - length) << _LENGTH_BITS | length
                self.count += 1
                self.nbytes += length

    def _load(self) -> None:
        """Read the objects of an interrupted transfer."""
        size = os.fstat(self._descriptor).st_size
        for number, group in groupby(self._stored(size), itemgetter(0)):
            if number >= len(CLASSES):
                break
            while datas := [data for _, data in islice(group, _TOGETHER)]:
                self._record(CLASSES[number], zip(record_digests(CLASSES[number], datas), datas, strict=True))

    def _stored(self, size: int) -> Iterator[tuple[int, bytes]]:
        at, part, start = 0, b"", 0
        while at + _ITEM.size <= size:
            if at + _ITEM.size > start + len(part):
                part, start = os.pread(self._descriptor, _READ_BYTES, at), at
            number, length = _ITEM.unpack_from(part, at - start)
            end = at + _ITEM.size + length
            if end > size:
                return
            if end > start + len(part):
                part, start = os.pread(self._descriptor, max(_READ_BYTES, end - at), at), at
            yield number, part[at + _ITEM.size - start : end - start]
            at = end

    # ------------------------------------------------------------------ reading

    def holds(self, kind: RecordClass, digest: bytes) -> bool:
        """Whether an object is here."""
        return digest in self._places[kind]

    def get_many(self, kind: RecordClass, digests: Sequence[bytes]) -> list[bytes | None]:
        """The objects of these digests, in their order; None for those that are not here. Neighbours are read with one call."""
        places = list(map(self._places[kind].get, digests))
        found: dict[int, bytes] = {}
        for run in _runs(sorted({place for place in places if place is not None})):
            start, last = run[0] >> _LENGTH_BITS, run[-1]
            part = os.pread(self._descriptor, (last >> _LENGTH_BITS) + (last & _LENGTH) - start, start)
            for place in run:
                at = (place >> _LENGTH_BITS) - start
                found[place] = part[at : at + (place & _LENGTH)]
        return [None if place is None else found[place] for place in places]

    def digests(self, kind: RecordClass) -> list[bytes]:
        """The digests of all objects of a class, as they came."""
        return list(self._places[kind])

    # ------------------------------------------------------------------ the end

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._descriptor, 0)
        self._places = {kind: {} for kind in CLASSES}
        self.count = self.nbytes = self._end = 0

    def close(self, *, remove: bool = True) -> None:
        """Close the file, and delete it unless a later transfer shall continue with it."""
        if forking.is_private(self._descriptor):
            if remove:
                with contextlib.suppress(HangarError):
                    _fs.remove_file(self.path)
            forking.close_private(self._descriptor)


def _runs(places: list[int]) -> Iterator[list[int]]:
    """Ascending places in groups that are read with one call each."""
    run: list[int] = []
    for place in places:
        offset = place >> _LENGTH_BITS
        if run:
            first, last = run[0] >> _LENGTH_BITS, run[-1]
            if offset > (last >> _LENGTH_BITS) + (last & _LENGTH) + _GAP_BYTES or offset > first + _READ_BYTES:
                yield run
                run = []
        run.append(place)
    if run:
        yield run


def quarantine_path(directory: Path, name: str) -> Path:
    """Path of a quarantine in ``.hangar``."""
    return directory / QUARANTINE_DIRECTORY / f"{name}{OBJECTS}"
