"""Crash-safe writer of HDF5 files.

The file grows like every other blob file: frames are appended at the recorded end, earlier bytes are not overwritten, a
sync is one ``fsync``. The HDF5 metadata is a *listing* at the end of the file. A new one is appended when it is small
compared with the frames appended since the last one, and never overwrites a listing in use. The superblock, in a disk
block of its own, is pointed at a new listing only after that is synced. So h5py can open the file after any crash, and
finds the arrays of the last listing.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from xxhash import xxh3_64_intdigest

from hangar import _fs
from hangar.backends.append import AppendWriter
from hangar.backends.base import Options, Payload
from hangar.backends.file import FILE_HEADER_BYTES, BlobFile, encode_file_header
from hangar.backends.hdf5 import structure
from hangar.backends.hdf5.chunks import Plan, Policy
from hangar.backends.hdf5.codecs import NONE, Encoding
from hangar.backends.hdf5.compress import Compressor
from hangar.backends.hdf5.frames import LISTING, MAX_PIECE_BYTES, Content, Frame, encode_head
from hangar.backends.hdf5.listing import about, make_listing
from hangar.backends.hdf5.options import encoding_of
from hangar.backends.hdf5.stored import FrameForm
from hangar.backends.location import Locations
from hangar.backends.stored import StoredForm
from hangar.errors import CorruptionError, HangarError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["DATA_START", "HDF5Writer"]

_BASE: Final = 4096
"""*Format.* Offset of the superblock. It has its own disk block: a torn write cannot damage the file header or the first chunks."""
DATA_START: Final = 8192
"""*Format.* Offset of the first frame."""
_LISTED_AT: Final = _BASE + 1024
_LISTED: Final = struct.Struct("<QQQ")
_UNLISTED_ROOT: Final = 64
_WRITE_BYTES: Final = 4 * 2**20
_LISTING_SHARE: Final = 10
"""A listing is written when the bytes appended since the last one are so many times its own size."""
_LISTED_CHUNK_BYTES: Final = 40


class HDF5Writer(AppendWriter):
    """Appends to one blob file; see :class:`~hangar.backends.base.FileWriter`."""

    def __init__(self, path: Path, file_id: int, tag: str, end: int | None, policy: Policy) -> None:
        self._policy = policy
        self._compressor = Compressor()
        # Offset, length and root address of each known listing of this file; root 0: the address is not known.
        self._listings: list[tuple[int, int, int]] = []
        self._fresh_chunks = 0
        self._sealed = False
        super().__init__(path, file_id, tag, end)

    # ------------------------------------------------------------------ opening

    def _begin(self, tag: str) -> int:
        block = encode_file_header(tag, self.file_id).ljust(_BASE, b"\0") + self._superblock_area(None)
        return _fs.write_at(self._descriptor, [block.ljust(DATA_START, b"\0")], 0, self.path)

    def _continue(self, tag: str, end: int) -> int:
        super()._continue(tag, end)
        if end < DATA_START:
            raise CorruptionError(f"blob file {self.path} ends at {end}, before its first chunk")
        start, length, check = _LISTED.unpack(os.pread(self._descriptor, _LISTED.size, _LISTED_AT))
        if length and xxh3_64_intdigest(struct.pack("<QQ", start, length)) == check:
            self._listings.append((start, length, 0))
        return end

    def _superblock_area(self, listing: tuple[int, int, int] | None) -> bytes:
        """The second block of the file: superblock and pointer to a listing."""
        unlisted = structure.object_header([*structure.group_messages(), *about(self._tag, self.file_id, False)])
        start, length, root = listing or (0, 0, _UNLISTED_ROOT)
        end = start + length or _BASE + _UNLISTED_ROOT + len(unlisted)
        area = structure.superblock(_BASE, root, end).ljust(_UNLISTED_ROOT, b"\0") + unlisted
        listed = struct.pack("<QQ", start, length)
        return area.ljust(_LISTED_AT - _BASE, b"\0") + listed + struct.pack("<Q", xxh3_64_intdigest(listed))

    # ------------------------------------------------------------------ appending

    def write(self, payload: Payload, options: Options) -> Locations:
        """Append a batch. Chunks are encoded on several threads and written in order."""
        if payload.form is not None:
            return self._write_form(payload, payload.form)
        encoding = encoding_of(options)
        start = self.end
        words = np.zeros((3, len(payload.lengths)), np.int64)
        words[0] = start
        chunks = 0
        self._hide_overwritten_listing()
        try:
            for plan, offset, length in self._append_frames(
                self._compressor.frames(payload, self._policy, encoding), encoding
            ):
                words[0, plan.samples], words[1, plan.samples], words[2, plan.samples] = offset, length, plan.rows
                chunks += plan.content.pieces
        except BaseException:
            self.end = start
            raise
        self._fresh_chunks += chunks
        codec = np.where(words[1] > 0, encoding.codec, 0)
        return Locations.at(file=self.file_id, offset=words[0], length=words[1], codec=codec, row=words[2])

    def _write_form(self, payload: Payload, form: StoredForm) -> Locations:
        """Append the frame of a sample as it came."""
        assert isinstance(form, FrameForm)
        start = self.end
        self._hide_overwritten_listing()
        self._append([form.description, *payload.buffers])
        length = self.end - start
        if length != len(form.description) + sum(form.sizes):
            self.end = start
            raise ValueError(f"a frame of {sum(form.sizes)} bytes came with {length}")
        self._fresh_chunks += len(form.sizes)
        return Locations.at(file=self.file_id, offset=[start], length=[length], codec=form.frame.encoding.codec)

    def _append_frames(
        self, pieces: Iterable[tuple[Plan, list[Buffer], list[int]]], encoding: Encoding
    ) -> Iterator[tuple[Plan, int, int]]:
        """Write frames, several at a time; yield plan, offset and length of each."""
        buffers: list[Buffer] = []
        at = self.end
        for plan, stored, checks in pieces:
            sizes = [memoryview(one).nbytes for one in stored]
            head = encode_head(plan.content, encoding, sizes, checks)
            buffers += [head, *stored]
            length = len(head) + sum(sizes)
            yield plan, at, length
            at += length
            if at - self.end >= _WRITE_BYTES:
                self._append(buffers)
                buffers = []
        self._append(buffers)

    # ------------------------------------------------------------------ listings

    def seal(self) -> None:
        """Finish the file: the next sync writes a listing of all frames."""
        self._sealed = True

    def sync(self) -> None:
        """Sync all appended bytes. A listing may be appended first, which advances ``end``."""
        made = None
        if self._listing_is_due():
            start = self.end
            # The listing is only for other programs. If the disk is full or an old frame is damaged, it is skipped.
            try:
                made = self._write_listing()
            except HangarError:
                self.end = start
        super().sync()
        if made is not None:
            self._listings.append(made)
            self._fresh_chunks = 0
            self._show(made)
            if self._sealed:
                # This file will not be synced again.
                super().sync()

    def _listing_is_due(self) -> bool:
        if not self._fresh_chunks:
            return False
        if self._sealed or not self._listings:
            return True
        start, length, _ = self._listings[-1]
        return self.end - start - length >= _LISTING_SHARE * (length + self._fresh_chunks * _LISTED_CHUNK_BYTES)

    def _write_listing(self) -> tuple[int, int, int] | None:
        file = BlobFile(self.path, self.file_id, self._tag)
        frames = list(walk(file, self.end))
        # The length of the head does not depend on the data.
        head_bytes = len(_listing_head(b"\0"))
        data, root = make_listing(frames, self._tag, self.file_id, _BASE, self.end + head_bytes)
        if len(data) > MAX_PIECE_BYTES:
            return None
        made = self.end, head_bytes + len(data), root
        self._append([_listing_head(data), data])
        return made

    def _show(self, listing: tuple[int, int, int] | None) -> None:
        """Point the superblock to a listing that is on disk, or to none. No sync is needed: the old and the new state are both valid."""
        with contextlib.suppress(HangarError):
            _fs.write_at(self._descriptor, [self._superblock_area(listing)], _BASE, self.path)

    def _hide_overwritten_listing(self) -> None:
        """Point the superblock away from a listing that the next append overwrites, because ``end`` was set back."""
        found = len(self._listings)
        while self._listings and sum(self._listings[-1][:2]) > self.end:
            self._listings.pop()
        if len(self._listings) < found:
            self._show(self._listings[-1] if self._listings and self._listings[-1][2] else None)
            # The change must be on disk before the old listing is overwritten.
            _fs.sync_file(self._descriptor, self.path)


def walk(file: BlobFile, end: int) -> Iterator[Frame]:
    """Yield the frames of a file in order, without listings.

    Raises
    ------
    CorruptionError
        The bytes between two frames are not a frame.
    """
    at = DATA_START
    mapped = file.need(end)
    while at < end:
        frame = Frame.find(mapped.map, at, end)
        if frame.content.role != LISTING:
            yield frame
        at += frame.length


def _listing_head(data: bytes) -> bytes:
    size = len(data)
    content = Content(LISTING, b"", 1, 1, 0, 1, size, size)
    return encode_head(content, Encoding(NONE, 0, 0), [size], [xxh3_64_intdigest(data)])


assert FILE_HEADER_BYTES < _BASE < _LISTED_AT < DATA_START
