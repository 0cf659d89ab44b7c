"""Write pipeline: hashes a batch block by block and writes its new blobs. One block is written while the next one is hashed.

Blobs are hashed before they are written, because only the digests tell which are new. Large batches are split into
blocks, so that processors and disk work at the same time. :func:`hash_and_write_rows` and :func:`hash_and_write_list` return when
everything is hashed and the last block is being written. The caller then builds the tree from the digests, and calls
``writer.finish()``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from hangar.backends.base import Options, Rows
from hangar.blobs.index import Digests
from hangar.blobs.writer import BlobWriter
from hangar.digest import Digest, Header, blob_digests, blob_digests_of_list

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["hash_and_write_list", "hash_and_write_rows"]

_BLOCK_BYTES: Final = 32 * 2**20
_LONG_BYTES: Final = 16 * 1024
"""Batches of shorter samples are not split: they are hashed on all processors, and the cost depends on their number more than on their bytes."""


def hash_and_write_rows(writer: BlobWriter, tag: str, header: Header, rows: Rows, options: Options) -> Digests:
    """Hash blobs of one header and begin to write them; see :meth:`BlobWriter.begin_rows`.

    Returns
    -------
    numpy.ndarray
        Their digests: uint8, shape (n, 32). They are stored when ``writer.finish()`` returns.
    """
    count, size = rows.shape
    step = max(1, _BLOCK_BYTES // size) if size >= _LONG_BYTES else max(1, count)
    hashed: list[Digests] = []
    for start in range(0, max(1, count), step):
        block = rows[start : start + step]
        digests = blob_digests(header, block)
        writer.finish()  # the block before
        writer.begin_rows(tag, header, block, digests, options)
        hashed.append(digests)
    return hashed[0] if len(hashed) == 1 else np.concatenate(hashed)


def hash_and_write_list(
    writer: BlobWriter, tag: str, headers: Sequence[Header], buffers: Sequence[Buffer], options: Options
) -> list[Digest]:
    """Hash blobs of any sizes and begin to write them; see :meth:`BlobWriter.begin_list`.

    Returns
    -------
    list
        Their digests. They are stored when ``writer.finish()`` returns.
    """
    hashed: list[Digest] = []
    for block in _blocks_of(buffers):
        digests = blob_digests_of_list(headers[block], buffers[block])
        writer.finish()  # the block before
        writer.begin_list(tag, headers[block], buffers[block], digests, options)
        hashed += digests
    return hashed


def _blocks_of(buffers: Sequence[Buffer]) -> list[slice]:
    lengths = np.fromiter((memoryview(buffer).nbytes for buffer in buffers), np.int64, len(buffers))
    total = int(lengths.sum())
    if total < _LONG_BYTES * len(buffers):
        return [slice(0, len(buffers))] if buffers else []
    # A block ends where the running total of bytes passes a multiple of the block size.
    ends = np.flatnonzero(np.diff(lengths.cumsum() // _BLOCK_BYTES, append=-1)) + 1
    return [slice(start, end) for start, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)]
