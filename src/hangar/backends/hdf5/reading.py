"""Reads samples from chunks: by location, on several threads. Decoded chunks are cached.

HDF5 metadata is not used. The heads of all frames are parsed first, so that nothing is decoded or allocated before
every size is known to agree with the header of its sample. The caller verifies the checksums of the samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.backends.base import Rows
from hangar.backends.file import BlobFile, Mapped
from hangar.backends.hdf5.codecs import Bytes, Encoding, decode
from hangar.backends.hdf5.frames import RAGGED, ROWS, Frame
from hangar.backends.location import FILE_ROW, LENGTH_MASK, OFFSET, ROW_SHIFT, STORED, Location, Locations, Words
from hangar.backends.raw import LARGE_BYTES, read_large
from hangar.digest import Header
from hangar.errors import CorruptionError
from hangar.threads import cores, parallel_map, run_parallel
from hangar.wording import plural

__all__ = ["decode_piece", "encoded_as", "frame_at", "frames_of", "read_into", "read_sample", "read_samples"]

_THREADED_BYTES: Final = 2**23
"""Decoding uses threads from this size on: starting a thread, and waiting for it on busy cores, takes as long as decoding 1 MiB."""
_LONG_ROW_BYTES: Final = 16 * 1024
_FEW_ROWS: Final = 8
_FRAME_BYTES: Final = 1_024
"""Size that the cache counts for the parsed head of a chunk."""

Positions = npt.NDArray[np.int64]
DecodeTask = tuple[int, Callable[[], None]]
"""Decoding task: number of bytes, and a function that decodes them."""


def read_sample(file: BlobFile, place: Location, header: Header) -> Bytes:
    """Read the sample at one location, into new memory."""
    count = math.prod(header.shape)
    if not count:
        return np.empty(0, np.uint8)
    offset, stored, row = place[OFFSET], place[STORED], place[FILE_ROW] >> ROW_SHIFT
    known = _known_chunk(file, offset, stored)
    if known is not None:
        frame, data = known
        size = frame.content.item_bytes * count
        _check_range(frame, row, size)
        held: Bytes = data[row : row + size].copy()
        return held
    mapped = file.need(offset + (stored & LENGTH_MASK))
    frame = frame_at(file, mapped, offset, stored)
    size = frame.content.item_bytes * count
    _check_range(frame, row, size)
    if size < frame.content.nbytes:
        found: Bytes = _decoded(file, frame, mapped)[row : row + size].copy()
    else:
        found = np.empty(size, np.uint8)
        if frame.content.pieces == 1:
            decode_piece(file, frame, mapped, 0, found)
        else:
            _run(_whole(file, frame, mapped, [found]))
    return found


def read_chunks(file: BlobFile, place: Location, header: Header) -> Iterator[Bytes]:
    """Read the sample at one location; a chunk at a time if it has chunks of its own."""
    offset, stored, row = place[OFFSET], place[STORED], place[FILE_ROW] >> ROW_SHIFT
    mapped = file.need(offset + (stored & LENGTH_MASK))
    frame = frame_at(file, mapped, offset, stored)
    content = frame.content
    size = content.item_bytes * math.prod(header.shape)
    _check_range(frame, row, size)
    if not size or size < content.nbytes:
        yield read_sample(file, place, header)
        return

    def chunk(number: int) -> Bytes:
        start, stop = content.span(number)
        filled = np.empty(content.piece_bytes, np.uint8)
        decode_piece(file, frame, mapped, number, filled)
        return filled[: stop - start]

    yield from parallel_map(chunk, range(content.pieces))


def read_samples(file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Bytes]:
    """Read the samples at ``locations``, each into new memory."""
    found: list[Bytes] = [np.empty(0, np.uint8)] * len(locations)
    tasks: list[DecodeTask] = []
    filled = [at for at, header in enumerate(headers) if 0 not in header.shape]
    mapped, frames = _frames(file, locations.take(np.array(filled, np.int64)))
    rows = locations.row.tolist()
    for frame, data, part in frames:
        positions = [filled[at] for at in part]
        for at in positions:
            size = frame.content.item_bytes * math.prod(headers[at].shape)
            _check_range(frame, rows[at], size)
            found[at] = np.empty(size, np.uint8)
        if len(found[positions[0]]) == frame.content.nbytes:
            tasks += _whole(file, frame, mapped, [found[at] for at in positions])
        else:
            targets = [(rows[at], found[at]) for at in positions]
            if data is None:
                tasks.append((frame.content.nbytes, partial(_scatter, file, frame, mapped, targets)))
            else:
                _scatter_from(data, targets)
    _run(tasks)
    return found


def read_into(file: BlobFile, locations: Locations, header: Header, out: Rows) -> None:
    """Read the samples at ``locations``, which share a header, into the rows of ``out``."""
    size = out.shape[1]
    count = math.prod(header.shape)
    if size % max(count, 1) or bool(size) != bool(count):
        raise CorruptionError(f"a blob in {file.path} does not have the expected {plural(size, 'byte')}")
    if not size:
        return
    tasks: list[DecodeTask] = []
    mapped, frames = _frames(file, locations)
    listed = locations.row.tolist()
    for frame, data, part in frames:
        content = frame.content
        whole = content.nbytes
        if content.item_bytes * count != size:
            raise CorruptionError(f"a blob in {file.path} does not have the expected {plural(size, 'byte')}")
        wanted = [listed[at] for at in part]
        _check_range(frame, max(wanted), size)
        if size == whole:
            tasks += _whole(file, frame, mapped, [out[at] for at in part])
        elif data is None:
            tasks.append((whole, partial(_gather, file, frame, mapped, wanted, part, out)))
        else:
            _gather_from(data, wanted, part, out)
    _run(tasks)


def encoded_as(file: BlobFile, locations: Locations, encoding: Encoding) -> npt.NDArray[np.bool_]:
    """Mask of the samples whose chunks have an encoding: bool, shape (n,). Empty samples are in no chunk and count as right."""
    found: npt.NDArray[np.bool_] = locations.length == 0
    filled = np.flatnonzero(~found)
    for frame, _, part in _frames(file, locations.take(filled))[1]:
        found[filled[part]] = frame.encoding.same(encoding)
    return found


def frames_of(file: BlobFile, locations: Locations) -> list[tuple[Frame, list[int]]]:
    """The frames of some locations, each with the positions of its locations."""
    return [(frame, part) for frame, _, part in _frames(file, locations)[1]]


def _frames(file: BlobFile, locations: Locations) -> tuple[Mapped, list[tuple[Frame, Bytes | None, list[int]]]]:
    """The frames of some locations, each with its decoded chunk (None if not cached) and the positions of its locations."""
    words = locations.words
    mapped = file.need_all(locations.offset, locations.length)
    order, starts = _by_frame(words, file)
    firsts = words if len(words) < 2 else words[order[starts[:-1]]]
    listed = order.tolist()
    found: list[tuple[Frame, Bytes | None, list[int]]] = []
    for at, (offset, stored) in enumerate(zip(firsts[:, OFFSET].tolist(), firsts[:, STORED].tolist(), strict=True)):
        frame, data = _known_chunk(file, offset, stored) or (frame_at(file, mapped, offset, stored), None)
        found.append((frame, data, listed[starts[at] : starts[at + 1]]))
    return mapped, found


def _known_chunk(file: BlobFile, offset: int, stored: int) -> tuple[Frame, Bytes] | None:
    """The frame of a location and its decoded chunk, if the cache has them."""
    found: tuple[Frame, Bytes] | None = None if file.chunks is None else file.chunks.get((file.file_id, offset))
    if found is None or found[0].length != stored & LENGTH_MASK or found[0].encoding.codec != stored >> 56:
        return None
    return found


def frame_at(file: BlobFile, mapped: Mapped, offset: int, stored: int) -> Frame:
    """The frame of a location, whose offset and stored length are within the file."""
    length = stored & LENGTH_MASK
    frame = Frame.find(mapped.map, offset, offset + length)
    if frame.length != length or frame.encoding.codec != stored >> 56 or frame.content.role not in (ROWS, RAGGED):
        raise CorruptionError(f"a location in {file.path} does not match the chunk at its offset")
    return frame


def _by_frame(words: Words, file: BlobFile) -> tuple[Positions, list[int]]:
    """Sort locations by frame: the order, and the positions in it where each frame begins, with the end."""
    count = len(words)
    if count < 2:
        return np.arange(count), [0, count][: count + 1]
    order = words[:, OFFSET].argsort(kind="stable")
    taken = words[order, : STORED + 1]
    same = taken[1:, OFFSET] == taken[:-1, OFFSET]
    if (same & (taken[1:, STORED] != taken[:-1, STORED])).any():
        raise CorruptionError(f"locations of one chunk of {file.path} differ")
    return order, [0, *((~same).nonzero()[0] + 1).tolist(), count]


def _check_range(frame: Frame, row: int, size: int) -> None:
    whole = frame.content.nbytes
    if row + size > whole or (frame.content.pieces > 1 and size != whole):
        raise CorruptionError("a location points outside of its chunk")


def _run(tasks: list[DecodeTask]) -> None:
    if sum(nbytes for nbytes, _ in tasks) < _THREADED_BYTES or len(tasks) == 1 or cores() == 1:
        for _, task in tasks:
            task()
    else:
        # Tasks are grouped: a small one costs less than passing it to a thread.
        run_parallel([_one_by_one(part) for part in _parts(tasks)])


def _parts(tasks: list[DecodeTask]) -> Iterator[list[DecodeTask]]:
    most = max(_THREADED_BYTES, sum(nbytes for nbytes, _ in tasks) // (4 * cores()))
    part: list[DecodeTask] = []
    held = 0
    for task in tasks:
        part.append(task)
        held += task[0]
        if held >= most:
            yield part
            part, held = [], 0
    yield part


def _one_by_one(tasks: list[DecodeTask]) -> Callable[[], None]:
    def run() -> None:
        for _, task in tasks:
            task()

    return run


def decode_piece(file: BlobFile, frame: Frame, mapped: Mapped, number: int, out: Bytes) -> None:
    """Read a chunk of a frame, verify its stored bytes, and decode it into ``out``, which has its size."""
    encoding, item = frame.encoding, frame.content.item_bytes
    start, size = frame.span(number)
    if frame.content.nbytes < LARGE_BYTES:
        stored = mapped.bytes[start : start + size]
    else:
        # Read, not taken from the map: touched pages of the map count as memory of the process.
        stored = np.empty(size, np.uint8)
        read_large(file, start, stored)
    decode(frame.check(stored, number), encoding.codec, encoding.shuffle, item, out)


def _decoded(file: BlobFile, frame: Frame, mapped: Mapped) -> Bytes:
    """Decode a chunk of several samples and put it into the cache."""
    out = np.empty(frame.content.nbytes, np.uint8)
    decode_piece(file, frame, mapped, 0, out)
    out.flags.writeable = False
    if file.chunks is not None:
        file.chunks.put((file.file_id, frame.start), (frame, out), out.nbytes + _FRAME_BYTES)
    return out


def _whole(file: BlobFile, frame: Frame, mapped: Mapped, targets: list[Bytes]) -> list[DecodeTask]:
    """Tasks that decode the one sample of a frame into each of ``targets``."""
    content = frame.content

    def read(number: int) -> Callable[[], None]:
        start, stop = content.span(number)

        def run() -> None:
            if stop - start == content.piece_bytes:
                decode_piece(file, frame, mapped, number, targets[0][start:stop])
            else:
                filled = np.empty(content.piece_bytes, np.uint8)
                decode_piece(file, frame, mapped, number, filled)
                targets[0][start:stop] = filled[: stop - start]
            for target in targets[1:]:
                target[start:stop] = targets[0][start:stop]

        return run

    return [(content.piece_bytes, read(number)) for number in range(content.pieces)]


def _scatter(file: BlobFile, frame: Frame, mapped: Mapped, targets: list[tuple[int, Bytes]]) -> None:
    _scatter_from(_decoded(file, frame, mapped), targets)


def _scatter_from(data: Bytes, targets: list[tuple[int, Bytes]]) -> None:
    """Copy some samples of a decoded chunk, each into its own memory."""
    for row, target in targets:
        target[:] = data[row : row + len(target)]


def _gather(file: BlobFile, frame: Frame, mapped: Mapped, rows: list[int], part: list[int], out: Rows) -> None:
    _gather_from(_decoded(file, frame, mapped), rows, part, out)


def _gather_from(data: Bytes, rows: list[int], part: list[int], out: Rows) -> None:
    """Copy some samples of one size from a decoded chunk into rows of ``out``."""
    size = out.shape[1]
    if size >= _LONG_ROW_BYTES or len(rows) < _FEW_ROWS:
        for row, at in zip(rows, part, strict=True):
            out[at] = data[row : row + size]
    elif rows == list(range(rows[0], rows[-1] + 1, size)) and part == list(range(part[0], part[-1] + 1)):
        out[part[0] : part[-1] + 1] = data[rows[0] : rows[-1] + size].reshape(-1, size)
    else:
        every: npt.NDArray[Any] = np.ndarray((len(data) - size + 1,), f"V{size}", data.data, strides=(1,))
        out.view(f"V{size}")[part, 0] = every[rows]
