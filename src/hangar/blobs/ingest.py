"""Hashing what is to be stored, and handing it to the writer: while one block is written the next one is hashed.

Hashing comes before everything else, because it says what is new. Of much data it is done block by block, so that the processors,
the memory and the disk are busy together; little data goes through in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from hangar.backends.base import Options, Rows
from hangar.blobs.index import Digests
from hangar.blobs.overlap import both
from hangar.blobs.writer import BlobWriter
from hangar.digest import Digest, Header, blob_digests, blob_digests_of_list

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["store_list", "store_rows"]

_BLOCK_BYTES: Final = 32 * 2**20
_LONG_BYTES: Final = 16 * 1024
"""Shorter samples are hashed on all processors as it is, and more of the work goes by their number than by their bytes."""

D = TypeVar("D")


def store_rows(writer: BlobWriter, tag: str, header: Header, rows: Rows, options: Options) -> Digests:
    """Store blobs of one header; see :meth:`BlobWriter.add_rows`. Returns their digests, uint8, shape (n, 32)."""
    count, size = rows.shape
    step = max(1, _BLOCK_BYTES // size) if size >= _LONG_BYTES else count

    def add(block: slice, digests: Digests) -> None:
        writer.add_rows(tag, header, rows[block], digests, options)

    blocks = [slice(start, start + step) for start in range(0, max(1, count), max(1, step))]
    hashed = _in_turn(blocks, lambda block: blob_digests(header, rows[block]), add)
    return hashed[0] if len(hashed) == 1 else np.concatenate(hashed)


def store_list(
    writer: BlobWriter, tag: str, headers: Sequence[Header], buffers: Sequence[Buffer], options: Options
) -> list[Digest]:
    """Store blobs of any sizes; see :meth:`BlobWriter.add_list`. Returns their digests."""

    def add(block: slice, digests: list[Digest]) -> None:
        writer.add_list(tag, headers[block], buffers[block], digests, options)

    hashed = _in_turn(_blocks_of(buffers), lambda block: blob_digests_of_list(headers[block], buffers[block]), add)
    return [digest for digests in hashed for digest in digests]


def _blocks_of(buffers: Sequence[Buffer]) -> list[slice]:
    lengths = np.fromiter((memoryview(buffer).nbytes for buffer in buffers), np.int64, len(buffers))
    total = int(lengths.sum())
    if total < _LONG_BYTES * len(buffers):
        return [slice(0, len(buffers))] if buffers else []
    # A block ends where the bytes from the beginning on pass a multiple of its size.
    ends = np.flatnonzero(np.diff(lengths.cumsum() // _BLOCK_BYTES, append=-1)) + 1
    return [slice(start, end) for start, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)]


def _in_turn(blocks: Sequence[slice], hashing: Callable[[slice], D], add: Callable[[slice, D], None]) -> list[D]:
    """Hash every block and add it, in their order."""
    hashed: list[D] = []
    if blocks:
        hashed.append(hashing(blocks[0]))
    for at, following in enumerate(blocks[1:]):
        ahead, _ = both(lambda: hashing(following), lambda: add(blocks[at], hashed[at]))  # noqa: B023 - called at once
        hashed.append(ahead)
    if blocks:
        add(blocks[-1], hashed[-1])
    return hashed
