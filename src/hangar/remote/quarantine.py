"""Quarantine: objects that were received and are not verified yet, in one file outside of the database.

Objects of all classes are appended to the file as they come, and found by digest through an index in memory (72 bytes
each). Nothing here is part of the repository: the file may be deleted at any time when no process has it locked. A
fetch keeps the file when it is interrupted, and the next one reads it again: what is cut off at its end is ignored, and
all digests are computed anew.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hangar import _fs
from hangar.backends.location import OFFSET, STORED, Locations
from hangar.blobs.index import Digests, Index, Mask, Sought, sort_digests
from hangar.blobs.unpublished import UnpublishedBlobs
from hangar.digest import RecordClass, digest_array, record_digests
from hangar.errors import HangarError, LockedError
from hangar.history.leases import QUARANTINE_DIRECTORY

__all__ = ["CLASSES", "Quarantine", "quarantine_path", "remove_stale"]

CLASSES: Final[tuple[RecordClass, ...]] = ("commit", "schema", "attributes", "node", "array")
"""Classes of objects that travel. Their place here is their number in the file."""
_ITEM: Final = struct.Struct("<BI")
_READ_BYTES: Final = 2**22


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
        self._indexes = {kind: UnpublishedBlobs() for kind in CLASSES}
        _fs.make_directory(path.parent)
        while not self._lock():
            _fs.close_private(self._descriptor)  # it was removed as stale before it was locked
        try:
            self._load()
        except BaseException:
            _fs.close_private(self._descriptor)
            raise

    def _lock(self) -> bool:
        """Open the file, make it if there is none, and lock it; whether it is still there then."""
        try:
            self._descriptor = _fs.close_in_child(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            _fs.raise_for(error, "open", self.path)
        try:
            if not _fs.try_lock(self._descriptor, shared=False):
                if not _fs.is_file_of(self._descriptor, self.path):
                    return False
                raise LockedError(f"{self.path} is in use: another transfer of the same data is in progress")
            return _fs.is_file_of(self._descriptor, self.path)
        except BaseException:
            _fs.close_private(self._descriptor)
            raise

    # ------------------------------------------------------------------ writing

    def add(self, kind: RecordClass, datas: Sequence[bytes]) -> Digests:
        """Add objects; return their digests, in order: uint8, shape (n, 32)."""
        digests = digest_array(record_digests(kind, datas))
        fresh = np.flatnonzero(~self.holds(kind, digests))
        if fresh.size:
            chosen = [datas[at] for at in fresh.tolist()]
            parts: list[bytes] = []
            number = CLASSES.index(kind)
            for data in chosen:
                parts += (_ITEM.pack(number, len(data)), data)
            _fs.write_at(self._descriptor, [b"".join(parts)], self._end, self.path)
            self._record(kind, digests[fresh], chosen)
        return digests

    def _record(self, kind: RecordClass, digests: Digests, datas: Sequence[bytes]) -> None:
        lengths = np.fromiter(map(len, datas), np.int64, len(datas))
        ends = (lengths + _ITEM.size).cumsum() + self._end
        order, sought, repeats = sort_digests(digests)
        kept = np.flatnonzero(~repeats)
        locations = Locations.at(file=1, offset=ends - lengths, length=lengths).take(order[kept])
        self._indexes[kind].add(Index.build(sought.take(kept), locations))
        self._end = int(ends[-1])
        self.count += len(kept)
        self.nbytes += int(lengths.sum())

    def _load(self) -> None:
        """Read the objects of an interrupted transfer."""
        size = os.fstat(self._descriptor).st_size
        group: tuple[RecordClass, list[bytes]] | None = None
        for number, data in self._stored(size):
            if number >= len(CLASSES):
                break
            if group is None or group[0] != CLASSES[number] or len(group[1]) >= 1024:
                self._take(group)
                group = CLASSES[number], []
            group[1].append(data)
        self._take(group)

    def _take(self, group: tuple[RecordClass, list[bytes]] | None) -> None:
        if group is not None:
            self._record(group[0], digest_array(record_digests(*group)), group[1])

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

    def holds(self, kind: RecordClass, digests: Digests) -> Mask:
        """Mask of the objects that are here: bool, shape (n,)."""
        if not len(digests):
            return np.zeros(0, np.bool_)
        return self._indexes[kind].holds(Sought.of(np.ascontiguousarray(digests)))

    def get_many(self, kind: RecordClass, digests: Sequence[bytes]) -> list[bytes | None]:
        """The objects of these digests, in their order; None for those that are not here."""
        found: list[bytes | None] = [None] * len(digests)
        if not digests:
            return found
        sought = Sought.of(digest_array(digests))
        for index in self._indexes[kind].indexes:
            mask, rows = index.search(sought)
            hits = np.flatnonzero(mask)
            if hits.size:
                words = index.take(rows[hits], sought.take(hits))
                for at, offset, length in zip(
                    hits.tolist(), words[:, OFFSET].tolist(), words[:, STORED].tolist(), strict=True
                ):
                    found[at] = os.pread(self._descriptor, length, offset)
        return found

    def digests(self, kind: RecordClass) -> Digests:
        """The digests of all objects of a class, sorted."""
        return self._indexes[kind].merged().digests()

    # ------------------------------------------------------------------ the end

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._descriptor, 0)
        self._indexes = {kind: UnpublishedBlobs() for kind in CLASSES}
        self.count = self.nbytes = self._end = 0

    def close(self, *, remove: bool = True) -> None:
        """Close the file, and delete it unless a later transfer shall continue with it."""
        if _fs.is_private(self._descriptor):
            if remove:
                with contextlib.suppress(HangarError):
                    _fs.remove_file(self.path)
            _fs.close_private(self._descriptor)


def quarantine_path(directory: Path, name: str) -> Path:
    """Path of a quarantine in ``.hangar``."""
    return directory / QUARANTINE_DIRECTORY / f"{name}.objects"


def remove_stale(directory: Path, prefix: str) -> int:
    """Delete the quarantines whose names begin with ``prefix`` and that no process uses; returns their number."""
    place = directory / QUARANTINE_DIRECTORY
    removed = 0
    for name in _fs.list_directory(place) if place.is_dir() else ():
        if not name.startswith(prefix):
            continue
        with contextlib.suppress(HangarError):
            descriptor = _fs.close_in_child(_fs.open_file(place / name))
            try:
                if _fs.try_lock(descriptor, shared=False):
                    _fs.remove_file(place / name)
                    removed += 1
            finally:
                _fs.close_private(descriptor)
    return removed
