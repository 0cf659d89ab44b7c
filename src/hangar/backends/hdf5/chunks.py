"""Chunking: divides a batch into chunks. Only here do backends ``00`` and ``01`` differ.

``00`` packs small samples into shared chunks, of a size that keeps random reads cheap; samples of different shapes can
share a chunk. ``01`` gives every sample its own chunks. In both, a larger array is cut along its first axes, so that
the concatenation of its chunks is the array in C order. A batch never extends a chunk of an earlier batch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.backends.base import Payload
from hangar.backends.hdf5.codecs import Bytes
from hangar.backends.hdf5.frames import RAGGED, ROWS, SHAPES, Content
from hangar.digest import NDARRAY, Header
from hangar.errors import InvalidInputError

__all__ = ["Plan", "Policy", "Source", "content_of", "piece_of", "plan_batch"]

_UINT64: Final = 9
"""Element type of shapes."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Sizes of chunks.

    Attributes
    ----------
    shared_bytes
        Size of a chunk that samples share; 0: none is shared.
    whole_bytes
        Largest sample that is stored as one chunk.
    piece_bytes
        A larger sample is cut into chunks of at most this size.
    """

    shared_bytes: int
    whole_bytes: int
    piece_bytes: int


class Source:
    """Bytes of a batch, addressed as one range."""

    def __init__(self, payload: Payload) -> None:
        self._views = [np.frombuffer(memoryview(buffer).cast("B"), np.uint8) for buffer in _filled(payload)]
        self._starts = np.cumsum([0, *map(len, self._views)]).tolist()

    def take(self, start: int, stop: int) -> Bytes:
        """Bytes of the batch from ``start`` to ``stop``; no copy if they are in one buffer."""
        at = bisect_right(self._starts, start) - 1
        if stop <= self._starts[at + 1]:
            first = self._starts[at]
            return self._views[at][start - first : stop - first]
        parts = []
        while start < stop:
            end = min(stop, self._starts[at + 1])
            parts.append(self._views[at][start - self._starts[at] : end - self._starts[at]])
            start, at = end, at + 1
        return np.concatenate(parts)

    def gather(self, ranges: list[tuple[int, int]]) -> Bytes:
        """Concatenation of several ranges of the batch."""
        taken = [self.take(start, stop) for start, stop in ranges]
        return taken[0] if len(taken) == 1 else np.concatenate(taken)


def _filled(payload: Payload) -> list[memoryview]:
    views = [memoryview(buffer) for buffer in payload.buffers]
    return [view if view.c_contiguous else memoryview(bytes(view)) for view in views if view.nbytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """A frame to be written.

    Attributes
    ----------
    content
        Content of the frame.
    samples
        Positions in the batch of its samples, in order; empty for shapes.
    rows
        Offset of each sample in the decoded bytes of the frame.
    ranges
        Byte ranges of the batch that make up the frame.
    data
        The bytes themselves, if they are not from the batch.
    """

    content: Content
    samples: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    ranges: list[tuple[int, int]]
    data: Bytes | None = None


def piece_of(plan: Plan, source: Source, number: int) -> Bytes:
    """Bytes of one chunk, padded with zeros to its size."""
    content = plan.content
    if plan.data is not None:
        return plan.data
    if content.pieces == 1:
        return source.gather(plan.ranges)
    start, stop = content.span(number)
    base = plan.ranges[0][0]
    data = source.take(base + start, base + stop)
    return data if stop - start == content.piece_bytes else np.pad(data, (0, content.piece_bytes - (stop - start)))


def plan_batch(payload: Payload, policy: Policy) -> Iterator[Plan]:
    """Plan the frames of a batch. Samples of zero bytes are in none.

    Raises
    ------
    InvalidInputError
        A sample is not an array, or does not have the size that its header says.
    """
    ends: npt.NDArray[np.int64] = np.cumsum(payload.lengths)
    spans = np.stack((ends - payload.lengths, ends), axis=1)
    groups = _by_header(payload)
    pools: dict[tuple[int, int, int], list[npt.NDArray[np.int64]]] = {}
    for header, samples in groups.items():
        size, item = _sizes(header, payload.lengths[samples])
        if size > policy.whole_bytes:
            for at in samples.tolist():
                yield _cut(header, item, at, int(spans[at, 0]), size, policy.piece_bytes)
        elif len(groups) > 1 and len(samples) * size < policy.shared_bytes // 4:
            # Too few of one shape for chunks of their own.
            pools.setdefault((header.dtype, len(header.shape), item), []).append(samples)
        else:
            step = max(1, policy.shared_bytes // size)
            if step == 1:
                yield from _single(header, item, size, samples, spans)
            else:
                for first in range(0, len(samples), step):
                    yield _rows(header, item, samples[first : first + step], spans)
    for (_, _, item), parts in pools.items():
        samples = np.sort(np.concatenate(parts))
        chunk_of = np.cumsum(payload.lengths[samples]) // policy.shared_bytes
        for part in np.split(samples, np.flatnonzero(np.diff(chunk_of)) + 1):
            yield from _ragged([_header(payload, at) for at in part.tolist()], item, part, spans)


def content_of(header: Header, nbytes: int, policy: Policy) -> Content:
    """The content of the frame of one sample that is written alone.

    Raises
    ------
    InvalidInputError
        As :func:`plan_batch`.
    """
    payload = Payload([], np.array([nbytes]), header)
    return next(plan_batch(payload, policy)).content


def _header(payload: Payload, at: int) -> Header:
    return payload.headers if isinstance(payload.headers, Header) else payload.headers[at]


def _by_header(payload: Payload) -> dict[Header, npt.NDArray[np.int64]]:
    """Positions of the samples that are not empty, by header."""
    filled = np.flatnonzero(payload.lengths)
    if not len(filled):
        return {}
    if isinstance(payload.headers, Header):
        return {payload.headers: filled}
    positions: dict[Header, list[int]] = {}
    for at in filled.tolist():
        positions.setdefault(payload.headers[at], []).append(at)
    return {header: np.array(found) for header, found in positions.items()}


def _sizes(header: Header, lengths: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Bytes of a sample of this header, and of its elements."""
    size, count = int(lengths[0]), math.prod(header.shape)
    if header.kind != NDARRAY:
        raise InvalidInputError("HDF5 files hold arrays")
    if not count or size % count or size // count > 16 or not (lengths == size).all():
        raise InvalidInputError(f"samples of shape {header.shape} do not have the size of that shape")
    return size, size // count


