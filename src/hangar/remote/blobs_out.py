"""Blobs in frames of bounded size, in the order in which they lie on disk.

Many small blobs of one header are read with one call and sent without a copy per blob. A large blob is read and sent in
parts. Nothing is verified against its digest here, because the receiver does that; the checksum of each blob is, except
of one that is sent in parts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.backends.base import Blob, Rows
from hangar.backends.location import FILE_BITS, FILE_MASK, FILE_ROW, HEADER, OFFSET, Location, Words
from hangar.blobs.index import Digests, Positions, Sought
from hangar.blobs.intact import logical_sizes
from hangar.blobs.reader import STALE
from hangar.blobs.store import BlobStore
from hangar.digest import NDARRAY, Header, digest_array, digest_list
from hangar.remote.peer import ABSENT, STORED_FRAMES, BlobFrame, BlobNames, Limits
from hangar.remote.sending import split_digests

__all__ = ["READ_BYTES", "blob_frames", "blob_sizes"]

READ_BYTES: Final = 8 * 2**20
"""So much is read at a time: enough for a backend to decode it with several threads."""
_SAME_HEADER: Final = 16
"""At least so many neighbours of one header are read as rows."""


def blob_sizes(store: BlobStore, digests: Digests) -> npt.NDArray[np.uint64]:
    """Size of each blob; :data:`ABSENT` for one without a location."""
    sizes = np.full(len(digests), ABSENT, np.uint64)
    if len(digests):
        located = store.locator.locate_sparingly(Sought.of(digests))
        here = np.flatnonzero(located.stored)
        if here.size:
            sizes[here] = logical_sizes(store, located.words[here]).astype(np.uint64)
    return sizes


def blob_frames(
    store: BlobStore, names: BlobNames, limits: Limits, read_bytes: int = READ_BYTES
) -> Iterator[BlobFrame]:
    """The blobs of these names that are here.

    Parameters
    ----------
    read_bytes
        So much is read at a time. Up to twice as much is in memory.

    Raises
    ------
    CorruptionError
        A blob is damaged.
    """
    digests = digest_array(split_digests(names.digests))
    if not len(digests):
        return
    located = store.locator.locate_sparingly(Sought.of(digests))
    here = np.flatnonzero(located.stored)
    if not here.size:
        return
    words = located.words[here]
    order = np.lexsort((words[:, FILE_ROW] & ~FILE_MASK, words[:, OFFSET], words[:, FILE_ROW] & FILE_MASK))
    places, words = here[order], words[order]
    del located, here, order  # a server has many of them at the same time
    sizes = logical_sizes(store, words)
    for start, stop in _reads(sizes, words[:, HEADER], limits.frame_bytes, read_bytes):
        part = places[start:stop]
        if int(sizes[start]) > limits.frame_bytes:
            yield from _large(store, digests, part[0], words[start], names, limits)
        else:
            yield from _small(store, digests, part, words[start:stop], sizes[start:stop], names.group, limits)


def _reads(sizes: npt.NDArray[np.int64], headers: Words, most: int, read_bytes: int) -> Iterator[tuple[int, int]]:
    """Divide blobs into parts to read at once: some megabytes of one header, or of different ones; a large blob alone."""
    count = len(sizes)
    changes = np.flatnonzero(np.concatenate(([True], headers[1:] != headers[:-1], [True])))
    start = 0
    for first, stop in zip(changes[:-1].tolist(), changes[1:].tolist(), strict=True):
        if stop - first < _SAME_HEADER and stop < count:
            if stop - start >= 1024:
                yield from _pieces(sizes, start, stop, most, read_bytes)
                start = stop
            continue
        if first - start:
            yield from _pieces(sizes, start, first, most, read_bytes)
        yield from _pieces(sizes, first, stop, most, read_bytes)
        start = stop


def _pieces(
    sizes: npt.NDArray[np.int64], start: int, stop: int, most: int, read_bytes: int
) -> Iterator[tuple[int, int]]:
    size = int(sizes[start])
    if stop - start >= _SAME_HEADER and size <= most and (sizes[start:stop] == size).all():
        # Parts of full frames.
        count = max(1, most // max(size, 1))
        step = count * max(1, read_bytes // max(count * size, 1))
        yield from ((at, min(at + step, stop)) for at in range(start, stop, step))
        return
    ends = sizes[start:stop].cumsum()
    large = [*(np.flatnonzero(sizes[start:stop] > most) + start).tolist(), stop]
    large.reverse()
    done = start
    while done < stop:
        before = int(ends[done - start - 1]) if done > start else 0
        upto = start + int(np.searchsorted(ends, before + read_bytes, side="right"))
        if done == large[-1]:
            large.pop()
            upto = done + 1
        upto = max(min(upto, large[-1]), done + 1)
        yield done, upto
        done = upto


def _small(
    store: BlobStore,
    digests: Digests,
    places: Positions,
    words: Words,
    sizes: npt.NDArray[np.int64],
    group: int,
    limits: Limits,
) -> Iterator[BlobFrame]:
    ids = words[:, HEADER]
    wanted = digests[places]
    if (ids == ids[0]).all():
        header = store.header(int(ids[0]))
        if header.kind == NDARRAY:
            size = int(sizes[0])
            step = max(1, min(limits.frame_items, limits.frame_bytes // max(size, 1)))
            for start in range(0, len(places), step):
                part = slice(start, start + step)
                rows = store.read_apart(words[part], header, size) if size else None
                if rows is None:
                    rows = _rows(store, wanted[part], words[part], header, size)
                lengths = np.full(len(rows), size, "<u8").tobytes()
                which = places[part].astype("<u4").tobytes()
                yield BlobFrame((header.encode(),), b"", lengths, rows.reshape(-1).data, 0, group, which)
            return
    try:
        blobs = store.read_list_at(words)
    except STALE:
        blobs = store.read_list(digest_list(wanted))
    start, size = 0, 0
    for at, (_, blob) in enumerate(blobs):
        if at > start and (size + len(blob) > limits.frame_bytes or at - start >= limits.frame_items):
            yield _mixed(blobs[start:at], places[start:at], group)
            start, size = at, 0
        size += len(blob)
    yield _mixed(blobs[start:], places[start:], group)


def _rows(store: BlobStore, digests: Digests, words: Words, header: Header, size: int) -> Rows:
    """Rows at the places that were found; they are looked up again only if some of them were moved."""
    try:
        return store.read_rows_at(words, header, size)
    except STALE:
        return store.read_rows(digests, header, size)


def _mixed(blobs: list[tuple[Header, Blob]], places: Positions, group: int) -> BlobFrame:
    numbers: dict[Header, int] = {}
    header_of = [numbers.setdefault(header, len(numbers)) for header, _ in blobs]
    datas = [bytes(blob) for _, blob in blobs]
    return BlobFrame(
        tuple(header.encode() for header in numbers),
        b"" if len(numbers) == 1 else np.array(header_of, "<u4").tobytes(),
        np.fromiter(map(len, datas), "<u8", len(datas)).tobytes(),
        b"".join(datas),
        0,
        group,
        places.astype("<u4").tobytes(),
    )


def _large(
    store: BlobStore, digests: Digests, place: np.intp, words: Words, names: BlobNames, limits: Limits
) -> Iterator[BlobFrame]:
    """One blob in parts."""
    location: Location = tuple(words.tolist())
    header = store.header(location[HEADER])
    file, backend = store.files.get(location[FILE_ROW] & FILE_BITS)
    total = int(logical_sizes(store, words[None])[0])
    lengths, where = np.array([total], "<u8").tobytes(), np.array([place], "<u4").tobytes()
    skip = names.start if place == 0 else 0
    form = backend.form(file, location, total) if names.stored else None
    if form is not None:
        first = bisect_left(range(len(form.sizes)), skip, key=lambda number: form.span(number)[0])
        if first < len(form.sizes) and form.span(first)[0] == skip:
            while first < len(form.sizes):
                last, _ = form.parts(first, limits.frame_bytes, STORED_FRAMES * limits.frame_bytes)
                data = backend.read_form(file, form, first, last)
                start, stop = form.span(first)[0], form.span(last - 1)[1]
                head = (header.encode(),)
                yield BlobFrame(head, b"", lengths, data, start, names.group, where, form.description, stop - start)
                first = last
            return
    at = 0
    for piece in backend.read_pieces(file, location, header):
        view = memoryview(piece).cast("B")  # type: ignore[arg-type]
        for start in range(max(0, skip - at), len(view), limits.frame_bytes):
            part = bytes(view[start : start + limits.frame_bytes])  # the next piece uses the same memory
            yield BlobFrame((header.encode(),), b"", lengths, part, at + start, names.group, where)
        at += len(view)
