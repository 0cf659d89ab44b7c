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
from hangar.blobs.writer import BlobWriter, nothing
from hangar.digest import Digest, Header, blob_digests, blob_digests_of_list
from hangar.threads import both

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["store_list", "store_rows"]

_BLOCK_BYTES: Final = 32 * 2**20
_LONG_BYTES: Final = 16 * 1024
"""Shorter samples are hashed on all processors as it is, and more of the work goes by their number than by their bytes."""

D = TypeVar("D")
T = TypeVar("T")


def store_rows(
    writer: BlobWriter, tag: str, header: Header, rows: Rows, options: Options, use: Callable[[Digests], T]
) -> T:
    """Store blobs of one header; see :meth:`BlobWriter.add_rows`.

    Returns
    -------
    T
        What ``use`` makes of their digests (uint8, shape (n, 32)), while the last of them are being written.
    """
    count, size = rows.shape
    step = max(1, _BLOCK_BYTES // size) if size >= _LONG_BYTES else count

    def add(block: slice, digests: Digests, meanwhile: Callable[[], None]) -> None:
        writer.add_rows(tag, header, rows[block], digests, options, meanwhile=meanwhile)

    blocks = [slice(start, start + step) for start in range(0, max(1, count), max(1, step))]
    return _in_turn(
        blocks,
        lambda block: blob_digests(header, rows[block]),
        add,
        lambda hashed: use(hashed[0] if len(hashed) == 1 else np.concatenate(hashed)),
    )


def store_list(
    writer: BlobWriter,
    tag: str,
    headers: Sequence[Header],
    buffers: Sequence[Buffer],
    options: Options,
    use: Callable[[list[Digest]], T],
) -> T:
    """Store blobs of any sizes; see :meth:`BlobWriter.add_list`. Returns what ``use`` makes of their digests, as for rows."""

    def add(block: slice, digests: list[Digest], meanwhile: Callable[[], None]) -> None:
        writer.add_list(tag, headers[block], buffers[block], digests, options, meanwhile=meanwhile)

    return _in_turn(
        _blocks_of(buffers),
        lambda block: blob_digests_of_list(headers[block], buffers[block]),
        add,
        lambda hashed: use([digest for digests in hashed for digest in digests]),
    )


def _blocks_of(buffers: Sequence[Buffer]) -> list[slice]:
    lengths = np.fromiter((memoryview(buffer).nbytes for buffer in buffers), np.int64, len(buffers))
    total = int(lengths.sum())
    if total < _LONG_BYTES * len(buffers):
        return [slice(0, len(buffers))] if buffers else []
    # A block ends where the bytes from the beginning on pass a multiple of its size.
    ends = np.flatnonzero(np.diff(lengths.cumsum() // _BLOCK_BYTES, append=-1)) + 1
    return [slice(start, end) for start, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)]


def _in_turn(
    blocks: Sequence[slice],
    hashing: Callable[[slice], D],
    add: Callable[[slice, D, Callable[[], None]], None],
    use: Callable[[list[D]], T],
) -> T:
    """Hash every block and add it, in their order."""
    hashed: list[D] = []
    used: list[T] = []
    if not blocks:
        return use(hashed)
    hashed.append(hashing(blocks[0]))
    for at, following in enumerate(blocks[1:]):
        ahead, _ = both(
            lambda: hashing(following),  # noqa: B023 - called at once
            lambda: add(blocks[at], hashed[at], nothing),  # noqa: B023
        )
        hashed.append(ahead)
    add(blocks[-1], hashed[-1], lambda: used.append(use(hashed)))
    return used[0]
