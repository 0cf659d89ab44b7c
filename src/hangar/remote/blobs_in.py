"""Blobs as they come in: gathered into batches, hashed, compared with what was asked for, and given to a blob writer.

The digest of each blob is computed from its bytes and its header, so that a blob with other content is simply not one
that was asked for. Frames are gathered until they make a batch of some megabytes, because hashing and appending cost per
batch, not per blob. A blob that comes in parts is gathered in a file if it is large.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.backends.preference import Preference
from hangar.backends.registry import get_backend
from hangar.blobs import BlobWriter
from hangar.blobs.index import Digests, Mask
from hangar.blobs.intact import logical_size
from hangar.digest import (
    STR,
    Header,
    blob_digests,
    blob_digests_of_list,
    digest_array,
)
from hangar.errors import InvalidInputError
from hangar.remote import blob_parts
from hangar.remote.blob_parts import DecodedParts, KeptParts, check_content, decoded_pieces, received_form
from hangar.remote.parts import PartFile, PartFiles
from hangar.remote.peer import BlobFrame
from hangar.threads import Task, in_background
from hangar.wording import plural

__all__ = ["BlobsIn", "Wanted", "not_wanted"]

_BATCH_BYTES: Final = 2 * 2**20
"""One batch is stored while the next one comes in, so a stream holds two of them. Larger ones leave the cache of the processor before they
are hashed and written."""
_BATCH_BLOBS: Final = 65_536
_FRAME_BYTES: Final = 2**20
_KEPT_BYTES: Final = 2**18
"""The data of a frame of this size is kept as it came until its batch is stored; a shorter one is copied."""
_OVERLAPPED_BYTES: Final = 2**20
"""A smaller batch is stored at once, because a thread for it costs more than it saves."""
_HOLD_SECONDS: Final = 5.0
"""On a slow line a batch is stored after so long, full or not, so that no more is lost if the process dies."""
_BOOL: Final = 1

Wanted = Callable[[Digests], Mask]
"""Which of these blobs were asked for: bool, shape (n,)."""


class _RowBuffers:
    """The rows of a batch. Those of short frames are gathered in memory for two batches in turn, which is used again and again."""

    def __init__(self) -> None:
        self._filling, self._other = np.empty(0, np.uint8), np.empty(0, np.uint8)
        self.used = 0
        self._pieces: list[npt.NDArray[np.uint8]] = []

    def add(self, data: bytes | memoryview) -> None:
        """Add the rows of a frame. Those of a long one are not copied."""
        if len(data) >= _KEPT_BYTES:
            self._pieces.append(np.frombuffer(data, np.uint8))
        else:
            self._gather(data)

    def _gather(self, data: bytes | memoryview) -> None:
        end = self.used + len(data)
        if end > len(self._filling):
            larger = np.empty(max(end, min(_BATCH_BYTES + _FRAME_BYTES, 4 * end)), np.uint8)
            larger[: self.used] = self._filling[: self.used]
            self._filling = larger
        if len(data):
            self._filling[self.used : end] = np.frombuffer(data, np.uint8)
        self.used = end

    def take(self, count: int, size: int) -> list[npt.NDArray[np.uint8]]:
        """The ``count`` rows that were added, of ``size`` bytes each. The memory is used again after the next call."""
        pieces, self._pieces = self._pieces, []
        if self.used or not pieces:
            pieces.append(self._filling[: self.used])
            self._filling, self._other = self._other, self._filling
            self.used = 0
        return [piece.reshape(len(piece) // size if size else count, size) for piece in pieces]


class BlobsIn:
    """One stream of blobs.

    Parameters
    ----------
    writer
        Stores the blobs. Several streams may share it.
    lock
        Held while the writer is used.
    place
        Backend for the blobs of a group.
    wanted
        Which blobs were asked for.
    directory
        For the files of large blobs.
    most
        Bytes of one blob.
    fits
        Whether a header, and the length of the shortest blob that has it, can be one of the blobs of a group; None: any can.
    parts, named
        Where parts of large blobs stay if the stream ends early, and which blob a frame with the first of them is of.

    Attributes
    ----------
    blobs, nbytes
        Number of blobs stored, and their bytes.
    spoiled
        Number of blobs that were not stored, because what an earlier transfer had left of them was damaged.
    """

    def __init__(
        self,
        writer: BlobWriter,
        lock: threading.Lock,
        place: Callable[[int, Header], Preference],
        wanted: Wanted,
        directory: Path,
        *,
        most: int,
        fits: Callable[[int, Header, int], bool] | None = None,
        parts: PartFiles | None = None,
        named: Callable[[BlobFrame], bytes | None] | None = None,
    ) -> None:
        self._writer = writer
        self._lock = lock
        self._place = place
        self._wanted = wanted
        self._directory = directory
        self._most = most
        self._fits = fits
        self._part_files = parts
        self._named = named
        self._headers: dict[bytes, Header] = {}
        self._rows = _RowBuffers()
        self._spare: list[npt.NDArray[np.uint8]] = []
        self._storing: Task[None] | None = None
        self._mixed: list[tuple[list[Header], npt.NDArray[np.int64], bytes | memoryview]] = []
        self._waiting_key: tuple[int, Header | None, int] | None = None
        self._waiting_bytes = self._waiting_blobs = 0
        self._parts: DecodedParts | KeptParts | None = None
        self._scratch = np.empty(0, np.uint8)
        self._due = time.monotonic() + _HOLD_SECONDS
        self.blobs = self.nbytes = self.spoiled = 0
        self._told = 0, 0

    def add(self, frame: BlobFrame) -> None:
        """Add the blobs of a frame.

        Raises
        ------
        InvalidInputError
            The frame contradicts itself, or has a blob that was not asked for.
        PurgedError, DiskFullError, StorageError
            As from the writer.
        """
        lengths = _lengths(frame)
        headers = list(map(self._header, frame.headers))
        part = len(lengths) == 1 and len(frame.data) < int(lengths[0])
        if part or frame.form or frame.start or self._parts is not None:
            self._add_part(frame, headers, lengths)
            return
        if int(lengths.sum()) != len(frame.data):
            raise InvalidInputError(
                f"a frame of blobs has {plural(len(frame.data), 'byte')}, its lengths make {int(lengths.sum()):,}"
            )
        self._add_whole(frame, headers, lengths)
        full = self._waiting_bytes >= _BATCH_BYTES or self._waiting_blobs >= _BATCH_BLOBS
        if full or time.monotonic() > self._due:
            self._begin()

    def flush(self) -> None:
        """Store the whole blobs that came. Raises the errors of :meth:`add`."""
        self._begin()
        self.wait()

    def wait(self) -> None:
        """Wait until the last batch is stored. Raises the errors of :meth:`add`."""
        storing = self._storing
        if storing is None:
            return
        try:
            storing.result()
        finally:
            storing.settle()
            self._storing = None

    def leave(self) -> None:
        """Leave the first bytes of a blob that is not complete to a later transfer."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts = self._unkept(parts) if isinstance(parts, KeptParts) else parts
            parts.leave(partial(self._part_file, parts.digest, parts.header, parts.total))

    def finish(self) -> None:
        """Store what is left.

        Raises
        ------
        InvalidInputError
            The last blob is not complete.
        """
        if self._parts is not None:
            raise InvalidInputError(f"a blob of {plural(self._parts.total, 'byte')} ends after {self._parts.done:,}")
        self.flush()

    # ------------------------------------------------------------------ frames

    def _header(self, data: bytes) -> Header:
        found = self._headers.get(data)
        if found is None:
            found = Header.decode(data)
            if len(self._headers) >= _BATCH_BLOBS:
                self._headers.clear()
            self._headers[data] = found
        return found

    def _check(self, header: Header, lengths: npt.NDArray[np.int64], group: int) -> None:
        """Check the lengths of the blobs of one header, and that it fits their column."""
        if not len(lengths):
            raise InvalidInputError("a frame of blobs has a header that none of them has")
        size = logical_size(header)
        if size >= 0 and (lengths != size).any():
            wrong = int(lengths[lengths != size][0])
            raise InvalidInputError(f"a blob of {wrong:,} bytes has the header of one of {size:,}")
        if self._fits is not None and not self._fits(group, header, int(lengths.min())):
            raise InvalidInputError(f"a blob is not what its column holds: {header}")

    def _add_whole(self, frame: BlobFrame, headers: list[Header], lengths: npt.NDArray[np.int64]) -> None:
        count = len(lengths)
        numbers = _numbers(frame, len(headers), count)
        one = headers[0] if len(headers) == 1 else None
        size = int(lengths[0]) if count and one is not None and (lengths == lengths[0]).all() else -1
        if one is not None:
            self._check(one, lengths, frame.group)
        else:
            for number, header in enumerate(headers):
                self._check(header, lengths[numbers == number], frame.group)
        key = (frame.group, one, size) if size >= 0 and one is not None else (frame.group, None, -1)
        if key != self._waiting_key:
            self._begin()
            self._waiting_key = key
        if key[1] is not None:
            self._rows.add(frame.data)
        else:
            self._mixed.append(([headers[number] for number in numbers.tolist()], lengths, frame.data))
        self._waiting_bytes += len(frame.data)
        self._waiting_blobs += count

    def _add_part(self, frame: BlobFrame, headers: list[Header], lengths: npt.NDArray[np.int64]) -> None:
        parts = self._parts
        if len(lengths) != 1 or len(headers) != 1:
            raise InvalidInputError("a part of a large blob comes in a frame of its own")
        total = int(lengths[0])
        if parts is None:
            if total > self._most:
                raise InvalidInputError(f"a blob of {plural(total, 'byte')} exceeds the limit of {self._most:,}")
            self._check(headers[0], lengths, frame.group)
            parts = self._parts = self._begin_parts(frame, headers[0], total)
        if (
            (headers[0], total, frame.group) != (parts.header, parts.total, parts.group)
            or frame.start != parts.done
            or not frame.nbytes
            or parts.done + frame.nbytes > total
        ):
            raise InvalidInputError("the parts of a large blob do not follow each other")
        if isinstance(parts, KeptParts) and not parts.takes(frame):
            parts = self._parts = self._unkept(parts)
        if frame.form:
            self._add_pieces(parts, frame)
        elif isinstance(parts, KeptParts):
            data = memoryview(frame.data)
            check_content(parts.header, data)
            parts.add(data, data)
        else:
            parts.add(frame.data)
        if parts.done == total:
            self._parts = None
            self._begin()
            # Two of the longer ones would need too much memory, so such a blob is stored before the next one comes.
            self._start(partial(self._store_parts, parts), overlapped=2 * parts.held <= blob_parts.MEMORY_BYTES)

    def _begin_parts(self, frame: BlobFrame, header: Header, total: int) -> DecodedParts | KeptParts:
        """The parts of a blob, with those that an earlier transfer left if this one goes on with them.

        They are kept as they come if a writer here would store them so.
        """
        digest = None if self._named is None else self._named(frame)
        if not frame.start and header.kind != STR:
            form = received_form(frame.form, header, total) if frame.form else None
            place = self._place(frame.group, header)
            options = place.options if place.chosen else None
            backend = get_backend(place.tag)
            if backend.capabilities.raw if form is None else backend.keeps(form, header, options):
                kept = KeptParts(digest, header, form, total, frame.group)
                if kept.held <= blob_parts.MEMORY_BYTES:
                    return kept
        memory = None if frame.start else self._memory(total)
        file = self._part_file(digest, header, total, frame.start) if memory is None else None
        return DecodedParts(digest, header, total, frame.group, self._directory, memory, file)

    def _unkept(self, kept: KeptParts) -> DecodedParts:
        """What has come of a blob, decoded."""
        memory = self._memory(kept.total)
        file = self._part_file(kept.digest, kept.header, kept.total) if memory is None else None
        parts = DecodedParts(kept.digest, kept.header, kept.total, kept.group, self._directory, memory, file)
        for piece in kept.decoded(self._scratch):
            parts.add(piece)
        return parts

    def _add_pieces(self, parts: DecodedParts | KeptParts, frame: BlobFrame) -> None:
        """Add a part that came as the sender stores it."""
        form = (parts.form if isinstance(parts, KeptParts) else None) or received_form(
            frame.form, parts.header, parts.total
        )
        if len(self._scratch) < form.piece_bytes:
            self._scratch = np.empty(form.piece_bytes, np.uint8)
        end = frame.start + frame.nbytes
        for stored, decoded in decoded_pieces(form, frame.data, frame.start, self._scratch):
            if parts.done + len(decoded) > end:
                break
            check_content(parts.header, decoded.data)
            if isinstance(parts, KeptParts):
                parts.add(stored, decoded.data)
            else:
                parts.add(decoded.data)
        if parts.done != end:
            raise InvalidInputError("a frame of a stored blob has another size than it announces")

    def _part_file(self, digest: bytes | None, header: Header, total: int, start: int = 0) -> PartFile | None:
        if self._part_files is None or digest is None:
            return None
        return self._part_files.open(digest, header, total, start)

    def _memory(self, total: int) -> npt.NDArray[np.uint8] | None:
        """Memory for a blob in parts, that of one before it if that is long enough; None if it is gathered in a file."""
        spare = self._spare.pop() if self._spare else None
        if total > blob_parts.MEMORY_BYTES:
            return None
        return spare if spare is not None and len(spare) >= total else np.empty(total, np.uint8)

    def _store_parts(self, parts: DecodedParts | KeptParts) -> None:
        if isinstance(parts, KeptParts):
            self._store_kept(parts)
            return
        try:
            self._store_list([parts.header], [parts.whole()], parts.group)
        except InvalidInputError:
            if not parts.resumed:
                raise
            self.spoiled += 1  # it is asked for again, from its first byte on
        finally:
            parts.close()
        if parts.memory is not None:
            self._spare = [parts.memory]

    def _store_kept(self, parts: KeptParts) -> None:
        digest = parts.computed()
        self._check_wanted(digest_array([digest]))
        place = self._place(parts.group, parts.header)
        check = parts.checksum()
        with self._lock:
            self._writer.begin_one(
                place.tag, parts.header, parts.total, parts.pieces, digest, check, parts.form, place.options
            )
            self._writer.finish()
        self._count(1, parts.total)

    # ------------------------------------------------------------------ batches

    def _start(self, work: Callable[[], None], *, overlapped: bool) -> None:
        """Store a batch, on a thread if that is worth it. One batch is stored at a time."""
        self.wait()
        task = self._storing = Task(work)
        if not overlapped or not in_background(task.run, "hangar-store"):
            self.wait()

    def _begin(self) -> None:
        """Begin to store the blobs that were gathered."""
        self._due = time.monotonic() + _HOLD_SECONDS
        key, mixed, count, nbytes = self._waiting_key, self._mixed, self._waiting_blobs, self._waiting_bytes
        self._mixed, self._waiting_key = [], None
        self._waiting_bytes = self._waiting_blobs = 0
        if key is None:
            return
        group, header, size = key
        if header is None:
            work = partial(self._store_mixed, mixed, group)
        else:
            work = partial(self._store_rows, header, self._rows.take(count, size), group)
        self._start(work, overlapped=nbytes >= _OVERLAPPED_BYTES)

    def _store_mixed(
        self, mixed: list[tuple[list[Header], npt.NDArray[np.int64], bytes | memoryview]], group: int
    ) -> None:
        headers: list[Header] = []
        buffers: list[memoryview] = []
        for named, lengths, data in mixed:
            view = memoryview(data)
            ends = lengths.cumsum().tolist()
            headers += named
            buffers += [view[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if headers:
            self._store_list(headers, buffers, group)

    def _store_rows(self, header: Header, pieces: list[npt.NDArray[np.uint8]], group: int) -> None:
        if header.kind == STR:
            rows = [row.data for piece in pieces for row in piece]
            self._store_list([header] * len(rows), rows, group)
            return
        for piece in pieces:
            check_content(header, piece.reshape(-1).data)
        digests = np.concatenate([blob_digests(header, piece) for piece in pieces])
        self._check_wanted(digests)
        preference = self._place(group, header)
        with self._lock:
            self._writer.begin_rows(preference.tag, header, pieces, digests, preference.options)
            self._writer.finish()
        self._count(len(digests), sum(piece.nbytes for piece in pieces))

    def _store_list(self, headers: list[Header], buffers: list[memoryview], group: int) -> None:
        for header, buffer in zip(headers, buffers, strict=True):
            if header.kind == STR or header.dtype == _BOOL:
                check_content(header, buffer)
        digests = blob_digests_of_list(headers, buffers)
        self._check_wanted(digest_array(digests))
        preference = self._place(group, headers[0])
        with self._lock:
            self._writer.add_list(preference.tag, headers, buffers, digests, preference.options)
        self._count(len(buffers), sum(buffer.nbytes for buffer in buffers))

    def _check_wanted(self, digests: Digests) -> None:
        mask = self._wanted(digests)
        if not mask.all():
            raise not_wanted(digests[int(np.argmin(mask))].tobytes())

    def take_count(self) -> tuple[int, int]:
        """Number of blobs stored since the last call, and their bytes."""
        before, self._told = self._told, (self.blobs, self.nbytes)
        return self._told[0] - before[0], self._told[1] - before[1]

    def _count(self, blobs: int, nbytes: int) -> None:
        self.blobs += blobs
        self.nbytes += nbytes


def not_wanted(digest: bytes) -> InvalidInputError:
    """The error for a blob that was not asked for."""
    return InvalidInputError(f"a blob was received that was not asked for, or with other bytes ({digest.hex()[:16]})")


def _lengths(frame: BlobFrame) -> npt.NDArray[np.int64]:
    if len(frame.lengths) % 8 or not frame.headers or not frame.lengths:
        raise InvalidInputError("a frame of blobs has no headers, or its lengths are cut off")
    lengths = np.frombuffer(frame.lengths, "<u8")
    if int(lengths.max()) > 2**41:
        raise InvalidInputError("a frame of blobs has a blob that is longer than any can be")
    return lengths.astype(np.int64)


def _numbers(frame: BlobFrame, headers: int, count: int) -> npt.NDArray[np.int64]:
    """Number of the header of each blob."""
    if not frame.header_of:
        return np.zeros(count, np.int64)
    if len(frame.header_of) != 4 * count:
        raise InvalidInputError("a frame of blobs has more blobs than headers, or less")
    numbers = np.frombuffer(frame.header_of, "<u4").astype(np.int64)
    if int(numbers.max()) >= headers:
        raise InvalidInputError("a frame of blobs names a header that it does not have")
    return numbers
