"""A remote as the source of a repair: ``hangar fsck --repair --from REMOTE``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from hangar.digest import Header, RecordClass, blob_digest, record_digests
from hangar.errors import CorruptionError
from hangar.remote.peer import BlobFrame, BlobNames, Names, ObjectsRequest, Reader

__all__ = ["RemoteSource", "RemoteSources", "whole_blobs"]

_AT_ONCE: Final = 4_096
_MOST_BYTES: Final = 2**34
"""A blob that is said to be larger is not gathered in memory."""


class RemoteSource:
    """The repository of a remote, for :class:`hangar.fsck.source.RepairSource`. What it gives is not verified here."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name = name
        self._reader = reader

    def records(self, kind: RecordClass, digests: Sequence[bytes]) -> Iterator[bytes]:
        """Records of one class."""
        for start in range(0, len(digests), _AT_ONCE):
            names = Names(kind, b"".join(digests[start : start + _AT_ONCE]))
            for frame in self._reader.objects(ObjectsRequest((names,), below=False)):
                yield from frame.items

    def blobs(self, digests: Sequence[bytes]) -> Iterator[tuple[Header, bytes]]:
        """Blobs. One that is damaged there is left out, and the others come all the same, some of them twice."""
        for start in range(0, len(digests), _AT_ONCE):
            yield from self._blobs(digests[start : start + _AT_ONCE])

    def _blobs(self, digests: Sequence[bytes]) -> Iterator[tuple[Header, bytes]]:
        try:
            yield from whole_blobs(self._reader.blobs(BlobNames(b"".join(digests))))
        except CorruptionError:
            half = len(digests) // 2
            if half:
                yield from self._blobs(digests[:half])
                yield from self._blobs(digests[half:])


class RemoteSources:
    """Several remotes, which are asked one after the other for what those before do not have."""

    def __init__(self, sources: Sequence[RemoteSource]) -> None:
        self._sources = sources
        self.name = " or ".join(source.name for source in sources)

    def records(self, kind: RecordClass, digests: Sequence[bytes]) -> Iterator[bytes]:
        """Records of one class."""
        left = list(digests)
        for source in self._sources:
            found = list(source.records(kind, left)) if left else []
            came = set(record_digests(kind, found))
            left = [digest for digest in left if digest not in came]
            yield from found

    def blobs(self, digests: Sequence[bytes]) -> Iterator[tuple[Header, bytes]]:
        """Blobs."""
        left = dict.fromkeys(digests)
        for source in self._sources:
            for header, data in source.blobs(list(left)) if left else ():
                left.pop(blob_digest(header, data), None)
                yield header, data


def whole_blobs(frames: Iterator[BlobFrame]) -> Iterator[tuple[Header, bytes]]:
    """Blobs of frames; the parts of a large one are joined."""
    parts: list[bytes] = []
    held = 0
    for frame in frames:
        lengths = np.frombuffer(frame.lengths, "<u8").tolist()
        numbers = np.frombuffer(frame.header_of, "<u4").tolist() or [0] * len(lengths)
        if not lengths or len(numbers) != len(lengths) or max(numbers) >= len(frame.headers):
            raise CorruptionError("the remote sent a frame of blobs that contradicts itself")
        if len(lengths) == 1 and len(frame.data) < lengths[0] <= _MOST_BYTES:
            held = held if frame.start == held and held else 0
            parts = parts if held else []
            parts.append(bytes(frame.data))
            held += len(frame.data)
            if held >= lengths[0]:
                yield Header.decode(frame.headers[0]), b"".join(parts)
                parts, held = [], 0
            continue
        at = 0
        for length, number in zip(lengths, numbers, strict=True):
            yield Header.decode(frame.headers[number]), bytes(frame.data[at : at + length])
            at += length
