"""Journal of received blobs: in which blob files the blobs of an unfinished push lie, and where in them.

Blobs of a push are appended to blob files that no row names until the push is published. The journal lets a later
process continue the push: it takes those files over, reads every blob again, and keeps those that are what their
digests name. So nothing needs to be synced while blobs come in, and a journal that is torn or outdated only costs a
second transfer. It lies in the quarantine beside the objects of the push; whoever has these locked owns it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from xxhash import xxh3_64_intdigest

from hangar import _fs
from hangar.backends.location import LOCATION, Locations
from hangar.blobs.index import Digests, Index
from hangar.digest import DIGEST_BYTES, Header
from hangar.errors import HangarError, InvalidInputError

__all__ = ["QUARANTINE_DIRECTORY", "Entries", "Journal", "read_journal"]

QUARANTINE_DIRECTORY: Final = "quarantine"
"""What transfers in progress received; each file is locked by the process that uses it."""
_HEAD: Final = struct.Struct("<8sII")
_MAGIC: Final = b"HANGARRJ"
_VERSION: Final = 0
_RECORD: Final = struct.Struct("<IIQ")
_FILE, _HEADERS, _BLOBS = range(3)
_ENTRY_BYTES: Final = DIGEST_BYTES + LOCATION.size
_MOST_BYTES: Final = 2**30
"""A longer record is damage."""


class Entries(NamedTuple):
    """What a journal says.

    Attributes
    ----------
    hours
        So long the push is kept after its last change.
    files
        Backend tag of each blob file, by id.
    headers
        Headers of the blobs.
    batches
        Digests and locations of each batch, in the order in which they came.
    end
        Where the last whole record ends.
    """

    hours: int
    files: dict[int, str]
    headers: list[Header]
    batches: list[tuple[Digests, Locations]]
    end: int


class Journal:
    """The journal of a push in progress. A new one is made, or the records of an old one are kept up to ``end``.

    Parameters
    ----------
    path
        The file.
    hours
        So long the push is kept after its last change.
    end
        End of the records to keep; 0: none.
    """

    def __init__(self, path: Path, hours: int, end: int = 0) -> None:
        self.path = path
        self._files: set[int] = set()
        self._headers: set[int] = set()
        self._end = end
        self._descriptor = _fs.open_file(path, write=True) if _fs.exists(path) else _fs.create_file(path)
        try:
            os.ftruncate(self._descriptor, end)
            if not end:
                self._end = _fs.write_at(self._descriptor, [_HEAD.pack(_MAGIC, _VERSION, hours)], 0, path)
        except BaseException:
            os.close(self._descriptor)
            raise

    def add(self, index: Index, headers: Mapping[int, Header], tags: Mapping[int, str]) -> None:
        """Note blobs that were appended to blob files.

        Parameters
        ----------
        index
            Their locations.
        headers
            Their headers, by id.
        tags
            Backend tag of each file that this process writes, by id.
        """
        locations = index.locations()
        parts: list[bytes] = []
        for file_id in np.unique(locations.file).tolist():
            if file_id not in self._files:
                self._files.add(file_id)
                parts += _record(_FILE, struct.pack("<I", file_id) + tags[file_id].encode())
        fresh = [header for header_id, header in headers.items() if header_id not in self._headers]
        if fresh:
            self._headers.update(header.id for header in fresh)
            parts += _record(_HEADERS, msgspec.msgpack.encode([header.encode() for header in fresh]))
        words = np.ascontiguousarray(locations.words, "<u8")
        parts += _record(_BLOBS, index.digests().tobytes() + words.tobytes())
        self._end += _fs.write_at(self._descriptor, parts, self._end, self.path)

    def close(self, *, remove: bool) -> None:
        """Close the file, and delete it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            if remove:
                with contextlib.suppress(HangarError):
                    _fs.remove_file(self.path)


def _record(kind: int, data: bytes) -> tuple[bytes, bytes]:
    return _RECORD.pack(len(data), kind, xxh3_64_intdigest(data, kind)), data


def read_journal(path: Path, *, blobs: bool = True) -> Entries | None:
    """What a journal says, up to its first damaged record; None if it cannot be read at all.

    Parameters
    ----------
    blobs
        Whether to read the blobs too, and not only the list of files.
    """
    try:
        descriptor = _fs.open_file(path)
    except HangarError:
        return None
    try:
        head = os.pread(descriptor, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            return None
        magic, version, hours = _HEAD.unpack(head)
        if (magic, version) != (_MAGIC, _VERSION):
            return None
        found = Entries(hours, {}, [], [], _HEAD.size)
        for kind, data, end in _records(descriptor, blobs=blobs):
            try:
                _take(found, kind, data)
            except (msgspec.DecodeError, InvalidInputError, ValueError, struct.error):
                break
            found = found._replace(end=end)
        return found
    finally:
        os.close(descriptor)


def _records(descriptor: int, *, blobs: bool) -> Iterator[tuple[int, bytes, int]]:
    """Kind, content and end of each record; the content of one with blobs is empty if these are not wanted."""
    at = _HEAD.size
    size = os.fstat(descriptor).st_size
    while at + _RECORD.size <= size:
        length, kind, check = _RECORD.unpack(os.pread(descriptor, _RECORD.size, at))
        at += _RECORD.size
        if at + length > size or length > _MOST_BYTES:
            return
        data = b"" if kind == _BLOBS and not blobs else os.pread(descriptor, length, at)
        if data and xxh3_64_intdigest(data, kind) != check:
            return
        at += length
        yield kind, data, at


def _take(found: Entries, kind: int, data: bytes) -> None:
    if kind == _FILE:
        found.files[struct.unpack_from("<I", data)[0]] = data[4:].decode("ascii")
    elif kind == _HEADERS:
        found.headers.extend(map(Header.decode, msgspec.msgpack.decode(data, type=list[bytes])))
    elif kind == _BLOBS and data:
        count, rest = divmod(len(data), _ENTRY_BYTES)
        if rest:
            raise ValueError("a record of blobs has a part of one")
        digests = np.frombuffer(data, np.uint8, count * DIGEST_BYTES).reshape(count, DIGEST_BYTES)
        words = np.frombuffer(data, "<u8", offset=count * DIGEST_BYTES).astype(np.uint64)
        found.batches.append((digests, Locations(words.reshape(count, -1))))
