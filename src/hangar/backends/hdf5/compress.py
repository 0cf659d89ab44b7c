"""Compression of the chunks of a batch, on several threads. Incompressible chunks are stored raw.

Noise compresses to nine tenths of its size or not at all, and takes as much processor time as compressible data. So a
trial compresses a sample of each chunk first: 16 KiB, from eight places. If the trial saves too little, the chunk is
stored raw. A trial can be wrong: a codec may find repetitions that are far apart. So the first chunk of each header,
and every 32nd after it, is compressed whole. If that saves enough although the trial did not, chunks of this header
need no trial any more. After eight chunks in a row that compressed well there is no trial either, until one does not. A raw
chunk has as many bytes as it decodes to, a compressed one always fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from hangar.backends.base import Payload
from hangar.backends.hdf5.chunks import Plan, Policy, Source, piece_of, plan_batch
from hangar.backends.hdf5.codecs import FAST, NONE, Bytes, Encoding, encode, unencoded
from hangar.threads import cores, parallel_map

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Compressor"]

_JOB_BYTES: Final = 2**20
"""Chunks are grouped into jobs of this size, or a few times it if there are many: compressing a small chunk costs less than passing it to a thread."""
_SAMPLES: Final = 8
_SAMPLE_BYTES: Final = 2048
"""Bytes of each sample; a multiple of every element size."""
_WHOLE_BYTES: Final = 4 * _SAMPLES * _SAMPLE_BYTES
"""Smaller chunks are compressed without a trial: it would save little."""
_EVERY: Final = 32
"""One chunk in so many is compressed whole, whatever the trial says."""
_ROW: Final = 8
"""After so many chunks in a row that compressed well, the next one is expected to."""
_HEADERS: Final = 4096
_FAST_GAIN: Final = 8
_DENSE_GAIN: Final = 32
"""A codec must save at least this fraction (1/n). Users choose slow codecs to save the last percent, fast ones not."""


class _Chunk(NamedTuple):
    """A chunk to be stored."""

    plan: Plan
    number: int
    whole: bool
    """Compress it whatever the trial says."""


class Compressor:
    """Compresses batches for one blob file, and remembers for which headers the trial was wrong."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}
        self._trial_was_wrong: set[bytes] = set()
        self._in_a_row: dict[bytes, int] = {}

    def frames(
        self, payload: Payload, policy: Policy, encoding: Encoding
    ) -> Iterator[tuple[Plan, list[Buffer], list[int]]]:
        """Yield the frames of a batch, each with its stored chunks and their checksums."""
        source = Source(payload)
        job_bytes = min(max(_JOB_BYTES, payload.nbytes // (4 * cores())), 4 * _JOB_BYTES)
        jobs = self._jobs(plan_batch(payload, policy), job_bytes)

        def work(job: list[_Chunk]) -> list[tuple[Plan, Buffer, int]]:
            return [self._store(chunk, source, encoding) for chunk in job]

        stored: list[Buffer] = []
        checks: list[int] = []
        # Without a codec there is too little work for threads.
        for job in map(work, jobs) if encoding.codec == NONE else parallel_map(work, jobs):
            for plan, one, check in job:
                stored.append(one)
                checks.append(check)
                if len(stored) == plan.content.pieces:
                    yield plan, stored, checks
                    stored, checks = [], []

    def _jobs(self, plans: Iterable[Plan], job_bytes: int) -> Iterator[list[_Chunk]]:
        """Group chunks into jobs for threads."""
        job: list[_Chunk] = []
        held = 0
        for plan in plans:
            for number in range(plan.content.pieces):
                job.append(_Chunk(plan, number, self._is_due(plan.content.header)))
                held += plan.content.piece_bytes
                if held >= job_bytes:
                    yield job
                    job, held = [], 0
        if job:
            yield job

    def _is_due(self, header: bytes) -> bool:
        """Whether to compress the next chunk of a header whole."""
        if len(self._seen) > _HEADERS:
            self._seen.clear()
            self._trial_was_wrong.clear()
            self._in_a_row.clear()
        seen = self._seen[header] = self._seen.get(header, 0) + 1
        return seen % _EVERY == 1

    def _store(self, chunk: _Chunk, source: Source, encoding: Encoding) -> tuple[Plan, Buffer, int]:
        """The stored bytes of a chunk, and their checksum."""
        data = piece_of(chunk.plan, source, chunk.number)
        stored = self._compress(data, chunk, encoding)
        return chunk.plan, stored, xxh3_64_intdigest(stored)

    def _compress(self, data: Bytes, chunk: _Chunk, encoding: Encoding) -> Buffer:
        content = chunk.plan.content
        if encoding.codec == NONE:
            return data.data
        row = self._in_a_row.get(content.header, 0)
        # Several threads may count at the same time: then the next trial comes a chunk earlier or later.
        promising = (
            row >= _ROW or len(data) < _WHOLE_BYTES or _gains(_sample(data), encoding, content.item_bytes) is not None
        )
        if promising or chunk.whole or content.header in self._trial_was_wrong:
            stored = _gains(data, encoding, content.item_bytes)
            if stored is not None:
                if not promising:
                    self._trial_was_wrong.add(content.header)
                self._in_a_row[content.header] = row + 1
                return stored
        self._in_a_row[content.header] = 0
        return unencoded(data, encoding, content.item_bytes)


def _gains(data: Bytes, encoding: Encoding, item_bytes: int) -> Buffer | None:
    """The compressed data, or None if that saves too little."""
    stored = encode(data, encoding, item_bytes)
    most = len(data) - max(1, len(data) // (_FAST_GAIN if encoding.codec in FAST else _DENSE_GAIN))
    return stored if memoryview(stored).nbytes <= most else None


def _sample(data: Bytes) -> Bytes:
    """Sample of a chunk: eight pieces spread evenly; each begins at an element."""
    step = len(data) // _SAMPLES
    starts = [(at * step + (step - _SAMPLE_BYTES) // 2) // 16 * 16 for at in range(_SAMPLES)]
    return np.concatenate([data[start : start + _SAMPLE_BYTES] for start in starts])