def _ranges(part: npt.NDArray[np.int64], spans: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Byte ranges of some samples in the batch; adjacent ones are merged."""
    taken = spans[part]
    cuts = np.flatnonzero(taken[1:, 0] != taken[:-1, 1]) + 1
    starts = taken[np.concatenate(([0], cuts)), 0]
    stops = taken[np.concatenate((cuts - 1, [len(taken) - 1])), 1]
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _rows(header: Header, item: int, part: npt.NDArray[np.int64], spans: npt.NDArray[np.int64]) -> Plan:
    """Samples of one header in one chunk."""
    size = int(spans[part[0], 1] - spans[part[0], 0])
    whole = size * len(part)
    content = Content(ROWS, header.encode(), item, len(part), 0, 1, whole, whole)
    return Plan(content, part, np.arange(len(part)) * size, _ranges(part, spans))


def _single(
    header: Header, item: int, size: int, samples: npt.NDArray[np.int64], spans: npt.NDArray[np.int64]
) -> Iterator[Plan]:
    """Samples of one header, each in a chunk of its own."""
    content = Content(ROWS, header.encode(), item, 1, 0, 1, size, size)
    starts = spans[samples, 0].tolist()
    row = np.zeros(1, np.int64)
    for at, start in enumerate(starts):
        yield Plan(content, samples[at : at + 1], row, [(start, start + size)])


def _ragged(
    headers: list[Header], item: int, part: npt.NDArray[np.int64], spans: npt.NDArray[np.int64]
) -> Iterator[Plan]:
    """Samples of several shapes in one chunk, and their shapes in another."""
    if len(set(headers)) == 1:
        yield _rows(headers[0], item, part, spans)
        return
    lengths = spans[part, 1] - spans[part, 0]
    whole = int(lengths.sum())
    elements = Header(NDARRAY, headers[0].dtype, (whole // item,))
    content = Content(RAGGED, elements.encode(), item, len(part), 0, 1, whole, whole)
    yield Plan(content, part, np.cumsum(lengths) - lengths, _ranges(part, spans))
    shapes = np.array([header.shape for header in headers], "<u8")
    content = Content(
        SHAPES, Header(NDARRAY, _UINT64, shapes.shape).encode(), 8, len(part), 0, 1, shapes.nbytes, shapes.nbytes
    )
    none = np.empty(0, np.int64)
    yield Plan(content, none, none, [], shapes.reshape(-1).view(np.uint8))


def _cut(header: Header, item: int, at: int, start: int, size: int, most: int) -> Plan:
    """Plan for a large sample, in chunks of at most ``most`` bytes: whole sub-arrays of its last axes."""
    below = size
    axis = -1
    while below > most:
        axis += 1
        below //= header.shape[axis]
    extent = header.shape[axis]
    parts = -(-extent // (most // below))
    # Prefer equal pieces: the last one is padded.
    even = next((count for count in range(parts, min(2 * parts, extent) + 1) if extent % count == 0), parts)
    piece = -(-extent // even) * below
    slab = extent * below
    per_slab = -(-slab // piece)
    content = Content(ROWS, header.encode(), item, 1, axis, size // slab * per_slab, piece, slab)
    return Plan(content, np.array([at]), np.zeros(1, np.int64), [(start, start + size)])
