"""The layout of a bundle file: frames as they go over the wire, an index by digest, and refs. See ``docs/protocol.rst``.

A bundle is written once, from front to back, and put in its place when it is complete. Whoever reads it trusts nothing of
it: the index has a digest against accidents, every number in it is checked, frames have the bounds of the wire, and the
reader of objects and blobs computes their digests, as with every remote.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from hangar import _fs
from hangar.digest import DIGEST_BYTES
from hangar.errors import CorruptionError, InvalidInputError, UnsupportedVersionError
from hangar.refs import Annotation
from hangar.remote.wire import MAX_WIRE_BYTES

__all__ = ["CLASSES", "BundleFile", "BundleIndex", "BundleRef", "BundleWriter"]

MAGIC: Final = b"HANGARBN"
END: Final = b"HANGARBE"
VERSION: Final = 1
CLASSES: Final = ("commit", "schema", "attributes", "node", "array")
"""Classes of objects; their place here is their number in the index."""
_HEAD: Final = struct.Struct("<8sII")
_TRAILER: Final = struct.Struct("<QQ32s8s")
MAX_INDEX_BYTES: Final = 2**36
MAX_REFS: Final = 2**20


class BundleRef(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A ref of a bundle: full name, commit, its generation, annotation of a tag."""

    name: str
    digest: bytes
    generation: int
    annotation: Annotation | None = None


class BundleIndex(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Index of a bundle.

    Attributes
    ----------
    refs
        The refs.
    head
        The branch that a clone begins with.
    prerequisites
        Commits that a receiver must have: digests, joined.
    offsets
        Where each frame begins: u64.
    classes
        Class of each object: one byte, its place in :data:`CLASSES`.
    objects
        Digest of each object, joined.
    object_frames, object_places
        Frame of each object, and its place in it: u32.
    blobs
        Digest of each blob, joined.
    blob_frames, blob_places
        Frame of each blob (the first, if it has parts), and its place in it: u32.
    software
        Who wrote the bundle, for people.
    """

    refs: list[BundleRef]
    head: str
    prerequisites: bytes
    offsets: bytes
    classes: bytes
    objects: bytes
    object_frames: bytes
    object_places: bytes
    blobs: bytes
    blob_frames: bytes
    blob_places: bytes
    software: str

    def check(self, end: int) -> None:
        """Raise a ``CorruptionError`` unless all numbers fit together; ``end`` is where the frames end."""
        frames, objects, blobs = len(self.offsets) // 8, len(self.classes), len(self.blobs) // DIGEST_BYTES
        offsets = np.frombuffer(self.offsets, "<u8") if len(self.offsets) % 8 == 0 else np.zeros(1, "<u8")
        whole = (
            len(self.refs) <= MAX_REFS
            and len(self.prerequisites) % DIGEST_BYTES == 0
            and len(self.objects) == DIGEST_BYTES * objects
            and len(self.blobs) == DIGEST_BYTES * blobs
            and len(self.object_frames) == len(self.object_places) == 4 * objects
            and len(self.blob_frames) == len(self.blob_places) == 4 * blobs
            and all(len(ref.digest) == DIGEST_BYTES for ref in self.refs)
            and (not objects or max(self.classes) < len(CLASSES))
            and (not frames or (int(offsets[0]) == _HEAD.size and int(offsets[-1]) < end))
            and bool((offsets[1:] > offsets[:-1]).all())
            and all(
                not numbers or int(np.frombuffer(numbers, "<u4").max()) < frames
                for numbers in (self.object_frames, self.blob_frames)
            )
        )
        if not whole:
            raise CorruptionError("the index of the bundle contradicts itself")


class BundleWriter:
    """Writes a bundle; a context manager. The file appears at its path when :meth:`finish` is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        self._descriptor = _fs.create_file(self._temporary)
        self._end = _fs.write_at(self._descriptor, [_HEAD.pack(MAGIC, VERSION, 0)], 0, self._temporary) or _HEAD.size
        self._offsets: list[int] = []

    @property
    def frames(self) -> int:
        """Number of frames so far, and so the number of the next one."""
        return len(self._offsets)

    @property
    def nbytes(self) -> int:
        """Bytes so far."""
        return self._end

    def add(self, message: bytes) -> None:
        """Append a frame: an encoded message."""
        self._offsets.append(self._end)
        record = len(message).to_bytes(4, "little") + message
        _fs.write_at(self._descriptor, [record], self._end, self._temporary)
        self._end += len(record)

    def offsets(self) -> bytes:
        """Where each frame begins."""
        return np.array(self._offsets, "<u8").tobytes()

    def finish(self, index: BundleIndex) -> None:
        """Write the index, make the file durable, and put it in its place."""
        data = msgspec.msgpack.encode(index)
        trailer = _TRAILER.pack(self._end, len(data), blake3(data).digest(), END)
        _fs.write_at(self._descriptor, [data, trailer], self._end, self._temporary)
        _fs.sync_file(self._descriptor, self._temporary)
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            _fs.raise_for(error, "write", self._path)
        _fs.sync_directory(self._path.parent)

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._descriptor)
        if kind is not None:
            self._temporary.unlink(missing_ok=True)


class BundleFile:
    """An open bundle.

    Raises
    ------
    InvalidInputError
        It is no bundle.
    UnsupportedVersionError
        A newer Hangar wrote it.
    CorruptionError
        It is cut or damaged.
    StorageError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _fs.open_file(path)
        try:
            self.index = self._open()
        except BaseException:
            os.close(self._descriptor)
            raise
        self.offsets: npt.NDArray[np.uint64] = np.frombuffer(self.index.offsets, "<u8")

    def _open(self) -> BundleIndex:
        head = self._read(0, _HEAD.size)
        if head[:8] != MAGIC:
            raise InvalidInputError(f"{self.path} is not a bundle file")
        if len(head) < _HEAD.size or head[8:] != _HEAD.pack(MAGIC, VERSION, 0)[8:]:
            raise UnsupportedVersionError(f"{self.path} was written by a newer Hangar: install it to read the bundle")
        size = os.fstat(self._descriptor).st_size
        trailer = self._read(max(0, size - _TRAILER.size), _TRAILER.size)
        if len(trailer) < _TRAILER.size or trailer[-8:] != END:
            raise CorruptionError(f"{self.path} is cut: copy it again")
        start, length, digest, _ = _TRAILER.unpack(trailer)
        if length > MAX_INDEX_BYTES or start < _HEAD.size or start + length + _TRAILER.size != size:
            raise CorruptionError(f"{self.path} is damaged: copy it again")
        data = self._read(start, length)
        if blake3(data).digest() != digest:
            raise CorruptionError(f"the index of {self.path} is damaged: copy it again")
        try:
            index = msgspec.msgpack.decode(data, type=BundleIndex)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CorruptionError(f"the index of {self.path} cannot be decoded: {error}") from None
        index.check(start)
        return index

    def _read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            _fs.raise_for(error, "read", self.path)

    def frame(self, number: int) -> bytes:
        """The encoded message of a frame."""
        offset = int(self.offsets[number])
        length = int.from_bytes(self._read(offset, 4), "little")
        if length > MAX_WIRE_BYTES:
            raise CorruptionError(f"frame {number} of {self.path} is damaged: copy the bundle again")
        data = self._read(offset + 4, length)
        if len(data) != length:
            raise CorruptionError(f"{self.path} is cut: copy it again")
        return data

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
